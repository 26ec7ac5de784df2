# SPDX-License-Identifier: MIT
"""Fields are detected, versions never compared: structures in the shapes of several releases."""
import subprocess
from pathlib import Path
from typing import Iterator, Tuple

import pytest
from gdb_run import HERE, Gdb, gdb_rows
from tracer_targets import Target, installed

Truth = dict


@pytest.fixture(params=["60", "82", "102", "0"])
def shape(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Tuple[Target, Truth]]:
    """The program of one shape, waiting; and where it says its fields lie."""
    program = tmp_path / "shapes"
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
        yield target, truth


def test_offsets_are_those_of_the_compiler(
    shape: Tuple[Target, Truth], gdb: Gdb
) -> None:
    target, truth = shape
    (layout,) = gdb_rows(gdb.out(target, "qemu layout --json"), "layout")
    assert layout["source"] == "dwarf"
    found = {(f["struct"], f["field"]): f["offset"] for f in layout["fields"]}
    assert {key: found[key] for key in truth} == truth
    if ("QEMUBH", "name") not in truth:
        assert found["QEMUBH", "name"] is found["AioHandler", "io_poll_ready"] is None


def test_what_is_registered_is_found(shape: Tuple[Target, Truth], gdb: Gdb) -> None:
    target, _ = shape
    text = gdb.out(target, "qemu handlers --json")
    (handler,) = gdb_rows(text, "handler")
    assert (handler["ctx"], handler["fd"]) == ("qemu_aio_context", 23)
    assert (handler["io_read"], handler["events"]) == ("read_it", "in")
    (bh,) = gdb_rows(text, "bh")
    assert (bh["callback"], bh["state"]) == ("half_bottom", "scheduled")
    (timer,) = gdb_rows(text, "timer")
    assert (timer["callback"], timer["clock"]) == ("time_is_up", "REALTIME")
    assert gdb_rows(text, "damage") == []
    lines = [line.split() for line in gdb.out(target, "qemu handlers").splitlines()]
    assert ["half_bottom", "scheduled", "-"] in lines
