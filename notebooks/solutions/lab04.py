# SPDX-License-Identifier: MIT
"""Lab 4: its answers, as the loop had them; the wrong ones are other orders of the same callbacks."""

from typing import List

import pandas as pd

from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.truth import Answer, solves


def recording(lab: Lab) -> Recording:
    """The one that all but the last exercise are about."""
    return lab.record("drawn-order", iterations=30, seed=lab.seed)


def some(rec: Recording, kind: str, least: int) -> List[int]:
    """Iterations that call at least so many of a kind: as the notebook has it."""
    calls = rec.callbacks()
    counts = calls[calls.kind == kind].groupby("iteration").size()
    return [int(k) for k in counts.index[counts >= least] if k > 0]


def called(rec: Recording, kind: str, k: int) -> List[str]:
    """An iteration's callbacks of a kind, in order."""
    calls = rec.callbacks()
    return list(calls[(calls.kind == kind) & (calls.iteration == k)].cb)


@solves("4.1", kind="names")
def bottom_halves(lab: Lab) -> Answer:
    """The last one scheduled first."""
    rec = recording(lab)
    right = called(rec, "BH", lab.choice("halves", some(rec, "BH", 4)))
    return Answer(
        right,
        {
            "That is the order in which they were scheduled.": right[::-1],
            "One that iteration k - 1 had scheduled is missing.": [
                b for b in right if b != "chained_bh"
            ],
            "notify_event_cb is a bottom half, too.": [
                b for b in right if b != "notify_event_cb"
            ],
        },
    )


@solves("4.2", kind="names")
def handlers(lab: Lab) -> Answer:
    """The last one registered first, in each context."""
    rec = recording(lab)
    right = called(rec, "handler", lab.choice("handlers", some(rec, "handler", 4)))
    io = [h for h in right if h in ("tap_read", "serial_read", "sigfd_handler")]
    aio = [h for h in right if h not in io]
    return Answer(
        right,
        {
            "Newer nodes are nearer to the head of the list.": aio[::-1] + io[::-1],
            "One context after the other: which was attached first?": io + aio,
            "A context's notifier is a handler, too.": [
                h for h in right if h != "aio_context_notifier_cb"
            ],
        },
    )


@solves("4.3", kind="names")
def timers(lab: Lab) -> Answer:
    """Sorted by expiry; device timers last."""
    rec = recording(lab)
    k = lab.choice("timers", some(rec, "timer", 3))
    loop = rec.iterations("main loop")
    armed: pd.DataFrame = rec.of("timer_arm")
    armed = armed[(armed.ns > loop.end_ns[k - 1]) & (armed.ns < loop.begin_ns[k])]
    in_that_order = [rec.name(cb) for cb in armed.cb]
    return Answer(
        called(rec, "timer", k),
        {
            "That is the order in which they were armed; the lists are sorted.": in_that_order
        },
    )


@solves("4.4", kind="names")
def whole_iteration(lab: Lab) -> Answer:
    """All callbacks."""
    rec = recording(lab)
    loop = rec.iterations("main loop")
    k = lab.choice(
        "all", [int(n) for n in loop.n if len(loop.callbacks[n]) >= 8 and n > 8]
    )
    right = list(loop.callbacks[k])
    by_kind = [c for kind in ("BH", "handler", "timer") for c in called(rec, kind, k)]
    return Answer(
        right,
        {"A context's timers come before the other context's handlers.": by_kind},
    )


@solves("4.5", kind="names")
def ready_and_not_called(lab: Lab) -> Answer:
    """Ready by the poll, absent among the callbacks."""
    rec = lab.record("drawn-order", iterations=120, seed=lab.seed)
    loop = rec.iterations("main loop")
    ready = [r.n for r in loop.itertuples() if 9 in r.ready]
    right = [n for n in ready if "east_read" not in loop.callbacks[n]]
    return Answer(
        right,
        {
            "In those it was called: it came before west_read.": [
                n for n in ready if n not in right
            ]
        },
    )


@solves("4.6", kind="table")
def freed(lab: Lab) -> Answer:
    """Seen in the recording."""
    rec = lab.record("deleted-handler", iterations=2)
    story = list(rec.story(1).event)
    names = [
        "aio_poll_enter",
        "aio_poll_exit",
        "handler_free",
        "handler_remove",
        "handler_end",
    ]
    polls = rec.polls("qemu_aio_context")
    nested = int(polls[polls.depth == 2].n_fds.iloc[-1])
    order = sorted(names, key=story.index)
    too_early = [n for n in order if n != "handler_free"]
    too_early.insert(too_early.index("aio_poll_exit"), "handler_free")
    return Answer(
        {"order": order, "n_fds": nested},
        {
            "The nested loop may not free what the outer walk stands on.": {
                "order": too_early,
                "n_fds": nested,
            },
            "The order is right. What is deleted is not polled.": {
                "order": order,
                "n_fds": nested + 3,
            },
            "The order is right. Does aio_poll() poll GLib's own eventfd?": {
                "order": order,
                "n_fds": nested + 1,
            },
        },
    )
