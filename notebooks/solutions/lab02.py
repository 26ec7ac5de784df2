# SPDX-License-Identifier: MIT
"""Lab 2: its answers, found in the student's recordings."""

from typing import Any, Dict, List

from looplabs.lab import Lab
from looplabs.truth import Answer, solves


@solves("2.1", kind="table")
def whose_descriptors(lab: Lab) -> Answer:
    """Handlers that had been added and not removed when the iteration began."""
    rec = lab.record("drawn-order", iterations=30, seed=lab.seed)
    loop = rec.iterations("main loop")
    k = lab.number("iteration", 8, 29)
    there: Dict[int, str] = {}
    ever: Dict[int, str] = {}
    for row in rec.handlers().itertuples():
        if row.ns < loop.begin_ns[k]:
            there[row.fd] = ever[row.fd] = row.ctx
            if row.op in ("remove", "free"):
                there.pop(row.fd)
    whole = max(loop.n_fds)

    def table(fds: Dict[int, str], without: int) -> Dict[str, int]:
        counts = {
            ctx: list(fds.values()).count(ctx)
            for ctx in ("iohandler_ctx", "qemu_aio_context")
        }
        return {**counts, "GLib": 1, "without east": without}

    without = int((loop.n_fds < whole).sum())
    return Answer(
        table(there, without),
        {
            "Some handlers that were removed had not come back.": table(ever, without),
            "The last number: in how many was it not polled?": table(
                there, len(loop) - without
            ),
        },
    )


def soonest(a: int, b: int) -> int:
    """As unsigned numbers, so that -1 is the longest."""
    return min(a, b, key=lambda t: t % (1 << 64))


@solves("2.2", kind="names")
def soonest_of_pairs(lab: Lab) -> Answer:
    """The function of the exercise."""
    times = [-1, 0, 500, 60_000_000, 10**9, -1]
    pairs = [lab.order(f"pair {n}", times, most=2) for n in range(8)]
    return Answer(
        [soonest(a, b) for a, b in pairs],
        {"-1 is for ever, which is not the shortest.": [min(a, b) for a, b in pairs]},
    )


@solves("2.3", kind="names")
def who_chose(lab: Lab) -> Answer:
    """As the loop says."""
    loop = lab.record("drawn-timeout", iterations=14, seed=lab.seed).iterations(
        "main loop"
    )
    first = lab.number("first", 2, 8)
    mine = loop.iloc[first : first + 5]
    called: List[Any] = [(c or ["net_slirp_poll_notify"])[-1] for c in mine.callbacks]
    return Answer(
        list(mine.chooser),
        {"That is what was called, which is not always who had chosen.": called},
    )


@solves("2.4", kind="names")
def culprits(lab: Lab) -> Answer:
    """Who chose 0, or (spin-fd) is called each time though nobody chose."""
    right = []
    for name in lab.order(
        "sick", ["spin-fd", "spin-bh", "spin-timer", "spin-prepare", "spin-idle-bh"]
    ):
        rec = lab.record(name, iterations=6)
        last = rec.iterations("main loop").iloc[-1]
        right.append(last.chooser or last.callbacks[0])
    return Answer(right)


STEPS = [
    "poll_notifier_begin",
    "prepare",
    "query",
    "timeout_chosen",
    "bql_released",
    "poll_enter",
]
STEPS += ["poll_exit", "bql_acquired", "check", "dispatch_begin", "dispatch_end"]


@solves("2.5", kind="names")
def order_of_steps(lab: Lab) -> Answer:
    """As they come first in an iteration."""
    story = list(lab.record("slirp", iterations=6).story(2).event)
    right = sorted(STEPS, key=story.index)
    late = [s for s in right if s != "poll_notifier_begin"]
    late.insert(late.index("dispatch_end"), "poll_notifier_begin")
    return Answer(right, {"The notifier's first call is to fill the poll set.": late})


@solves("2.6", kind="names")
def kept_the_lock(lab: Lab) -> Answer:
    """The column bql."""
    polls = lab.record("drawn-timeout", iterations=14, seed=lab.seed, era="2.11").polls(
        "main loop"
    )
    kept = list(polls.iteration[polls.bql == "yes"])
    others = list(polls.iteration[polls.bql == "no"])
    return Answer(kept, {"Those gave it up.": others})
