"""A core file answers like the process it is of; a broken one is refused, never trusted."""

import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest
from process_memory import Memory
from tracer_run import DEMO, ROOT, Result, Row, run
from tracer_targets import Demo, Qemu, Target

# What no core can know.
LIVE_ONLY = ("fd_kind", "fd_detail", "ready", "via", "doing", "left_ns")


# A program under a sanitizer maps terabytes: its core would fill any disk.
CORE_MAX = 4 << 30


def mapped(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmSize:")[1].split()[0]) * 1024


def gcore(target: Target, place: Path) -> Path:
    """A core by gdb, of a process that goes on."""
    if not shutil.which("gcore"):
        pytest.skip("gcore (package gdb) is not installed")
    if mapped(target.pid) > CORE_MAX:
        pytest.skip(f"process {target.pid} maps {mapped(target.pid) >> 30} GiB")
    limit = ["prlimit", f"--fsize={CORE_MAX}"]
    subprocess.run(
        [*limit, "gcore", "-o", str(place / "core"), str(target.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=True,
    )
    return place / f"core.{target.pid}"


def comparable(result: Result, kind: str) -> List[Row]:
    return [
        {key: value for key, value in row.items() if key not in LIVE_ONLY}
        for row in result.fine().of_type(kind)
    ]


def assert_same(live: Result, dead: Result, *kinds: str) -> None:
    for kind in kinds:
        assert comparable(dead, kind) == comparable(live, kind)
        assert comparable(dead, kind)
    assert {key: dead.total[key] for key in ("type", "lost")} == {
        "type": "total",
        "lost": 0,
    }


def look(what: object, *options: object) -> Tuple[Result, Result]:
    where = ["-p", what.pid] if isinstance(what, Target) else [what, *options]
    fds = run("fds", *where, "--json")
    return fds, run("handlers", *where, "--all", "--json")


@pytest.mark.parametrize(
    "start", [lambda: Demo("five-sources"), lambda: Demo("many-fds"), Qemu]
)
def test_a_core_shows_what_the_process_showed(
    start: Callable[[], Target], tmp_path: Path
) -> None:
    with start() as target:
        if isinstance(target, Demo):
            target.wait_asleep()
        fds, handlers = look(target)
        core = gcore(target, tmp_path)
        dead_fds, dead_handlers = look(core)
    assert_same(fds, dead_fds, "fd")
    assert_same(handlers, dead_handlers, "handler", "context")
    assert {row["fd_kind"] for row in dead_handlers.of_type("handler")} == {"unknown"}
    assert {row["ready"] for row in dead_fds.of_type("fd")} == {None}
    assert dead_fds.total["unknown"] == 0 and dead_handlers.total["damaged"] == 0
    text = run("fds", core).fine().out
    assert text.startswith("core of ")
    core.unlink()


def test_layout_from_a_core_is_that_of_the_process(tmp_path: Path) -> None:
    with Qemu() as target:
        rows = run("layout", "-p", target.pid, "--json").fine().rows
        core = gcore(target, tmp_path)
    rows += run("layout", core, "--json").fine().rows
    offsets: List[Dict[Tuple[str, str], object]] = [
        {(f["struct"], f["field"]): f["offset"] for f in row["fields"]} for row in rows
    ]
    assert offsets[0] == offsets[1] and rows[0]["globals"] == rows[1]["globals"]
    core.unlink()


def test_a_core_by_the_kernel(tmp_path: Path) -> None:
    """It leaves out program text; that is read from the files."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(
            f"the kernel writes cores elsewhere: kernel.core_pattern is {pattern}"
        )
    with Demo("five-sources") as target:
        hard = resource.prlimit(target.pid, resource.RLIMIT_CORE)[1]
        if hard == 0:
            pytest.skip("RLIMIT_CORE forbids cores")
        if mapped(target.pid) > CORE_MAX:
            pytest.skip(f"process {target.pid} maps {mapped(target.pid) >> 30} GiB")
        resource.prlimit(target.pid, resource.RLIMIT_CORE, (hard, hard))
        fds, handlers = look(target.wait_asleep())
        os.kill(target.pid, signal.SIGQUIT)
        assert target.process
        target.process.wait(60)
        (core,) = target.dir.glob("core*")
        dead_fds, dead_handlers = look(core)
    assert_same(fds, dead_fds, "fd")
    assert_same(handlers, dead_handlers, "handler", "context")


def test_a_core_without_its_program(tmp_path: Path) -> None:
    """The file is gone: one line names it."""
    program = tmp_path / "program"
    shutil.copy(DEMO, program)
    with Demo("signal", program=program) as target:
        core = gcore(target.wait_asleep(), tmp_path)
    program.unlink()
    assert str(program) in run("handlers", core).refused()


def test_a_core_whose_program_was_rebuilt(tmp_path: Path) -> None:
    """Another file has its name now: its build-id is not the one in the core's memory."""
    program = tmp_path / "program"
    shutil.copy(DEMO, program)
    with Demo("signal", program=program) as target:
        core = gcore(target.wait_asleep(), tmp_path)
    notes = subprocess.run(
        ["readelf", "-n", DEMO], stdout=subprocess.PIPE, text=True, check=True
    )
    build_id = bytes.fromhex(notes.stdout.split("Build ID: ")[1].split()[0])
    program.write_bytes(DEMO.read_bytes().replace(build_id, build_id[::-1]))
    line = run("handlers", core).refused()
    assert build_id.hex() in line and build_id[::-1].hex() in line


# --- files in another root ------------------------------------------------------------------------


def test_a_core_of_another_root(tmp_path: Path) -> None:
    """Its program and libraries are below a directory, as a container's or another system's are."""
    program, root = tmp_path / "program", tmp_path / "root"
    shutil.copy(DEMO, program)
    with Demo("five-sources", program=program) as target:
        fds, handlers = look(target.wait_asleep())
        files = {line.split(maxsplit=5)[-1] for line in maps(target) if "/" in line}
        core = gcore(target, tmp_path)
    for file in files:
        (root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / file[1:])
    # In that root the program is a link, which leads to where that root has it.
    (root / "elsewhere").mkdir()
    (root / program.relative_to("/")).rename(root / "elsewhere" / "program")
    (root / program.relative_to("/")).symlink_to("/elsewhere/program")
    program.unlink()
    line = run("handlers", core).refused()
    assert str(program) in line and "--sysroot DIR" in line
    dead_fds, dead_handlers = look(core, "--sysroot", root)
    assert_same(fds, dead_fds, "fd")
    assert_same(handlers, dead_handlers, "handler", "context")
    assert run("doctor", core, "--sysroot", root).rc == 0
    line = run("handlers", core, "--sysroot", tmp_path).refused()
    assert str(program) in line and str(tmp_path) in line


def maps(target: Target) -> List[str]:
    return Path(f"/proc/{target.pid}/maps").read_text().splitlines()


def test_sysroot_is_of_a_core_and_a_directory(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(b"")
    line = run("handlers", "-p", os.getpid(), "--sysroot", tmp_path).refused(2)
    assert "--sysroot goes with a core" in line
    line = run("fds", tmp_path / "core", "--sysroot", tmp_path / "no").refused(2)
    assert "--sysroot takes a directory" in line


@pytest.fixture(scope="module")
def small_core(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with Demo("signal") as target:
        return gcore(target.wait_asleep(), tmp_path_factory.mktemp("core")).read_bytes()


def check(data: bytes, path: Path) -> int:
    path.write_bytes(data)
    codes = set()
    for command in ("fds", "handlers", "layout"):
        result = run(command, path)
        if result.rc:
            result.refused()
        codes.add(result.rc)
    assert codes <= {0, 4}
    return max(codes)


def test_a_core_that_is_cut_short(small_core: bytes, tmp_path: Path) -> None:
    """Cut in its headers, notes and memory; gdb writes the section headers last."""
    size = len(small_core)
    cuts = [1, 4, 16, 63, 64, 65, 120, 1000, 4096, 10000] + [
        size * i // 16 for i in range(1, 16)
    ]
    codes = [check(small_core[:cut], tmp_path / "core") for cut in cuts]
    assert codes[:8] == [4] * 8
    assert check(small_core, tmp_path / "core") == 0


def test_a_core_cut_short_says_so(small_core: bytes, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(small_core[: len(small_core) // 2])
    result = run("handlers", path)
    assert result.rc == 0 or "cut short" in result.refused(), result.err


def note_at(core: bytes) -> Tuple[int, int]:
    """Offset and size of the PT_NOTE segment."""
    (phoff,) = struct.unpack_from("<Q", core, 32)
    (phnum,) = struct.unpack_from("<H", core, 56)
    for i in range(phnum):
        kind, _, offset, _, _, size = struct.unpack_from(
            "<IIQQQQ", core, phoff + 56 * i
        )
        if kind == 4:
            return int(offset), int(size)
    raise AssertionError("a core without notes")


def test_a_core_with_damaged_headers_and_notes(
    small_core: bytes, tmp_path: Path
) -> None:
    """Single words of them are set to what hurts most."""
    notes, size = note_at(small_core)
    (phoff,) = struct.unpack_from("<Q", small_core, 32)
    places = [32, 40, 54, 56, 60, *range(phoff, phoff + 56 * 4, 8)]
    places += range(notes, notes + min(size, 1600), 100)
    for value in (0, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF):
        for at in places:
            width = 2 if at in (54, 56, 60) else 8
            damaged = bytearray(small_core)
            damaged[at : at + width] = (value & ((1 << (8 * width)) - 1)).to_bytes(
                width, "little"
            )
            (tmp_path / "core").write_bytes(damaged)
            result = run("handlers", tmp_path / "core")
            assert result.rc in (
                0,
                4,
            ), f"{value:#x} at {at}: exit {result.rc} {result.err}"
            if result.rc:
                result.refused()


def test_a_core_of_a_damaged_list(tmp_path: Path) -> None:
    """An ending in itself, in a core."""
    with Demo("many-fds", "--fds", "20") as target:
        target.wait_asleep()
        (layout,) = run("layout", "-p", target.pid, "--json").fine().rows
        offset = {f"{f['struct']}.{f['field']}": f["offset"] for f in layout["fields"]}
        contexts = run("handlers", "-p", target.pid, "--json").fine().of_type("context")
        (ctx,) = [
            int(c["ctx_addr"], 16) for c in contexts if c["ctx"] == "iohandler_ctx"
        ]
        target.stop()
        memory = Memory(target.pid)
        first = memory.u64(ctx + offset["AioContext.aio_handlers.lh_first"])
        memory.write_u64(first + offset["AioHandler.node.le_next"], first)
        memory.close()
        core = gcore(target, tmp_path)
    result = run("handlers", core, "--json").fine()
    assert result.total["damaged"] == 1


# --- files that are no files ----------------------------------------------------------------------


def made_core(named: Path) -> bytes:
    """A core of a few hundred bytes that says its program was that file."""
    sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
    try:
        from make_corpus import core
    finally:
        sys.path.pop(0)
    return bytes(core(os.fsencode(named)))


@pytest.mark.parametrize("command", ["fds", "handlers", "layout"])
def test_a_core_that_names_a_fifo_is_not_waited_for(
    command: str, tmp_path: Path
) -> None:
    """Opening a FIFO waits for a writer, and the names in a core are whatever its maker wants."""
    fifo, path = tmp_path / "fifo", tmp_path / "core"
    os.mkfifo(fifo)
    path.write_bytes(made_core(fifo))
    assert str(fifo) in run(command, path).refused()
    assert "no regular file" in run(command, fifo).refused()
    assert "no regular file" in run(command, "/dev/null").refused()
