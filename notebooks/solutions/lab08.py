# SPDX-License-Identifier: MIT
"""Lab 8: its answers."""

from itertools import permutations
from typing import Any, Dict, List, Sequence, Set

from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.truth import Answer, solves

IO0 = "IO io0"


def pieces(lab: Lab) -> int:
    """How many pieces of work there are."""
    return lab.number("pieces", 5, 12)


def phases(rec: Recording) -> List[str]:
    """What becomes of the thread."""
    return list(rec.of("iothread_state").phase)


@solves("8.1", kind="table")
def two_ways(lab: Lab) -> Answer:
    """The handlers; with GLib, what was found ready and is none."""
    plain = lab.record("iothread", iterations=pieces(lab))
    glib = lab.record("iothread-gcontext", iterations=pieces(lab))

    def handlers(rec: Recording) -> Set[int]:
        rows = rec.handlers()
        return set(rows.fd[(rows.op == "add") & (rows.ctx == "io0")])

    by_aio, by_glib = handlers(plain), handlers(glib)
    wakes = glib.wakeups()
    by_glib |= set(wakes.fd[wakes.thread == IO0])
    for rec, fds in ((plain, by_aio), (glib, by_glib)):
        polls = rec.polls()
        assert polls[polls.thread == IO0].n_fds.max() == len(fds)
    right = {
        "iothread": phases(plain),
        "gcontext": phases(glib),
        "aio_poll waits for": by_aio,
        "GLib waits for": by_glib,
    }
    return Answer(
        right,
        {
            "GLib polls an eventfd of its own, too.": {
                **right,
                "GLib waits for": handlers(glib),
            }
        },
    )


STEPS = {
    "work_bh is scheduled": ("bh_schedule", "cb=work_bh"),
    "work_bh runs": ("bh_begin", "cb=work_bh"),
    "the eventfd is written": ("event_notifier_set", "fd={fd} "),
    "kick_read runs": ("handler_begin", "cb=kick_read"),
    "reply_bh is scheduled": ("bh_schedule", "cb=reply_bh"),
    "reply_bh runs": ("bh_begin", "cb=reply_bh"),
}


@solves("8.2", kind="table")
def there_and_back(lab: Lab) -> Answer:
    """Of the piece that is asked for, each step is the one of that number."""
    n = pieces(lab)
    rec = lab.record("iothread", iterations=n)
    k = lab.number("piece", 2, n - 2)
    log = rec.log("bh_schedule", "bh_begin", "handler_begin", "event_notifier_set")
    right: Dict[str, List[str]] = {"demo-qemu-loop": [], IO0: []}
    kick = rec.handlers()
    fd = int(kick.fd[(kick.op == "add") & (kick.io_read == "kick_read")].iloc[0])
    at: Dict[str, Any] = {}
    for step, (event, what) in STEPS.items():
        said = log.what.str.contains(what.format(fd=fd), regex=False)
        rows = log[(log.event == event) & said]
        assert len(rows) == n
        at[step] = rows.iloc[k]
    for step in sorted(at, key=lambda s: int(at[s].ns)):
        right[at[step].thread].append(step)
    right["notifies"] = [s for s in STEPS if STEPS[s][0] == "bh_schedule"]
    written = ["the eventfd is written"]
    return Answer(
        right,
        {
            "That eventfd is work_bh's own; no context's notifier.": {
                **right,
                "notifies": [s for s in STEPS if s in [*right["notifies"], *written]],
            }
        },
    )


def adjust(
    poll_ns: int, block_ns: int, poll_max_ns: int, poll_grow: int, poll_shrink: int
) -> int:
    """The function of the exercise."""
    if poll_max_ns == 0 or block_ns <= poll_ns:
        return poll_ns
    if block_ns > poll_max_ns:
        return poll_ns // poll_shrink if poll_shrink else 0
    if poll_ns < poll_max_ns and block_ns < poll_max_ns:
        return min(poll_ns * (poll_grow or 2) if poll_ns else 4000, poll_max_ns)
    return poll_ns


@solves("8.3", kind="names")
def grow_and_shrink(lab: Lab) -> Answer:
    """By the rule."""
    settings = {
        "poll_max_ns": lab.choice("max", [20000, 32768, 50000]),
        "poll_grow": lab.choice("grow", [0, 2, 3, 4]),
        "poll_shrink": lab.choice("shrink", [0, 2, 3]),
    }
    some = [900, 3500, 7000, 12000, 18000, 31000, 60000]
    blocks = [3500, 7000] + [lab.choice(f"wait {i}", some) for i in range(10)]

    def after(**changed: int) -> List[int]:
        now, found = 0, []
        for block in blocks:
            now = adjust(now, block, **{**settings, **changed})
            found.append(now)
        return found

    return Answer(
        after(),
        {
            "A wait that is too long makes it shorter.": after(poll_shrink=1),
            "It is never longer than poll_max_ns; but that is not when it shrinks.": after(
                poll_max_ns=10**9
            ),
        },
    )


@solves("8.4", kind="table")
def awake_or_asleep(lab: Lab) -> Answer:
    """As the loop says."""
    rec = lab.recorded("busy-polling")
    first = lab.number("first", 24, 38)
    rows = rec.walk.busy_polling("io0")
    mine = rows[(rows.n >= first) & (rows.n < first + 12)]
    right = {
        what: list(mine.n[mine.what == what])
        for what in ("found", "in vain", "not tried")
    }
    slept = sorted(right["in vain"] + right["not tried"])
    return Answer(
        right,
        {
            "Before some of those sleeps it did poll.": {
                **right,
                "in vain": [],
                "not tried": slept,
            },
            "Where poll_ns is 0 it does not poll.": {
                **right,
                "in vain": slept,
                "not tried": [],
            },
        },
    )


def hangs(home: Sequence[str], other: Sequence[str]) -> int:
    """In how many orders it has looked too early, and was not written to."""
    count = 0
    for order in permutations([*home, *other]):
        at = order.index
        if [*home] != sorted(home, key=at) or [*other] != sorted(other, key=at):
            continue
        count += at("look") < at(other[0]) and at("read") < at("raise")
    return count


@solves("8.5", kind="table")
def stopped_and_asleep(lab: Lab) -> Answer:
    """Enumerated; and the times of the four steps."""
    rec = lab.record("iothread-stop-race")
    log = rec.log("iteration_begin", "notify_me", "iothread_state")
    mine = log[log.thread == IO0]
    notifies = rec.notifies()
    told = notifies[notifies.thread == "stopper"].iloc[0]
    polls = rec.polls("io0")
    asleep = int(polls.begin_ns[polls.timeout_ns == -1].iloc[-1])
    before = mine[mine.ns < asleep]
    state = log[log.event == "iothread_state"]
    at = {
        "look": before[before.event == "iteration_begin"].ns.iloc[-1],
        "raise": before[before.event == "notify_me"].ns.iloc[-1],
        "clear": state.ns[state.what.str.contains("phase=stopping")].iloc[0],
        "read": told.ns,
    }
    right = {
        "flag": hangs(["look", "raise", "sleep"], ["clear", "read"]),
        "bottom half": hangs(["raise", "look", "sleep"], ["schedule", "read"]),
        "saw": int(told.notify_me),
        "order": sorted(at, key=lambda step: int(at[step])),
    }
    return Answer(
        right,
        {
            "Whoever looks early is still woken, if notify_me is raised in time.": {
                **right,
                "flag": 6,
            }
        },
    )
