# SPDX-License-Identifier: MIT
"""Lab 11: its answers."""

import json
from typing import Dict, List, Tuple

from looplabs import cases, run
from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.truth import Answer, solves

COMMITS = {
    "bh-not-cancelled": "a3aeb9f09d",
    "epoll-upgrade-race": "e62da98527",
    "poll-recursion": "6d740fb01b",
    "coroutine-wrong-context": "719c6819ed9a",
    "stolen-accept": "b37548fcd1",
    "iothread-stop-race": "2362a28ea1",
}
FOR_ALL = [
    "epoll-upgrade-race",
    "poll-recursion",
    "bh-not-cancelled",
    "coroutine-wrong-context",
]
RACES = ["stolen-accept", "iothread-stop-race"]


def drawn(lab: Lab) -> Dict[str, cases.Case]:
    """As the notebook draws them."""
    seen = Lab(6, variant=lab.variant).choice("race", RACES)
    race = next(name for name in RACES if name != seen)
    return cases.cases(lab, [*FOR_ALL, race])


def recording(lab: Lab, scenario: str) -> Recording:
    """Of the case that is this one."""
    return next(c for c in drawn(lab).values() if cases.scenario(c) == scenario).rec


def symptom(rec: Recording) -> List[str]:
    """Which thread is in trouble, and how."""
    polls = rec.polls()
    for_ever = polls[polls.timeout_ns == -1]
    inside = for_ever[for_ever.depth > 1]
    if len(inside):
        return [inside.iloc[-1].thread, "nested"]
    if (for_ever.loop == "io0").any():
        return [for_ever[for_ever.loop == "io0"].iloc[-1].thread, "asleep"]
    assert (polls.tail(5).timeout_ns == 0).all()
    return [polls.iloc[-1].thread, "turns"]


@solves("11.1", kind="table")
def symptoms(lab: Lab) -> Answer:
    """Of each, by its waits."""
    right = {letter: symptom(case.rec) for letter, case in drawn(lab).items()}
    main = {
        letter: ["demo-qemu-loop", "asleep"] if how == "asleep" else [thread, how]
        for letter, (thread, how) in right.items()
    }
    shallow = {
        letter: [thread, "asleep" if how == "nested" else how]
        for letter, (thread, how) in right.items()
    }
    return Answer(
        right,
        {
            "Nobody asks anything of those main loops; look at the other thread.": main,
            "Where a wait is inside of a callback (depth), that is another matter.": shallow,
        },
    )


@solves("11.2", kind="table")
def verdicts(lab: Lab) -> Answer:
    """As the demo loop lists them."""
    listed = run.output(run.need("demo-qemu-loop"), "--list", "--json")
    known = {
        row["name"]: row["verdict"] for row in map(json.loads, listed.splitlines())
    }
    right = {letter: known[cases.scenario(c)] for letter, c in drawn(lab).items()}
    wrong = {
        letter: "NESTED WAIT" if verdict == "WRONG CONTEXT" else verdict
        for letter, verdict in right.items()
    }
    return Answer(
        right,
        {"One of the nested waits has a cause that has a name of its own.": wrong},
    )


@solves("11.3", kind="table")
def turns(lab: Lab) -> Answer:
    """Counted."""
    rec = recording(lab, "bh-not-cancelled")
    k = lab.number("turns", 9, 24)
    calls = rec.callbacks()
    mine = calls[(calls.iteration < k) & (calls.cb == "thread_pool_completion_bh")]
    scheduled = rec.log("bh_schedule")
    about = scheduled[scheduled.what.str.contains("thread_pool_completion_bh")]
    right = {
        "called": len(mine),
        "completed": len(rec.of("thread_pool_complete")),
        "scheduled by": about.iloc[0].thread,
    }
    return Answer(
        right,
        {
            "It is not called in each iteration; not in the first ones.": {
                **right,
                "called": k,
            },
            "That is who schedules it later. Who was first?": {
                **right,
                "scheduled by": about.iloc[-1].thread,
            },
        },
    )


@solves("11.4", kind="table")
def two_numbers(lab: Lab) -> Answer:
    """The handlers of io0 until the change, and what the change says."""
    rec = recording(lab, "epoll-upgrade-race")
    change = rec.of("fdmon_change").iloc[0]
    handlers = rec.handlers()
    mine = handlers[(handlers.ctx == "io0") & (handlers.ns < change.ns)]
    assert set(mine.op) == {"add"}
    right = {
        "handlers": len(mine),
        "watched": int(change.n_fds),
        "added by": mine.iloc[-1].thread,
    }
    return Answer(
        right,
        {
            "Without the context's own notifier, is that all?": {
                **right,
                "handlers": len(mine) - 1,
            },
            "That thread went over to epoll. Which one added the handler?": {
                **right,
                "added by": rec.thread(int(change.tid)),
            },
        },
    )


def left_scheduled(rec: Recording, ns: int) -> Tuple[str, str]:
    """The one bottom half that is scheduled at that time, and neither called nor cancelled."""
    waiting = set()
    for event in rec.events:
        if event.ns - rec.start_ns >= ns:
            break
        if event.name == "bh_schedule":
            waiting.add((event.args["ctx"], event.args["cb"]))
        elif event.name in ("bh_begin", "bh_cancel"):
            waiting.discard((event.args["ctx"], event.args["cb"]))
    ((ctx, cb),) = waiting
    return rec.name(ctx), rec.name(cb)


@solves("11.5", kind="table")
def inside(lab: Lab) -> Answer:
    """The deepest nested poll of each, and what was scheduled meanwhile."""
    rec = recording(lab, "coroutine-wrong-context")
    waits = rec.nested().iloc[-1]
    on, name = left_scheduled(rec, waits.begin_ns)
    deep = recording(lab, "poll-recursion").nested()
    right = {
        "waits": waits.called_by,
        "for": name,
        "on": on,
        "depth": int(deep.depth.max()),
        "callback": deep.iloc[-1].called_by,
    }
    return Answer(
        right,
        {
            "The wait inside does run that context. On which one is what it waits for?": {
                **right,
                "on": waits.ctx,
            },
            "The loop's own poll counts, too.": {
                **right,
                "depth": right["depth"] - 1,
            },
        },
    )


@solves("11.6", kind="table")
def commits(lab: Lab) -> Answer:
    """By scenario; the demo loop's list says so, too."""
    right = {letter: COMMITS[cases.scenario(c)] for letter, c in drawn(lab).items()}
    races = [COMMITS[name] for name in RACES]
    other = {races[0]: races[1], races[1]: races[0]}
    return Answer(
        right,
        {
            "Four are right. Is there a thread that tells io0 to stop?": {
                letter: other.get(commit, commit) for letter, commit in right.items()
            }
        },
    )
