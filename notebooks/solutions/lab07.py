# SPDX-License-Identifier: MIT
"""Lab 7: its answers."""

from typing import Any, Dict, List, Set

from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.truth import Answer, solves


def recording(lab: Lab) -> Recording:
    """Of all but the last exercise."""
    return lab.record("nested-drain", iterations=lab.number("iterations", 5, 12))


@solves("7.1", kind="table")
def who_is_where(lab: Lab) -> Answer:
    """The rows that add."""
    handlers = recording(lab).handlers()
    added = handlers[handlers.op == "add"]
    right: Dict[str, Set[str]] = {
        ctx: set(rows.io_read) for ctx, rows in added.groupby("ctx")
    }
    without = {ctx: names - {"aio_context_notifier_cb"} for ctx, names in right.items()}
    return Answer(right, {"A context's own notifier is a handler, too.": without})


@solves("7.2", kind="names")
def inside(lab: Lab) -> Answer:
    """Depth 2."""
    calls = recording(lab).callbacks()
    mine = calls[
        (calls.iteration == lab.number("iteration", 1, 4)) & (calls.kind != "GSource")
    ]
    return Answer(
        list(mine[mine.poll_depth == 2].cb),
        {
            "That is all of the iteration.": list(mine.cb),
            "That is what was not inside.": list(mine[mine.poll_depth == 1].cb),
        },
    )


@solves("7.3", kind="table")
def client_waits(lab: Lab) -> Answer:
    """Sizes of the polls; where client_read was called."""
    rec = recording(lab)
    k = lab.number("iteration", 1, 4)
    polls, calls = rec.polls(), rec.callbacks()
    mine = polls[polls.iteration == k]
    client = calls[calls.cb == "client_read"]
    right = {
        "main": int(mine[mine.depth == 1].n_fds.iloc[0]),
        "nested": int(mine[mine.depth == 2].n_fds.iloc[0]),
        "calls": len(client),
        "inside": int((client.poll_depth == 2).sum()),
    }
    return Answer(
        right,
        {
            "It was called after the nested polls, not in one.": {
                **right,
                "inside": right["calls"],
            }
        },
    )


def kicked_in(rec: Recording, iteration: int) -> List[str]:
    """The innermost callback, each time a waiter was kicked."""
    calls = rec.callbacks()
    kicks = rec.story(iteration, "main loop", "aio_wait_kick").ns
    found = []
    for ns in kicks:
        around = calls[
            (calls.begin_ns <= ns)
            & (calls.end_ns >= ns)
            & (calls.iteration == iteration)
        ]
        found.append(str(around.sort_values("depth").cb.iloc[-1]))
    return found


@solves("7.4", kind="set")
def wrong_context(lab: Lab) -> Answer:
    """Those that complete a request."""
    right = set(kicked_in(recording(lab), lab.number("iteration", 1, 4)))
    return Answer(
        right,
        {
            "One of these does nothing when it runs.": right | {"aio_wait_kicked_bh"},
            "Timers can be in another context, too.": right - {"request_timer_cb"},
        },
    )


ORDER = [
    "aio_poll_enter",
    "aio_wait_enter",
    "aio_wait_exit",
    "aio_wait_kick",
    "handler_remove",
]
ORDER += ["qemu_coroutine_terminate"]


@solves("7.5", kind="table")
def end_of_a_server(lab: Lab) -> Answer:
    """Seen in the recording."""
    rec = lab.record("nbd-server", iterations=lab.number("nbd", 12, 40))
    nested = rec.nested()
    story = list(rec.story(7).event)
    right: Dict[str, Any] = {
        "iterations": sorted({int(n) for n in nested.iteration if n >= 0}),
        "kicked in": kicked_in(rec, 7)[0],
        "order": sorted(ORDER, key=story.index),
    }
    return Answer(
        right,
        {
            "Who waits is not who kicks.": {
                **right,
                "kicked in": str(nested.called_by.iloc[0]),
            }
        },
    )
