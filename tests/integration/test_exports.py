"""Recordings of real runs, exported: what other programs read is what the report says."""

import sys
from pathlib import Path

import pytest
from process_memory import wait_until
from recordings import PACKET, Recorder, record_command, said, streams
from tracer_run import DEMO, ROOT
from tracer_targets import Demo, Qemu, installed

sys.path.insert(0, str(ROOT / "tests" / "unit" / "report"))
# pylint: disable=wrong-import-position
import exports

SCENARIOS = {"five-sources": 23, "nested-drain": 20}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_recorded_demo(root: None, tmp_path: Path, scenario: str) -> None:
    installed("protoc")
    path = tmp_path / "r"
    count = SCENARIOS[scenario]
    said(record_command(path, DEMO, "--scenario", scenario, "--iterations", count))
    exports.check_all(path)
    trace = exports.check_pftrace(path)
    threads = [t["thread"][0] for t in trace.tracks.values() if t["thread"]]
    assert any(t["name"][0].startswith("main loop") for t in threads)
    assert trace.flows_to if scenario == "five-sources" else trace.depth >= 8


def test_a_recorded_qemu(root: None, tmp_path: Path) -> None:
    """Stripped, so by its exported functions; a monitor command wakes the main loop."""
    installed("protoc")
    path = tmp_path / "r"
    with Qemu() as qemu:
        with Recorder(qemu.pid, path) as recorder:
            with qemu.qmp() as qmp:
                for _ in range(23):
                    qmp.command("query-status")
            recorder.end()
    exports.check_all(path)
    trace = exports.check_pftrace(path)
    names = [t["thread"][0]["name"][0] for t in trace.tracks.values() if t["thread"]]
    assert any(name.startswith("main loop") for name in names)
    assert any(name.startswith("IOThread mon_iothread") for name in names)
    assert sum(n for (_, _, name), n in trace.begun.items() if "qmp_dispatch" in name)


def test_a_recorder_that_was_killed(root: None, tmp_path: Path) -> None:
    """Whatever the last packets have: nothing stays open, and nothing is made up."""
    path = tmp_path / "r"
    with Demo("busy") as demo, Recorder(demo.pid, path) as recorder:
        wait_until(
            lambda: sum(p.stat().st_size for p in streams(path)) > 64 * PACKET,
            "some packets are written",
        )
        recorder.kill()
    exports.check_all(path)


def test_promtool_has_nothing_to_say(root: None, tmp_path: Path) -> None:
    installed("promtool")
    path = tmp_path / "r"
    said(record_command(path, DEMO, "--scenario", "aio-wait", "--iterations", 5))
    assert exports.lint_metrics(path) == "0"
