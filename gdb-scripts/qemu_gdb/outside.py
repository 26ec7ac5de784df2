# SPDX-License-Identifier: MIT
"""What a nested aio_poll() leaves outside: work in contexts that its thread runs from its loop only.

A bottom half there is taken for what the wait is for only where nothing else could end the wait: no
descriptor, no timer, no worker in I/O or computing (but a vCPU), nobody who wants the lock that it
keeps, and nothing that may be under way in contexts of other threads. Else it is a hint; and so is a
ready descriptor or an overdue timer, as any loop that is held up has them.
"""
from typing import NamedTuple, Optional

from qemu_gdb import waits
from qemu_gdb.cmd_where import Row
from qemu_gdb.finding import Case
from qemu_gdb.loops import BH_DELETED, BH_IDLE, BH_SCHEDULED, BottomHalf, Context
from qemu_gdb.out import printable
from qemu_gdb.threads import CALLS as POLLS
from qemu_gdb.verdict_left import late_timers

CO_SCHEDULE = "co_schedule_bh_cb"
MAX_SAID = 4


class Outside(NamedTuple):
    """Of one nested wait."""

    stuck: str  # what it waits for, if that is proven: "BH foo scheduled in iohandler_ctx"; or ""
    is_coroutine: bool
    evidence: list[str]


def look(case: Case, row: Row) -> Outside:
    contexts = case.session.loops.contexts
    polled = next((c for c in contexts if c.tid == row.thread.tid), None)
    if polled is None:
        return Outside("", False, [])
    others = [c for c in contexts if c.tid != polled.tid and c.gctx == polled.gctx != 0]
    bhs = [(c, bh) for c in others for bh in c.bhs if is_scheduled(bh)]
    proof = bhs if _is_alone(case, row, polled, others) else []
    hints = [f"BH {bh_name(case, bh)} of {c.name} is scheduled" for c, bh in bhs]
    hints = hints[1:] if proof else hints
    hints += [text for context in others for text in _ready(case, context)]
    hints += late_timers(case, row)
    evidence = [f"meanwhile {text} and cannot run" for text in hints[:MAX_SAID]]
    if len(hints) > MAX_SAID:
        evidence.append(f"and {len(hints) - MAX_SAID} more that cannot")
    if not proof:
        return Outside("", False, evidence)
    context, name = proof[0][0], bh_name(case, proof[0][1])
    is_coroutine = name == CO_SCHEDULE
    enters = ": it enters the coroutine" if is_coroutine else ""
    said = (
        f"BH {name} of {context.name} is scheduled{enters}, and this thread runs only "
    )
    stuck = "a coroutine" if is_coroutine else f"BH {name}"
    return Outside(
        f"{stuck} scheduled in {context.name}",
        is_coroutine,
        [f"{said}{polled.name} now", *evidence],
    )


def is_scheduled(bh: BottomHalf) -> bool:
    return bh.flags & (BH_SCHEDULED | BH_DELETED | BH_IDLE) == BH_SCHEDULED


def bh_name(case: Case, bh: BottomHalf) -> str:
    return printable(bh.name) or case.session.names.callback(bh.cb) or "?"


def _is_alone(case: Case, row: Row, polled: Context, others: list[Context]) -> bool:
    """Is nobody left who could end the wait, but what is outside?"""
    contexts = case.session.loops.contexts
    notifiers = {c.notifier_fd for c in contexts}
    polls = row.thread.polls
    if polls is None or not polls.for_ever or polled.timers:
        return False
    if any(f.fd not in notifiers for f in polls.fds):
        return False
    if row.bql == "held" and any(r.bql == "waited for" for r in case.rows):
        return False
    if any(_works(r) for r in case.rows if r is not row):
        return False
    return not any(
        _has_under_way(c)
        for c in contexts
        if c is not polled and not any(c is other for other in others)
    )


def _works(row: Row) -> bool:
    call = row.thread.call
    if call < 0:
        return not row.thread.name.startswith("CPU ")
    return call not in POLLS and waits.NAMES.get(call, ("", False))[1]


def _has_under_way(context: Context) -> bool:
    own = context.notifier_fd
    return bool(context.timers) or any(
        not h.deleted and h.fd != own for h in context.handlers
    )


def _ready(case: Case, context: Context) -> list[str]:
    """Its handlers whose descriptor is ready: of a living process, as only the kernel knows."""
    session = case.session
    if not session.inferior.live:
        return []
    handlers = [
        h
        for h in context.handlers
        if not h.deleted and h.events and h.fd != context.notifier_fd
    ]
    ready = session.fds.ready_each([(h.fd, h.events) for h in handlers])
    found = []
    for handler, is_ready in zip(handlers, ready):
        if is_ready:
            name = session.names.callback(handler.io_read or handler.io_write) or "?"
            info = session.fds.get(handler.fd)
            fd = f"fd {handler.fd} ({info.kind}{' ' if info.detail else ''}{info.detail})"
            found.append(f"handler {name} of {context.name}, {fd}, is ready")
    return found
