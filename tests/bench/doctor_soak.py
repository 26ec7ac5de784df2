"""Healthy loops, visited for minutes at several loads: the doctor has to find nothing in any.

The demo's and the GLib programs' healthy forms, a QEMU that idles, and all of honest_loads.py: a real
guest that drives its network, screen and disks as fast as they go, qemu-img with deep queues, a loop
of 500,000 callbacks a second. Each visit is a live doctor and, at the same time, a recording, of which
then nothing may be said either; of some loops also a core. First one loop after the other, then
several at once, then the same while others compute.
"""

import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, List

import honest_loads
import pytest
import test_doctor_glib as glib
from doctor_cases import CORE, LIVE, RECORDING, WAYS, demo, glib_program
from doctor_tries import Progress, Tries, told
from test_cores import gcore
from test_doctor import scenarios
from tracer_run import Result, run
from tracer_targets import Demo, Qemu

VISIT_S, RECORDED_S = 6, 3
HOGS = 4
# Of which one moment shows nothing wrong, either.
STILL = ["five-sources", "nested-drain", "iothread", "thread-pool"]

Start = Callable[[], ContextManager[int]]


@contextmanager
def idle() -> Iterator[int]:
    with Qemu() as qemu:
        yield qemu.pid


class OneGuest:
    """Booted once, when it is first needed; one load at a time."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack, self.lock = stack, threading.Lock()
        self.guest: List[honest_loads.BusyGuest] = []

    def under(self, load: Callable) -> Start:
        @contextmanager
        def loaded() -> Iterator[int]:
            with self.lock:
                if not self.guest:
                    guest = self.stack.enter_context(honest_loads.BusyGuest())
                    self.guest.append(guest)
                try:
                    with load(self.guest[0]) as pid:
                        yield pid
                except BaseException:
                    self.guest.clear()  # who knows what it does now: another is booted
                    raise

        return loaded


def loops(guest: OneGuest) -> Dict[str, Start]:
    """By name; the guest's far from each other, as they wait for each other."""
    others: Dict[str, Start] = {
        f"demo {name}": lambda name=name: demo(name)
        for name, verdict in scenarios().items()
        if not verdict
    }
    others.update(
        (f"GLib {name}", lambda name=name: glib_program(name))
        for name, verdict in glib.forms().items()
        if not verdict
    )
    others["QEMU, idle"] = idle
    others.update(honest_loads.ALONE)
    mixed: Dict[str, Start] = {}
    apart = max(1, len(others) // len(honest_loads.OF_GUEST))
    loads = iter(honest_loads.OF_GUEST.items())
    for number, (name, start) in enumerate(others.items()):
        if number % apart == 0:
            mixed.update(
                (n, guest.under(load)) for n, load in itertools.islice(loads, 1)
            )
        mixed[name] = start
    mixed.update((n, guest.under(load)) for n, load in loads)
    return mixed


# --- one visit --------------------------------------------------------------------------------------


def nothing_said(result: Result) -> None:
    """Perhaps that it is not sure, beside programs that compute."""
    rows = result.of_type("verdict")
    assert not rows, f"{rows[0]['verdict']} of a healthy loop"
    assert result.rc == 0 or not result.total["sure"], f"exit {result.rc}"


def live(pid: int) -> None:
    nothing_said(run("doctor", "-p", pid, "--json", "-d", VISIT_S))


def recording(pid: int, directory: Path) -> None:
    path = directory / "r"
    done = run("record", "-p", pid, "-o", path, "-d", RECORDED_S)
    assert done.rc == 0, f"record ended with {done.rc}"
    nothing_said(run("doctor", path, "--json"))


def core(name: str, directory: Path) -> None:
    with Demo(name) as target:
        target.wait_asleep()
        nothing_said(run("doctor", gcore(target, directory), "--json"))


@dataclass
class Level:
    """How much else the machine has to do."""

    what: str
    jobs: int
    hogs: int
    share: float  # of the time
    load: float = 0  # the machine's, at the end
    visits: Dict[str, Dict[str, List[int]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, name: str, way: str, good: bool) -> None:
        with self.lock:
            right = self.visits.setdefault(name, {}).setdefault(way, [0, 0])
            right[0] += good
            right[1] += 1


@contextmanager
def computing(hogs: int) -> Iterator[None]:
    words = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as stack:
        for _ in range(hogs):
            process = stack.enter_context(subprocess.Popen(words))
            stack.callback(process.kill)
        yield


class Soak:
    def __init__(self, all_loops: Dict[str, Start], kept: Path) -> None:
        self.loops = all_loops
        self.turns = itertools.cycle(all_loops)
        self.lock = threading.Lock()
        self.progress = Progress("visits")
        self.tries = Tries(16, kept, self.progress)
        self.numbers = itertools.count(1)

    def visit(self, level: Level) -> None:
        with self.lock:
            name = next(self.turns)
            number = next(self.numbers)
        try:
            with self.loops[name]() as pid:
                ways: Dict[str, Callable[[Path], object]] = {LIVE: lambda _: live(pid)}
                if name not in honest_loads.LIVE_ONLY:
                    ways[RECORDING] = lambda directory: recording(pid, directory)
                self._all_right(level, name, number, ways)
        except (Exception, pytest.skip.Exception) as error:
            level.note(name, LIVE, False)
            self.progress.say(f"  no load {name}, {level.what}: {told(error)}")
        if name[5:] in STILL:
            self._all_right(
                level, name, number, {CORE: lambda directory: core(name[5:], directory)}
            )

    def _all_right(
        self,
        level: Level,
        name: str,
        number: int,
        ways: Dict[str, Callable[[Path], object]],
    ) -> None:
        """At once."""

        def timed(look: Callable[[Path], object]) -> Callable[[Path], float]:
            def try_it(directory: Path) -> float:
                begun = time.monotonic()
                look(directory)
                return time.monotonic() - begun

            return try_it

        begun = {
            way: self.tries.submit(f"{name} {way.lower()} {number}", timed(look))
            for way, look in ways.items()
        }
        for way, future in begun.items():
            miss = future.result().miss
            level.note(name, way, miss is None)
            if miss:
                said = miss.replace("\n", "\n    ")
                self.progress.say(f"  wrong {way} of {name}, {level.what}: {said}")

    def at(self, level: Level, end: float) -> None:
        """Visit after visit until then."""

        def go_on() -> None:
            while time.monotonic() < end:
                self.visit(level)

        with computing(level.hogs), ThreadPoolExecutor(level.jobs) as pool:
            for worker in [pool.submit(go_on) for _ in range(level.jobs)]:
                worker.result()
            level.load = os.getloadavg()[0]


def cell(levels: List[Level], name: str, way: str) -> str:
    counts = [level.visits.get(name, {}).get(way, [0, 0]) for level in levels]
    right, of = (sum(count[i] for count in counts) for i in (0, 1))
    return f"{right}/{of}" if of else "-"


def soak(minutes: float, jobs: int, only: str, kept: Path) -> bool:
    levels = [
        Level("one at a time", 1, 0, 0.4),
        Level(f"{jobs} at once", jobs, 0, 0.3),
        Level(f"{jobs} at once, and {HOGS} programs that compute", jobs, HOGS, 0.3),
    ]
    begun = time.monotonic()
    with ExitStack() as stack:
        chosen = {
            name: start
            for name, start in loops(OneGuest(stack)).items()
            if only in name
        }
        if not chosen:
            return True
        healthy = Soak(chosen, kept)
        part = 0.0
        try:
            for level in levels:
                part += level.share
                healthy.at(level, begun + 60 * minutes * part)
        finally:
            healthy.tries.close()
            healthy.progress.end()
    heads = "".join(f"{way:<12}" for way in WAYS)
    print(f"{'HEALTHY, AND NOTHING SAID':<34} {heads}".rstrip())
    for name in chosen:
        cells = "".join(f"{cell(levels, name, way):<12}" for way in WAYS)
        print(f"{name:<34} {cells}".rstrip())
    wrong = 0
    for level in levels:
        counts = [c for ways in level.visits.values() for c in ways.values()]
        visits, right = sum(c[1] for c in counts), sum(c[0] for c in counts)
        wrong += visits - right
        print(f"{level.what}: {visits} looks, {visits - right} findings", end="")
        print(f", load {level.load:.0f}")
    took = (time.monotonic() - begun) / 60
    print(f"{wrong} findings in {took:.1f} minutes of healthy loops", flush=True)
    return not wrong
