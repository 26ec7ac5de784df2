# SPDX-License-Identifier: MIT
"""Fields are detected, versions never compared: structures in the shapes of several releases."""
import subprocess
from pathlib import Path
from typing import Iterator, Tuple

import pytest
from gdb_run import HERE, Gdb, MakeCore, What, gdb_rows
from tracer_targets import Target, installed

Truth = dict

SHAPES = ["60", "61", "70", "71", "80", "81", "82", "100", "102", "111", "0"]


@pytest.fixture(scope="module", params=SHAPES)
def shape(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tuple[Target, Truth]]:
    """The program of one shape, waiting; and where it says its fields lie."""
    program = tmp_path_factory.mktemp("shapes") / "shapes"
    subprocess.run(
        [installed("gcc"), "-g", "-O0", f"-DSHAPE={request.param}", "-Wno-unused"]
        + [str(HERE / "shapes.c"), "-o", str(program)],
        check=True,
    )
    with Target("shapes") as target:
        target.start([program])
        assert target.process and target.process.stdout
        truth = {}
        for line in iter(target.process.stdout.readline, b"ready\n"):
            structure, path, at = line.decode().split()
            truth[structure, path] = int(at)
        target.wait_polling(2)
        yield target, truth


def test_offsets_are_those_of_the_compiler(
    shape: Tuple[Target, Truth], gdb: Gdb
) -> None:
    target, truth = shape
    (layout,) = gdb_rows(gdb.out(target, "qemu layout --json"), "layout")
    assert layout["source"] == "dwarf"
    found = {(f["struct"], f["field"]): f["offset"] for f in layout["fields"]}
    assert {key: found[key] for key in truth} == truth
    for key in (("QEMUBH", "name"), ("AioHandler", "io_poll_ready")):
        assert (found[key] is not None) == (key in truth)


@pytest.mark.parametrize("live", [True, False], ids=["live", "core"])
def test_what_is_registered_is_found(
    shape: Tuple[Target, Truth], gdb: Gdb, make_core: MakeCore, live: bool
) -> None:
    target, _ = shape
    what: What = target if live else make_core(target)
    commands = ["qemu handlers", "qemu bh", "qemu timers all", "qemu iothreads"]
    said = {
        answer["command"]: answer
        for answer in gdb.answers(what, *commands, *(f"{c} --json" for c in commands))
    }
    assert [a["error"] for a in said.values()] == [None] * len(said)
    text = said["qemu handlers --json"]["out"]
    threads = {row["ctx"]: row["thread"] for row in gdb_rows(text, "context")}
    tids = {int(task.name) for task in Path(f"/proc/{target.pid}/task").iterdir()}
    (other,) = tids - {target.pid}
    io0 = "io0" if live else f"IOThread of thread {other}"  # cores lack names
    assert list(threads) == ["qemu_aio_context", "iohandler_ctx", io0]
    assert threads["iohandler_ctx"] == target.pid != threads[io0]
    (handler,) = gdb_rows(text, "handler")
    assert (handler["ctx"], handler["fd"]) == ("qemu_aio_context", 23)
    assert (handler["io_read"], handler["events"]) == ("read_it", "in")
    bhs = gdb_rows(text, "bh")
    assert gdb_rows(said["qemu bh --json"]["out"], "bh") == bhs
    assert [(row["callback"], row["state"], row["taken"]) for row in bhs] == [
        ("half_bottom", "scheduled, one-shot", True),
        ("half_bottom", "scheduled", False),
    ]
    (timer,) = gdb_rows(text, "timer")
    assert gdb_rows(said["qemu timers all --json"]["out"], "timer") == [timer]
    assert (timer["callback"], timer["clock"]) == ("time_is_up", "REALTIME")
    (iothread,) = gdb_rows(said["qemu iothreads --json"]["out"], "iothread")
    assert (iothread["state"], iothread["driven_by"]) == ("running", "aio_poll")
    assert (iothread["poll_max_ns"], iothread["thread"]) == (32768, threads[io0])
    assert "at most 32.8 us" in said["qemu iothreads"]["out"]
    assert gdb_rows(text, "damage") == []
    for command in ("qemu handlers", "qemu bh"):
        lines = [line.split() for line in said[command]["out"].splitlines()]
        assert ["half_bottom", "scheduled", "-"] in lines
