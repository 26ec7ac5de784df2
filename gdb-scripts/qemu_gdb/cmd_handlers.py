# SPDX-License-Identifier: MIT
"""qemu handlers: every context with its thread, handlers, bottom halves and timers."""
import time
from typing import Any, Optional

import gdb

from qemu_gdb import describe
from qemu_gdb.choose import choose
from qemu_gdb.command import Command
from qemu_gdb.errors import Damaged
from qemu_gdb.loops import Context, Handler, Timer
from qemu_gdb.out import (
    COLUMNS,
    Fold,
    Table,
    address,
    cut,
    duration,
    events,
    json_line,
    plural,
    printable,
    ranges,
)
from qemu_gdb.session import Session

CLOCKS = ("REALTIME", "VIRTUAL", "HOST", "VIRTUAL_RT")
MAIN_TIMERS = "main_loop_tlg"


class Handlers(Command):
    """What is registered in each AioContext: qemu handlers [CTX] [--all] [--json]

    CTX is a context's name (qemu_aio_context, iohandler_ctx, an IOThread's), an address, or any
    expression: qemu handlers ((IOThread*)0x55d2c0)->ctx. Without one: all contexts.
    A handler waits for a descriptor; a BH (bottom half) runs at the loop's next turn; a timer when
    it is due. Handlers that differ only in descriptor and argument are one row with a count.
    """

    name = "handlers"
    options = ("all", "json", "verbose")

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        loops = session.loops
        chosen = [choose(session, text)] if text else loops.contexts
        for context in chosen:
            loops.read_lists(context)
        if not text:
            loops.read_main_timers()
        unfolded = bool(options & {"all", "verbose"})
        if "json" in options:
            return "".join(
                map(json_line, _json_rows(session, chosen, not text, unfolded))
            )
        return _text(session, chosen, not text, unfolded)


def register() -> None:
    Handlers()


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


def _handler_row(
    session: Session, context: Context, handler: Handler, fds: list[int]
) -> dict[str, Any]:
    info = session.fds.get(handler.fd)
    names = session.names
    return {
        "type": "handler",
        "ctx": context.name,
        "ctx_addr": address(context.addr),
        "thread": context.tid,
        "fd": handler.fd,
        "fds": fds,
        "fd_kind": info.kind,
        "fd_detail": info.detail or None,
        "events": events(handler.events),
        "io_read": names.callback(handler.io_read),
        "io_write": names.callback(handler.io_write),
        "io_poll": names.callback(handler.io_poll),
        "opaque": session.opaque(handler.opaque),
        "state": "deleted" if handler.deleted else "active",
        "count": len(fds) or 1,
        "source": session.layout.source,
        "via": "gdb",
    }


def _folded(
    session: Session, context: Context, unfolded: bool
) -> list[tuple[Handler, list[int]]]:
    """The rows: a handler, and the descriptors it stands for if it stands for several."""
    fold = Fold(unfolded)
    keys = []
    for h in context.handlers:
        kind = session.fds.get(h.fd).kind
        callbacks = (h.io_read, h.io_write, h.io_poll)
        keys.append((kind, h.events & 7, callbacks, describe.handler_state(h)))
        fold.add(keys[-1], h.fd)
    rows = []
    for handler, key in zip(context.handlers, keys):
        shown, fds = fold.take(key)
        if shown:
            rows.append((handler, fds))
    return rows


def _left_ns(session: Session, timer: Timer) -> Optional[int]:
    """REALTIME is CLOCK_MONOTONIC, HOST is CLOCK_REALTIME; what time it is on the virtual clocks
    cannot be known from outside."""
    clock = {0: time.CLOCK_MONOTONIC, 2: time.CLOCK_REALTIME}.get(timer.clock)
    if clock is None or not session.inferior.live:
        return None
    return timer.expire_ns - time.clock_gettime_ns(clock)


def _clock_name(timer: Timer) -> str:
    return CLOCKS[timer.clock] if 0 <= timer.clock < len(CLOCKS) else "?"


def _json_rows(
    session: Session, contexts: list[Context], main: bool, unfolded: bool
) -> list[dict[str, Any]]:
    names, loops = session.names, session.loops
    rows: list[dict[str, Any]] = []

    def add_timers(ctx: str, timers: list[Timer]) -> None:
        for t in timers:
            rows.append(
                {
                    "type": "timer",
                    "ctx": ctx,
                    "addr": address(t.addr),
                    "clock": _clock_name(t),
                }
            )
            rows[-1].update(callback=names.callback(t.cb), expire_ns=t.expire_ns)
            rows[-1].update(left_ns=_left_ns(session, t), opaque=address(t.opaque))

    for context in contexts:
        rows.append(context_row(session, context))
        for handler, fds in _folded(session, context, unfolded):
            rows.append(_handler_row(session, context, handler, fds))
        for bh in context.bhs:
            rows.append({"type": "bh", "ctx": context.name, "addr": address(bh.addr)})
            rows[-1].update(
                name=printable(bh.name) or None, callback=names.callback(bh.cb)
            )
            rows[-1].update(
                state=describe.bh_state(bh.flags), opaque=address(bh.opaque)
            )
        add_timers(context.name, context.timers)
        rows += damage_rows(context.name, context.damages)
    if main:
        add_timers(MAIN_TIMERS, loops.main_timers)
        rows += damage_rows(None, loops.damages)
    rows.append(total_row(contexts, loops.main_timers))
    return rows


def _handlers_text(session: Session, context: Context, unfolded: bool) -> str:
    table = Table(" FD", "KIND", "EVENTS", "CALLBACK", "ARGUMENT", "STATE")
    names = session.names
    for handler, fds in _folded(session, context, unfolded):
        info = session.fds.get(handler.fd)
        called = [names.name(cb) for cb in (handler.io_read, handler.io_write) if cb]
        own = handler.fd == context.notifier_fd
        table.row(
            f"x{len(fds)}" if fds else f"{handler.fd:3}",
            info.kind,
            events(handler.events),
            "its own notifier" if own else " / ".join(called) or "-",
            session.opaque(handler.opaque) or "-",
            describe.handler_state(handler),
        )
        if not own:
            table.under(3, describe.calls(names, handler.io_read or handler.io_write))
        table.under(3, f"fds {ranges(fds)}" if fds else info.detail)
    return table.text("  ")


def _bhs_text(session: Session, context: Context) -> str:
    if session.layout.offset("QEMUBH", "ctx") is None:
        return "  BHs       unknown: this build's QEMUBH is not proven\n"
    lines = [
        f"  BH        {printable(bh.name) or session.names.callback(bh.cb) or '?'}"
        f" ({describe.bh_state(bh.flags)})\n"
        for bh in context.bhs
    ]
    return "".join(lines) or "  BHs       none scheduled\n"


def _timers_text(session: Session, timers: list[Timer]) -> str:
    if session.layout.offset("QEMUTimerList", "active_timers") is None:
        return "  timers    unknown: no timer was armed to prove their layout on\n"
    lines = []
    for timer in timers:
        left = _left_ns(session, timer)
        if left is None:
            due = f"at {timer.expire_ns} ns"
        else:
            due = "due now" if left < 0 else f"in {duration(left)}"
        calls = describe.calls(session.names, timer.cb)
        name = session.names.callback(timer.cb) or "?"
        line = f"  timer     {_clock_name(timer):10} {due}  {name}"
        lines.append(cut(f"{line} ({calls})" if calls else line, COLUMNS) + "\n")
    return "".join(lines) or "  timers    none armed\n"


def _damages_text(damages: list[tuple[str, Damaged]]) -> str:
    return "".join(
        f"  DAMAGED: {describe.damage(what, damage)}\n" for what, damage in damages
    )


def _text(session: Session, contexts: list[Context], main: bool, unfolded: bool) -> str:
    loops = session.loops
    out = [f"{session.title()}: its AioContexts\n"]
    for context in contexts:
        fdmon = session.fdmon(context)
        out.append(f"\n{context.name}: {describe.PURPOSE[context.kind]}\n")
        out.append(
            f"  {session.doing(context.tid)}{'; fd monitor ' + fdmon if fdmon else ''}\n"
        )
        out.append(_handlers_text(session, context, unfolded))
        out.append(_bhs_text(session, context))
        out.append(_timers_text(session, context.timers))
        out.append(_damages_text(context.damages))
    if main:
        out.append(
            f"\n{MAIN_TIMERS}: timers of devices, run by the main loop after dispatch\n"
        )
        out.append(_timers_text(session, loops.main_timers))
        out.append(_damages_text(loops.damages))
    total = total_row(contexts, loops.main_timers)
    counts = ", ".join(
        plural(total[key], what)
        for key, what in (
            ("contexts", "context"),
            ("handlers", "handler"),
            ("bhs", "BH"),
            ("timers", "timer"),
        )
    )
    out.append(f"\n{counts}; layout {session.layout_text()}.\n")
    return "".join(out)
