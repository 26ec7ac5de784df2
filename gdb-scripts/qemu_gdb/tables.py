# SPDX-License-Identifier: MIT
"""What a context has, as text: one aligned table for each kind of thing, equal rows with a count."""
from typing import Optional

from qemu_gdb import describe
from qemu_gdb.errors import Damaged
from qemu_gdb.loops import BottomHalf, Context, Timer
from qemu_gdb.out import Fold, Table, duration, events, printable, ranges
from qemu_gdb.rows import MAIN_TIMERS, clock_name, folded_handlers, left_ns
from qemu_gdb.session import Session

MAIN_PURPOSE = f"{MAIN_TIMERS}: timers of devices, run by the main loop after dispatch"


def heading(session: Session, context: Context) -> str:
    """Which context, what it is for, who runs it and what that thread does now."""
    fdmon = session.fdmon(context)
    doing = session.doing(context.tid)
    if context.tid is None:
        doing += ": see qemu where"
    return (
        f"\n{context.name}: {describe.PURPOSE[context.kind]}\n"
        f"  {doing}{'; fd monitor ' + fdmon if fdmon else ''}\n"
    )


def handlers(session: Session, context: Context, unfolded: bool) -> str:
    table = Table(" FD", "KIND", "EVENTS", "CALLBACK", "ARGUMENT", "STATE")
    names = session.names
    for handler, ready, fds in folded_handlers(session, context, unfolded):
        info = session.fds.get(handler.fd)
        called = [names.name(cb) for cb in (handler.io_read, handler.io_write) if cb]
        own = handler.fd == context.notifier_fd
        table.row(
            f"x{len(fds)}" if fds else f"{handler.fd:3}",
            info.kind,
            events(handler.events),
            "its own notifier" if own else " / ".join(called) or "-",
            session.opaque(handler.opaque) or "-",
            describe.handler_state(handler, ready),
        )
        if not own:
            table.under(3, describe.calls(names, handler.io_read or handler.io_write))
            why = describe.why_here(context.kind, " / ".join(called))
            table.under(3, why)
        table.under(3, f"fds {ranges(fds)}" if fds else info.detail)
    return table.text("  ")


def bhs(session: Session, context: Context, unfolded: bool) -> str:
    if session.layout.offset("QEMUBH", "ctx") is None:
        return "  BHs       unknown: this build's QEMUBH is not proven\n"
    if not context.bhs:
        return "  BHs       none scheduled\n"
    table = Table("COUNT", "BOTTOM HALF", "STATE", "ARGUMENT")
    names = session.names

    def key(bh: BottomHalf) -> tuple[str, int, int, bool]:
        return bh.name, bh.cb, bh.flags, bh.taken

    fold = Fold(unfolded)
    for bh in context.bhs:
        fold.add(key(bh), bh.opaque)
    for bh in context.bhs:
        shown, opaques = fold.take(key(bh))
        if not shown:
            continue
        callback = names.callback(bh.cb) or "?"
        several = len(set(opaques)) > 1
        table.row(
            f"x{len(opaques)}" if opaques else "",
            printable(bh.name) or callback,
            describe.bh_state(bh.flags),
            "several" if several else session.opaque(bh.opaque) or "-",
        )
        if bh.name and printable(bh.name) != callback:
            table.under(1, f"calls {callback}")
        table.under(1, describe.calls(names, bh.cb))
        if bh.taken:
            table.under(1, "taken by an aio_bh_poll() that has not called it yet")
    return table.text("  ")


def _due(session: Session, timer: Timer) -> str:
    left = left_ns(session, timer)
    if left is None:
        return f"at {timer.expire_ns} ns"
    return "due now" if left < 0 else f"in {duration(left)}"


def timers(session: Session, armed: list[Timer], unfolded: bool) -> str:
    if session.layout.offset("QEMUTimerList", "active_timers") is None:
        return "  timers    unknown: no timer was armed to prove their layout on\n"
    if not armed:
        return "  timers    none armed\n"
    table = Table("COUNT", "CLOCK", "DUE", "TIMER'S CALLBACK", "ARGUMENT")
    names = session.names
    fold = Fold(unfolded)
    for timer in armed:
        fold.add((timer.clock, timer.cb), timer.opaque)
    for timer in armed:
        # The lists are sorted: the first of equal ones is the one that is due first.
        shown, opaques = fold.take((timer.clock, timer.cb))
        if not shown:
            continue
        several = len(set(opaques)) > 1
        table.row(
            f"x{len(opaques)}" if opaques else "",
            clock_name(timer.clock),
            ("first " if opaques else "") + _due(session, timer),
            names.callback(timer.cb) or "?",
            "several" if several else session.opaque(timer.opaque) or "-",
        )
        table.under(3, describe.calls(names, timer.cb))
    stopped = sorted({t.clock for t in armed if session.loops.is_stopped(t.clock)})
    return table.text("  ") + "".join(
        f"  {clock_name(clock)} is stopped: none of its timers runs before it goes on\n"
        for clock in stopped
    )


def damages(found: list[tuple[str, Damaged]], only: Optional[str] = None) -> str:
    return "".join(
        f"  DAMAGED: {describe.damage(what, damage)}\n"
        for what, damage in found
        if only is None or what == only
    )
