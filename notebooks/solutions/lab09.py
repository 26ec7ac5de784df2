# SPDX-License-Identifier: MIT
"""Lab 9: its answers, found in the student's recordings."""

from itertools import permutations
from typing import Any, Dict, List, Tuple

from looplabs.lab import Lab
from looplabs.recording import Recording
from looplabs.truth import Answer, solves

HOW: Dict[str, Dict[str, str]] = {
    "poll": {"era": "8.2"},
    "epoll": {"fdmon": "epoll"},
    "io_uring": {"era": "10.2"},
}


def recording(lab: Lab, name: str) -> Recording:
    """Of the first two exercises."""
    return lab.record(
        "many-fds", iterations=5, fds=lab.number("fds", 70, 190), **HOW[name]
    )


def held(rec: Recording) -> Tuple[List[int], List[int]]:
    """What GLib has at the first wait: of each context, and in all; and what was ever added."""
    first = rec.polls("main loop").iloc[0]
    sources = ("iohandler_ctx", "qemu_aio_context")
    now, ever = dict.fromkeys(sources, 0), dict.fromkeys(sources, 0)
    for op, step in (("source_add_fd", 1), ("source_remove_fd", -1)):
        for row in rec.of(op).itertuples():
            if row.ns < first.begin_ns:
                now[rec.name(int(row.source))] += step
                ever[rec.name(int(row.source))] += max(step, 0)
    n = int(first.n_fds)
    return [*now.values(), n], [*ever.values(), n]


@solves("9.1", kind="table")
def what_glib_holds(lab: Lab) -> Answer:
    """Added and not removed."""
    both = {name: held(recording(lab, name)) for name in HOW}
    n = lab.number("fds", 70, 190)
    right = {name: now for name, (now, _) in both.items()}
    return Answer(
        right,
        {
            "Some of those were removed again before the wait.": {
                name: ever for name, (_, ever) in both.items()
            },
            "A context's notifier and the signalfd are handlers, too.": {
                **right,
                "poll": [n, *right["poll"][1:]],
            },
        },
    )


def order_of(rec: Recording, with_tag: bool) -> Tuple[List[str], int]:
    """The five steps of iteration 2, and the descriptor that ppoll found."""
    story = rec.story(
        2,
        "main loop",
        "poll_exit",
        "fd_ready",
        "check",
        "source_dispatch_begin",
        "handler_begin",
    )
    found = list(story.index[story.event == "fd_ready"])
    assert len(found) == (2 if with_tag else 1)
    steps = {
        "ppoll returns": story.index[story.event == "poll_exit"][0],
        "GLib checks": story.index[story.event == "check"][0],
        "source is dispatched": story.index[story.event == "source_dispatch_begin"][0],
        "its fd is found": found[-1],
        "handler is called": story.index[story.event == "handler_begin"][0],
    }
    tag = int(story.what[found[0]].partition("fd=")[2].split()[0])
    return sorted(steps, key=lambda step: int(steps[step])), tag


@solves("9.2", kind="table")
def when_it_is_found(lab: Lab) -> Answer:
    """With a tag the context asks when it is dispatched."""
    other = lab.choice("other", ["epoll", "io_uring"])
    by_poll, _ = order_of(recording(lab, "poll"), False)
    by_other, tag = order_of(recording(lab, other), True)
    right = {"poll": by_poll, "other": by_other, "tag": tag}
    return Answer(
        right,
        {
            "The tag that ppoll finds is not yet the eventfd.": {
                **right,
                "other": by_poll,
            }
        },
    )


def last_monitor(rec: Recording, ctx: str) -> str:
    """Before its handlers are taken away again."""
    rows = rec.of("fdmon_change")
    mine = [row.to for row in rows.itertuples() if rec.name(int(row.ctx)) == ctx]
    return str(mine[-1]) if mine else "poll"


@solves("9.3", kind="names")
def upgraded_or_not(lab: Lab) -> Answer:
    """As the loops say."""
    loops: List[Tuple[str, Dict[str, Any]]] = [
        ("epoll", {"fds": f}) for f in lab.order("border", [61, 62, 63, 64, 65], most=3)
    ]
    loops += [("many-fds", {"fds": lab.number("many", 70, 150), "era": "10.0"})]
    loops += [("epoll", {"fds": lab.number("few", 5, 20), "fdmon": "epoll"})]
    loops += [("io-uring", {"fds": lab.number("ring", 5, 100)})]
    right, by_count, by_number = [], [], []
    for name, options in lab.order("loops", loops):
        ctx = "iohandler_ctx" if name == "many-fds" else "io0"
        found = last_monitor(lab.record(name, iterations=3, **options), ctx)
        right.append(found)
        by_number.append("epoll" if name == "many-fds" else found)
        plain = name == "epoll" and "fdmon" not in options
        by_count.append("poll" if plain and options["fds"] < 64 else found)
    return Answer(
        right,
        {
            "Under GLib it is not asked.": by_number,
            "The notifier is a handler, too.": by_count,
        },
    )


@solves("9.4", kind="table")
def who_is_first(lab: Lab) -> Answer:
    """The calls, and as a mistake the order in which the kernel gave them."""
    k = lab.number("iteration", 4, 7)
    right: Dict[str, List[str]] = {}
    as_found: Dict[str, List[str]] = {}
    for monitor in HOW:
        rec = lab.record("drawn-order", iterations=9, seed=lab.seed, fdmon=monitor)
        calls = rec.callbacks()
        mine = calls[(calls.iteration == k) & calls.kind.str.startswith("handler")]
        right[monitor] = list(mine[mine.ctx == "qemu_aio_context"].cb)
        as_found[monitor] = right[monitor]
        if monitor != "poll":
            as_found[monitor] = right[monitor][::-1]
    return Answer(
        right, {"Each is put in front of those that were found before.": as_found}
    )


WORDS = ("walk", "switch", "list", "tell")


def outcome(order: List[str]) -> str:
    """What becomes of the new descriptor."""
    at = order.index
    walked = at("list") < at("walk")
    told = at("switch") < at("tell")
    return {(True, True): "twice", (False, False): "lost"}.get((walked, told), "fine")


@solves("9.5", kind="table")
def lost_on_the_way(lab: Lab) -> Answer:
    """Enumerated; and the handler whose removal epoll refuses."""
    right: Dict[str, Any] = {}
    for order in permutations(WORDS):
        at = order.index
        if at("walk") < at("switch") and at("list") < at("tell"):
            if outcome(list(order)) != "fine":
                right[outcome(list(order))] = list(order)
    rec = lab.record("epoll-upgrade-race")
    up, back = rec.of("fdmon_change").itertuples()
    polls = rec.polls("io0")
    slept = polls[polls.begin_ns > up.ns].iloc[0]
    asked = rec.of("handler_set")
    lost = asked[(asked.ctx == back.ctx) & (asked.ns < back.ns)].iloc[-1]
    right.update(given=int(up.n_fds), had=int(slept.n_fds), fd=int(lost.fd))
    return Answer(
        right,
        {
            "The two orders are the wrong way round.": {
                **right,
                "lost": right["twice"],
                "twice": right["lost"],
            },
            "That one was there when they walked.": {**right, "fd": right["fd"] - 1},
        },
    )
