"""loopscope and the gdb commands on another Debian release's QEMU and GLib, stripped as they come.

Expected is what QMP, /proc and the workload tell, nothing that only holds of one release: its programs
are first on PATH (run.sh), and no test asks which release that is.
"""

import shutil
import socket
import threading
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Set

import pytest
from guest import Guest, pattern_sum
from glib_programs import Bus, BusMonitor, Monitor
from process_memory import fd_link, poll_sets, ring_waiters, wait_until
from recordings import Recorder, babeltrace, events, report
from test_cores import gcore, look
from test_guest import gdb_handlers, guest  # a fixture too
from test_provenance import Watch, qemu_from_its_start
from tracer_run import Result, Row, finish, run, start
from tracer_targets import Daemon, Qemu, Target, installed, nbd_server, storage_daemon

MAIN = {"qemu_aio_context", "iohandler_ctx"}
REQUESTS = 300
# What every release has and what no table, recording or verdict can do without.
NEEDED = """AioContext.aio_handlers.lh_first AioContext.notify_me AioContext.bh_list.slh_first
    AioContext.notified AioContext.notifier.rfd AioContext.tlg.tl AioHandler.pfd.fd AioHandler.io_read
    AioHandler.io_write AioHandler.io_poll AioHandler.opaque AioHandler.node_deleted.le_prev QEMUBH.cb
    QEMUBH.opaque QEMUBH.flags QEMUTimer.expire_time QEMUTimer.cb QEMUTimerList.active_timers
    IOThread.ctx GMainContext.source_lists GMainContext.wake_up_rec.fd GMainContext.owner""".split()


@pytest.fixture(scope="module")
def qemu() -> Iterator[Qemu]:
    with Qemu() as target:
        yield target


def of_proc(pid: int, fd: int) -> str:
    link = fd_link(pid, fd)
    if link.startswith("anon_inode:"):
        return link[11:].strip("[]")
    return link.split(":", maxsplit=1)[0]


def handlers_are_right(target: Target) -> Result:
    """The contexts have their notifiers, and handlers are of what is open."""
    result = run("handlers", "-p", target.pid, "--json", "--all").fine()
    assert result.total["damaged"] == 0
    rows = result.of_type("handler")
    for context in result.of_type("context"):
        fd = context["notifier_fd"]
        assert of_proc(target.pid, fd) == "eventfd"
        assert (context["ctx"], fd) in {(row["ctx"], row["fd"]) for row in rows}
    for row in rows:
        assert of_proc(target.pid, row["fd"]) in (row["fd_kind"], "socket")
    return result


def fds_are_right(target: Target) -> Result:
    """What the threads poll is shown, all of it, and each is somebody's."""
    result = run("fds", "-p", target.pid, "--json").fine()
    shown: Dict[int, Set[int]] = {}
    for row in result.of_type("fd"):
        shown.setdefault(row["thread"], set()).add(row["fd"])
        kind = of_proc(target.pid, row["fd"]) if row["fd"] >= 0 else "none"
        assert row["fd_kind"] == ("unix" if kind == "socket" else kind)
    polled = {tid: {fd for fd, _ in fds} for tid, fds in poll_sets(target.pid).items()}
    rings = set(ring_waiters(target.pid))
    assert {tid: fds for tid, fds in shown.items() if tid not in rings} == polled
    assert rings <= set(shown)
    assert result.total["unknown"] == 0, result.out
    return result


def doctor(target: Target) -> Result:
    return run("doctor", "-p", target.pid, "--json")


def healthy(target: Target) -> None:
    result = doctor(target)
    assert (result.rc, result.of_type("verdict")) == (0, []), result.out


# --- QEMU, idle -------------------------------------------------------------------------------------


def test_the_layout_is_inferred_and_knows_what_is_needed(qemu: Qemu) -> None:
    (layout,) = run("layout", "-p", qemu.pid, "--json").fine().of_type("layout")
    assert layout["source"] == "inferred"
    known = {
        f"{row['struct']}.{row['field']}"
        for row in layout["fields"]
        if row["offset"] is not None
    }
    assert set(NEEDED) <= known


def test_contexts_are_those_that_qmp_knows(qemu: Qemu) -> None:
    result = handlers_are_right(qemu)
    with qemu.qmp() as qmp:
        known = {row["id"]: row["thread-id"] for row in qmp.command("query-iothreads")}
    found = {row["ctx"]: row["thread"] for row in result.of_type("context")}
    assert set(found) == MAIN | set(known) | {"mon_iothread"}
    assert known.items() <= found.items()
    assert found["qemu_aio_context"] == found["iohandler_ctx"] == qemu.pid
    assert all(row["fdmon"] for row in result.of_type("context"))
    clocks = {row["clock"] for row in result.of_type("timer")}
    assert {"REALTIME", "VIRTUAL"} <= clocks
    assert {row["ctx"] for row in result.of_type("source") if row["ctx"]} == set(found)


def test_each_polled_descriptor_is_explained(qemu: Qemu) -> None:
    qemu.idle()
    rows = fds_are_right(qemu).of_type("fd")
    listens = {row["fd_detail"] for row in rows if row["owner_kind"] == "GSource"}
    assert {f"listens on {path}" for path in (qemu.vnc, qemu.qmp_path)} <= listens


def test_who_accepted_a_client(qemu: Qemu) -> None:
    before = {row["fd"] for row in fds_are_right(qemu).of_type("fd")}
    with Watch("-p", qemu.pid, "--provenance") as watch:
        assert watch.line().startswith("loopscope: watching process ")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(qemu.vnc))
            assert client.recv(12) == b"RFB 003.008\n"
            wait_until(
                lambda: {f for f, _ in poll_sets(qemu.pid).get(qemu.pid, ())} - before,
                "the client is polled",
            )
            rows = watch.table().of_type("fd")
    (new,) = [row for row in rows if row["fd"] not in before]
    assert new["made_by"].startswith("accept4() in qemu_accept, ")
    assert "main_loop_wait" in new["made_stack"]
    for row in rows:
        if row["fd"] in before:
            assert row["made_by"] == "older than attach"


def test_who_made_what_from_the_first_instruction_on(tmp_path: Path) -> None:
    """Of a command that gets into its root by itself: a script, unshare, pivot_root, chroot."""
    qemu_from_its_start(tmp_path)


def test_gdb_says_the_same() -> None:
    """Of one of its own: what gdb has held sleeps longer than it wanted to, and is late."""
    if not shutil.which("gdb"):
        pytest.skip("gdb is not installed")
    with Qemu() as qemu:
        rows = run("handlers", "-p", qemu.pid, "--json").fine().of_type("handler")
        seen = sorted((row["ctx"], row["fd"]) for row in rows)
        assert gdb_handlers(qemu) == seen


def test_a_healthy_one_is_healthy_and_a_stopped_server_is_found(qemu: Qemu) -> None:
    """blockdev-add waits for the release's own qemu-nbd, which has been stopped."""
    healthy(qemu)
    with nbd_server() as server:
        server.stop()
        address = {"type": "unix", "path": str(server.dir / "nbd")}
        words = {"driver": "nbd", "server": address, "node-name": "remote"}

        def add() -> None:
            with qemu.qmp() as qmp:
                qmp.command("blockdev-add", **words)

        thread = threading.Thread(target=add)
        thread.start()
        verdicts: List[Row] = []

        def is_found() -> bool:
            verdicts[:] = doctor(qemu).of_type("verdict")
            return bool(verdicts)

        wait_until(is_found, "the doctor finds it")
        stalls = start("stalls", "-p", qemu.pid, "--min", "50ms", "-d", 1, "--json")
        seen = finish(stalls)
        server.cont()
        thread.join()
    (row,) = verdicts
    assert row["role"] == "main loop"
    assert row["verdict"] in ("NESTED WAIT", "BLOCKED CALLBACK")
    assert "qmp_blockdev_add" in row["stack"], row
    assert seen.rc in (0, 1), seen.err
    healthy(qemu)


CORE_TELLS = {
    "context": ["ctx_addr", "thread", "notifier_fd"],
    "handler": ["ctx_addr", "fd", "events", "io_read", "io_write", "state"],
    "source": ["gcontext", "name", "callback", "priority"],
}


def test_a_core_is_looked_at_from_outside_of_its_root(
    qemu: Qemu, tmp_path: Path
) -> None:
    """Its program's name is that of this system's QEMU, which is another build."""
    _, live = look(qemu.idle())
    core = gcore(qemu, tmp_path)
    assert "--sysroot DIR" in run("handlers", core).refused()
    # run.sh: the commands of ROOT are in ROOT.bin.
    root = Path(installed("qemu-system-x86_64")).parent.with_suffix("")
    fds, dead = look(core, "--sysroot", root)
    # sid's IOThreads have names in a live process only: contexts are told by their addresses.
    for kind, keys in CORE_TELLS.items():
        of_live, of_dead = (
            [[row[key] for key in keys] for row in result.fine().of_type(kind)]
            for result in (live, dead)
        )
        assert of_dead == of_live and of_live
    assert fds.total["unknown"] == 0
    assert run("doctor", core, "--sysroot", root).rc == 0
    core.unlink()


# --- QEMU at work -----------------------------------------------------------------------------------


def test_tables_while_the_guest_works(guest: Guest) -> None:
    with guest.kept_working():
        for _ in range(3):
            handlers_are_right(guest)
        healthy(guest)


def test_polled_by_a_guest_that_waits(guest: Guest) -> None:
    wait_until(lambda: guest_sleeps(guest), "its loops sleep")
    fds_are_right(guest)


def guest_sleeps(guest: Guest) -> bool:
    return len({*poll_sets(guest.pid), *ring_waiters(guest.pid)}) == guest.LOOPS


def kick_fd(guest: Guest) -> int:
    """The one eventfd that io0 has besides its notifier."""
    result = run("handlers", "-p", guest.pid, "io0", "--json").fine()
    (context,) = result.of_type("context")
    (fd,) = {
        row["fd"] for row in result.of_type("handler") if row["fd_kind"] == "eventfd"
    } - {context["notifier_fd"]}
    return int(fd)


def test_each_request_is_recorded(guest: Guest, tmp_path: Path) -> None:
    """What QMP counts and what the kick's handler ran, for a guest's direct reads."""
    fd, out = kick_fd(guest), tmp_path / "recording"
    with guest.qmp() as qmp:
        before = guest.disk_reads(qmp, "disk0")
        with Recorder(guest.pid, out) as recorder:
            assert guest.work(REQUESTS).wait() == pattern_sum(REQUESTS)
            ended = recorder.end()
        assert guest.disk_reads(qmp, "disk0") - before == REQUESTS
    result = report(out)
    kicks = [
        row["count"]
        for row in result.of_type("callback")
        if (row["thread"], row["fd"]) == (guest.io0_thread(), fd)
    ]
    assert kicks == [REQUESTS]
    assert (ended.lost, result.total["lost"]) == (0, 0)
    assert sum(babeltrace(out)[1]) == 0
    assert result.total["iterations"] >= REQUESTS


def test_top_counts_what_works(guest: Guest) -> None:
    with guest.kept_working():
        words = ("top", "-p", guest.pid, "-d", 3, "--overhead", "none", "--json")
        result = finish(start(*words))
    assert result.rc == 0, result.err
    rows = [r for r in result.of_type("callback") if r["thread"] == guest.io0_thread()]
    assert max(r["calls"] for r in rows if r["kind"] == "handler") > REQUESTS
    loops = {row["loop"]: row["iterations"] for row in result.of_type("loop")}
    assert loops["IOThread io0"] > REQUESTS and "main loop" in loops


# --- the other programs of its packages -------------------------------------------------------------


@pytest.mark.parametrize("make", [storage_daemon, nbd_server])
def test_a_loop_without_a_machine(make: Callable[[], Daemon]) -> None:
    with make() as target:
        names = {r["ctx"] for r in handlers_are_right(target).of_type("context")}
        assert MAIN <= names
        fds_are_right(target)
        healthy(target)


# --- GLib -------------------------------------------------------------------------------------------


def test_a_program_that_watches_files() -> None:
    with Monitor() as target:
        fds_are_right(target)
        result = run("handlers", "-p", target.pid, "--json").fine()
        sources = result.of_type("source")
        assert "inotify kernel source" in {row["name"] for row in sources}
        (inotify,) = [row for row in sources if row["name"] == "inotify kernel source"]
        assert inotify["thread"] == target.thread("gmain")
        healthy(target)


def test_a_program_on_the_bus_and_its_recording(tmp_path: Path) -> None:
    with Bus() as bus, BusMonitor(bus) as target:
        rows = fds_are_right(target).of_type("fd")
        (row,) = [row for row in rows if row["owner_kind"] == "GSource"]
        assert row["role"] == 'GLib loop "gdbus"' and row["thread"] != target.pid
        with Recorder(target.pid, tmp_path / "bus") as recorder:
            with BusMonitor(bus):  # whose coming the bus tells the first
                pass
            wait_until(
                lambda: bool(events(tmp_path / "bus", "poll_enter")),
                "it was told, waits again, and that is written",
            )
            recorder.end()
        result = report(tmp_path / "bus")
        assert result.total["lost"] == 0
        assert result.total["iterations"] > 0
