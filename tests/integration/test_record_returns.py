"""The ends of calls are seen without return probes, so that coroutines survive being recorded.

A program without probes enters a coroutine from a bottom half of its IOThread; the coroutine's stack
lies above the thread's own. With return probes on the functions that are under way then, the kernel
loses the outer ones and ends the program with SIGILL.
"""

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from recordings import Recorder, events, wait_sleeps
from scripted import settle
from test_events import pairs
from tracer_run import BUILD, HANG_S

pytestmark = pytest.mark.usefixtures("root")

ROUNDS = 40
LOOP_FDMON_IO_URING = 3  # enum fdmon


def rounds(target: "subprocess.Popen[str]", n: int) -> None:
    """Each when the one before is over and every thread sleeps again."""
    assert target.stdin
    for _ in range(n):
        target.stdin.write("go\n")
        target.stdin.flush()
        settle(target.pid)


class Recorded:
    """The program, recorded while it does its rounds; each begins when every thread sleeps."""

    def __init__(self, out: Path) -> None:
        with subprocess.Popen(
            [BUILD / "tests" / "high-stack"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as target:
            try:
                assert target.stdout and target.stdout.readline() == "ready\n"
                settle(target.pid)
                with Recorder(target.pid, out) as recorder:
                    rounds(target, ROUNDS)
                    assert recorder.end().lost == 0
                self.said, _ = target.communicate(timeout=HANG_S)
            finally:
                target.kill()
        self.code = target.returncode
        self.events = events(out)


def test_a_coroutine_above_the_stack_of_its_thread(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "r")
    assert (run.code, run.said) == (0, f"outer={ROUNDS} inner={ROUNDS}\n")
    count = Counter(event.name for event in run.events)
    assert count["bh_begin"] == count["bh_end"] == 2 * ROUNDS
    assert len(pairs(run.events, "bh_begin", "bh_end", "bh")) == 2 * ROUNDS
    # The first bottom half is called by a poll that began before us: nothing nests in it.
    nested_polls = pairs(run.events, "aio_poll_enter", "aio_poll_exit", "depth")
    assert len(nested_polls) == 2 * (ROUNDS - 1)


def test_after_the_first_calls_ends_are_exact(tmp_path: Path) -> None:
    """A call ends before the next thing its thread does, not with it."""
    found = Recorded(tmp_path / "r").events
    others = {e.ns for e in found if e.name != "bh_end"}
    implied = [e.ns in others for e in found if e.name == "bh_end"]
    assert implied and not any(implied[len(implied) // 2 :])


def test_a_ring_is_a_wait_too(tmp_path: Path) -> None:
    """An IOThread that waits by io_uring: one wait an iteration, none in another, up to the cut."""
    with subprocess.Popen(
        [BUILD / "demo-qemu-loop-noprobes", "--scenario", "io-uring"],
        stdout=subprocess.PIPE,
        text=True,
    ) as target:
        try:
            assert target.stdout and "ready" in target.stdout.readline()
            out = tmp_path / "r"
            with Recorder(target.pid, out) as recorder:
                wait_sleeps(target.pid, 100)  # it answers io0, which waits as often
                recorder.end()
        finally:
            target.kill()
    found = events(out)
    ring = LOOP_FDMON_IO_URING
    io0 = {e.tid for e in found if e.name == "poll_enter" and e["monitor"] == ring}
    assert len(io0) == 1 and target.pid not in io0
    count = Counter(event.name for event in found if event.tid in io0)
    assert count["poll_enter"] > 20 and not count["aio_poll_enter"]
    assert 0 <= count["poll_enter"] - count["poll_exit"] <= 1
    assert 0 <= count["iteration_begin"] - count["iteration_end"] <= 1
    assert {e["ret"] for e in found if e.name == "poll_exit" and e.tid in io0} == {1}
