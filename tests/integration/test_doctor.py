"""loopscope doctor: each fault gets its verdict and its culprit, a healthy loop none."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Tuple

import pytest
from faults import Faults
from process_memory import poll_sets, wait_until
from test_cores import gcore
from tracer_run import (
    COLUMNS,
    DEMO,
    FAILED,
    FINE,
    HANG_S,
    NOBODY,
    PRIVILEGE,
    USAGE,
    Result,
    Row,
    finish,
    run,
    start,
)
from tracer_targets import (
    Demo,
    Qemu,
    QuietQemu,
    installed,
    nbd_server,
    storage_daemon,
    stranger,
)

FINDING = 1
LOOPS = Qemu.LOOPS

# What each faulty scenario's culprit is called; each is a function of the demo.
CULPRITS = {
    "blocked-sleep": "BH slow_bh_cb",
    "blocked-cpu": "handler computes_long_cb",
    "blocked-lock": "handler waits_for_lock_cb",
    "spin-fd": "handler never_drains_cb never drains fd ",
    "spin-bh": "BH reschedules_itself_bh_cb schedules itself",
    "spin-idle-bh": "idle BH looks_again_idle_bh_cb schedules itself",
    "spin-timer": "timer late_timer_cb arms itself in the past",
    "spin-prepare": 'GSource "always-ready" (always_ready_dispatch) is always ready',
    "lost-wakeup": "BH lost_bh_cb of qemu_aio_context",
    "bh-not-cancelled": "BH thread_pool_completion_bh schedules itself",
    "coroutine-wrong-context": "a coroutine scheduled in iohandler_ctx, "
    "while BH drains_command_bh_cb waits in aio_poll()",
    "bh-wrong-context": "BH job_exit_bh_cb scheduled in iohandler_ctx, "
    "while BH cancels_job_bh_cb waits in aio_poll()",
    "context-without-thread": "BH orphan_bh_cb waits in ",
    "crowd": "BH crowd_bh waits in ",
    "deleted-handler": "handler remover_read waits in aio_poll()",
    "missing-kick": "BH waits_for_kick_bh_cb waits in aio_poll()",
    "aio-wait-kick-barrier": "BH waits_for_early_kick_bh_cb waits in aio_poll()",
    "bql-hold": 'thread {thread} "CPU 0/DEMO" holds the big lock, in slow_device_write',
    "stolen-accept": "timer late_timer_cb of io0",
    "epoll-upgrade-race": "fd ",
    "iothread-stop-race": "a notification of io0",
    "poll-recursion": "handler polls_when_ready waits in aio_poll()",
    "dead-fd": "handler closed_client_read of iohandler_ctx is registered for fd ",
    "handler-leak": "handler leaked_client_read of iohandler_ctx is registered for more",
    "timer-late": "timer punctual_timer_cb of main_loop_tlg comes late",
    "client-flood": "process {thread} (demo-qemu-loop) floods fd 7",
    "kick-flood": "handler virtio_queue_host_notifier_read of iohandler_ctx is kicked without end",
    "starved-source": 'GSource "greedy" (greedy_dispatch, priority -100) leaves '
    "handler starved_client_read of iohandler_ctx no turn",
    "nested-bql": "BH drains_with_bql_bh_cb waits in aio_poll(), and keeps the big lock",
}

# The faults of an IOThread.
IN_IO0 = {"stolen-accept", "epoll-upgrade-race", "iothread-stop-race", "poll-recursion"}

pytestmark = pytest.mark.usefixtures("root")


def scenarios() -> Dict[str, Any]:
    """Every scenario's verdict by its name, None for a healthy one."""
    out = subprocess.run(
        [DEMO, "--list", "--json"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return {row["name"]: row["verdict"] for row in rows}


def visit(pid: int, *args: object) -> Result:
    """One that is not sure, on a busy machine, is repeated as it advises."""
    words = args if "-d" in args else ("-d", 1, *args)
    result = run("doctor", "-p", pid, "--json", *words)
    if result.rows and not result.rows[-1].get("sure", True):
        rest = [
            w for i, w in enumerate(words) if "-d" not in words[max(i - 1, 0) : i + 1]
        ]
        result = run("doctor", "-p", pid, "--json", *rest, "-d", 10)
    return result


def only(result: Result) -> Row:
    """The one verdict."""
    assert result.rc == FINDING, f"{result.rc}: {result.out}{result.err}"
    (row,) = result.of_type("verdict")
    assert result.total["findings"] == 1 and result.total["lost"] == 0
    return row


def healthy(result: Result) -> Row:
    assert (result.rc, result.err) == (FINE, ""), result.out + result.err
    assert not result.of_type("verdict")
    assert result.total["findings"] == 0 and result.total["lost"] == 0
    return result.total


@pytest.fixture
def patient() -> Iterator[Qemu]:
    """A QEMU of its own, for a test that does it harm."""
    with QuietQemu() as qemu:
        yield qemu


@pytest.fixture
def faults(patient: Qemu) -> Iterator[Faults]:
    with Faults(patient.pid) as faults:
        faults.wait_asleep()
        yield faults


# --- the demo ---------------------------------------------------------------------------------


def those(names: Iterable[str], quick: Iterable[str]) -> List[Any]:
    """@names as parameters; those that are not in @quick are left to make check-full."""
    quick = tuple(quick)
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.full)
        for name in sorted(names)
    ]


# Faults of which make check sees another of the same kind, and the healthy loops it looks at.
ALIKE = {
    *("aio-wait-kick-barrier", "bh-not-cancelled", "coroutine-wrong-context"),
    *("crowd", "deleted-handler", "epoll-upgrade-race", "iothread-stop-race"),
    "poll-recursion",
}
HEALTHY = {
    *(
        "busy",
        "client-asks",
        "context-moved",
        "five-sources",
        "iothread",
        "kick-requests",
        "nested-drain",
    ),
    *("thread-pool", "virtio"),
}
LIVE = {n for n, verdict in scenarios().items() if verdict} - ALIKE | HEALTHY
CONTEXTS = ["io0", "iohandler_ctx", "qemu_aio_context"]


@pytest.mark.parametrize("name", those(scenarios(), LIVE))
def test_each_scenario_gets_its_verdict(name: str) -> None:
    verdict = scenarios()[name]
    # One that computes gets little done in a second of a machine that has other work.
    length = ("-d", 3) if name == "blocked-cpu" else ()
    with Demo(name) as demo:
        result = visit(demo.pid, *length)
        if verdict is None:
            healthy(result)
            return
        row = only(result)
        thread, role = demo.pid, "main loop"
        if name in IN_IO0:
            thread, role = demo.thread("IO io0"), "IOThread io0"
        if name == "bql-hold":
            thread, role = demo.thread("CPU 0/DEMO"), 'thread "CPU 0/DEMO"'
        assert (row["verdict"], row["thread"]) == (verdict, thread)
        assert row["role"] == role
        culprit = CULPRITS[name].format(thread=thread)
        assert row["culprit"].startswith(culprit)


def test_a_handler_that_no_monitor_watches() -> None:
    """Added while its context went from poll to epoll: its fd is ready, and in neither."""
    with Demo("epoll-upgrade-race") as demo:
        row = only(visit(demo.pid))
    assert row["culprit"].endswith(" (eventfd) of io0")
    assert [e for e in row["evidence"] if "its fd monitor does not watch it" in e]


def test_a_lock_names_its_holder() -> None:
    with Demo("blocked-lock") as demo:
        evidence = only(visit(demo.pid))["evidence"]
        holder = demo.thread("lock-holder")
    assert f'which thread {holder} "lock-holder" holds' in evidence[0]
    assert [e for e in evidence if f"the holder, thread {holder}" in e]


def test_the_stack_was_taken_in_the_callback() -> None:
    with Demo("blocked-sleep") as demo:
        stack = only(visit(demo.pid))["stack"]
    assert stack[0] == "clock_nanosleep" and stack[-1] == "_start"
    assert stack.index("slow_bh_cb") < stack.index("aio_dispatch")
    assert stack.index("aio_dispatch") < stack.index("main_loop_wait")


def test_blocking_for_less_than_min_is_none() -> None:
    with Demo("blocked-sleep") as demo:
        healthy(visit(demo.pid, "--min", "2s"))


def test_many_short_calls_are_not_one_long_one() -> None:
    """Each stack shows the same callback, for 50 ms without a wait, and each call takes 10."""
    with Demo("timer-late") as demo:
        row = only(visit(demo.pid, "--min", "30ms"))
    assert row["verdict"] == "TIMER LATE"
    assert row["culprit"].endswith(", behind BH one_of_many_bh_cb")


def test_text_fits_and_says_who_why_and_what_to_do() -> None:
    with Demo("spin-fd") as demo:
        result = run("doctor", "-p", demo.pid, "-d", 1)
    assert result.rc == FINDING
    assert all(len(line) <= COLUMNS for line in result.out.splitlines())
    first, culprit, *_ = result.out.splitlines()
    assert re.fullmatch(rf"SPIN   main loop, thread {demo.pid}, \d+ turns .*", first)
    assert culprit.strip().startswith(CULPRITS["spin-fd"])
    assert re.search(r"^  => ", result.out, re.M)
    assert re.match(r"attached to process \d+: \d+ probes, \d+ ms\n$", result.err)


def test_no_finding_says_what_was_checked(demo: Demo) -> None:
    result = run("doctor", "-p", demo.pid, "-d", 0.3)
    assert result.rc == FINE
    first, checked, _ = result.out.splitlines()
    assert re.fullmatch(
        r"no finding: 2 loops of demo-qemu-loop \(pid \d+\), watched for \d+\.\d s\.",
        first,
    )
    assert "block for over 100 ms" in checked


def test_a_nested_wait_says_what_could_end_it() -> None:
    with Demo("missing-kick") as demo:
        row = only(visit(demo.pid))
    assert row["evidence"][0].endswith("all in one sleep; aio_poll() depth 1")
    said = " ".join(row["evidence"])
    assert "it polls nothing but its notifier, without a timeout" in said
    assert "it holds the big lock (BQL)" in said
    assert re.search(r"IOThread io0, thread \d+, sleeps in its own poll", said)
    stack = row["stack"]
    assert stack.index("aio_poll") < stack.index("waits_for_kick_bh_cb")


def test_a_lock_kept_in_a_nested_wait_names_the_waiters() -> None:
    with Demo("nested-bql") as demo:
        row = only(visit(demo.pid))
        tasks = Path(f"/proc/{demo.pid}/task")
        vcpus = [
            f'{task.name} "{comm}"'
            for task in tasks.iterdir()
            if (comm := (task / "comm").read_text().strip()).startswith("CPU ")
        ]
    (waiters,) = [e for e in row["evidence"] if e.startswith("2 threads wait")]
    assert sorted(waiters.split(": ", 1)[1].split(", ")) == sorted(vcpus)


# --- recordings ---------------------------------------------------------------------------------

# What the events do not tell: there, that the fd is ready is nobody's event.
UNRECORDED = {"epoll-upgrade-race"}

# A wait that a signal ends was not for what it left outside: the recording has to end in it.
ENDS_IN = {"bh-wrong-context"}


def record(name: str, path: Path, length: float) -> Path:
    """A recording by the demo itself: no privilege, no probe."""
    if name in ENDS_IN:
        words = ("-d", length, "--", DEMO, "--scenario", name)
        assert run("record", "-o", path, *words).rc == FINE
        return path
    with Demo(name, "--record", path) as demo:
        time.sleep(length)
        demo.process.send_signal(signal.SIGTERM)
        demo.process.wait(HANG_S)
    return path


def recording_length(name: str) -> float:
    """Not for long: those that spin write 400 MB a second."""
    slow = ("handler-leak", "kick-flood", "spin-idle-bh", "timer-late")
    return 1.2 if name in slow else 0.6


def check_recording(name: str, path: Path) -> None:
    verdict = scenarios()[name]
    # A short recording, so a short limit.
    limit = ("--min", "30ms") if verdict else ()
    result = run("doctor", path, "--json", *limit)
    if verdict is None or name in UNRECORDED:
        assert not result.of_type("verdict"), result.out
        assert (result.rc, result.err) == (FINE, "")
        return
    assert result.rc == FINDING, result.out + result.err
    (row,) = result.of_type("verdict")
    assert row["verdict"] == verdict
    role = "IOThread io0" if name in IN_IO0 else "main loop"
    assert row["role"] == ('thread "CPU 0/DEMO"' if name == "bql-hold" else role)
    # The place in it is told by a stack, and the priority's victim by poll(): not by events.
    begin = (
        CULPRITS[name]
        .split(", in ")[0]
        .split(" no turn")[0]
        .split("handler starved")[0]
    )
    # A demo that records itself does not look at who is at the other end.
    begin = begin.replace("process {thread} (demo-qemu-loop)", "a client")
    begin = begin.replace(" of main_loop_tlg", "").replace(
        "{thread}", str(row["thread"])
    )
    assert row["culprit"].startswith(begin)
    assert row["evidence"] and row["advice"] and not row["stack"]


# One for each verdict, and healthy ones that look like it.
QUICK = [
    *("blocked-sleep", "missing-kick", "nested-bql", "bql-hold", "lost-wakeup"),
    *("context-without-thread", "coroutine-wrong-context", "dead-fd"),
    *("five-sources", "aio-wait"),
]


@pytest.mark.parametrize("name", those(scenarios(), QUICK))
def test_a_recording_gets_the_same_verdict(name: str, tmp_path: Path) -> None:
    check_recording(name, record(name, tmp_path / "r", recording_length(name)))


@pytest.mark.full
def test_a_wait_that_has_ended_was_not_for_what_it_left_outside(tmp_path: Path) -> None:
    """A signal ends it: that is no bottom half of another context."""
    with Demo("bh-wrong-context", "--record", tmp_path / "r") as demo:
        time.sleep(0.6)
        demo.process.send_signal(signal.SIGTERM)
        demo.process.wait(HANG_S)
    row = only(run("doctor", tmp_path / "r", "--json", "--min", "30ms"))
    assert row["verdict"] == "NESTED WAIT"
    assert row["culprit"] == "BH cancels_job_bh_cb waits in aio_poll()"
    said = " ".join(row["evidence"])
    assert "meanwhile BH job_exit_bh_cb was scheduled in iohandler_ctx at " in said


def test_a_recording_of_an_idle_qemu_says_what_it_cannot_tell(
    qemu: Qemu, tmp_path: Path
) -> None:
    path = tmp_path / "r"
    assert run("record", "-p", qemu.pid, "-o", path, "-d", 1).rc == FINE
    result = run("doctor", path)
    assert result.rc == FINE, result.out
    assert "Not recorded, and so not judged: " in result.out
    assert all(len(line) <= COLUMNS for line in result.out.splitlines())


# --- cores --------------------------------------------------------------------------------------

# What one moment proves, in a scenario that stands still.
IN_A_CORE = ["lost-wakeup", "missing-kick", "nested-bql"]
HEALTHY_CORES = ["five-sources", "nested-drain"]


@pytest.mark.parametrize(
    "name", those(IN_A_CORE + HEALTHY_CORES, ["lost-wakeup", "five-sources"])
)
def test_a_core_gets_the_verdict_that_one_moment_proves(
    name: str, tmp_path: Path
) -> None:
    with Demo(name) as demo:
        demo.wait_asleep()
        core = gcore(demo, tmp_path)
    result = run("doctor", core, "--json")
    if name in HEALTHY_CORES:
        assert not result.of_type("verdict"), result.out
        assert result.rc == FINE
        first, *rest = run("doctor", core).out.splitlines()
        assert re.fullmatch(r"no finding: \d loops? of .*, one look\.", first)
        assert (
            "spinning" not in " ".join(rest) and "does not tell what spins" in rest[2]
        )
        return
    assert result.rc == FINDING, result.out + result.err
    (row,) = result.of_type("verdict")
    assert row["verdict"] == scenarios()[name] and row["role"] == "main loop"
    assert row["culprit"].startswith(CULPRITS[name])
    assert row["evidence"][-1] == "one look: since when is not known"
    assert row["stack"][0] == "ppoll" and row["stack"][-1] == "_start"


def test_a_core_amid_the_check_of_a_context(tmp_path: Path) -> None:
    """The loop itself is there, and no callback: what the last poll said counts."""
    core = tmp_path / "core"
    with Demo("dead-fd") as demo:
        words = [installed("gdb"), "-nx", "-batch", "-p", demo.pid]
        steps = ["break aio_ctx_check", "continue", f"generate-core-file {core}"]
        for step in ["set debuginfod enabled off", *steps]:
            words += ["-ex", step]
        subprocess.run(
            list(map(str, words)), stdout=subprocess.DEVNULL, check=True, timeout=HANG_S
        )
    result = run("doctor", core, "--json")
    assert [row["verdict"] for row in result.of_type("verdict")] == ["DEAD FD"]


# --- a real QEMU --------------------------------------------------------------------------------


def test_an_idle_qemu_is_healthy(qemu: Qemu) -> None:
    total = healthy(visit(qemu.pid))
    assert total["loops"] == LOOPS


def test_a_storage_daemon_is_healthy() -> None:
    with storage_daemon() as daemon:
        assert healthy(visit(daemon.pid))["loops"] == 3


def test_a_qemu_flooded_with_commands_is_healthy(patient: Qemu) -> None:
    """As fast as it answers: its loops never sleep for long, and get something done."""
    ended = threading.Event()
    answers = 0

    def flood() -> None:
        nonlocal answers
        with patient.qmp() as qmp:
            while not ended.is_set():
                qmp.command("query-status")
                answers += 1

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        result = visit(patient.pid)
    finally:
        ended.set()
        thread.join()
    healthy(result)
    assert answers > 100


def test_a_command_that_opens_a_fifo_blocks_the_main_loop(patient: Qemu) -> None:
    fifo = patient.dir / "fifo"
    os.mkfifo(fifo)

    def open_it() -> None:
        with patient.qmp() as qmp, pytest.raises(AssertionError, match="regular file"):
            qmp.command(
                "blockdev-add",
                **{"driver": "file", "filename": str(fifo), "node-name": "fifo"},
                **{"read-only": True},
            )

    thread = threading.Thread(target=open_it)
    thread.start()
    call = Path(f"/proc/{patient.pid}/syscall")
    wait_until(lambda: call.read_text().startswith("257 "), "it opens the fifo")
    row = only(visit(patient.pid))
    os.close(os.open(fifo, os.O_WRONLY))  # the writer that it waits for
    thread.join()
    assert (row["verdict"], row["role"]) == ("BLOCKED CALLBACK", "main loop")
    assert row["culprit"] == "BH do_qmp_dispatch_bh"
    assert row["evidence"][0] == "asleep in openat"
    assert row["span"].startswith("for at least ")
    assert row["stack"][0] == "__open" and row["stack"][-1] == "_start"
    assert "qmp_blockdev_add" in row["stack"]
    healthy(visit(patient.pid))


@pytest.mark.parametrize(
    "command, arguments, outermost",
    [
        ("blockdev-add", {"driver": "qcow2", "file": "remote"}, "qmp_blockdev_add"),
        ("blockdev-del", {}, "qmp_blockdev_del"),
    ],
)
def test_a_command_that_waits_for_a_stopped_server(
    patient: Qemu, command: str, arguments: Row, outermost: str
) -> None:
    """In a nested aio_poll(), for the NBD server at the other end of a socket. A bottom half and a
    handler that cannot run meanwhile are no proof that it waits for them."""
    with nbd_server() as server, Faults(patient.pid) as faults:
        address = {"type": "unix", "path": str(server.dir / "nbd")}
        with patient.qmp() as qmp:
            qmp.command(
                "blockdev-add",
                **{"driver": "nbd", "server": address, "node-name": "remote"},
            )
        server.stop()
        name = "remote" if command == "blockdev-del" else "image"

        def wait_for_server() -> None:
            with patient.qmp() as qmp:
                try:
                    qmp.command(command, **{**arguments, "node-name": name})
                except AssertionError as error:
                    assert "not in qcow2 format" in str(error)

        thread = threading.Thread(target=wait_for_server)
        thread.start()
        # Its loop polls a dozen descriptors, the wait below it two.
        wait_until(
            lambda: len(poll_sets(patient.pid).get(patient.pid, ())) == 2,
            "the main thread waits for the server",
        )
        with faults.lost_bh("iohandler_ctx", "left_bh"):
            os.kill(patient.pid, signal.SIGALRM)  # it reads that from a signalfd
            row = only(visit(patient.pid))
            server.cont()
            thread.join()
    assert (row["verdict"], row["role"]) == ("NESTED WAIT", "main loop")
    assert row["culprit"].startswith("BH do_qmp_dispatch_bh waits in aio_poll()")
    assert outermost in row["stack"]
    said = " ".join(row["evidence"])
    assert "it holds the big lock (BQL)" in said
    assert re.search(r"it polls fd \d+ \(unix [^)]*\) for handler ", said)
    assert "meanwhile BH left_bh of iohandler_ctx is scheduled and cannot run" in said
    assert re.search(
        r"handler \S+ of iohandler_ctx, fd \d+ \(signalfd[^)]*\), is ready", said
    )
    healthy(visit(patient.pid))


class SlowConsole(Qemu):
    """Its firmware writes debugging output to a fifo that is full, and nobody reads it."""

    def default_args(self) -> List[object]:
        fifo = self.dir / "console"
        os.mkfifo(fifo)
        self.reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        size = fcntl.fcntl(self.reader, fcntl.F_GETPIPE_SZ)
        assert os.write(self.reader, bytes(size)) == size
        return [
            *("-chardev", f"pipe,id=console,path={fifo}"),
            *("-device", "isa-debugcon,iobase=0x402,chardev=console"),
        ]

    def kill(self) -> None:
        super().kill()
        os.close(self.reader)


def test_a_vcpu_that_writes_to_a_full_pipe_keeps_the_big_lock() -> None:
    with SlowConsole() as qemu, qemu.qmp() as qmp:
        # No answer is awaited: the vCPU may have the lock before there is one.
        qmp.file.write('{"execute": "cont"}\n')
        qmp.file.flush()
        # The vCPU tries again and again; the main loop wants the lock and sleeps for it.
        call = Path(f"/proc/{qemu.pid}/syscall")
        wait_until(lambda: call.read_text().startswith("202 "), "the main loop waits")
        row = only(visit(qemu.pid))
    assert row["verdict"] == "BQL HOLD" and row["thread"] != qemu.pid
    assert row["culprit"].startswith(f"thread {row['thread']} ")
    (waits,) = [
        e for e in row["evidence"] if "wait for the big lock" in e or "waits for" in e
    ]
    assert re.search(rf"which it holds:.* {qemu.pid} ", waits)


def test_a_command_that_writes_to_a_full_pipe_blocks_on_that_fd(patient: Qemu) -> None:
    fifo = patient.dir / "fifo"
    os.mkfifo(fifo)

    def save() -> None:
        with patient.qmp() as qmp:
            qmp.command("pmemsave", val=0, size=1 << 20, filename=str(fifo))

    thread = threading.Thread(target=save)
    thread.start()
    with open(fifo, "rb") as reader:
        row = only(visit(patient.pid))
        while reader.read(1 << 16):
            pass
    thread.join()
    assert row["culprit"] == "BH do_qmp_dispatch_bh"
    assert re.fullmatch(
        rf"asleep in write on fd \d+ \(fifo {re.escape(str(fifo))}\)",
        row["evidence"][0],
    )
    healthy(visit(patient.pid))


def test_a_bh_that_sleeps_in_an_iothread(patient: Qemu, faults: Faults) -> None:
    with faults.sleeping_bh("io0", "sleepy_bh", 3):
        row = only(visit(patient.pid))
    assert (row["verdict"], row["role"]) == ("BLOCKED CALLBACK", "IOThread io0")
    assert row["thread"] == faults.contexts["io0"]["thread"] != patient.pid
    assert row["culprit"] == "BH sleepy_bh"
    assert row["evidence"][0] == "asleep in clock_nanosleep"
    healthy(visit(patient.pid))


@pytest.mark.parametrize("ctx", those(CONTEXTS, ["io0"]))
def test_a_bh_that_schedules_itself(patient: Qemu, faults: Faults, ctx: str) -> None:
    with faults.spinning_bh(ctx, "spinning_bh"):
        row = only(visit(patient.pid))
    assert row["verdict"] == "SPIN"
    assert row["thread"] == faults.contexts[ctx]["thread"]
    assert row["culprit"] == "BH spinning_bh schedules itself"
    assert row["stack"][0] == "qemu_bh_schedule"
    healthy(visit(patient.pid))


@pytest.mark.parametrize("ctx", those(CONTEXTS, ["io0"]))
def test_a_handler_that_never_drains(patient: Qemu, faults: Faults, ctx: str) -> None:
    with faults.undrained(ctx) as fd:
        row = only(visit(patient.pid))
    assert row["verdict"] == "SPIN"
    assert row["thread"] == faults.contexts[ctx]["thread"]
    assert row["culprit"] == (
        f"handler qemu_get_aio_context never drains fd {fd} (eventfd)"
    )
    healthy(visit(patient.pid))


def test_a_handler_of_a_closed_descriptor(patient: Qemu, faults: Faults) -> None:
    with faults.closed("iohandler_ctx") as fd:
        row = only(visit(patient.pid, "-d", 0.2))
    assert row["verdict"] == "DEAD FD"
    assert row["thread"] == patient.pid
    assert row["culprit"].endswith(
        f"of iohandler_ctx is registered for fd {fd}, which is closed"
    )
    healthy(visit(patient.pid))


@pytest.mark.parametrize("ctx", those(["qemu_aio_context", "io0"], ["io0"]))
def test_a_handler_that_is_busy_and_drains(
    patient: Qemu, faults: Faults, ctx: str
) -> None:
    """Ready all the time as well, but each time something was taken."""
    with faults.kept_busy(ctx):
        healthy(visit(patient.pid))


@pytest.mark.parametrize("ctx", those(CONTEXTS, ["io0"]))
def test_a_bh_that_nobody_woke_the_loop_for(
    patient: Qemu, faults: Faults, ctx: str
) -> None:
    with faults.lost_bh(ctx, "lost_bh"):
        row = only(visit(patient.pid, "-d", 0.2))
    assert row["verdict"] == "LOST WAKEUP"
    assert row["thread"] == faults.contexts[ctx]["thread"]
    assert row["culprit"] == f"BH lost_bh of {ctx}"
    healthy(visit(patient.pid))


def test_a_bh_that_a_nested_wait_leaves_outside(patient: Qemu, faults: Faults) -> None:
    """A read is held at a breakpoint of blkdebug, so a drain waits, and nothing else is left that
    could end that: from outside it might well be for a bottom half that cannot run."""
    image = {"driver": "null-co", "size": 1 << 20}
    with patient.qmp() as qmp:
        disk = {"driver": "blkdebug", "image": image}
        qmp.command(
            "blockdev-add", **{"driver": "raw", "node-name": "held", "file": disk}
        )
        hmp, io = "human-monitor-command", 'qemu-io held "%s"'
        qmp.command(hmp, **{"command-line": io % "break read_aio A"})
        read = {"execute": hmp, "arguments": {"command-line": io % "aio_read 0 512"}}
        qmp.file.write(json.dumps(read) + "\n")
        qmp.file.flush()
        # Its loop polls a dozen descriptors, the wait below it one.
        wait_until(
            lambda: len(poll_sets(patient.pid).get(patient.pid, ())) == 1,
            "the main thread waits for the read",
        )
        faults.left_bh("iohandler_ctx", "left_bh")
        row = only(visit(patient.pid))
    assert (row["verdict"], row["role"]) == ("WRONG CONTEXT", "main loop")
    assert row["culprit"].startswith(
        "BH left_bh scheduled in iohandler_ctx, while BH do_qmp_dispatch_bh waits in aio_poll()"
    )
    assert "blk_drain" in row["stack"]


def test_work_in_a_context_whose_iothread_has_ended(
    patient: Qemu, faults: Faults
) -> None:
    """No finding before there is work."""
    faults.end_iothread("io0")
    assert healthy(visit(patient.pid, "-d", 0.3))["loops"] == LOOPS - 1
    faults.left_bh("io0", "left_bh")
    row = only(visit(patient.pid))
    assert (row["verdict"], row["thread"]) == ("WRONG CONTEXT", patient.pid)
    addr = faults.contexts["io0"]["ctx_addr"]
    assert row["culprit"] == f"BH left_bh waits in context {addr}, which no thread runs"


@pytest.mark.parametrize("ctx", those(["qemu_aio_context", "io0"], ["io0"]))
def test_asleep_and_deaf(patient: Qemu, faults: Faults, ctx: str) -> None:
    with faults.deaf(ctx):
        row = only(visit(patient.pid, "-d", 0.2))
    assert row["verdict"] == "LOST WAKEUP"
    assert row["culprit"] == f"{ctx} sleeps with notify_me == 0"
    healthy(visit(patient.pid))


def test_notified_in_aio_poll_and_asleep(patient: Qemu, faults: Faults) -> None:
    with faults.unanswered("io0"):
        row = only(visit(patient.pid, "-d", 0.2))
    assert row["verdict"] == "LOST WAKEUP"
    assert row["culprit"] == "a notification of io0"


def test_notified_as_a_gsource_and_asleep_is_normal(
    patient: Qemu, faults: Faults
) -> None:
    """GLib's side does not look at it before it sleeps, so this proves nothing."""
    with faults.unanswered("qemu_aio_context"):
        healthy(visit(patient.pid, "-d", 0.2))


def test_a_timer_that_is_overdue() -> None:
    """A REALTIME one of the device timers: that of a display which is refreshed now and then."""
    with Qemu() as qemu, Faults(qemu.pid) as faults:

        def armed() -> List[Tuple[int, Any]]:
            return faults.timers("main_loop_tlg", "REALTIME")

        wait_until(armed, "the display's timer is armed")
        addr, expire = min(armed(), key=lambda timer: int(timer[1]))
        # Let it fire and be armed again, so that the sleep that is looked at lasts.
        left = expire - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        time.sleep(max(0, left) / 1e9 + 0.1)
        with faults.overdue(addr):
            row = only(visit(qemu.pid, "-d", 0.2))
    assert row["verdict"] == "LOST WAKEUP"
    assert re.match(r"timer \S+ of main_loop_tlg", row["culprit"])


# --- the command --------------------------------------------------------------------------------


def test_a_stopped_process_is_no_patient(patient: Qemu) -> None:
    patient.stop()
    said = visit(patient.pid).refused()
    assert f"process {patient.pid} is stopped" in said
    patient.cont()
    healthy(visit(patient.pid))


def test_a_process_stopped_meanwhile_is_not_blocked() -> None:
    with Demo("busy") as demo:
        process = start("doctor", "-p", demo.pid, "-d", 2, "--json")
        time.sleep(0.8)
        demo.stop()
        time.sleep(0.6)
        demo.cont()
        healthy(finish(process))


def test_it_ends_with_the_target(patient: Qemu) -> None:
    process = start("doctor", "-p", patient.pid, "-d", 30, "--json")
    time.sleep(0.8)
    patient.kill()
    assert f"process {patient.pid} has exited" in finish(process).refused()


def test_ctrl_c_ends_it_with_what_was_seen() -> None:
    with Demo("blocked-sleep") as demo:
        process = start("doctor", "-p", demo.pid, "-d", 60, "--json")
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        assert only(finish(process))["verdict"] == "BLOCKED CALLBACK"


def test_refusals(demo: Demo) -> None:
    assert "no process" in visit(1 << 21).refused()
    run("doctor", "-p", demo.pid, "--min", "soon").refused(USAGE)
    run("doctor").refused(USAGE)
    words = run("doctor", "-p", demo.pid, user=NOBODY).refused(PRIVILEGE)
    assert "sudo" in words


def test_a_process_without_a_loop() -> None:
    with stranger() as pid:
        said = visit(pid).refused(FAILED)
    assert "loop" in said or "QEMU" in said


def hurried(demo: Demo, *args: object) -> Result:
    """A doctor that is stopped for longer than it may stay, until it came to look too seldom."""
    for _ in range(10):
        process = start("doctor", "-p", demo.pid, "-d", 0.5, "-v", *args)
        assert process.stderr
        while b"attached to process" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.6)
        process.send_signal(signal.SIGCONT)
        result = finish(process)
        if result.rc != FINE:
            break
    return result


def test_who_came_to_look_too_seldom_is_not_sure(demo: Demo) -> None:
    result = hurried(demo)
    assert result.rc == FAILED, result.out
    first, why, again = result.out.splitlines()
    assert re.match(r"not sure: 2 loops of demo-qemu-loop \(pid \d+\), watched", first)
    assert re.search(r"too busy: \d+ looks of the 25 that were due\.$", why)
    assert again == f"Again, and longer: loopscope doctor -p {demo.pid} -d 10"
    assert "no finding" not in result.out


@pytest.mark.full
def test_who_is_not_sure_says_so_in_json(demo: Demo) -> None:
    total = hurried(demo, "--json").total
    assert (total["findings"], total["sure"]) == (0, False)
    assert healthy(visit(demo.pid))["sure"]


@pytest.mark.full
@pytest.mark.parametrize(
    "name", ["handler-leak", "spin-prepare", "spin-timer", "starved-source"]
)
def test_with_little_of_a_cpu_it_finds_the_fault_or_is_not_sure(name: str) -> None:
    """The loop and the doctor have to yield to two others that compute."""
    computes = [sys.executable, "-c", "while True: pass"]
    with Demo(name, wrapper=("nice", "-n", "7")) as demo:
        others = [subprocess.Popen(computes) for _ in range(os.cpu_count() or 1)]
        words = ("doctor", "-p", demo.pid, "--json", "-d", 1)
        result = run(*words, user=("nice", "-n", "7"))
        for other in others:
            other.kill()
            other.wait()
    if result.rc == FAILED:
        assert not result.total["sure"]
    else:
        assert only(result)["verdict"] == scenarios()[name]


def test_json_has_its_keys() -> None:
    with Demo("spin-bh") as demo:
        result = visit(demo.pid)
    row = only(result)
    keys = ["type", "verdict", "thread", "role", "span", "culprit"]
    assert list(row) == [*keys, "evidence", "stack", "advice"]
    texts: List[str] = [*row["evidence"], *row["stack"], row["advice"]]
    assert all(isinstance(text, str) and text for text in texts)
    assert result.total["loops"] == 1 and result.total["seconds"] >= 1
