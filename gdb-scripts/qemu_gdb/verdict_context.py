# SPDX-License-Identifier: MIT
"""WRONG CONTEXT: there is work in an AioContext that no thread runs.

Its IOThread has ended or has never begun. Who may be in a callback of it has it, or its IOThread, on
the stack; and a thread that computes may be on its way to its first poll: then nothing is said. The
two contexts of the main thread may well wait for long, and are not meant.
"""
from qemu_gdb import outside
from qemu_gdb.cmd_where import Row
from qemu_gdb.finding import ONE_LOOK, Case, Finding
from qemu_gdb.iothread import IOThreads
from qemu_gdb.loops import IOHANDLER, MAIN, Context

MAX_SAID = 4
# Where a thread begins. A coroutine's stack ends elsewhere: who runs that is on another.
STARTS = frozenset(
    """start_thread clone clone3 __clone __clone3 __GI___clone3 _start main __libc_start_main
    __libc_start_call_main""".split()
)


def without_thread(case: Case) -> list[Finding]:
    findings = []
    for context in case.session.loops.contexts:
        if context.kind in (MAIN, IOHANDLER) or case.notifying or context.damages:
            continue
        work = _work(case, context) if _is_idle(case, context) else []
        if not work:
            continue
        evidence = ["no thread polls it, none has it on its stack, its notify_me is 0"]
        evidence += [f"{what} {how}" for what, how in work[:MAX_SAID]]
        if len(work) > MAX_SAID:
            evidence.append(f"and {len(work) - MAX_SAID} more")
        evidence.append(ONE_LOOK)
        who = f"{work[0][0].split(' (0x')[0]} waits in {context.name}, which no thread runs"
        advice = (
            "Has its IOThread ended, or was it never started? Give the work to a context that a "
            "thread runs."
        )
        row = case.row_of(case.session.inferior.pid)
        findings.append(Finding("WRONG CONTEXT", row, "now", who, evidence, advice))
    return findings


def _is_idle(case: Case, context: Context) -> bool:
    known = case.session.layout.offset("IOThread", "ctx") is not None
    if context.tid is not None or context.notify_me != 0 or not known:
        return False
    return not any(_may_run(case, context, row) for row in case.rows)


def _may_run(case: Case, context: Context, row: Row) -> bool:
    if row.thread.polls is not None:
        return False  # another one, or its own would be known
    if row.thread.call < 0 and row.thread.name.startswith("CPU "):
        return False
    whole = row.stack and any(name in STARTS for name in row.stack[-1].names())
    if row.thread.call < 0 or row.where.loop or not whole:
        return True
    session = case.session
    finder = IOThreads(session.memory, session.layout, [row.thread])
    return finder.runs(context, row.thread)


def _work(case: Case, context: Context) -> list[tuple[str, str]]:
    """What it is, and how: by one look, of a core too."""
    return [
        (f"BH {outside.bh_name(case, bh)} ({bh.addr:#x})", "is scheduled")
        for bh in context.bhs
        if outside.is_scheduled(bh)
    ]
