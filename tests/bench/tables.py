"""What looking costs: printed by "make bench-tables".

The tables of a loop with 10,000 handlers, and the time until loopscope is attached to a real QEMU.
Each is the median of some runs: processor time (time, of attaching), and what 10,000 handlers add to
that of a loop with 10. "bare" is the reading alone (tables-bare.c), by the iterator with the loading of
its program; the others are whole commands: "handlers" also asks the kernel what each descriptor is,
"fds" polls it, too. The target's own turns are counted meanwhile: it is not stopped.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
# pylint: disable=wrong-import-position
from tracer_run import BUILD, DEMO, LOOPSCOPE
from tracer_targets import Demo, Qemu

RUNS = 15
MANY, FEW = 10_000, 10


def timed(command: List[str]) -> float:
    """Its processor time in ms, in the program and in the kernel: others do not add to that."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return 1e3 * (usage.ru_utime + usage.ru_stime)


def bare(way: str, target: Demo, handlers: int) -> float:
    """Of reading its loops alone, in ms of the processor."""
    words = [BUILD / "bench" / "tables-bare", str(target.pid), way, str(RUNS)]
    ms, read = subprocess.check_output(words, text=True).split()
    assert int(read) >= handlers, f"{read} of {handlers} handlers"
    return float(ms)


def until_attached(pid: int, directory: str) -> float:
    """From the start of "record" to its word that it is attached, in ms."""
    begin = time.monotonic()
    words = [str(LOOPSCOPE), "record", "-p", str(pid), "-o", directory]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        assert process.stderr and b"attached" in process.stderr.readline()
        took = 1e3 * (time.monotonic() - begin)
        process.send_signal(signal.SIGINT)
        process.communicate()
    return took


def median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(RUNS))


@contextmanager
def turning(pid: int) -> Iterator[List[int]]:
    """How often the target's main thread slept meanwhile: it is woken every ms."""
    woken: List[int] = []
    waker = subprocess.Popen(
        ["sh", "-c", f"while kill -ALRM {pid}; do sleep 0.001; done"],
        stderr=subprocess.DEVNULL,
    )
    before = sleeps(pid)
    try:
        yield woken
        woken.append(sleeps(pid) - before)
    finally:
        waker.kill()
        waker.wait()


def sleeps(pid: int) -> int:
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def row(what: str, costs: List[float]) -> None:
    print(
        f"{what:34}{costs[0]:14.1f} ms{costs[1]:14.1f} ms{costs[1] - costs[0]:8.1f} ms"
    )


def tables() -> None:
    print(f"{'':34}{FEW:>8} handlers{MANY:>8} handlers  {MANY:,} add")
    with Demo("many-fds", "--fds", FEW) as few, Demo("many-fds", "--fds", MANY) as many:
        few.wait_asleep()
        many.wait_asleep()
        for way in ("iter", "mem"):
            row(f"bare, by {way}", [bare(way, few, FEW), bare(way, many, MANY)])
        for command in ("handlers", "fds"):
            for way in ("iter", "mem"):
                words = [str(LOOPSCOPE), command, "--via", way, "-p"]
                row(
                    f"{command} --via {way}",
                    [
                        median(lambda pid=t.pid: timed([*words, str(pid)]))
                        for t in (few, many)
                    ],
                )


def not_stopped() -> None:
    with Demo("five-sources") as target:
        target.wait_asleep()
        with turning(target.pid) as woken:
            for _ in range(RUNS):
                timed([str(LOOPSCOPE), "handlers", "-p", str(target.pid)])
        print(f"{'turns of a target while it is read':34}{woken[0]:8}")


def attach() -> None:
    with Qemu() as qemu:
        number = iter(range(RUNS))
        cost = median(
            lambda: until_attached(qemu.pid, str(qemu.dir / f"r{next(number)}"))
        )
        print(f"{'record on a QEMU, until attached':34}{cost:14.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    assert os.access(DEMO, os.X_OK)
    print(f"median of {RUNS} runs of each command")
    tables()
    not_stopped()
    attach()
