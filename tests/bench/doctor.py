"""How sure the doctor is: ten runs of each faulty loop, and healthy loops for minutes.

    make bench-doctor                     ten runs, ten minutes
    tests/bench/doctor.py --runs 3 --minutes 1

A table of verdicts and culprits, the same of recordings and cores (doctor_past.py), then the soak: the doctor visits, one after the other, healthy
loops of the demo and of GLib programs, and a QEMU that monitors flood with commands, and has to find nothing. Exit status
1 if one verdict was missed, wrong, or said of a healthy loop.
"""

import argparse
import os
import statistics
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

import doctor_past  # noqa: E402
from faults import Faults  # noqa: E402
import test_doctor_glib as glib  # noqa: E402
from test_doctor import CULPRITS, scenarios  # noqa: E402
from tracer_run import DEMO, Result, run  # noqa: E402
from tracer_targets import Demo, Qemu, QuietQemu  # noqa: E402

# A way to make a loop ill, its verdict, and how the culprit begins.
Case = Tuple[str, Callable[[], ContextManager[int]], str, str]


@contextmanager
def demo(name: str) -> Iterator[int]:
    with Demo(name) as target:
        yield target.pid


@contextmanager
def glib_program(name: str) -> Iterator[int]:
    with glib.faults(name) as target:
        yield target.pid


@contextmanager
def blocked_in_fifo() -> Iterator[int]:
    """A command that opens a fifo which nobody writes to."""
    with Qemu() as qemu:
        fifo = qemu.dir / "fifo"
        os.mkfifo(fifo)

        def open_it() -> None:
            try:
                with qemu.qmp() as qmp:
                    arguments = {"driver": "file", "filename": str(fifo)}
                    qmp.command(
                        "blockdev-add",
                        **{**arguments, "node-name": "fifo", "read-only": True},
                    )
            except AssertionError:
                pass  # it is no regular file

        thread = threading.Thread(target=open_it)
        thread.start()
        time.sleep(0.5)
        yield qemu.pid
        os.close(os.open(fifo, os.O_WRONLY))
        thread.join()


def faulty(
    fault: Callable[[Faults], ContextManager[object]]
) -> Callable[[], ContextManager[int]]:
    @contextmanager
    def ill() -> Iterator[int]:
        with QuietQemu() as qemu, Faults(qemu.pid) as faults:
            faults.wait_asleep()
            with fault(faults):
                yield qemu.pid

    return ill


def cases() -> List[Case]:
    verdicts = {n: v for n, v in scenarios().items() if v}
    own: List[Case] = [
        (
            f"demo {name}",
            lambda name=name: demo(name),
            verdict,
            CULPRITS[name].split("{")[0],
        )
        for name, verdict in verdicts.items()
    ]
    own += [
        (
            f"GLib {name}",
            lambda name=name: glib_program(name),
            verdict,
            glib.CULPRITS[name],
        )
        for name, verdict in glib.forms().items()
        if verdict
    ]
    main = "qemu_aio_context"
    return own + [
        (
            "QEMU opens a fifo",
            blocked_in_fifo,
            "BLOCKED CALLBACK",
            "BH do_qmp_dispatch_bh",
        ),
        (
            "QEMU BH sleeps in io0",
            faulty(lambda f: f.sleeping_bh("io0", "sleepy_bh", 3)),
            "BLOCKED CALLBACK",
            "BH sleepy_bh",
        ),
        (
            "QEMU BH schedules itself",
            faulty(lambda f: f.spinning_bh(main, "spinning_bh")),
            "SPIN",
            "BH spinning_bh schedules itself",
        ),
        (
            "QEMU handler drains nothing",
            faulty(lambda f: f.undrained(main)),
            "SPIN",
            "handler qemu_get_aio_context never drains fd",
        ),
        (
            "QEMU BH without a notify",
            faulty(lambda f: f.lost_bh(main, "lost_bh")),
            "LOST WAKEUP",
            "BH lost_bh of qemu_aio_context",
        ),
        (
            "QEMU notify_me is 0",
            faulty(lambda f: f.deaf("io0")),
            "LOST WAKEUP",
            "io0 sleeps with notify_me == 0",
        ),
    ]


def is_right(result: Result, verdict: str, culprit: str) -> bool:
    rows = result.of_type("verdict")
    return (
        len(rows) == 1
        and rows[0]["verdict"] == verdict
        and rows[0]["culprit"].startswith(culprit)
    )


def visit(pid: int, seconds: float) -> Result:
    return run("doctor", "-p", pid, "--json", "-d", seconds)


def bench(runs: int) -> bool:
    good = True
    print(f"{'FAULT':<30} {'VERDICT':<18} {'RIGHT':<7} {'SECONDS':<8}")
    for name, ill, verdict, culprit in cases():
        right, took = 0, []
        for _ in range(runs):
            with ill() as pid:
                begun = time.monotonic()
                result = visit(pid, 1)
                took.append(time.monotonic() - begun)
            if is_right(result, verdict, culprit):
                right += 1
            else:
                print(f"  not right: {result.rc} {result.out}{result.err}")
        good &= right == runs
        print(
            f"{name:<30} {verdict:<18} {right:>2}/{runs:<4} {statistics.median(took):.1f}"
        )
    return good


@contextmanager
def flooded() -> Iterator[int]:
    """A QEMU whose monitor answers as fast as it can."""
    with Qemu() as qemu:
        ended = threading.Event()

        def flood() -> None:
            with qemu.qmp() as qmp:
                while not ended.is_set():
                    qmp.command("query-block")

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            yield qemu.pid
        finally:
            ended.set()
            thread.join()


@contextmanager
def idle() -> Iterator[int]:
    with Qemu() as qemu:
        yield qemu.pid


def soak(minutes: float) -> bool:
    """Round after round of ten seconds for each healthy loop."""
    healthy = {
        f"demo {n}": lambda n=n: demo(n) for n, v in scenarios().items() if not v
    }
    loops: Dict[str, Callable[[], ContextManager[int]]] = {
        **healthy,
        **{
            f"GLib {n}": lambda n=n: glib_program(n)
            for n, v in glib.forms().items()
            if not v
        },
        "QEMU, idle": idle,
        "QEMU, its monitor flooded": flooded,
    }
    visits = dict.fromkeys(loops, 0)
    end = time.monotonic() + 60 * minutes
    findings = 0
    while time.monotonic() < end:
        for name, start in loops.items():
            with start() as pid:
                result = visit(pid, 10)
            visits[name] += 1
            if result.rc:
                findings += 1
                print(f"  {name}: {result.rc} {result.out}{result.err}")
            if time.monotonic() >= end:
                break
    for name, n in visits.items():
        print(f"healthy: {name:<30} {n} visits of 10 s")
    print(f"{findings} findings in {minutes:g} minutes of healthy loops")
    return not findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    if os.geteuid():
        print("bench-doctor: only root may load bpf programs", file=sys.stderr)
        return 77
    assert DEMO.exists(), "run make first"
    good = bench(options.runs)
    good &= doctor_past.bench(options.runs)
    return 0 if good & soak(options.minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
