# SPDX-License-Identifier: MIT
"""The rows of --json: loopscope's, key by key, for every command that lists what a context has.

Handlers that differ only in descriptor and argument are one row with a count, unless that is
switched off; bottom halves and timers are a row each.
"""
import time
from typing import Any, NamedTuple, Optional

from qemu_gdb import describe
from qemu_gdb.errors import Damaged
from qemu_gdb.loops import BottomHalf, Context, Handler, Timer
from qemu_gdb.out import Fold, address, events, printable
from qemu_gdb.session import Session

CLOCKS = ("REALTIME", "VIRTUAL", "HOST", "VIRTUAL_RT")
MAIN_TIMERS = "main_loop_tlg"


class HandlerRow(NamedTuple):
    handler: Handler
    ready: Optional[bool]
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


def total_row(contexts: list[Context], main_timers: list[Timer]) -> dict[str, Any]:
    return {
        "type": "total",
        "contexts": len(contexts),
        "handlers": sum(len(context.handlers) for context in contexts),
        "bhs": sum(len(context.bhs) for context in contexts),
        "timers": sum(len(context.timers) for context in contexts) + len(main_timers),
        "damaged": sum(bool(context.damages) for context in contexts),
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
    fold = Fold(unfolded)
    keys = []
    ready = session.fds.ready_each([(h.fd, h.events) for h in context.handlers])
    for h, is_ready in zip(context.handlers, ready):
        kind = session.fds.get(h.fd).kind
        callbacks = (h.io_read, h.io_write, h.io_poll)
        flags = (h.deleted != 0, h.on_poll_list != 0, is_ready)
        keys.append((kind, h.events & 7, callbacks, flags))
        fold.add(keys[-1], h.fd)
    rows = []
    for handler, is_ready, key in zip(context.handlers, ready, keys):
        shown, fds = fold.take(key)
        if shown:
            rows.append(HandlerRow(handler, is_ready, fds))
    return rows


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


def left_ns(session: Session, timer: Timer) -> Optional[int]:
    """REALTIME is CLOCK_MONOTONIC, HOST is CLOCK_REALTIME; what time it is on the virtual clocks
    cannot be known from outside."""
    clock = {0: time.CLOCK_MONOTONIC, 2: time.CLOCK_REALTIME}.get(timer.clock)
    if clock is None or not session.inferior.live:
        return None
    return timer.expire_ns - time.clock_gettime_ns(clock)


def timer_row(session: Session, ctx: str, timer: Timer) -> dict[str, Any]:
    return {
        "type": "timer",
        "ctx": ctx,
        "addr": address(timer.addr),
        "clock": clock_name(timer.clock),
        "callback": session.names.callback(timer.cb),
        "expire_ns": timer.expire_ns,
        "left_ns": left_ns(session, timer),
        "opaque": address(timer.opaque),
    }
