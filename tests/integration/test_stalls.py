"""loopscope stalls: which callback kept a loop from its wait, doing what, and who was left waiting.

What is compared is order, names and counts that hold however slow the machine is; a stall of one that
waits for a CPU may be one more at any time, so rows are looked for, not counted.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterator, List, Optional, Set

import pytest
from faults import Faults
from process_memory import wait_until
from tracer_run import (
    COLUMNS,
    DEMO,
    FAILED,
    FINE,
    NOBODY,
    PRIVILEGE,
    USAGE,
    Result,
    Row,
    finish,
    run,
    start,
)
from tracer_targets import Demo, Qemu

FINDING = 1
CPU = {"running", "cpu"}  # that it got, or that others had

pytestmark = pytest.mark.usefixtures("root")


def attached(process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
    """It has said so."""
    assert process.stderr
    said = b""
    while not said.endswith(b"\n"):
        byte = os.read(process.stderr.fileno(), 1)
        assert byte, f"it ended: {said!r}"
        said += byte
    assert said.startswith(b"loopscope: attached to process "), said
    return process


def watch(pid: int, *args: object) -> "subprocess.Popen[bytes]":
    return attached(start("stalls", "-p", pid, "--min", "50ms", "--json", *args))


def stalls(pid: int, *args: object) -> Result:
    return finish(watch(pid, "-d", 1, *args))


def interrupt(process: "subprocess.Popen[bytes]") -> Result:
    process.send_signal(signal.SIGINT)
    return finish(process)


def row_of(result: Result, culprit: str, **values: object) -> Row:
    """The longest of these."""
    assert result.rc == FINDING, f"{result.rc}: {result.out}{result.err}"
    assert result.total["lost"] == result.total["lost_stacks"] == 0
    for row in result.of_type("stall"):
        if row["culprit"] == culprit and values.items() <= row.items():
            return row
    raise AssertionError(f"no {culprit} {values}: {result.out}")


def split_fits(row: Row) -> bool:
    """All of its time is told, but for what passed between two readings of a clock."""
    return abs(sum(row["split"].values()) - row["longest_ns"]) <= 1_000_000


# --- the demo ---------------------------------------------------------------------------------


def test_a_bh_that_sleeps() -> None:
    with Demo("blocked-sleep", "--hold", 150) as demo:
        result = stalls(demo.pid)
        row = row_of(result, "BH slow_bh_cb", kind="syscall")
        assert (row["thread"], row["role"]) == (demo.pid, "main loop")
    assert row["what"] == "clock_nanosleep" and row["calls"][0]["in"] == row["what"]
    assert row["split"]["blocked_ns"] >= 140_000_000 and split_fits(row)
    assert row["stack"][0] == "clock_nanosleep" and row["stack"][-1] == "_start"
    assert "slow_bh_cb" in row["stack"]
    assert row["lock"] is None and row["nested"] is None
    assert result.total["stalls"] >= row["count"] >= 2
    assert row["total_ns"] <= row["longest_ns"] * row["count"]


def test_a_handler_that_computes() -> None:
    with Demo("blocked-cpu", "--hold", 200) as demo:
        result = finish(watch(demo.pid, "-d", 2))
    row = row_of(result, "handler computes_long_cb")
    assert row["kind"] in CPU and row["what"] is None and row["calls"] == []
    assert split_fits(row)
    assert "computes_long_cb" in row["stack"]


def test_a_lock_names_its_holder_and_what_that_does() -> None:
    with Demo("blocked-lock", "--hold", 150) as demo:
        wait_until(lambda: "lock-holder" in demo.threads(), "there is a holder")
        holder = demo.thread("lock-holder")
        row = row_of(stalls(demo.pid), "handler waits_for_lock_cb", kind="lock")
    lock = row["lock"]
    assert (lock["holder"], lock["holder_name"]) == (holder, "lock-holder")
    assert lock["bql"] is False and row["what"] == f"the mutex at {lock['address']}"
    assert lock["holder_does"].startswith("is asleep in clock_nanosleep: ")
    assert " < lock_holder" in lock["holder_does"]


def test_the_big_lock_by_its_name() -> None:
    with Demo("bql-hold") as demo:
        vcpu = demo.thread("CPU 0/DEMO")
        row = row_of(
            stalls(demo.pid), "the loop itself, to take the big lock", kind="lock"
        )
    assert row["what"] == "the big lock" and row["lock"]["bql"] is True
    assert (row["lock"]["holder"], row["thread"]) == (vcpu, demo.pid)
    assert "slow_device_write" in row["lock"]["holder_does"]
    assert "main_loop_wait" in row["stack"]


def test_a_nested_wait_that_goes_on() -> None:
    with Demo("missing-kick") as demo:
        result = stalls(demo.pid)
    row = row_of(result, "BH waits_for_kick_bh_cb", kind="nested")
    assert row["nested"] == "aio_poll() called by wait_for_requests, depth 1"
    assert row["goes_on"] and row["since_attach"]
    # Of the same process, the IOThread just sleeps.
    assert result.total["rows"] == 1 and result.total["loops"] == 2


def test_a_loop_that_only_sleeps_has_none(demo: Demo) -> None:
    result = stalls(demo.pid)
    assert (result.rc, result.of_type("stall")) == (FINE, [])
    assert result.total["loops"] == 2
    process = attached(start("stalls", "-p", demo.pid, "-d", 0.3))
    (line,) = finish(process).out.splitlines()
    assert line.startswith("no stall longer than 10 ms in ")
    assert line.endswith(f" iterations of 2 loops of demo-qemu-loop (pid {demo.pid}).")


@pytest.mark.parametrize(
    "name", ["busy-polling", "epoll", "io-uring", "iothread-gcontext"]
)
def test_however_it_waits_its_iterations_are_seen(name: str) -> None:
    """None is taken for a stall, though each is over 200 ms: the time is theirs to sleep."""
    with Demo(name) as demo:
        process = attached(start("stalls", "-p", demo.pid, "--min", "5s", "--json"))
        result = finish_after_iterations(process, demo)
    assert (result.rc, result.of_type("stall")) == (FINE, [])
    assert result.total["loops"] == 2 and result.total["iterations"] >= 1


def finish_after_iterations(process: "subprocess.Popen[bytes]", demo: Demo) -> Result:
    """The main thread has slept a few times more."""

    def slept() -> int:
        with open(f"/proc/{demo.pid}/status", encoding="ascii") as status:
            (line,) = [l for l in status if l.startswith("voluntary_ctxt_switches")]
            return int(line.split()[1])

    before = slept()
    wait_until(lambda: slept() >= before + 5, "its main loop goes round")
    return interrupt(process)


def test_a_command_and_its_end() -> None:
    words = ["stalls", "--min", "50ms", "--", DEMO, "--scenario", "blocked-sleep"]
    result = finish(attached(start(*words, "--iterations", 4)))
    assert result.rc == FINDING
    assert "   BH slow_bh_cb\n" in result.out
    assert " asleep in clock_nanosleep" in result.out


def test_a_process_that_is_stopped() -> None:
    """By nobody of the program; its wait ends with the stop."""
    with Demo("busy") as demo:
        process = watch(demo.pid)
        demo.stop()
        time.sleep(0.2)
        demo.cont()
        result = finish_after_iterations(process, demo)
    kinds = {row["kind"] for row in result.of_type("stall")}
    assert result.rc == FINDING and "stopped" in kinds


# --- a real QEMU ------------------------------------------------------------------------------


@pytest.fixture
def patient() -> Iterator[Qemu]:
    """A QEMU of its own, for a test that does it harm."""
    with Qemu() as qemu:
        yield qemu


@pytest.fixture
def faults(patient: Qemu) -> Iterator[Faults]:
    with Faults(patient.pid) as faults:
        faults.wait_asleep()
        yield faults


def test_what_a_sleeping_bh_of_qemu_leaves_waiting(
    patient: Qemu, faults: Faults
) -> None:
    """A client who wants to be accepted, the display's timer; the chain of calls, all from outside."""
    wait_until(
        lambda: faults.timers("main_loop_tlg", "REALTIME"), "the display has its timer"
    )
    timer, _ = faults.timers("main_loop_tlg", "REALTIME")[0]
    process = watch(patient.pid)
    client = socket.socket(socket.AF_UNIX)
    with faults.sleeping_bh("qemu_aio_context", "sleepy_bh", 2), client:
        client.connect(str(patient.vnc))
        with faults.overdue(timer):
            # It is looked at when 50, 100, 200, 400, 800 ms of the two seconds are over.
            time.sleep(1)
            result = interrupt(process)
    row = row_of(result, "BH sleepy_bh", kind="syscall", goes_on=True)
    assert (row["thread"], row["role"]) == (patient.pid, "main loop")
    assert row["what"] == "clock_nanosleep"
    assert row["split"]["blocked_ns"] >= 500_000_000 and split_fits(row)
    names: List[str] = row["stack"]
    inner, outer = names.index("sleep"), names.index("main_loop_wait")
    assert inner < names.index("aio_bh_poll") < outer
    waiting = row["waiting"]
    fds = [i for i in waiting["items"] if i["kind"] == "fd"]
    timers = [i for i in waiting["items"] if i["kind"] == "timer"]
    assert len(fds) == waiting["fds"] == 1 and fds[0]["fd_kind"] == "unix"
    assert waiting["timers"] == len(timers) >= 1
    # It was set to expire when the clock began.
    assert max(timer["late_ns"] for timer in timers) > 1_000_000_000


@pytest.mark.full
def test_an_iothread_of_qemu(patient: Qemu, faults: Faults) -> None:
    process = watch(patient.pid)
    with faults.sleeping_bh("io0", "sleepy_bh", 2):
        time.sleep(1)
        result = interrupt(process)
    row = row_of(result, "BH sleepy_bh", kind="syscall")
    assert row["role"] == "IOThread io0"
    assert row["thread"] == faults.contexts["io0"]["thread"] != patient.pid
    assert row["waiting"] == {"fds": 0, "bhs": 0, "timers": 0, "items": []}
    assert result.total["loops"] == Qemu.LOOPS


@pytest.mark.full
def test_an_idle_qemu_has_none(qemu: Qemu) -> None:
    result = finish(
        attached(start("stalls", "-p", qemu.pid, "--min", "2s", "-d", 0.5, "--json"))
    )
    assert (result.rc, result.of_type("stall")) == (FINE, [])
    assert result.total["loops"] == Qemu.LOOPS


# --- the command ------------------------------------------------------------------------------


@pytest.mark.full
def test_text_fits_and_ctrl_c_ends_it() -> None:
    with Demo("blocked-lock") as demo:
        process = attached(start("stalls", "-p", demo.pid))
        time.sleep(1)
        result = interrupt(process)
    assert result.rc == FINDING and result.err == ""
    assert max(len(line) for line in result.out.splitlines()) <= COLUMNS
    assert "   handler waits_for_lock_cb\n    main loop, thread " in result.out
    assert ' "lock-holder" holds; it is asleep' in " ".join(result.out.split())


@pytest.mark.full
def test_one_thread_only() -> None:
    with Demo("missing-kick") as demo:
        tid = demo.thread("IO io0")
        result = stalls(demo.pid, "-t", tid)
    assert (result.rc, result.total["loops"]) == (FINE, 1)


def test_it_ends_with_the_target() -> None:
    with Demo("missing-kick") as demo:
        process = watch(demo.pid)
        demo.kill()
        result = finish(process)
    assert result.rc in (FINE, FINDING) and result.err == ""


def test_refusals(demo: Demo) -> None:
    assert "no process" in run("stalls", "-p", 1 << 21).refused(FAILED)
    run("stalls").refused(USAGE)
    run("stalls", "-p", demo.pid, "--min", "soon").refused(USAGE)
    words = run("stalls", "-p", demo.pid, user=NOBODY).refused(PRIVILEGE)
    assert "sudo" in words
    said = run("stalls", "-p", demo.pid, "-t", 1 << 21).refused(FAILED)
    assert f"process {demo.pid} has no thread {1 << 21}" in said


# --- of a recording ---------------------------------------------------------------------------


def recorded(path: Path, culprit: str, kinds: Set[str]) -> Optional[Row]:
    """What its time went into, as far as the recording goes by now."""
    result = run("stalls", path, "--min", "50ms", "--json")
    for row in result.of_type("stall") if result.rc == FINDING else []:
        named = row["culprit"] == culprit and row["kind"] in kinds
        if named and row["split"] and row["count"] >= 2:
            return row
    return None


@pytest.mark.parametrize(
    "scenario, culprit, kinds, call",
    [
        ("blocked-sleep", "BH slow_bh_cb", {"syscall"}, "clock_nanosleep"),
        ("blocked-cpu", "handler computes_long_cb", CPU, None),
        ("blocked-lock", "handler waits_for_lock_cb", {"lock"}, "futex"),
    ],
)
def test_a_recording_tells_what_the_time_went_into(
    tmp_path: Path, scenario: str, culprit: str, kinds: Set[str], call: Optional[str]
) -> None:
    path = tmp_path / "r"
    words = ("record", "-o", path, "--stacks", "--min", "50ms", "-p")
    with Demo(scenario, "--hold", 150) as demo:
        process = attached(start(*words, demo.pid))
        wait_until(
            lambda: bool(recorded(path, culprit, kinds)), "two such stalls are in it"
        )
        assert interrupt(process).rc == FINE
    row = recorded(path, culprit, kinds)
    assert row and row["thread"] == demo.pid
    split, longest = row["split"], row["longest_ns"]
    # They are taken for one if nine tenths of them are; of one that was under way, if half is.
    assert longest / 2 <= sum(split.values()) <= longest * 10 / 9
    asleep = {one["in"]: one["ns"] for one in row["calls"]}
    if call:
        doctor = run("doctor", path, "--min", "50ms", "--json")
        (blocked,) = [
            v for v in doctor.of_type("verdict") if v["verdict"] == "BLOCKED CALLBACK"
        ]
        assert any(f"asleep in {call}" in e for e in blocked["evidence"]), blocked
        assert asleep[call] > sum(split.values()) / 2
    else:
        assert split["running_ns"] + split["runnable_ns"] > sum(split.values()) / 2
    assert sum(asleep.values()) <= split["blocked_ns"]
    assert (row["lock"] is not None) == (row["kind"] == "lock")
    trace = tmp_path / "pftrace"
    assert run("export", path, "--to", "pftrace", "-o", trace).rc == FINE
    assert b"was away from its wait for" in trace.read_bytes()


def test_a_recording_says_what_it_does_not_tell(tmp_path: Path) -> None:
    """By the demo itself, which takes no stacks."""
    words = ["--scenario", "blocked-sleep", "--iterations", "2", "--hold", "50"]
    subprocess.run(
        [DEMO, *words, "--record", tmp_path / "r"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    result = run("stalls", tmp_path / "r")
    assert result.rc == FINDING
    assert "does not tell how that time divides" in result.out
    assert "no stacks: loopscope record --stacks" in result.out
    assert all(len(line) <= COLUMNS for line in result.out.splitlines())
