"""The faults that bench-doctor has the doctor find: each with the ways to make it, and what is right.

A fault of the demo is looked at live, in a recording that it makes of itself, and, where one moment
is enough, in a core; one of a GLib program live and in a recording by loopscope; one brought into a
real QEMU from outside live. A try raises AssertionError where the doctor is not right.
"""

import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, List

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
sys.path.append(str(ROOT / "tests/integration/gdb"))  # its conftest.py is another

import test_doctor_glib as glib  # noqa: E402
from faults import Faults  # noqa: E402
from process_memory import wait_until  # noqa: E402
from test_cores import gcore  # noqa: E402
from test_doctor import (  # noqa: E402
    CULPRITS,
    UNRECORDED,
    check_recording,
    record,
    recording_length,
    scenarios,
)
from test_doctors_agree import (  # noqa: E402
    KEPT,
    NOT_IN_A_CORE,
    SILENT,
    found_alive,
)
from test_gdb_where import STAYS, in_call  # noqa: E402
from tracer_run import Result, run  # noqa: E402
from tracer_targets import Demo, Qemu, QuietQemu  # noqa: E402

LIVE, RECORDING, CORE = "LIVE", "RECORDING", "CORE"
WAYS = (LIVE, RECORDING, CORE)

# Has a directory of its own; returns the seconds that the doctor took.
Try = Callable[[Path], float]
Ill = Callable[[], ContextManager[int]]


@dataclass
class Case:
    name: str
    verdict: str
    tries: Dict[str, Try]  # by way


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
        call = Path(f"/proc/{qemu.pid}/syscall")
        wait_until(lambda: call.read_text().startswith("257 "), "it opens the fifo")
        try:
            yield qemu.pid
        finally:
            os.close(os.open(fifo, os.O_WRONLY))
            thread.join()


def faulty(fault: Callable[[Faults], ContextManager[object]]) -> Ill:
    @contextmanager
    def ill() -> Iterator[int]:
        with QuietQemu() as qemu, Faults(qemu.pid) as faults:
            faults.wait_asleep()
            with fault(faults):
                yield qemu.pid

    return ill


# --- tries ------------------------------------------------------------------------------------------


def timed(*args: object) -> "tuple[Result, float]":
    begun = time.monotonic()
    result = run("doctor", *args, "--json")
    return result, time.monotonic() - begun


def check(result: Result, verdict: str, culprit: str) -> None:
    rows = result.of_type("verdict")
    assert [row["verdict"] for row in rows] == [verdict], "not the verdict"
    assert rows[0]["culprit"].startswith(culprit), "not the culprit"


def live(ill: Ill, verdict: str, culprit: str) -> Try:
    def look(_: Path) -> float:
        with ill() as pid:
            result, seconds = timed("-p", pid, "-d", 1)
            if not result.total["sure"]:  # as it advises
                result, more = timed("-p", pid, "-d", 10)
                seconds += more
        check(result, verdict, culprit)
        return seconds

    return look


def recording_of_demo(name: str) -> Try:
    def look(directory: Path) -> float:
        path = record(name, directory / "r", recording_length(name))
        begun = time.monotonic()
        check_recording(name, path)
        return time.monotonic() - begun

    return look


def recording_of_glib(name: str) -> Try:
    def look(directory: Path) -> float:
        path = directory / "r"
        with glib_program(name) as pid:
            seconds = 4 if name in ("late", "compute") else 2
            run("record", "-p", pid, "-o", path, "-d", seconds)
        result, took = timed(path)
        check(result, glib.RECORDED[name], "")
        return took

    return look


def core_of_demo(name: str) -> Try:
    """Taken in the call that blocks it, or, of one that hangs, when a living doctor has found it."""

    def look(directory: Path) -> float:
        with Demo(name, *(STAYS if name in KEPT else ())) as target:
            for call in KEPT.get(name, ()):
                in_call(target, call)
            if name not in KEPT:
                found_alive(target)
            core = gcore(target, directory)
        result, took = timed(core)
        culprit = CULPRITS[name].split("{thread}", maxsplit=1)[0]
        check(result, str(scenarios()[name]), culprit)
        return took

    return look


# --- the faults -------------------------------------------------------------------------------------


def of_demo() -> List[Case]:
    cases = []
    for name, verdict in scenarios().items():
        if not verdict:
            continue
        culprit = CULPRITS[name].split("{", maxsplit=1)[0]
        tries = {LIVE: live(lambda name=name: demo(name), verdict, culprit)}
        if name not in UNRECORDED:
            tries[RECORDING] = recording_of_demo(name)
        if name not in SILENT and name not in NOT_IN_A_CORE:
            tries[CORE] = core_of_demo(name)
        cases.append(Case(f"demo {name}", verdict, tries))
    return cases


def of_glib() -> List[Case]:
    cases = []
    for name, verdict in glib.forms().items():
        if not verdict:
            continue
        ill = lambda name=name: glib_program(name)  # noqa: E731
        tries = {LIVE: live(ill, verdict, glib.CULPRITS[name])}
        if name in glib.RECORDED:
            tries[RECORDING] = recording_of_glib(name)
        cases.append(Case(f"GLib {name}", verdict, tries))
    return cases


def of_qemu() -> List[Case]:
    main = "qemu_aio_context"
    faults = [
        (
            *("QEMU opens a fifo", blocked_in_fifo),
            *("BLOCKED CALLBACK", "BH do_qmp_dispatch_bh"),
        ),
        (
            "QEMU BH sleeps in io0",
            faulty(lambda f: f.sleeping_bh("io0", "sleepy_bh", 3)),
            *("BLOCKED CALLBACK", "BH sleepy_bh"),
        ),
        (
            "QEMU BH schedules itself",
            faulty(lambda f: f.spinning_bh(main, "spinning_bh")),
            *("SPIN", "BH spinning_bh schedules itself"),
        ),
        (
            "QEMU handler drains nothing",
            faulty(lambda f: f.undrained(main)),
            *("SPIN", "handler qemu_get_aio_context never drains fd"),
        ),
        (
            "QEMU BH without a notify",
            faulty(lambda f: f.lost_bh(main, "lost_bh")),
            *("LOST WAKEUP", "BH lost_bh of qemu_aio_context"),
        ),
        (
            "QEMU notify_me is 0",
            faulty(lambda f: f.deaf("io0")),
            *("LOST WAKEUP", "io0 sleeps with notify_me == 0"),
        ),
    ]
    return [
        Case(name, verdict, {LIVE: live(ill, verdict, culprit)})
        for name, ill, verdict, culprit in faults
    ]


def cases() -> List[Case]:
    return of_demo() + of_glib() + of_qemu()
