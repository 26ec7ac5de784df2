# SPDX-License-Identifier: MIT
"""Small worlds: one to write a main loop for, and a lock to find out who is to blame for the waits.

A loop's world has sources that have work to do, and a poll.

    world = World(random.Random(7))
    while not world.asleep:
        iterate(world)            # to be written
    world.dispatched              # the names, in order

Half of the sources wait for a descriptor, the others know themselves whether they have work.  New
work arrives while the loop polls, the same for everybody who keeps to the rules.
"""

import random
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Optional, Set, Tuple

NAMES = {
    -100: ("urgent", "alarm"),
    0: ("socket", "pipe", "job"),
    200: ("redraw", "tidy"),
}
WITH_FD = {"alarm": 10, "socket": 11, "pipe": 12, "redraw": 13}


class LoopError(Exception):
    """A loop that breaks a rule which would make a real one hang or spin."""


@dataclass
class Source:
    """As a GSource: a name, a priority (less is more urgent), perhaps a descriptor."""

    world: "World"
    name: str
    priority: int
    fd: Optional[int]
    work: int = 0
    revents: bool = False
    log: List[Tuple[str, str]] = field(default_factory=list)

    def prepare(self) -> Tuple[bool, int]:
        """Ready before any wait?  And how many ms may the loop sleep as far as this one cares?"""
        self.world.calls.append(("prepare", self.name))
        return (self.fd is None and self.work > 0), -1

    def check(self, ready_fds: Iterable[int]) -> bool:
        """Ready after the wait?"""
        self.world.calls.append(("check", self.name))
        if self.fd is None:
            return self.work > 0
        return self.fd in set(ready_fds)

    def dispatch(self) -> None:
        """Does one piece of its work."""
        if not self.work:
            raise LoopError(f"{self.name} was dispatched, and has nothing to do")
        self.work -= 1
        self.world.calls.append(("dispatch", self.name))
        self.world.dispatched.append(self.name)


class World:
    """The sources in the order in which they were attached, and what the loop did with them."""

    def __init__(self, draw: random.Random) -> None:
        self.asleep = False
        self.polls = 0
        self.calls: List[Tuple[str, str]] = []
        self.dispatched: List[str] = []
        self.sources = [
            Source(self, name, priority, WITH_FD.get(name))
            for priority, names in NAMES.items()
            for name in names
        ]
        draw.shuffle(self.sources)
        for source in self.sources:
            source.work = draw.randint(0, 2)
        # What arrives during which poll.
        self.arrivals: Dict[int, List[Source]] = {
            n: draw.sample(self.sources, draw.randint(0, 2)) for n in range(1, 8)
        }

    def poll(self, fds: Iterable[int], timeout_ms: int) -> Set[int]:
        """Which of these descriptors are ready; sleeps, if it may, until one is."""
        if self.polls > 200:
            raise LoopError("the loop spins: 200 polls, and it is not done")
        wanted = set(fds)
        for source in self.arrivals.pop(self.polls + 1, []):
            source.work += 1
        self.polls += 1
        ready = {s.fd for s in self.sources if s.fd in wanted and s.work}
        if not ready and timeout_ms != 0 and not self._woken():
            self.asleep = True
        return {fd for fd in ready if fd is not None}

    def _woken(self) -> bool:
        """Whoever gives work to a source without a descriptor wakes the loop; so does later work."""
        if any(s.work for s in self.sources):
            if not any(s.work and s.fd is None for s in self.sources):
                names = ", ".join(s.name for s in self.sources if s.work)
                raise LoopError(f"asleep for ever, and not polling for {names}")
            return True
        return bool(self.arrivals)


# --- a lock ---------------------------------------------------------------------------------------

TAKERS = [
    ("main loop", "main_loop_wait"),
    ("CPU 0", "prepare_mmio_access"),
    ("CPU 1", "prepare_mmio_access"),
    ("CPU 0", "kvm_handle_io"),
    ("migration", "migration_iteration"),
]


def lock_trace(draw: random.Random, takes: int = 14) -> List[Dict[str, object]]:
    """Who asked for a lock, got it and gave it back, when: first come, first served."""
    rows: List[Dict[str, object]] = []
    free_at: Dict[str, int] = {}
    now = lock_free = 0
    for _ in range(takes):
        thread, site = draw.choice(TAKERS)
        now += draw.randint(0, 40) * 10
        asked = max(now, free_at.get(thread, 0))
        if rows:
            asked = max(asked, int(str(rows[-1]["asked_ns"])) + 10)
        got = max(asked, lock_free)
        long = site in ("migration_iteration", "kvm_handle_io")
        gave = got + draw.randint(2, 60 if long else 12) * 10
        lock_free = free_at[thread] = gave
        rows.append(
            {
                "thread": thread,
                "site": site,
                "asked_ns": asked,
                "got_ns": got,
                "gave_ns": gave,
            }
        )
    return rows
