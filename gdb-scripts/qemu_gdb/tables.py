# SPDX-License-Identifier: MIT
"""What a context has, as text: one aligned table for each kind of thing, equal rows with a count."""
from collections.abc import Hashable, Sequence
from typing import Any, Optional, Union

from qemu_gdb import describe
from qemu_gdb.errors import Damaged
from qemu_gdb.loops import BottomHalf, Context, Timer
from qemu_gdb.out import Table, duration, events, fold, printable, ranges
from qemu_gdb.rows import MAIN_TIMERS, clock_name, clock_ns, folded_handlers
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
    called: dict[tuple[int, int], str] = {}
    under: dict[tuple[int, int], Optional[str]] = {}
    for handler, ready, kind, fds in folded_handlers(session, context, unfolded):
        pair = handler.io_read, handler.io_write
        if pair not in called:
            called[pair] = " / ".join(names.name(cb) for cb in pair if cb) or "-"
            under[pair] = describe.calls(names, pair[0] or pair[1])
        own = handler.fd == context.notifier_fd
        table.row(
            f"x{len(fds)}" if fds else f"{handler.fd:3}",
            kind,
            events(handler.events),
            "its own notifier" if own else called[pair],
            session.opaque(handler.opaque) or "-",
            describe.handler_state(handler, ready),
        )
        if not own:
            table.under(3, under[pair])
            table.under(3, describe.why_here(context.kind, called[pair]))
        table.under(
            3, f"fds {ranges(fds)}" if fds else session.fds.get(handler.fd).detail
        )
    return table.text("  ")


def bhs(session: Session, context: Context, unfolded: bool) -> str:
    if session.layout.offset("QEMUBH", "ctx") is None:
        return "  BHs       unknown: this build's QEMUBH is not proven\n"
    if not context.bhs:
        return "  BHs       none scheduled\n"
    table = Table("COUNT", "BOTTOM HALF", "STATE", "ARGUMENT")
    names = session.names
    keys = [(bh.name, bh.cb, bh.flags, bh.taken) for bh in context.bhs]
    words: dict[Hashable, tuple[str, str]] = {}  # by key: its name, its state
    calls: dict[Hashable, Optional[str]] = {}
    for bh, equal in fold(context.bhs, keys, unfolded):
        key = bh.name, bh.cb, bh.flags, bh.taken
        if key not in words:
            name = printable(bh.name) or names.callback(bh.cb) or "?"
            words[key] = name, describe.bh_state(bh.flags)
            callback = names.callback(bh.cb)
            renamed = f"calls {callback}" if bh.name and name != callback else None
            calls[key] = describe.calls(names, bh.cb) or renamed
        table.row(_count(equal), *words[key], _arguments(session, bh, equal))
        table.under(1, calls[key])
        if bh.taken:
            table.under(1, "taken by an aio_bh_poll() that has not called it yet")
    return table.text("  ")


def _count(equal: Sequence[object]) -> str:
    return f"x{len(equal)}" if equal else ""


def _arguments(
    session: Session, one: Union[BottomHalf, Timer], equal: Sequence[Any]
) -> str:
    if equal and any(other.opaque != one.opaque for other in equal):
        return "several"
    return session.opaque(one.opaque) or "-"


def _due(expire_ns: int, now_ns: Optional[int]) -> str:
    if now_ns is None:
        return f"at {expire_ns} ns"
    return f"in {duration(expire_ns - now_ns)}" if expire_ns >= now_ns else "due now"


def timers(session: Session, armed: list[Timer], unfolded: bool) -> str:
    if session.layout.offset("QEMUTimerList", "active_timers") is None:
        return "  timers    unknown: no timer was armed to prove their layout on\n"
    if not armed:
        return "  timers    none armed\n"
    table = Table("COUNT", "CLOCK", "DUE", "TIMER'S CALLBACK", "ARGUMENT")
    names, keys = session.names, [(timer.clock, timer.cb) for timer in armed]
    now_ns = {clock: clock_ns(session, clock) for clock, _ in set(keys)}
    clocks = {clock: clock_name(clock) for clock in now_ns}
    called = {cb: names.callback(cb) or "?" for _, cb in set(keys)}
    calls = {cb: describe.calls(names, cb) for cb in called}
    for timer, equal in fold(armed, keys, unfolded):
        due = _due(timer.expire_ns, now_ns[timer.clock])
        table.row(
            _count(equal),
            clocks[timer.clock],
            f"first {due}" if equal else due,  # the lists are sorted
            called[timer.cb],
            _arguments(session, timer, equal),
        )
        table.under(3, calls[timer.cb])
    stopped = filter(session.loops.is_stopped, sorted(clocks))
    return table.text("  ") + "".join(
        f"  {clocks[clock]} is stopped: none of its timers runs before it goes on\n"
        for clock in stopped
    )


def damages(found: list[tuple[str, Damaged]], only: Optional[str] = None) -> str:
    return "".join(
        f"  DAMAGED: {describe.damage(what, damage)}\n"
        for what, damage in found
        if only is None or what == only
    )
