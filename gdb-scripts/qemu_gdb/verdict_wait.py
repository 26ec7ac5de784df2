# SPDX-License-Identifier: MIT
"""BQL HOLD, WRONG CONTEXT, NESTED WAIT, BLOCKED CALLBACK: a thread waits where it should not."""
from typing import Optional

from qemu_gdb import outside, waits
from qemu_gdb.cmd_where import Row
from qemu_gdb.finding import ONE_LOOK, Case, Finding, culprit
from qemu_gdb.frames import shorten
from qemu_gdb.out import duration, plural
from qemu_gdb.verdict_left import late_timers
from qemu_gdb.where import DISPATCH, POLLING

KICK_ADVICE = (
    "The loop around it stands still until the condition it waits for comes true and "
    "somebody wakes this thread: who changes that condition has to call aio_wait_kick()."
)
CO_ADVICE = (
    "Move the coroutine to the context that is polled (aio_co_schedule() and a yield), or "
    "do not wait for it in aio_poll()."
)
BH_ADVICE = (
    "A nested aio_poll() runs one context only: schedule the bottom half in that, or wait for "
    "it from the loop."
)


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


def nested(case: Case) -> list[Finding]:
    """NESTED WAIT; WRONG CONTEXT if what it waits for is proven to be where it does not look."""
    findings = []
    for row in case.rows:
        if not _is_nested_wait(row):
            continue
        found = outside.look(case, row)
        verdict, advice = "NESTED WAIT", KICK_ADVICE
        who = f"{culprit(case, row)}: {_site(row)}"
        if found.stuck:
            verdict, who = "WRONG CONTEXT", f"{found.stuck}, while {who}"
            advice = CO_ADVICE if found.is_coroutine else BH_ADVICE
        evidence = [*_nested_facts(row), ONE_LOOK]
        if row.bql == "held":
            evidence.append(
                "it holds the BQL meanwhile: every vCPU that needs it will wait"
            )
        # What is proven comes first.
        said = found.evidence
        evidence = said[:1] + evidence + said[1:] if found.stuck else evidence + said
        findings.append(Finding(verdict, row, "now", who, evidence, advice))
    return findings


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
