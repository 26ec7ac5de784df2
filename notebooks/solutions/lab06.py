# SPDX-License-Identifier: MIT
"""Lab 6: its answers."""

from itertools import combinations
from typing import Dict, Iterator, List

from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.truth import Answer, solves


def recording(lab: Lab) -> Recording:
    """Of the first two exercises."""
    return lab.record("five-sources", iterations=lab.number("iterations", 25, 45))


@solves("6.1", kind="table")
def written_or_not(lab: Lab) -> Answer:
    """Counted."""
    notifies = recording(lab).notifies()
    all_written = notifies.groupby("thread").written.all()
    right = {
        "calls": len(notifies),
        "written": int(notifies.written.sum()),
        "never for nothing": set(all_written.index[all_written]),
    }
    any_written = notifies.groupby("thread").written.any()
    return Answer(
        right,
        {
            "Those wrote it at least once; who wrote it each time?": {
                **right,
                "never for nothing": set(any_written.index[any_written]),
            }
        },
    )


@solves("6.2", kind="table")
def left_behind(lab: Lab) -> Answer:
    """fd 5, written by the loop's own thread."""
    rec = recording(lab)
    wakes = rec.wakeups("main loop")
    mine = wakes[(wakes.fd == 5) & (wakes.written_by == wakes.thread)]
    said = set()
    for k in mine.iteration:
        asked = rec.story(int(k) - 1, "main loop", "source_prepare").what
        said.add(
            "ready"
            if asked.str.contains("source=qemu_aio_context ready=1").any()
            else "not ready"
        )
    assert len(said) == 1
    right = {"iterations": list(mine.iteration), "before": said.pop()}
    every = list(wakes[wakes.fd == 5].iteration)
    return Answer(
        right,
        {
            "In some of those another thread had written it.": {
                **right,
                "iterations": every,
            },
            "The iterations are right; what did prepare say in the ones before?": {
                **right,
                "before": "not ready",
            },
        },
    )


def merges(first: List[str], second: List[str]) -> Iterator[List[str]]:
    """As the notebook has it."""
    for places in combinations(range(len(first) + len(second)), len(first)):
        a, b = iter(first), iter(second)
        yield [
            next(a) if i in places else next(b) for i in range(len(first) + len(second))
        ]


def hangs(order: List[str]) -> bool:
    """Asleep, with work to do, and nobody will write."""
    at = order.index
    return at("look for work") < at("publish") and at("read notify_me") < at(
        "set notify_me"
    )


@solves("6.3", kind="table")
def count_the_hangs(_lab: Lab) -> Answer:
    """Enumerated."""
    notifier, sleeper = ["publish", "read notify_me"], [
        "set notify_me",
        "look for work",
    ]

    def count(first: List[str], second: List[str]) -> int:
        return sum(map(hangs, merges(first, second)))

    right: Dict[str, int] = {
        "both": count(notifier, sleeper),
        "no notifier's": count(notifier[::-1], sleeper),
        "no sleeper's": count(notifier, sleeper[::-1]),
        "none": count(notifier[::-1], sleeper[::-1]),
    }
    return Answer(
        right,
        {"The function still says that none hangs.": dict.fromkeys(right, 0)},
    )


@solves("6.4", kind="table")
def evidence(lab: Lab) -> Answer:
    """The notification before the long sleep, and what was stored before it."""
    rec = lab.record("lost-wakeup")
    notifies = rec.notifies()
    lost = notifies[notifies.thread == "bh-scheduler"].iloc[0]
    scheduled = rec.of("bh_schedule")
    which = scheduled[scheduled.ns < lost.ns].iloc[-1]
    stored = rec.of("notify_me")
    before = stored[(stored.ns < lost.ns) & (stored.ctx == which.ctx)].iloc[-1]
    right = {
        "bottom half": rec.name(int(which.cb)),
        "thread": lost.thread,
        "saw": int(lost.notify_me),
        "stored": int(before.value),
    }
    return Answer(
        right,
        {
            "The last two are the wrong way round.": {
                **right,
                "saw": right["stored"],
                "stored": right["saw"],
            }
        },
    )


@solves("6.5", kind="table")
def another_way(lab: Lab) -> Answer:
    """The last notification of io0, and whether another thread accepted any."""
    rec = lab.record(lab.choice("race", ["stolen-accept", "iothread-stop-race"]))
    accepted = rec.of("notify_accept")
    thieves = [
        rec.thread(int(row.tid))
        for row in accepted.itertuples()
        if rec.name(row.ctx) == "io0" and rec.thread(int(row.tid)) != "IO io0"
    ]
    scheduled = rec.log("bh_schedule")
    said = scheduled[scheduled.what.str.contains("say_ready_bh")].ns.iloc[0]
    polls = rec.polls("io0")
    asleep = polls[(polls.timeout_ns == -1) & (polls.begin_ns < said)].begin_ns.iloc[-1]
    notifies = rec.notifies()
    last = notifies[(notifies.ctx == "io0") & (notifies.ns < asleep)].iloc[-1]
    why = "stolen" if thieves else "unread"
    right = {"notifier": last.thread, "written": int(last.written), "why": why}
    other = {"stolen": "unread", "unread": "stolen"}[why]
    return Answer(right, {"Who accepted io0's notifications?": {**right, "why": other}})
