# SPDX-License-Identifier: MIT
"""The rows of --json: loopscope's, key by key, for every command that lists what a context has.

Handlers that differ only in descriptor and argument are one row with a count, unless that is
switched off; bottom halves and timers are a row each.
"""
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from qemu_gdb import describe
from qemu_gdb.errors import Damaged
from qemu_gdb.glib import MainContext
from qemu_gdb.loops import BottomHalf, Context, Handler, Timer
from qemu_gdb.out import address, events, fold, printable
from qemu_gdb.session import Session

CLOCKS = ("REALTIME", "VIRTUAL", "HOST", "VIRTUAL_RT")
MAIN_TIMERS = "main_loop_tlg"


class HandlerRow(NamedTuple):
    handler: Handler
    ready: Optional[bool]
    kind: str  # of its descriptor
    fds: list[int]  # those it stands for, if it stands for several


def context_row(session: Session, context: Context) -> dict[str, Any]:
    return {
        "type": "context",
        "ctx": context.name,
        "ctx_addr": address(context.addr),
        "thread": context.tid,
        "doing": session.doing(context.tid),
        "notifier_fd": context.notifier_fd,
        "notified": None if context.notified is None else bool(context.notified),
        "notify_me": context.notify_me,
        "handlers": len(context.handlers),
        "fdmon": session.fdmon(context) or None,
        "source": session.layout.source,
    }


def total_row(
    contexts: list[Context],
    main_timers: list[Timer],
    gcontexts: Sequence[MainContext] = (),
) -> dict[str, Any]:
    """GMainContexts are counted only: their sources are rows of "qemu sources"."""
    damaged = [c for c in contexts if c.damages], [g for g in gcontexts if g.damage]
    return {
        "type": "total",
        "contexts": len(contexts),
        "handlers": sum(len(context.handlers) for context in contexts),
        "bhs": sum(len(context.bhs) for context in contexts),
        "timers": sum(len(context.timers) for context in contexts) + len(main_timers),
        "gcontexts": len(gcontexts),
        "sources": sum(len(gcontext.sources) for gcontext in gcontexts),
        "damaged": sum(map(len, damaged)),
        "lost": 0,
    }


def damage_rows(
    ctx: Optional[str], damages: list[tuple[str, Damaged]]
) -> list[dict[str, Any]]:
    return [
        {
            "type": "damage",
            "ctx": ctx,
            "list": what,
            "addr": address(d.addr),
            "why": d.why,
        }
        for what, d in damages
    ]


def folded_handlers(
    session: Session, context: Context, unfolded: bool
) -> list[HandlerRow]:
    found = context.handlers
    ready = session.fds.ready_each([(h.fd, h.events) for h in found])
    kinds = [session.fds.get(h.fd).kind for h in found]
    rows = [HandlerRow(*row, []) for row in zip(found, ready, kinds)]
    if unfolded:
        return rows
    keys = [
        (h.events & 7, h.io_read, h.io_write, h.io_poll)
        + (h.deleted != 0, h.on_poll_list != 0, is_ready, kind)
        for h, is_ready, kind, _ in rows
    ]
    return [
        row._replace(fds=[other.handler.fd for other in equal])
        for row, equal in fold(rows, keys, False)
    ]


def _handler_row(session: Session, context: Context, row: HandlerRow) -> dict[str, Any]:
    handler, info, names = row.handler, session.fds.get(row.handler.fd), session.names
    read = names.callback(handler.io_read)
    return {
        "type": "handler",
        "ctx": context.name,
        "ctx_addr": address(context.addr),
        "thread": context.tid,
        "fd": handler.fd,
        "fds": row.fds,
        "fd_kind": info.kind,
        "fd_detail": info.detail or None,
        "events": events(handler.events),
        "io_read": read,
        "io_write": names.callback(handler.io_write),
        "io_poll": names.callback(handler.io_poll),
        "opaque": session.opaque(handler.opaque),
        "state": "deleted" if handler.deleted else "active",
        "ready": row.ready,
        "on_poll_list": handler.on_poll_list != 0,
        "why_here": describe.why_here(context.kind, read),
        "count": len(row.fds) or 1,
        "source": session.layout.source,
        "via": "gdb",
    }


def handler_rows(
    session: Session, context: Context, unfolded: bool
) -> list[dict[str, Any]]:
    return [
        _handler_row(session, context, row)
        for row in folded_handlers(session, context, unfolded)
    ]


def bh_row(session: Session, context: Context, bh: BottomHalf) -> dict[str, Any]:
    return {
        "type": "bh",
        "ctx": context.name,
        "addr": address(bh.addr),
        "name": printable(bh.name) or None,
        "callback": session.names.callback(bh.cb),
        "state": describe.bh_state(bh.flags),
        "taken": bh.taken,
        "opaque": address(bh.opaque),
    }


def clock_name(clock: int) -> str:
    return CLOCKS[clock] if 0 <= clock < len(CLOCKS) else "?"


def clock_ns(session: Session, clock: int) -> Optional[int]:
    """What time it is. REALTIME is CLOCK_MONOTONIC, HOST is CLOCK_REALTIME; the time of the virtual
    clocks cannot be known from outside."""
    known = {0: time.CLOCK_MONOTONIC, 2: time.CLOCK_REALTIME}.get(clock)
    if known is None or not session.inferior.live:
        return None
    return time.clock_gettime_ns(known)


def timer_row(session: Session, ctx: str, timer: Timer) -> dict[str, Any]:
    now_ns = clock_ns(session, timer.clock)
    return {
        "type": "timer",
        "ctx": ctx,
        "addr": address(timer.addr),
        "clock": clock_name(timer.clock),
        "callback": session.names.callback(timer.cb),
        "expire_ns": timer.expire_ns,
        "left_ns": None if now_ns is None else timer.expire_ns - now_ns,
        "opaque": address(timer.opaque),
    }
