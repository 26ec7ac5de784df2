"""QEMUs with debug information: each release's structures, by their fields, never by a version.

Small programs declare the loop's structures as releases from 6.0 to 11.1, and those before 5.0, had
them (gdb/shapes.c, shapes-old.c). One loopscope, one set of bpf objects reads all of them.
"""

import re
import subprocess
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
from glib_programs import GDB_TESTS
from tracer_run import ROOT, Result, run
from tracer_targets import Target, installed

SHAPES = [60, 61, 70, 71, 80, 81, 100, 102, 111, 0]


class Shape(Target):
    """Ready; said tells the offsets that the program itself printed, by structure and field."""

    def __init__(self, program: Path, threads: int) -> None:
        super().__init__("shape")
        self.offsets: Dict[Tuple[str, str], int] = {}
        try:
            self.start([program])
            assert self.process and self.process.stdout
            for line in iter(self.process.stdout.readline, b"ready\n"):
                kind, path, offset = line.decode().split()
                self.offsets[kind, path] = int(offset)
            self.wait_polling(threads)
        except BaseException:
            self.__exit__(None, None, None)
            raise


def compile_shape(source: Path, program: Path, *words: str) -> Path:
    command = [installed("gcc"), "-g", "-O0", "-D_GNU_SOURCE", *words, str(source)]
    subprocess.run([*command, "-o", str(program), "-lpthread"], check=True)
    return program


def layout_offsets(result: Result) -> Dict[Tuple[str, str], int]:
    return {
        (f["struct"], f["field"]): f["offset"]
        for f in result.rows[0]["fields"]
        if f["offset"] is not None
    }


def btf_members(path: Path) -> Dict[Tuple[str, str], int]:
    """Structure and member -> offset in bytes, of the BTF that bpf programs are given."""
    raw = subprocess.run(
        [installed("bpftool"), "btf", "dump", "file", str(path), "format", "raw"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    found: Dict[Tuple[str, str], int] = {}
    struct = ""
    for line in raw.splitlines():
        head = re.match(r"\[\d+\] STRUCT '(\w+)'", line)
        member = re.match(r"\s+'(\w+)' type_id=\d+ bits_offset=(\d+)", line)
        if head:
            struct = head[1]
        elif member and struct:
            found[struct, member[1]] = int(member[2]) // 8
    return found


def all_shapes() -> List[object]:
    """The oldest and the newest are always tried, all others where there is more time."""
    quick = (60, 111)
    return [
        s if s in quick else pytest.param(s, marks=pytest.mark.full) for s in SHAPES
    ]


@pytest.mark.parametrize("shape", all_shapes())
def test_a_release_is_known_by_its_fields(shape: int, tmp_path: Path, way: str) -> None:
    source = GDB_TESTS / "shapes.c"
    program = compile_shape(source, tmp_path / "shape", f"-DSHAPE={shape}")
    with Shape(program, 2) as target:
        btf = tmp_path / "shape.btf"
        layout = run("layout", "-p", target.pid, "--json", "--btf", btf).fine()
        result = run("handlers", "-p", target.pid, "--json", "--via", way).fine()
        polled = run("fds", "-p", target.pid, "--json", "--via", way).fine()
    found = layout_offsets(layout)
    assert layout.rows[0]["source"] == "dwarf"
    for field, offset in target.offsets.items():
        assert found[field] == offset, field
    members = btf_members(btf)
    for field in (
        ("AioContext", "notify_me"),
        ("AioHandler", "opaque"),
        ("QEMUBH", "cb"),
    ):
        assert members[field] == found[field]
    assert (("QEMUBH", "name") in members) == (shape != 60)
    contexts = {row["ctx"]: row for row in result.of_type("context")}
    assert list(contexts) == ["qemu_aio_context", "iohandler_ctx", "io0"]
    assert contexts["qemu_aio_context"]["thread"] == target.pid
    (handler,) = result.of_type("handler")
    assert (handler["fd"], handler["io_read"]) == (23, "read_it")
    assert [(row["callback"], row["taken"]) for row in result.of_type("bh")] == [
        ("half_bottom", True),
        ("half_bottom", False),
    ]
    (timer,) = result.of_type("timer")
    assert (timer["ctx"], timer["callback"]) == ("qemu_aio_context", "time_is_up")
    fds = {(row["role"], row["fd"]) for row in polled.of_type("fd")}
    assert fds == {
        ("IOThread io0" if name == "io0" else "main loop", row["notifier_fd"])
        for name, row in contexts.items()
    }


def test_the_shape_before_5_0(tmp_path: Path, way: str) -> None:
    source = ROOT / "tests" / "integration" / "shapes-old.c"
    with Shape(compile_shape(source, tmp_path / "old"), 1) as target:
        result = run("handlers", "-p", target.pid, "--json", "--via", way).fine()
        polled = run("fds", "-p", target.pid, "--json", "--via", way).fine()
    handlers = result.of_type("handler")
    assert [(row["io_read"], row["state"]) for row in handlers] == [
        ("notified", "active"),
        ("read_it", "active"),
        ("read_it", "deleted"),
    ]
    assert [row["state"] for row in result.of_type("bh")] == [
        "scheduled",
        "scheduled, idle",
    ]
    rows = polled.of_type("fd")
    assert [(row["owner"], row["callback"]) for row in rows] == [
        ("qemu_aio_context", "notified"),
        ("qemu_aio_context", "read_it"),
    ]
