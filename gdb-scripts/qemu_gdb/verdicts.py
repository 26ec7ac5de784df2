# SPDX-License-Identifier: MIT
"""What one look at a stopped program proves to be wrong with its loops; see "qemu doctor".

A stop has no duration. So a verdict is said only where the state itself is wrong, whatever comes
next, and a doubt is silence (verdict_lost, verdict_wait, verdict_context, verdict_left).
"""
from qemu_gdb import verdict_context, verdict_left, verdict_lost, verdict_wait
from qemu_gdb.cmd_where import Row
from qemu_gdb.finding import Case, Finding
from qemu_gdb.session import Session

# Whoever is in one of these may be about to wake a sleeper.
NOTIFIERS = frozenset(
    """aio_bh_enqueue aio_bh_schedule_oneshot_full aio_co_schedule aio_notify aio_set_fd_handler
    aio_wait_kick event_notifier_set qemu_bh_schedule qemu_bh_schedule_idle qemu_notify_event
    timer_mod timer_mod_anticipate timer_mod_anticipate_ns timer_mod_ns timerlist_rearm""".split()
)
CHECKS = (
    verdict_lost.lost,
    verdict_wait.bql_hold,
    verdict_wait.nested,
    verdict_context.without_thread,
    verdict_wait.blocked,
    verdict_left.late,
    verdict_left.leak,
    verdict_left.dead,
)


def examine(session: Session, rows: list[Row]) -> list[Finding]:
    """All lists of all contexts have to be read."""
    notifying = any(
        name in NOTIFIERS
        for row in rows
        for frame in row.stack
        for name in frame.names()
    )
    case = Case(session, rows, notifying)
    found = [finding for check in CHECKS for finding in check(case)]
    # One that holds the lock, asleep and waited for, is named once.
    held = [f.row for f in found if f.verdict == "BQL HOLD"]
    return [f for f in found if f.verdict != "NESTED WAIT" or f.row not in held]
