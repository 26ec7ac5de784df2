"""record -v: how often each probe was hit; and functions that are probed where they are called.

Debian's QEMU, stripped, and scripted: nothing but the test makes it do anything.
"""

import signal
from collections import Counter
from pathlib import Path
from typing import List

import pytest
from recordings import events
from scripted import Scripted, settle
from tracer_run import FINE, Row, finish, start

pytestmark = pytest.mark.usefixtures("root")

STIRS = 5


def recorded(out: Path, scripted: Scripted, stirs: int) -> List[Row]:
    """The rows of its probes, of a recording of so many changes of io0's settings, and a command."""
    process = start("record", "-p", scripted.pid, "-o", out, "-v", "--json")
    assert process.stderr
    while b"attached" not in (line := process.stderr.readline()):
        assert line, "the recorder did not attach"
    for _ in range(stirs):
        scripted.stir_io0()
    scripted.command("query-status")
    settle(scripted.pid)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.rc == FINE, result.err
    return result.of_type("probe")


def test_calls_are_seen_where_they_are_made(tmp_path: Path) -> None:
    """An aio_poll() takes notifications once, after its wait, by a call that is probed there: the
    function has no instruction that the kernel emulates."""
    with Scripted() as scripted:
        io0 = scripted.thread("IO io0")
        rows = recorded(tmp_path / "r", scripted, STIRS)
    hits: "Counter[str]" = Counter()
    for row in rows:
        if ", called at " in row["where"]:
            assert row["cost"] == "emulated" and row["what"] == "entry"
            hits[row["where"].split(",")[0]] += row["hits"]
    found = events(tmp_path / "r")
    count = Counter(event.name for event in found)
    assert hits["aio_notify_accept"] == count["notify_accept"]
    # The poll that was under way when we came had its beginning before us, the last one has no end.
    of_io0 = Counter(event.name for event in found if event.tid == io0)
    assert of_io0["notify_accept"] == of_io0["iteration_begin"] >= STIRS


def test_hits_are_counted_for_each_probe(tmp_path: Path) -> None:
    """A wait is two hits, of its entry and of its return; what was hit most comes first."""
    with Scripted() as scripted:
        rows = recorded(tmp_path / "r", scripted, 1)
    count = Counter(event.name for event in events(tmp_path / "r"))
    waits = [row for row in rows if row["what"] == "entry, return"]
    assert sum(row["hits"] for row in waits) == count["poll_enter"]
    assert sum(row["returns"] for row in waits) == count["poll_exit"]
    sums = [row["hits"] + row["returns"] for row in rows]
    assert sums == sorted(sums, reverse=True) and sums[-1] > 0
    assert {row["cost"] for row in rows} <= {"emulated", "single-stepped"}
