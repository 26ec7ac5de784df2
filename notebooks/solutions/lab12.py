# SPDX-License-Identifier: MIT
"""Lab 12: its answers."""

from collections import Counter
from typing import Dict, List

from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.truth import Answer, solves


def recording(lab: Lab) -> Recording:
    """The whole one."""
    return lab.record("five-sources", iterations=lab.number("iterations", 40, 90))


@solves("12.1", kind="table")
def what_was_there(lab: Lab) -> Answer:
    """As a recording without loss has it."""
    rec = recording(lab)
    right = {
        "events": int(rec.counts().sum()),
        "five_bh_cb": int((rec.callbacks().cb == "five_bh_cb").sum()),
    }
    remarks = len(rec.all_events) - len(rec.events)
    return Answer(
        right,
        {
            "The recorder's own remarks are no events of the loop.": {
                **right,
                "events": right["events"] + remarks,
            }
        },
    )


@solves("12.2", kind="table")
def not_its_own(lab: Lab) -> Answer:
    """Each event counts for the calls around it, in the same thread."""
    rec = recording(lab)
    calls = rec.callbacks()
    log = rec.log()
    inside: Counter = Counter()
    with_both: Counter = Counter()
    for row in calls[calls.kind != "GSource"].itertuples():
        mine = log[log.thread == row.thread]
        among = (mine.ns > row.begin_ns) & (mine.ns < row.end_ns)
        inside[row.cb] += int(among.sum())
        with_both[row.cb] += int(among.sum()) + 2
    name, count = inside.most_common(1)[0]
    return Answer(
        {"callback": name, "events": count},
        {
            "Its begin and its end are not inside.": {
                "callback": name,
                "events": with_both[name],
            }
        },
    )


@solves("12.3", kind="table")
def two_samplers(lab: Lab) -> Answer:
    """Sampled."""
    length = lab.number("length", 8, 14) * 100
    second = [(t, length, "tick") for t in range(0, 1_000_000, 10_000)]
    second += [(t + 5_000, length, "scan") for t in range(0, 1_000_000, 10_000)]
    second += [(lab.number("stall", 10, 90) * 10_000 + 6_500, 3_000, "stall")]

    def seen(period: int) -> List[int]:
        found = Counter(
            name
            for t in range(300, 1_000_000, period)
            for begin, took, name in second
            if begin <= t < begin + took
        )
        return [found[name] for name in ("tick", "scan", "stall")]

    took: Counter = Counter()
    for _, each, name in second:
        took[name] += each
    right = {
        "in step": seen(10_000),
        "out of step": seen(lab.choice("period", [7_000, 9_000, 11_000, 13_000])),
        "truth": [took[name] // 1000 for name in ("tick", "scan", "stall")],
    }
    return Answer(right)


@solves("12.4", kind="table")
def what_is_left(lab: Lab) -> Answer:
    """The return address, and below it the registers."""
    names = lab.order("names", ["ctx", "fd", "revents", "timeout", "ready", "depth"])
    pushed = lab.number("pushed", 1, 4)

    def cut(words: int) -> Dict[str, object]:
        return {"destroyed": set(names[:words]), "safe": set(names[words:])}

    return Answer(
        cut(1 + pushed),
        {
            "The call itself writes, too.": cut(pushed),
            "It puts the registers back, not the memory.": cut(1),
        },
    )
