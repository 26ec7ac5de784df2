# SPDX-License-Identifier: MIT
"""Cases for a detective: faults of the demo loop, each as a recording and a core file.

    case = cases.cases(lab, ["epoll-upgrade-race", ...])     {"A": Case, "B": ...}; who is who differs
    cases.make(case)                    all recordings, now
    case["A"].doctor()                  `loopscope doctor` of its recording, printed; .stalls() .report()
    case["A"].rec                       its recording as tables
    case["A"].gdb("qemu where")         what gdb says of its core file, printed

A fault that hangs is recorded for a second, so that one sees it hang.  One that spins writes
100 MB a second: loopscope gets a quarter of a second of it, `rec` has the first turns only.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Sequence

from . import run
from .lab import Lab
from .recording import Recording

HANGS_S = 1.2
SPINS_S = 0.25
TURNS = 30
SPINNING = ("bh-not-cancelled",)
LETTERS = "ABCDEFGH"

# What has been made in this session, by scenario: as the recordings, the same for all variants.
_long: Dict[str, Path] = {}
_cores: Dict[str, Path] = {}


class Case:
    """One fault, by its letter."""

    def __init__(self, lab: Lab, letter: str, scenario: str) -> None:
        self.letter = letter
        self._lab, self._scenario = lab, scenario

    def __repr__(self) -> str:
        return f"case {self.letter}"

    @property
    def rec(self) -> Recording:
        """The recording as tables."""
        how: Dict[str, Any] = {"seconds": HANGS_S}
        if self._scenario in SPINNING:
            how = {"iterations": TURNS}
        return self._lab.record_once(self._scenario, **how)

    @property
    def dir(self) -> Path:
        """The recording's directory, for loopscope."""
        if self._scenario in SPINNING and run.find("demo-qemu-loop"):
            if self._scenario not in _long:
                out = run.scratch() / f"long-{len(_long)}"
                run.demo_record(out, self._scenario, seconds=SPINS_S)
                _long[self._scenario] = out
            return self._named(_long[self._scenario])
        return self._named(self.rec.path)

    @property
    def core(self) -> Path:
        """The core file."""
        if self._scenario not in _cores:
            out = run.scratch() / f"core-{len(_cores)}"
            run.demo_core(out, self._scenario)
            _cores[self._scenario] = out
        return _cores[self._scenario]

    def _named(self, path: Path) -> Path:
        """The same under a name that says no more than the letter."""
        link = run.scratch() / f"case-{self._lab.variant}-{self.letter}"
        if not link.is_symlink():
            link.symlink_to(path)
        return link

    def _loopscope(self, command: str) -> None:
        if not run.find("loopscope"):
            print(
                "loopscope is not built here (make build/loopscope): use .rec and .gdb()"
            )
            return
        # 1: it found something; 2 and 77 would be our own mistakes.
        print(run.output(run.need("loopscope"), command, self.dir, status=(0, 1)))

    def doctor(self) -> None:
        """What is wrong, as far as the recording proves it."""
        print(f"--- case {self.letter}")
        self._loopscope("doctor")

    def stalls(self) -> None:
        """Who kept a loop from its work, and for how long."""
        print(f"--- case {self.letter}")
        self._loopscope("stalls")

    def report(self) -> None:
        """All that is to be said of the recording."""
        self._loopscope("report")

    def gdb(self, *commands: str) -> None:
        """Look at the core file with gdb."""
        print(run.gdb_core(run.need("demo-qemu-loop"), self.core, list(commands)))


def cases(lab: Lab, scenarios: Sequence[str]) -> Dict[str, Case]:
    """All cases by letter; which is which is drawn."""
    drawn: List[str] = lab.order("cases", scenarios)
    return {letter: Case(lab, letter, name) for letter, name in zip(LETTERS, drawn)}


def make(found: Dict[str, Case]) -> None:
    """All recordings now, at once: one after the other they take longer."""
    with ThreadPoolExecutor(len(found)) as pool:
        for path in pool.map(lambda case: case.dir, found.values()):
            assert path.is_dir()


def scenario(case: Case) -> str:
    """Which one it is: for solutions."""
    return case._scenario  # pylint: disable=protected-access
