# SPDX-License-Identifier: MIT
"""Lab 1: its answers, found as the exercises ask for them."""

import json
import os
import random
import select
import tempfile
from typing import Any, Callable, Dict, List, Set

from looplabs import run
from looplabs.lab import Lab
from looplabs.toys import Source, World
from looplabs.truth import Answer, solves


@solves("1.1", kind="names")
def five_ways(lab: Lab) -> Answer:
    """The traces are named in their file; the student sees letters."""
    traces = json.loads(run.data("io-models.json").read_text())
    right = lab.order("models", sorted(traces))
    swap = {"multiplexing": "signal_driven", "signal_driven": "multiplexing"}
    ready = {"asynchronous": "blocking", "blocking": "asynchronous"}
    return Answer(
        right,
        {
            "Two are the wrong way round: in which one does a call return a signal's number?": [
                swap.get(m, m) for m in right
            ],
            "Two are the wrong way round: which one hands a whole request over?": [
                ready.get(m, m) for m in right
            ],
        },
    )


# --- what poll answers: the descriptors of the notebook, by their names ---------------------------


def _pipe(write: bool = False, close: str = "") -> int:
    out, into = os.pipe()
    if write:
        os.write(into, b"x")
    if close:
        os.close(into if close == "into" else out)
    return into if close == "out" else out


def _closed() -> int:
    fd = os.dup(0)
    os.close(fd)
    return fd


CASES: Dict[str, Callable[[], int]] = {
    "a_byte_in_a_pipe": lambda: _pipe(write=True),
    "an_empty_pipe_hung_up": lambda: _pipe(close="into"),
    "a_byte_and_hung_up": lambda: _pipe(write=True, close="into"),
    "nobody_reads": lambda: _pipe(close="out"),
    "a_file_at_its_end": lambda: os.open(
        tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR
    ),
    "a_closed_descriptor": _closed,
    "an_eventfd_of_zero": lambda: os.eventfd(0),
    "an_eventfd_of_three": lambda: os.eventfd(3),
}
BITS = {"IN": select.POLLIN, "OUT": select.POLLOUT, "ERR": select.POLLERR}
BITS |= {"HUP": select.POLLHUP, "NVAL": select.POLLNVAL}


@solves("1.2", kind="table")
def predict_poll(lab: Lab) -> Answer:
    """Asked of the kernel, as the notebook does afterwards."""
    right: Dict[str, Set[str]] = {}
    for name in lab.order("descriptors", list(CASES), most=5):
        fd = CASES[name]()
        poll = select.poll()
        poll.register(fd, select.POLLIN | select.POLLOUT)
        found = dict(poll.poll(0)).get(fd, 0)
        right[name] = {name for name, bit in BITS.items() if found & bit}
    unasked = {k: v - {"ERR", "HUP", "NVAL"} for k, v in right.items()}
    return Answer(right, {"Some events are told though nobody asks for them.": unasked})


@solves("1.3", kind="table")
def level_and_edge(lab: Lab) -> Answer:
    """Ceilings and floors."""
    w, r = lab.number("written", 7, 20), lab.number("read", 2, 5)
    level = -(-w // r)
    return Answer(
        {"level": level, "edge": 1, "left": w - r},
        {
            "The last wake-up may find fewer bytes than it could read.": {
                "level": w // r,
                "edge": 1,
                "left": w - r,
            },
            "Edge-triggered: does reading make the pipe become ready?": {
                "level": level,
                "edge": level,
                "left": 0,
            },
        },
    )


@solves("1.4", kind="table")
def asked_twice(lab: Lab) -> Answer:
    """Counted in the recording."""
    rec = lab.record("five-sources", iterations=lab.number("iterations", 24, 36))
    k = lab.choice("iteration", [9, 10, 14, 18, 19, 23])
    loop = rec.iterations("main loop")
    checks: List[Set[str]] = []
    for n in loop.n:
        story = rec.story(int(n), "main loop", "source_check")
        checks.append({w.split("source=")[1].split()[0] for w in story.what})
    all_three = sum(len(asked) == 3 for asked in checks)
    prepared = {
        w.split("source=")[1].split()[0]
        for w in rec.story(k, "main loop", "source_prepare").what
    }
    return Answer(
        {"checked": checks[k], "all three": all_three},
        {
            "Those are the ones that prepare asked.": {
                "checked": prepared,
                "all three": all_three,
            },
            "The first part is right; count again.": {
                "checked": checks[k],
                "all three": len(checks) - all_three,
            },
        },
    )


FUNCTIONS = ["line_prepare", "line_check", "line_dispatch", "line_finalize"]


def _connections(n: int) -> Dict[str, int]:
    """What the healthy program would call, three iterations a connection."""
    whole, rest = divmod(n, 3)
    return {
        "line_prepare": n,
        "line_check": 2 * whole + (rest > 0),
        "line_dispatch": n,
        "line_finalize": whole,
    }


@solves("1.5", kind="table")
def hang_up(lab: Lab) -> Answer:
    """One connection's first two iterations, then nothing but prepare and check."""
    n = lab.number("rounds", 6, 14)
    right = {
        "line_prepare": n,
        "line_check": n - 1,
        "line_dispatch": 2,
        "line_finalize": 0,
    }
    return Answer(
        right,
        {
            "That would be the healthy program.": _connections(n),
            "prepare can find a source ready: then check is not asked.": {
                **right,
                "line_check": n,
            },
            "A source that is not dispatched cannot be told to end.": {
                **right,
                "line_finalize": 1,
            },
        },
    )


# --- a main loop ----------------------------------------------------------------------------------


def iterate(world: World, all_that_is_ready: bool = False) -> None:
    """One iteration."""
    ordered = sorted(world.sources, key=lambda s: s.priority)
    ready: List[Source] = []
    timeouts: List[int] = []
    for source in ordered:
        is_ready, timeout = source.prepare()
        if is_ready:
            ready.append(source)
            timeouts.append(0)
        elif timeout >= 0:
            timeouts.append(timeout)
    found = world.poll(
        [s.fd for s in ordered if s.fd is not None], min(timeouts, default=-1)
    )
    ready = [s for s in ordered if s in ready or s.check(found)]
    for source in ready:
        if all_that_is_ready or source.priority == ready[0].priority:
            source.dispatch()


def _dispatched(lab: Lab, *args: Any) -> List[str]:
    world = World(random.Random(lab.seed))
    while not world.asleep:
        iterate(world, *args)
    return world.dispatched


@solves("1.6", kind="names")
def main_loop(lab: Lab) -> Answer:
    """The loop above, in the student's world."""
    return Answer(
        _dispatched(lab),
        {
            "Rule 4: not everything that is ready is dispatched at once.": _dispatched(
                lab, True
            )
        },
    )
