"""What the events of a recording say: of the demo by its probes, of a real QEMU by its functions.

The QEMU is Debian's, stripped. What it does is scripted: a QMP command, a signal or a datagram, each
sent only when every thread sleeps again; so how often what happens is known.
"""

import os
import re
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from process_memory import exe, load_base, wait_until
from recordings import (
    Event,
    Recorder,
    events,
    probe_names,
    record_command,
    report,
    said,
    wait_sleeps,
)
from scripted import Scripted, settle
from tracer_run import COLUMNS, DEMO, HANG_S, run
from tracer_targets import Demo, Qemu, installed

pytestmark = pytest.mark.usefixtures("root")

SIGALRM = int(signal.SIGALRM)
READ = 1  # enum handler_op
AIO_POLL = 2  # enum loop_kind
HELD_NO, HELD_YES = 1, 2
POLLS = (
    "poll(), ppoll(), epoll_wait(), "
    "io_uring_submit_and_wait(), io_uring_submit_and_wait_timeout()"
)


def symbols(recording: Path) -> Dict[int, str]:
    return {e["addr"]: e["name"] for e in events(recording, "symbol")}


def of_thread(found: List[Event], tid: int, *names: str) -> List[Event]:
    return [e for e in found if e.tid == tid and (not names or e.name in names)]


def pairs(
    found: List[Event], begin: str, end: str, key: str
) -> List[Tuple[Event, Event]]:
    """Each begin with its end: properly nested in each thread, on the same object."""
    opened: Dict[int, List[Event]] = {}
    matched = []
    for event in found:
        stack = opened.setdefault(event.tid, [])
        if event.name == begin:
            stack.append(event)
        elif event.name == end:
            matched.append((stack.pop(), event))
            assert matched[-1][0][key] == event[key]
    assert not any(opened.values()), opened
    return matched


# --- a signal, followed through the demo's loop ---------------------------------------------------


def test_a_sigalrm_from_poll_to_its_handler(tmp_path: Path) -> None:
    """poll -> signalfd -> sigfd_handler -> the action, in one thread, in this order, five times."""
    with Demo("signal") as target:
        target.wait_asleep()
        handlers = run("handlers", "-p", target.pid, "--json").fine().of_type("handler")
        (fd,) = [row["fd"] for row in handlers if row["io_read"] == "sigfd_handler"]
        with Recorder(target.pid, tmp_path / "r") as recorder:
            for _ in range(5):
                os.kill(target.pid, signal.SIGALRM)
                settle(target.pid)
            assert recorder.end().lost == 0
    names = symbols(tmp_path / "r")
    steps = ("poll_exit", "fd_ready", "handler_begin", "signal_dispatch", "handler_end")
    found = events(tmp_path / "r", *steps)
    assert {event.tid for event in found} == {target.pid}
    assert [event.name for event in found] == 5 * list(steps)
    assert [event.ns for event in found] == sorted(event.ns for event in found)
    for at in range(0, len(found), len(steps)):
        woke, ready, begin, dispatch, end = found[at : at + len(steps)]
        assert woke["ret"] == 1
        assert (ready["fd"], ready["revents"]) == (fd, 1)
        assert (begin["fd"], begin["op"], names[begin["cb"]]) == (
            fd,
            READ,
            "sigfd_handler",
        )
        assert (dispatch["fd"], dispatch["signo"]) == (fd, SIGALRM)
        assert dispatch["sender"] == os.getpid()
        assert names[dispatch["action"]] == "sigalrm_handler"
        assert (end["fd"], end["node"], end["cb"]) == (fd, begin["node"], begin["cb"])


def test_what_begins_ends(tmp_path: Path) -> None:
    """In every thread of five-sources, whatever begins ends, innermost first, on the same object."""
    command = (DEMO, "--scenario", "five-sources", "--iterations", 115)
    said(record_command(tmp_path / "r", *command))
    keys = {
        "iteration": "ctx",
        "dispatch": "ctx",
        "source_dispatch": "source",
        "handler": "node",
        "bh": "bh",
        "timer": "timer",
    }
    opened: Dict[int, List[Tuple[str, int]]] = {}
    ended: Counter[str] = Counter()
    for event in events(tmp_path / "r", *probe_names()):
        kind, _, what = event.name.rpartition("_")
        stack = opened.setdefault(event.tid, [])
        if kind in keys and what == "begin":
            stack.append((kind, event[keys[kind]]))
        elif kind in keys and what == "end":
            assert stack.pop() == (kind, event[keys[kind]])
            ended[kind] += 1
    assert not any(opened.values())
    assert all(ended[kind] > 10 for kind in keys), ended


# --- a real QEMU ----------------------------------------------------------------------------------


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with Scripted() as target:
        yield target


LOOPS = ("main", "IO io0", "IO mon_iothread")


def script(target: Scripted) -> None:
    for _ in range(3):
        for name in ("query-status", "query-version", "query-iothreads", "query-block"):
            target.command(name)
        target.stir_io0()
        target.signal()


def waits_recorded(target: Scripted, recording: Path) -> Dict[str, int]:
    counts = Counter(e.tid for e in events(recording, "poll_enter"))
    return {name: counts[target.thread(name)] for name in LOOPS}


class Strace:
    """strace of the calls that wait, in every thread."""

    def __init__(self, target: Scripted, out: Path) -> None:
        self.target, self.out = target, out
        args = [
            "-f",
            "-qq",
            "-e",
            "trace=poll,ppoll,restart_syscall",
            "-e",
            "signal=none",
        ]
        self.process = subprocess.Popen(
            [installed("strace"), *args, "-o", str(out), "-p", str(target.pid)]
        )
        wait_until(self.attached, "strace has attached to all threads")
        settle(target.pid)

    def attached(self) -> bool:
        """To every thread; and the waits it interrupted have been begun again."""
        tasks = Path(f"/proc/{self.target.pid}/task")
        seen = set(re.findall(r"^(\d+) ", self.lines(), re.M))
        return all(
            f"TracerPid:\t{self.process.pid}\n" in (task / "status").read_text()
            for task in tasks.iterdir()
        ) and seen >= {str(self.target.thread(name)) for name in LOOPS}

    def lines(self) -> str:
        return self.out.read_text() if self.out.exists() else ""

    def waits(self) -> Dict[str, int]:
        """Calls of poll and ppoll by thread so far; not those the kernel begins again."""
        calls = re.findall(r"^(\d+) +p?poll\(", self.lines(), re.M)
        counts = Counter(int(tid) for tid in calls)
        return {name: counts[self.target.thread(name)] for name in LOOPS}

    def since(self, before: Dict[str, int]) -> Dict[str, int]:
        return {name: count - before[name] for name, count in self.waits().items()}

    def __enter__(self) -> "Strace":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(HANG_S)


def test_waits_recorded_are_those_that_strace_counts(
    scripted: Scripted, tmp_path: Path
) -> None:
    """At the same time on the same process: the same number in every thread."""
    with Strace(scripted, tmp_path / "strace") as strace:
        with Recorder(scripted.pid, tmp_path / "r") as recorder:
            before = strace.waits()
            script(scripted)
            counted = strace.since(before)
            assert recorder.end().lost == 0
    assert waits_recorded(scripted, tmp_path / "r") == counted
    assert min(counted.values()) >= 3


def test_waits_recorded_are_those_that_strace_counts_in_another_run(
    tmp_path: Path,
) -> None:
    """The same script to two QEMUs: the main loop and io0 wait equally often. The monitor's thread
    does not: it reads bytes as they come, and under strace more of them have come each time.
    """
    with Scripted() as target, Strace(target, tmp_path / "strace") as strace:
        before = strace.waits()
        script(target)
        counted = strace.since(before)
    with Scripted() as target, Recorder(target.pid, tmp_path / "r") as recorder:
        script(target)
        assert recorder.end().lost == 0
        recorded = waits_recorded(target, tmp_path / "r")
    for name in ("main", "IO io0"):
        assert recorded[name] == counted[name] > 0


def test_iterations_of_an_iothread(scripted: Scripted, tmp_path: Path) -> None:
    """Each notification is one iteration of aio_poll, from its wait to its end."""
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        for _ in range(4):
            scripted.stir_io0()
        assert recorder.end().lost == 0
    io0 = scripted.thread("IO io0")
    found = of_thread(events(tmp_path / "r"), io0)
    begins = [e for e in found if e.name == "iteration_begin"]
    assert {e["kind"] for e in begins} == {AIO_POLL} and len(begins) == 4
    # The wait that the first one ends was begun before us.
    assert Counter(e.name for e in found if e.name.startswith("poll_")) == {
        "poll_enter": 4,
        "poll_exit": 3,
    }
    (row,) = [r for r in report(tmp_path / "r").of_type("loop") if r["thread"] == io0]
    assert (row["loop"], row["ctx"], row["iterations"]) == ("IOThread io0", "io0", 4)


def test_handlers_of_a_qemu(scripted: Scripted, tmp_path: Path) -> None:
    """A signal is the signalfd's handler once: with its fd, its callback and its argument."""
    handlers = run("handlers", "-p", scripted.pid, "--json").fine().of_type("handler")
    (row,) = [row for row in handlers if row["fd_kind"] == "signalfd"]
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        for _ in range(5):
            scripted.signal()
        assert recorder.end().lost == 0
    found, names = events(tmp_path / "r"), symbols(tmp_path / "r")
    states = {e["fd"]: e for e in found if e.name == "handler_state"}
    assert {h["fd"] for h in handlers} == set(states)
    calls = pairs(found, "handler_begin", "handler_end", "node")
    for begin, end in calls:
        state = states[begin["fd"]]
        assert begin["cb"] == end["cb"] == state["io_read"]
        assert all(begin[key] == state[key] for key in ("ctx", "node", "opaque"))
        assert (begin["op"], end["op"]) == (READ, READ)
    signals = [begin for begin, _ in calls if begin["fd"] == row["fd"]]
    assert len(signals) == 5
    for begin in signals:
        assert begin.tid == scripted.pid and begin["ctx"] == int(row["ctx_addr"], 0)
        assert names[begin["cb"]] == row["io_read"]
        assert begin["opaque"] == int(row["opaque"], 0)


def test_bottom_halves_of_a_qemu(scripted: Scripted, tmp_path: Path) -> None:
    """Each QMP command is dispatched by one; they have names, and begin and end in pairs."""
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        for _ in range(6):
            scripted.command("query-status")
        scripted.monitor.close()
        scripted.monitor = scripted.qmp()
        settle(scripted.pid)
        assert recorder.end().lost == 0
    found = events(tmp_path / "r")
    names = {e["cb"]: e["name"] for e in found if e.name == "bh_name"}
    ran = Counter(
        (names.get(begin["cb"]), begin.tid)
        for begin, _ in pairs(found, "bh_begin", "bh_end", "bh")
    )
    # Six, and the new connection's qmp_capabilities.
    assert ran["do_qmp_dispatch_bh", scripted.pid] == 7
    assert ran["monitor_accept_input", scripted.thread("IO mon_iothread")] == 1
    assert {"do_qmp_dispatch_bh", "co_schedule_bh_cb", "monitor_accept_input"} <= set(
        names.values()
    )
    callbacks = report(tmp_path / "r").of_type("callback")
    (row,) = [r for r in callbacks if r["callback"] == "do_qmp_dispatch_bh"]
    assert (row["kind"], row["count"]) == ("BH", 7)


def test_the_big_lock_of_a_qemu(scripted: Scripted, tmp_path: Path) -> None:
    """The main loop lets it go for every wait, and waits for it after every wait."""
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        for _ in range(5):
            scripted.signal()
        assert recorder.end().lost == 0
    found = events(tmp_path / "r")
    steps = ("bql_released", "poll_enter", "poll_exit", "bql_wait", "bql_acquired")
    main = [event.name for event in of_thread(found, scripted.pid, *steps)]
    # Before us it let go and went to sleep; at the end it sleeps.
    assert main == ["bql_wait", "bql_acquired"] + 4 * list(steps) + list(steps[:2])
    polls = of_thread(found, scripted.pid, "poll_enter")
    assert {event["bql"] for event in polls} == {HELD_NO}
    assert {event["ctx"] for event in polls} == {main_context(tmp_path / "r")}


def main_context(recording: Path) -> int:
    (ctx,) = [e["ctx"] for e in events(recording, "context") if e["kind"] == 1]
    return int(ctx)


def test_nested_polls_of_a_qemu(scripted: Scripted, tmp_path: Path) -> None:
    """A synchronous read of a slow disk waits in aio_poll, inside the main loop's iteration."""
    reads = 3
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        for _ in range(reads):
            line = {"command-line": 'qemu-io slow "read 0 4k"'}
            scripted.command("human-monitor-command", **line)
        assert recorder.end().lost == 0
    found = of_thread(events(tmp_path / "r"), scripted.pid)
    nested = pairs(found, "aio_poll_enter", "aio_poll_exit", "ctx")
    assert len(nested) >= reads
    for enter, leave in nested:
        assert (enter["depth"], leave["depth"]) == (2, 2)
        assert enter["ctx"] == main_context(tmp_path / "r")
    # Of the waits, those between enter and exit are two deep, with the big lock; others are not.
    depth, deep = 1, 0
    for event in found:
        depth += (event.name == "aio_poll_enter") - (event.name == "aio_poll_exit")
        if event.name == "poll_enter":
            assert event["depth"] == depth
            assert event["bql"] == (HELD_YES if depth == 2 else HELD_NO)
            deep += depth == 2
    assert deep >= reads
    # Every wait is one of the report's iterations; it tells the nested ones apart.
    (row,) = [
        r for r in report(tmp_path / "r").of_type("loop") if r["thread"] == scripted.pid
    ]
    assert row["nested_polls"] == deep
    assert row["iterations"] == sum(e.name == "poll_enter" for e in found)


class Datagrams:
    """A network device of a QEMU that receives datagrams: each is one call of its handler."""

    def __init__(self, target: Scripted) -> None:
        self.target, self.path = target, target.dir / "datagrams"
        target.command(
            "netdev_add",
            type="dgram",
            id="net0",
            local={"type": "unix", "path": str(self.path)},
            remote={"type": "unix", "path": str(target.dir / "nobody")},
        )
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def row(self) -> Dict[str, Any]:
        """Its handler: the only one on a socket."""
        result = run("handlers", "-p", self.target.pid, "--json").fine()
        (row,) = [r for r in result.of_type("handler") if r["fd_kind"] == "unix"]
        return row

    def send(self, count: int) -> None:
        for _ in range(count):
            self.socket.sendto(b"x" * 64, str(self.path))
            settle(self.target.pid)

    def remove(self) -> None:
        self.target.command("netdev_del", id="net0")
        self.socket.close()


def code_at(pid: int, address: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(64)


def test_a_handler_registered_before(scripted: Scripted, tmp_path: Path) -> None:
    network = Datagrams(scripted)
    row = network.row()
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        network.send(7)
        assert recorder.end().lost == 0
    network.remove()
    found = events(tmp_path / "r")
    calls = [
        begin
        for begin, _ in pairs(found, "handler_begin", "handler_end", "node")
        if begin["fd"] == row["fd"]
    ]
    assert len(calls) == 7
    assert {call["opaque"] for call in calls} == {int(str(row["opaque"]), 0)}
    (state,) = [e for e in found if e.name == "handler_state" and e["fd"] == row["fd"]]
    assert state["opaque"] == calls[0]["opaque"] and state["io_read"] == calls[0]["cb"]


def test_a_handler_registered_while_recording(
    scripted: Scripted, tmp_path: Path
) -> None:
    """It is set, found in the table, and from then on followed; and so is its removal."""
    warm_up = Datagrams(scripted)
    offset = warm_up.row()["io_read"].rpartition("+")[2]
    callback = load_base(scripted.pid, exe(scripted.pid)) + int(offset, 0)
    warm_up.remove()
    plain = code_at(scripted.pid, callback)
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        network = Datagrams(scripted)
        wait_until(
            lambda: code_at(scripted.pid, callback) != plain, "it has its probes"
        )
        row = network.row()
        network.send(7)
        network.remove()
        settle(scripted.pid)
        assert code_at(scripted.pid, callback) != plain
        # It looks every few milliseconds.
        wait_sleeps(recorder.process.pid, 4)
        assert recorder.end().lost == 0
    fd, opaque = row["fd"], int(str(row["opaque"]), 0)
    found = [e for e in events(tmp_path / "r") if e.fields.get("fd") == fd]
    calls = pairs(found, "handler_begin", "handler_end", "node")
    assert [begin["opaque"] for begin, _ in calls] == 7 * [opaque]
    assert {begin["cb"] for begin, _ in calls} == {callback}
    ctx = {e["ctx"] for e in found if e.name.startswith("handler_")}
    assert ctx == {int(row["ctx_addr"], 0)}
    told = [
        e.name
        for e in found
        if e.name in ("handler_set", "handler_add", "handler_remove")
    ]
    assert told[:2] == ["handler_set", "handler_add"]
    assert told[-2:] == ["handler_set", "handler_remove"]
    (added,) = [e for e in found if e.name == "handler_add"]
    assert (added["io_read"], added["opaque"], added.tid) == (callback, opaque, 0)


def test_an_iothread_made_while_recording(scripted: Scripted, tmp_path: Path) -> None:
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        scripted.command("object-add", **{"qom-type": "iothread", "id": "late"})
        tid = scripted.thread("IO late")
        scripted.command(
            "qom-set", path="/objects/late", property="poll-max-ns", value=32768
        )
        scripted.command("object-del", id="late")
        assert recorder.end().lost == 0
    found = events(tmp_path / "r")
    (made,) = [e for e in found if e.name == "context_new"]
    (told,) = [e for e in found if e.name == "context" and e["ctx"] == made["ctx"]]
    assert told["name"] == "late"
    (row,) = [r for r in report(tmp_path / "r").of_type("loop") if r["thread"] == tid]
    assert (row["loop"], row["ctx"]) == ("IOThread late", "late")
    own = of_thread(found, tid, "iteration_begin", "iteration_end", "poll_enter")
    assert {e["ctx"] for e in own} == {made["ctx"]}
    count = Counter(e.name for e in own)
    assert count["iteration_begin"] == count["iteration_end"] + 1 or (
        count["iteration_begin"] == count["iteration_end"]
    )
    assert count["poll_enter"] >= 2


# --- timers and sources, of a QEMU with a VNC server ----------------------------------------------


@pytest.fixture(scope="module")
def vnc_recording(
    tmp_path_factory: pytest.TempPathFactory, root: None
) -> Tuple[Path, int]:
    """Three clients come and go; meanwhile, a timer wakes the loop to refresh the display."""
    out: Path = tmp_path_factory.mktemp("vnc") / "r"
    with Qemu() as target:
        with Recorder(target.pid, out) as recorder:
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(HANG_S)
                    client.connect(str(target.vnc))
                    assert client.recv(12) == b"RFB 003.008\n"
                    client.sendall(b"RFB 003.008\n")
                    assert client.recv(2) == b"\x01\x01"
                    wait_sleeps(target.pid, 3)
            assert recorder.end().lost == 0
    return out, target.pid


def test_the_listener_of_vnc_is_a_source(vnc_recording: Tuple[Path, int]) -> None:
    recording, pid = vnc_recording
    found = events(recording)
    names = {e["source"]: e["name"] for e in found if e.name == "source_name"}
    (listener,) = [at for at, name in names.items() if name == "vnc-listen-listen"]
    accepted = [
        begin
        for begin, _ in pairs(
            of_thread(found, pid),
            "source_dispatch_begin",
            "source_dispatch_end",
            "source",
        )
        if begin["source"] == listener
    ]
    (cb,) = {begin["cb"] for begin in accepted}
    rows = [r for r in report(recording).of_type("callback") if r["thread"] == pid]
    sources = [r for r in rows if r["kind"] == "GSource"]
    # The clients' own sources, made when they came, may be there too.
    assert cb and len(accepted) == 3 and 3 in {r["count"] for r in sources}


def test_timers_of_a_qemu(vnc_recording: Tuple[Path, int]) -> None:
    """The display's timer: armed for when, and how late it was called."""
    recording, pid = vnc_recording
    found = of_thread(events(recording), pid)
    timers = pairs(found, "timer_begin", "timer_end", "timer")
    armed: Dict[int, int] = {}
    checked = 0
    for event in found:
        if event.name == "timer_arm":
            armed[event["timer"]] = event["expire_ns"]
        elif event.name == "timer_begin" and event["timer"] in armed:
            assert event["expire_ns"] == armed[event["timer"]]
            if event["late_ns"] != -(2**63):
                # A timer of QEMU_CLOCK_REALTIME: CLOCK_MONOTONIC, as the recording's clock.
                assert event["late_ns"] >= 0
                checked += 1
    assert timers and checked


# --- list -----------------------------------------------------------------------------------------


def listed(pid: int) -> Dict[str, Dict[str, Any]]:
    """A row for each probe of the table, in its order; the total counts those that can be told."""
    result = run("list", "-p", pid, "--json").fine()
    rows = {row["event"]: row for row in result.of_type("event")}
    assert list(rows) == probe_names()
    assert len(result.rows) == len(rows) + 1 and result.total["given"] > 0
    text = run("list", "-p", pid).fine().out
    assert max(len(line) for line in text.splitlines()) <= COLUMNS
    for name, row in rows.items():
        (line,) = [x for x in text.splitlines() if x.startswith(f"{name} ")]
        assert line.split()[1] == row["from"] and line.rstrip().endswith(row["cost"])
        assert (row["from"] == "-") == (row["cost"] == "-") == (row["where"] is None)
    return rows


def test_list_of_the_demo_is_its_notes(demo: Demo) -> None:
    notes = subprocess.run(
        ["readelf", "-n", DEMO], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    names = set(re.findall(r"Provider: qemu\n\s+Name: (\w+)\n", notes))
    rows = listed(demo.pid)
    assert {name for name, row in rows.items() if row["from"] == "USDT"} == names
    assert {row["cost"] for row in rows.values() if row["from"] == "USDT"} == {"1 trap"}


def test_list_of_a_qemu_is_its_functions(qemu: Qemu) -> None:
    rows = listed(qemu.pid)
    where = {
        "iteration_begin": ("function", "main_loop_wait(), aio_poll()"),
        "poll_enter": ("function", POLLS),
        "bh_begin": ("function", "aio_bh_call()"),
        "notify": ("function", "aio_notify()"),
        "handler_set": ("function", "aio_set_fd_handler()"),
        "dispatch_begin": ("function", "g_main_context_dispatch()"),
        "timeout_chosen": ("-", None),
        "fd_ready": ("-", None),
    }
    for name, expected in where.items():
        assert (rows[name]["from"], rows[name]["where"]) == expected
    for name in ("handler_begin", "handler_end", "timer_begin", "timer_end"):
        assert (rows[name]["from"], rows[name]["cost"]) == ("tables", "2 traps")
    assert {row["cost"] for row in rows.values()} <= {
        "1 trap",
        "2 traps",
        "single-stepped",
        "-",
    }


def test_what_list_gives_is_what_record_gets(
    scripted: Scripted, tmp_path: Path
) -> None:
    """No event is recorded that list says cannot be."""
    with Recorder(scripted.pid, tmp_path / "r") as recorder:
        script(scripted)
        assert recorder.end().lost == 0
    rows = listed(scripted.pid)
    got = {e.name for e in events(tmp_path / "r")} & set(rows)
    assert got <= {name for name, row in rows.items() if row["from"] != "-"}
    assert {"iteration_begin", "bh_begin", "handler_begin", "bql_wait", "notify"} <= got
