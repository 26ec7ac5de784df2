# SPDX-License-Identifier: MIT
"""Lab 10: its answers."""

import random
from collections import Counter
from typing import Any, Dict, List

from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.toys import lock_trace
from looplabs.truth import Answer, solves

MAIN = "demo-qemu-loop"


def recording(lab: Lab) -> Recording:
    """Of the first two exercises."""
    return lab.record("five-sources", iterations=lab.number("iterations", 27, 54))


@solves("10.1", kind="table")
def who_takes_it(lab: Lab) -> Dict[str, int]:
    """Counted."""
    return {
        thread: int(n)
        for thread, n in recording(lab).bql().thread.value_counts().items()
    }


@solves("10.2", kind="table")
def in_the_gap(lab: Lab) -> Answer:
    """Rows of others, by how often the main loop had taken the lock before."""
    right: Dict[str, List[int]] = {}
    iteration = -1
    taken = recording(lab).bql().sort_values("acquired_ns")
    for row in taken.itertuples():
        if row.thread == MAIN:
            iteration += row.site == "main_loop_wait"
        else:
            right.setdefault(row.thread, []).append(iteration + 1)
    one_less = {thread: [n - 1 for n in numbers] for thread, numbers in right.items()}
    return Answer(
        right,
        {"Each one too low: the gap is before the loop has the lock again.": one_less},
    )


@solves("10.3", kind="table")
def victim_and_culprit(lab: Lab) -> Answer:
    """Waits of the main loop that began within a hold of the other."""
    taken = lab.record("bql-hold", iterations=lab.number("writes", 2, 4)).bql()
    holds = taken[taken.thread != MAIN]
    waits = taken[(taken.thread == MAIN) & (taken.site == "main_loop_wait")]
    begins = waits.acquired_ns - waits.wait_ns
    ends = holds.acquired_ns + holds.hold_ns
    times = sum(bool(((holds.acquired_ns <= b) & (b < ends)).any()) for b in begins)
    right = {
        "waits": MAIN,
        "at": "main_loop_wait",
        "holds": holds.thread.iloc[0],
        "took it in": holds.site.iloc[0],
        "times": times,
    }
    swapped = {
        **right,
        "waits": right["holds"],
        "at": right["took it in"],
        "holds": MAIN,
        "took it in": right["at"],
    }
    return Answer(
        right, {"The wrong way round: the longest red bar is the victim's.": swapped}
    )


@solves("10.4", kind="table")
def nobody_moves(lab: Lab) -> Answer:
    """The poll that kept the lock, and who asked for it."""
    rec = lab.record("nested-bql")
    polls = rec.polls()
    kept = polls[polls.bql == "yes"].iloc[-1]
    right: Dict[str, Any] = {
        "holds": kept.thread,
        "in": rec.nested().called_by.iloc[-1],
        "depth": int(kept.depth),
        "wait": set(rec.bql().thread) - {kept.thread},
    }
    return Answer(
        right,
        {
            "Who holds it does not wait for it.": {
                **right,
                "wait": set(rec.bql().thread),
            }
        },
    )


@solves("10.5", kind="table")
def culprits(lab: Lab) -> Answer:
    """Overlaps of waits and holds."""
    rows = lock_trace(random.Random(lab.seed))
    blame: Counter[str] = Counter()
    victims: Counter[str] = Counter()
    for wait in rows:
        for hold in rows:
            begin = max(int(str(wait["asked_ns"])), int(str(hold["got_ns"])))
            end = min(int(str(wait["got_ns"])), int(str(hold["gave_ns"])))
            if end > begin:
                blame[str(hold["site"])] += end - begin
                victims[str(wait["site"])] += end - begin
    return Answer(dict(blame), {"That is the table of the victims.": dict(victims)})
