"""loopscope on a QEMU at work: a guest of Debian's kernel that reads and writes its disks.

What loopscope says is held against what others know: /proc, QMP, strace in a run of its own, and the
sums that the guest computes of what it read. With io0 not polling by itself, a request of this guest
is one kick, one write of the ioeventfd, one run of the queue's handler and one completion.
"""

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest
from guest import Guest, pattern_sum
from probed import text_differs
from process_memory import fd_link, wait_until
from recordings import Recorder, Said, babeltrace, events, report, report_counts
from tracer_run import ROOT, Result, Row, run, start
from tracer_targets import installed
from vnc_client import VncClient

KICK = "virtio_queue_host_notifier_read"
DONE = "thread_pool_completion_bh"
REQUESTS = 500


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """For looking at, and for clients; each test leaves it awaiting commands."""
    with Guest() as target:
        with target.qmp() as qmp:
            path = {"path": "/objects/io0", "property": "poll-max-ns"}
            qmp.command("qom-set", **path, value=0)
        yield target


def kick_fd(guest: Guest) -> int:
    """The ioeventfd of the disk that io0 serves."""
    rows = run("handlers", "-p", guest.pid, "io0", "--json").fine().of_type("handler")
    (fd,) = [row["fd"] for row in rows if row["io_read"] == KICK]
    return int(fd)


# --- the workload itself ----------------------------------------------------------------------------


def test_the_guest_reads_and_writes_what_it_is_told(guest: Guest) -> None:
    assert guest.run("uname -s") == "Linux"
    with guest.qmp() as qmp:
        before = guest.disk_reads(qmp, "disk0")
        assert guest.work(100).wait() == pattern_sum(100)
        assert guest.disk_reads(qmp, "disk0") - before == 100
    assert guest.copy(50).wait() == pattern_sum(50)
    size = 50 * 4096
    assert (guest.dir / "disk2").read_bytes()[:size] == (
        guest.dir / "disk0"
    ).read_bytes()[:size]


# --- tables while it works --------------------------------------------------------------------------


def test_contexts_of_a_guest_at_work_are_what_qmp_knows(guest: Guest) -> None:
    """Its IOThreads with their threads; for each disk a queue where the disk is served."""
    with guest.qmp() as qmp:
        known = {row["id"]: row["thread-id"] for row in qmp.command("query-iothreads")}
        disks = [row["node-name"] for row in qmp.command("query-named-block-nodes")]
    work = guest.work(4 * REQUESTS)
    looks = [run("handlers", "-p", guest.pid, "--json").fine() for _ in range(5)]
    assert work.wait() == pattern_sum(4 * REQUESTS)
    for seen in looks:
        contexts = {row["ctx"]: row["thread"] for row in seen.of_type("context")}
        assert set(contexts) == {
            *known,
            *("qemu_aio_context", "iohandler_ctx", "mon_iothread"),
        }
        assert known.items() <= contexts.items()
        queues = Counter(
            row["ctx"] for row in seen.of_type("handler") if row["io_read"] == KICK
        )
        assert queues["io0"] + queues["qemu_aio_context"] == len(disks)
        assert queues["io0"] == 1 and seen.total["damaged"] == 0


def kind_in_proc(guest: Guest, fd: int) -> str:
    link = fd_link(guest.pid, fd)
    if link.startswith("anon_inode:["):
        return link[12:-1]
    return link.split(":", maxsplit=1)[0]


def test_fds_of_a_guest_at_work_are_what_proc_knows(guest: Guest) -> None:
    """With clients at VNC and QMP, whose connections are among them."""
    whole: List[Row] = []

    def look() -> bool:
        seen = run("fds", "-p", guest.pid, "--json").fine()
        rows, awake = seen.of_type("fd"), seen.of_type("awake")
        threads = {row["thread"] for row in rows + awake}
        assert (len(threads), seen.total["lost"]) == (guest.LOOPS, 0)
        for row in rows:
            kind = kind_in_proc(guest, row["fd"])
            assert row["fd_kind"] == ("unix" if kind == "socket" else kind)
            assert row["owner_kind"] != "unknown"
        whole[:] = [] if awake else rows
        return not awake

    with guest.qmp() as qmp, VncClient(guest.vnc) as vnc, guest.kept_working():
        assert vnc.update() > 0 and qmp.command("query-status")["running"]
        for _ in range(3):
            wait_until(look, "each loop is seen waiting")
    details = [row["fd_detail"] or "" for row in whole]
    of_path = {
        path: [d for d in details if d.endswith(str(path))]
        for path in (guest.vnc, guest.port, guest.qmp_path)
    }
    listener = f"listens on {guest.vnc}"
    assert sorted(of_path[guest.vnc]) == sorted([str(guest.vnc), listener])
    assert of_path[guest.port] == [str(guest.port)]
    assert of_path[guest.qmp_path] == [str(guest.qmp_path)]


# --- recordings -------------------------------------------------------------------------------------


def work_between(guest: Guest, recorders: List[Recorder], requests: int) -> List[Said]:
    """The guest's work, and all that the recorders may see is between two stops of QEMU."""
    guest.cont()
    assert guest.work(requests).wait() == pattern_sum(requests)
    guest.stop()
    ended = [recorder.end() for recorder in recorders]
    guest.cont()
    return ended


def of_requests(result: Result, guest: Guest) -> Dict[Tuple[str, object], int]:
    """How often report says that io0's thread ran what belongs to the guest's requests."""
    return {
        (row["callback"], row["fd"]): row["count"]
        for row in result.of_type("callback")
        if row["thread"] == guest.io0_thread() and row["callback"] in (KICK, DONE)
    }


def test_each_request_is_recorded_twice_in_a_row(
    guest: Guest, root: None, tmp_path: Path
) -> None:
    """With gdb attached before and after, which sees the same."""
    expected = {(KICK, kick_fd(guest)): REQUESTS, (DONE, None): REQUESTS}
    seen_by_gdb = gdb_handlers(guest)
    for name in ("first", "second"):
        with Recorder(guest.pid, tmp_path / name) as recorder:
            assert guest.work(REQUESTS).wait() == pattern_sum(REQUESTS)
            ended = recorder.end()
        result = report(tmp_path / name)
        assert of_requests(result, guest) == expected
        assert (ended.lost, result.total["lost"]) == (0, 0)
        assert not text_differs(guest.pid)
    assert at_once_with_the_lock(tmp_path / "second") == 1
    assert gdb_handlers(guest) == seen_by_gdb
    assert guest.work(REQUESTS).wait() == pattern_sum(REQUESTS)


def at_once_with_the_lock(recording: Path) -> int:
    """How many threads, at most. A vCPU that waits for something to do is without it."""
    having: Set[int] = set()
    most = 0
    found = events(recording, "bql_acquired", "bql_released")
    for event in sorted(found, key=lambda event: event.ns):
        if event.name == "bql_acquired":
            having.add(event.tid)
            most = max(most, len(having))
        else:
            having.discard(event.tid)
    return most


def gdb_handlers(guest: Guest) -> List[Tuple[str, int]]:
    """Which handlers gdb sees: it attaches, lists them and lets go."""
    script = ROOT / "gdb-scripts" / "qemu-gdb.py"
    words = [installed("gdb"), "-nx", "-batch", "-p", str(guest.pid)]
    words += ["-ex", f"source {script}", "-ex", "qemu handlers --json"]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=True,
    )
    return rows_of(done.stdout.decode())


def rows_of(output: str) -> List[Tuple[str, int]]:
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return sorted((r["ctx"], r["fd"]) for r in rows if r["type"] == "handler")


def test_strace_counts_the_same_in_a_run_of_its_own(
    guest: Guest, tmp_path: Path
) -> None:
    """What io0 reads from the ioeventfd: once for each request."""
    log, fd = tmp_path / "strace", kick_fd(guest)
    words = [installed("strace"), "-f", "-e", "trace=read,pread64", "-o", log]
    with subprocess.Popen([*words, "-p", str(guest.pid)], stderr=subprocess.PIPE) as by:
        try:
            wait_until(lambda: all_traced(guest.pid), "strace attaches")
            assert guest.work(REQUESTS).wait() == pattern_sum(REQUESTS)
        finally:
            by.terminate()
            by.communicate()
    calls = [line.split(maxsplit=1) for line in log.read_text().splitlines()]
    kicks = [int(tid) for tid, call in calls if call.startswith(f"read({fd},")]
    assert kicks == [guest.io0_thread()] * REQUESTS
    assert sum(call.startswith("pread64(") for _, call in calls) == REQUESTS


def all_traced(pid: int) -> bool:
    return all(
        "TracerPid:\t0\n" not in (task / "status").read_text()
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


@pytest.mark.full
def test_two_tracers_at_once_see_the_same_and_a_small_buffer_counts_its_losses(
    guest: Guest, root: None, tmp_path: Path
) -> None:
    """A third one's buffer is a page: what it has not told it has counted."""
    guest.stop()
    with Recorder(guest.pid, tmp_path / "0") as first:
        with Recorder(guest.pid, tmp_path / "1") as second:
            with Recorder(guest.pid, tmp_path / "2", "--ring", "4K") as small:
                said = work_between(guest, [first, second, small], REQUESTS)
    totals = [report(tmp_path / name) for name in "012"]
    first_events, second_events = (report_counts(result) for result in totals[:2])
    # A timer that nobody had armed before is probed as soon as it is: one may miss its first call.
    for name in ("timer_begin", "timer_end"):
        del first_events[name], second_events[name]
    assert first_events == second_events
    assert said[0].lost == said[1].lost == 0
    assert of_requests(totals[0], guest) == of_requests(totals[1], guest)
    assert set(of_requests(totals[0], guest).values()) == {REQUESTS}
    # A hit that is lost may be of several events, or of none: it is counted once, by everybody.
    assert said[2].events < said[0].events and said[2].lost > 0
    assert totals[2].total["lost"] == said[2].lost
    assert sum(babeltrace(tmp_path / "2")[1]) == said[2].lost


# --- killed -----------------------------------------------------------------------------------------


def kill_recorders(guest: Guest, tmp_path: Path, times: int) -> None:
    """SIGKILL, before and after it has attached: at work the guest goes on, no probe stays."""
    with guest.kept_working():
        for number in range(times):
            process = start("record", "-p", guest.pid, "-o", tmp_path / str(number))
            assert process.stderr
            if number % 4:
                assert b"attached" in process.stderr.readline()
            process.send_signal(signal.SIGKILL)
            process.communicate()
    wait_until(lambda: not text_differs(guest.pid), "the probes are gone")
    assert guest.work(REQUESTS).wait() == pattern_sum(REQUESTS)


def test_recorders_killed_while_the_guest_works(
    guest: Guest, root: None, tmp_path: Path
) -> None:
    kill_recorders(guest, tmp_path, 5)


@pytest.mark.full
def test_a_hundred_recorders_killed_while_the_guest_works(
    guest: Guest, root: None, tmp_path: Path
) -> None:
    kill_recorders(guest, tmp_path, 100)
