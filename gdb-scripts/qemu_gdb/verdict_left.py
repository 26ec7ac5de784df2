# SPDX-License-Identifier: MIT
"""TIMER LATE, HANDLER LEAK, DEAD FD: what is late, left over, or closed."""
import os
from typing import Optional

from qemu_gdb.cmd_where import Row
from qemu_gdb.finding import Case, Finding, culprit
from qemu_gdb.frames import shorten
from qemu_gdb.loops import IOHANDLER, MAIN, Context
from qemu_gdb.out import duration, plural
from qemu_gdb.session import Session
from qemu_gdb.stop_clock import CLOCKS, late_ns
from qemu_gdb.where import BQL_WAIT, DISPATCH, POLLING

LATE_NS = 100 * 10**6
NVAL = 0x20


def late_timers(case: Case, row: Row) -> list[str]:
    """Overdue timers of the contexts that this busy thread is home to."""
    session = case.session
    if not session.inferior.live:
        return []
    names = {s.ctx for s in row.subjects}
    if row.where.loop == "main_loop_wait":
        names |= {"qemu_aio_context", "iohandler_ctx"}
    timers = [
        timer for context in session.loops.contexts if context.name in names
        for timer in context.timers
    ]  # fmt: skip
    if row.where.loop == "main_loop_wait":
        timers += session.loops.main_timers
    return [
        f"timer {session.names.name(t.cb)} ({t.addr:#x}) is overdue by {duration(late_ns(t))}"
        for t in timers
        if t.clock in CLOCKS and late_ns(t) > LATE_NS
    ]


def late(case: Case) -> list[Finding]:
    """Of a thread that computes: one that sleeps in a callback, or in its poll, is judged above."""
    findings = []
    for row in case.rows:
        if not row.where.loop or row.wait is not None or row.where.phase == BQL_WAIT:
            continue
        overdue = late_timers(case, row)
        if not overdue:
            continue
        evidence = [
            *overdue,
            f"meanwhile the thread is {row.where.phase}, and computes: ",
        ]
        evidence[-1] += shorten(row.stack, 6)
        advice = "What the thread is in keeps every timer of its loop waiting: do it in pieces."
        who = culprit(case, row)
        findings.append(
            Finding("TIMER LATE", row, "when it was stopped", who, evidence, advice)
        )
    return findings


def leak(case: Case) -> list[Finding]:
    """Removed handlers are freed when the outermost walk ends, so none is left in a sleep."""
    findings = []
    for context in case.session.loops.contexts:
        row = case.row_of(context.tid)
        left = [h for h in context.handlers if h.deleted]
        if row is None or row.where.depth != 1 or row.where.phase != POLLING:
            continue
        if not left or case.notifying:
            continue
        fds = ", ".join(str(h.fd) for h in left[:8]) + (" ..." if len(left) > 8 else "")
        evidence = [
            f"{context.name} keeps {plural(len(left), 'removed handler')} (fd {fds})",
            "its thread sleeps in its outermost loop: nobody walks the list that they wait for",
        ]
        advice = "Look at who raised list_lock and did not lower it, or never frees what it defers."
        who = (
            f"{context.name}, {len(left)} of {plural(len(context.handlers), 'handler')}"
        )
        findings.append(Finding("HANDLER LEAK", row, "asleep", who, evidence, advice))
    return findings


def _home(case: Case, context: Context) -> Optional[Row]:
    """Of the thread that runs it, also while it does not poll."""
    row = case.row_of(context.tid)
    if row is None and context.kind in (MAIN, IOHANDLER):
        row = next((r for r in case.rows if r.where.loop == "main_loop_wait"), None)
    return row


def dead(case: Case) -> list[Finding]:
    """A callback may close a descriptor before it removes the handler: not judged while in one."""
    session, findings = case.session, []
    for context in session.loops.contexts:
        row = _home(case, context)
        busy = [r for r in case.rows if r.where.phase == DISPATCH]
        if (row in busy if row is not None else busy) or case.notifying:
            continue
        closed = [
            h
            for h in context.handlers
            if not h.deleted and _is_dead(session, h.fd, h.revents)
        ]
        for handler in closed[:8]:
            callback = (
                session.names.callback(handler.io_read or handler.io_write) or "?"
            )
            evidence = [
                f"handler {handler.addr:#x} of {context.name} waits for fd {handler.fd}, which "
                "is not open",
                "poll says POLLNVAL to it at once, each time; epoll has forgotten it",
            ]
            advice = "Remove the handler (aio_set_fd_handler with no callbacks) before close()."
            who = f"handler {callback} of {context.name} is registered for fd {handler.fd}, "
            who += "which is closed"
            findings.append(Finding("DEAD FD", row, "now", who, evidence, advice))
    return findings


def _is_dead(session: Session, fd: int, revents: int) -> bool:
    if fd < 0:
        return False
    if session.inferior.live:
        proc = f"/proc/{session.inferior.pid}/fd"
        return os.path.isdir(proc) and not os.path.lexists(f"{proc}/{fd}")
    return bool(revents & NVAL)
