"""What a recording says of a target that already runs: loops that wait, clients that come later.

The target is a distribution's QEMU without probes, of which an attach comes in the middle.
"""

from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from process_memory import fd_link, poll_sets, wait_until
from recordings import Recorder, events, report
from tracer_run import run
from tracer_targets import QuietQemu

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(name="qemu", scope="module")
def quiet_qemu() -> Iterator[QuietQemu]:
    with QuietQemu() as target:
        yield target


def test_an_idle_target_is_asleep_and_not_without_loops(
    qemu: QuietQemu, tmp_path: Path
) -> None:
    path = tmp_path / "r"
    threads = set(poll_sets(qemu.pid))
    with Recorder(qemu.pid, path) as recorder:
        recorder.end()
    result = report(path)
    loops = {row["thread"]: row for row in result.of_type("loop")}
    assert set(loops) == threads
    for row in loops.values():
        assert row["waited"] and row["iterations"] == 0
        assert row["asleep_ns"] == row["span_ns"] > 0
    text = run("report", path).fine().out
    assert "IOThread io0" in text and "no loop" not in text
    assert "0.0   100.0 %" in text
    # It was there to be seen, and did not happen.
    assert "no finding: 3 loops" in run("doctor", path).fine().out


def test_a_recording_says_what_its_descriptors_are(
    qemu: QuietQemu, tmp_path: Path
) -> None:
    path = tmp_path / "r"
    with Recorder(qemu.pid, path) as recorder:
        recorder.end()
    kinds = {e["fd"]: e["kind"] for e in events(path, "fd")}
    polled = {fd for fds in poll_sets(qemu.pid).values() for fd, _ in fds}
    eventfds = {fd for fd in polled if "eventfd" in fd_link(qemu.pid, fd)}
    # GLib's own wake-ups are nobody's handler and no source's.
    known = eventfds & set(kinds)
    assert known and {kinds[fd] for fd in known} == {1}
    listening = {fd for fd in polled if fd_link(qemu.pid, fd).startswith("socket:")}
    assert listening and listening <= set(kinds)


def woken_by(path: Path, fd: int) -> List[Dict[str, Any]]:
    rows = report(path).of_type("wakeup")
    return [r for r in rows if r["cause"] == "fd" and r["fd"] == fd]


def test_a_client_that_comes_later_is_seen(qemu: QuietQemu, tmp_path: Path) -> None:
    """Its GSource, a child of another, is made for it: what woke the loop, and the callback."""
    path = tmp_path / "r"
    with Recorder(qemu.pid, path) as recorder:
        before = {fd for fds in poll_sets(qemu.pid).values() for fd, _ in fds}
        with qemu.qmp() as client:

            def seen() -> bool:
                client.command("query-status")
                return bool(events(path, "source_dispatch_begin"))

            wait_until(seen, "its callback has been probed, and its calls are written")
            now = {fd for fds in poll_sets(qemu.pid).values() for fd, _ in fds}
            (fd,) = [
                n for n in now - before if fd_link(qemu.pid, n).startswith("socket:")
            ]
            for _ in range(100):
                client.command("query-status")
        recorder.end()
    (woken,) = woken_by(path, fd)
    assert woken["count"] >= 100
    named = {e["source"] for e in events(path, "source_add_fd") if e["fd"] == fd}
    assert named & {e["source"] for e in events(path, "source_dispatch_begin")}
