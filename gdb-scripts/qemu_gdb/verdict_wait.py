# SPDX-License-Identifier: MIT
"""BQL HOLD, WRONG CONTEXT, NESTED WAIT, BLOCKED CALLBACK: a thread waits where it should not."""
from typing import Optional

from qemu_gdb import waits
from qemu_gdb.cmd_where import Row
from qemu_gdb.finding import ONE_LOOK, Case, Finding, culprit
from qemu_gdb.frames import shorten
from qemu_gdb.loops import BH_DELETED, BH_SCHEDULED, IOHANDLER, Context
from qemu_gdb.out import duration, plural, printable
from qemu_gdb.verdict_left import late_timers
from qemu_gdb.threads import CALLS as POLLS
from qemu_gdb.where import DISPATCH, POLLING

CO_SCHEDULE = "co_schedule_bh_cb"


def _bql_waiters(case: Case) -> list[Row]:
    return [row for row in case.rows if row.bql == "waited for"]


def _site(row: Row) -> str:
    return f"aio_poll() called by {shorten(row.stack[row.where.nested_at + 1 :], 3)}"


def _is_nested_wait(row: Row) -> bool:
    return (
        row.where.nested_at >= 0 and row.where.phase == POLLING and row.wait is not None
    )


def _nested_facts(row: Row) -> list[str]:
    polls = row.thread.polls
    until = f", timeout {duration(polls.timeout_ns)}" if polls else ""
    facts = [f"depth {row.where.depth}, {row.wait}{until}"]
    facts += [f"it is in {subject.text}" for subject in row.subjects]
    return facts


def bql_hold(case: Case) -> list[Finding]:
    waiters = _bql_waiters(case)
    findings = []
    for row in case.rows:
        if row.bql != "held" or not waiters or row.wait is None:
            continue
        if row.where.phase == DISPATCH and not _is_nested_wait(row):
            continue  # the callback that sleeps is to blame: see below
        evidence = [f"it holds the BQL, and is {row.wait}; {ONE_LOOK}"]
        evidence += [_site(row), *_nested_facts(row)] if _is_nested_wait(row) else []
        for waiter in waiters[:8]:
            who = waits.thread_text(case.session.threads, waiter.thread.tid)
            site = f" at {waiter.site}" if waiter.site else ""
            evidence.append(f"{who} waits for it{site}")
        if len(waiters) > 8:
            evidence.append(f"and {len(waiters) - 8} more")
        advice = (
            "The lock has to be given up before a wait; a nested aio_poll() keeps it."
        )
        who = f"{culprit(case, row)}, with {plural(len(waiters), 'waiter')}"
        findings.append(Finding("BQL HOLD", row, "now", who, evidence, advice))
    return findings


def nested_wait(case: Case) -> list[Finding]:
    findings = []
    for row in case.rows:
        if not _is_nested_wait(row) or _misplaced(case, row):
            continue
        evidence = [*_nested_facts(row), ONE_LOOK]
        if row.bql == "held":
            evidence.append(
                "it holds the BQL meanwhile: every vCPU that needs it will wait"
            )
        evidence += _left_outside(case, row)
        advice = (
            "The loop around it stands still until the condition it waits for comes true and "
            "somebody wakes this thread: who changes that condition has to call aio_wait_kick()."
        )
        who = f"{culprit(case, row)}: {_site(row)}"
        findings.append(Finding("NESTED WAIT", row, "now", who, evidence, advice))
    return findings


def wrong_context(case: Case) -> list[Finding]:
    findings = []
    for row in case.rows:
        misplaced = _misplaced(case, row) if _is_nested_wait(row) else None
        if misplaced is None:
            continue
        evidence = [
            f"BH {CO_SCHEDULE} of {misplaced.name} is scheduled: it enters the coroutine, and the "
            "nested wait does not run that context",
            *_nested_facts(row),
            ONE_LOOK,
        ]
        advice = (
            "Move the coroutine to the context that is polled (aio_co_schedule() and a yield), or "
            "do not wait for it in aio_poll()."
        )
        who = f"a coroutine scheduled in {misplaced.name}, while {culprit(case, row)}: {_site(row)}"
        findings.append(Finding("WRONG CONTEXT", row, "now", who, evidence, advice))
    return findings


def _misplaced(case: Case, row: Row) -> Optional[Context]:
    """One of the same loop, not run by this wait, in which a coroutine waits to be entered.

    Only where nothing else could end the wait: no descriptor, no timer, no worker in I/O, nobody
    who wants the lock that it keeps."""
    contexts = case.session.loops.contexts
    mine = [c for c in contexts if c.tid == row.thread.tid]
    notifiers = {c.notifier_fd for c in contexts}
    polls = row.thread.polls
    if not mine or polls is None or not polls.for_ever:
        return None
    works = [
        r.thread.call
        for r in case.rows
        if r is not row and r.thread.call not in POLLS
        and waits.NAMES.get(r.thread.call, ("", False))[1]
    ]  # fmt: skip
    kept = row.bql == "held" and _bql_waiters(case)
    if any(f.fd not in notifiers for f in polls.fds) or works or kept:
        return None
    if any(c.timers for c in mine):
        return None
    for context in contexts:
        if context.tid == row.thread.tid or context.gctx != mine[0].gctx:
            continue
        for bh in context.bhs:
            scheduled = bh.flags & (BH_SCHEDULED | BH_DELETED) == BH_SCHEDULED
            if bh.name == CO_SCHEDULE and scheduled:
                return context
    return None


def _left_outside(case: Case, row: Row) -> list[str]:
    """Work of contexts that this thread's outer loop runs, and its nested wait does not."""
    return [
        f"BH {printable(bh.name) or case.session.names.callback(bh.cb)} of {context.name} is "
        "scheduled, and the nested wait does not run that context: if it waits for this, it is "
        "for ever"
        for context in case.session.loops.contexts
        if context.kind == IOHANDLER and row.where.loop == "main_loop_wait"
        for bh in context.bhs
        if bh.flags & (BH_SCHEDULED | BH_DELETED) == BH_SCHEDULED
    ]


def blocked(case: Case) -> list[Finding]:
    findings = []
    waiters = _bql_waiters(case)
    for row in case.rows:
        if row.where.phase != DISPATCH or row.wait is None or row.bql == "waited for":
            continue
        evidence = [row.wait, ONE_LOOK]
        holder = _holder(case, row)
        if holder is not None:
            evidence.append(
                f"the holder, {waits.thread_text(case.session.threads, holder.thread.tid)}, "
                f"{holder.wait or 'runs'}: {shorten(holder.stack, 6)}"
            )
        if row.bql == "held" and waiters:
            evidence.append(
                f"{plural(len(waiters), 'thread')} wait for the BQL, which it holds"
            )
        evidence += [f"meanwhile {text}" for text in late_timers(case, row)]
        if "mutex" in row.wait:
            advice = "Look at the holder: a callback must not wait for a lock that is held for long."
        else:
            advice = (
                "A callback must not sleep: make the descriptor non-blocking, or do this in a "
                "thread."
            )
        who = culprit(case, row)
        findings.append(
            Finding("BLOCKED CALLBACK", row, "in it now", who, evidence, advice)
        )
    return findings


def _holder(case: Case, row: Row) -> Optional[Row]:
    mutex = waits.waits_for_mutex(row.thread, row.stack)
    if not mutex:
        return None
    session = case.session
    return case.row_of(waits.mutex_owner(session.memory, mutex, session.threads))
