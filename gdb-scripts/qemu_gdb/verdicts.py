# SPDX-License-Identifier: MIT
"""What one look at a stopped program proves to be wrong with its loops; see "qemu doctor".

A stop has no duration. So a verdict is said only where the state itself is wrong, whatever comes
next, and a doubt is silence:

- a poll that a stop interrupted had found nothing ready: the kernel answers a ready descriptor
  first. What is ready now may have become so since;
- a notification that another thread is about to give looks like one that was lost: if any thread
  is in a function that notifies, nothing is said;
- a stop takes time, and whoever is stopped sleeps on for the rest of its timeout. So a timer's
  lateness counts from when the program last went on, and says nothing of a sleeper.
"""
import os
import time
from typing import NamedTuple, Optional

import gdb

from qemu_gdb import describe, waits
from qemu_gdb.cmd_where import Row
from qemu_gdb.frames import shorten
from qemu_gdb.loops import BH_DELETED, BH_IDLE, BH_SCHEDULED, IOHANDLER, Context, Timer
from qemu_gdb.out import duration, plural, printable
from qemu_gdb.session import Session
from qemu_gdb.where import BQL_WAIT, DISPATCH, POLLING

LATE_NS = 100 * 10**6
REALTIME, HOST = 0, 2
CLOCKS = {REALTIME: time.CLOCK_MONOTONIC, HOST: time.CLOCK_REALTIME}
NVAL = 0x20
# Whoever is in one of these may be about to wake a sleeper.
NOTIFIERS = frozenset(
    """aio_bh_enqueue aio_bh_schedule_oneshot_full aio_co_schedule aio_notify aio_set_fd_handler
    aio_wait_kick event_notifier_set qemu_bh_schedule qemu_bh_schedule_idle qemu_notify_event
    timer_mod timer_mod_anticipate timer_mod_anticipate_ns timer_mod_ns timerlist_rearm""".split()
)
ONE_LOOK = "one look: since when is not known"

# CLOCK_MONOTONIC: when gdb last let the program run, and when it next stopped; 0: not seen.
_went_on_ns = _stopped_ns = 0
_watches = False


class Finding(NamedTuple):
    verdict: str
    row: Optional[Row]  # of the thread
    span: str
    culprit: str
    evidence: list[str]
    advice: str


class Case(NamedTuple):
    """What all checks look at."""

    session: Session
    rows: list[Row]
    notifying: bool  # some thread may be about to wake another

    def row_of(self, tid: Optional[int]) -> Optional[Row]:
        return next((row for row in self.rows if row.thread.tid == tid), None)


def _note_that_it_runs(_: object) -> None:
    global _went_on_ns
    _went_on_ns = time.monotonic_ns()


def _note_that_it_stops(_: object) -> None:
    global _stopped_ns
    _stopped_ns = time.monotonic_ns()


def watch() -> None:
    """From now on, know when gdb stops the program and lets it run. Once is enough."""
    global _watches
    if _watches:
        return
    _watches = True
    gdb.events.cont.connect(_note_that_it_runs)
    gdb.events.stop.connect(_note_that_it_stops)


def stop_seen_ns() -> Optional[int]:
    """When the program stopped, if gdb has told us; None: it was stopped before we came."""
    return _stopped_ns if _stopped_ns > _went_on_ns else None


def _stop_ns() -> int:
    """The stop was not before this: gdb itself began before it stopped anything."""
    if _stopped_ns > _went_on_ns:
        return _stopped_ns
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return max(ticks * 10**9 // os.sysconf("SC_CLK_TCK") - asleep, _went_on_ns)


def examine(session: Session, rows: list[Row]) -> list[Finding]:
    """All lists of all contexts have to be read."""
    notifying = any(
        name in NOTIFIERS
        for row in rows
        for frame in row.stack
        for name in frame.names()
    )
    case = Case(session, rows, notifying)
    found = [
        finding
        for check in (_lost, _bql_hold, _nested, _blocked, _late, _leak, _dead)
        for finding in check(case)
    ]
    # One that holds the lock, asleep and waited for, is named once.
    held = [f.row for f in found if f.verdict == "BQL HOLD"]
    return [f for f in found if f.verdict != "NESTED WAIT" or f.row not in held]


# --- asleep, and should not be ------------------------------------------------------------------


def _eventfd_count(session: Session, fd: Optional[int]) -> Optional[int]:
    if not session.inferior.live or fd is None:
        return None
    try:
        path = f"/proc/{session.inferior.pid}/fdinfo/{fd}"
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("eventfd-count:"):
                    return int(line.split()[1], 16)
    except (OSError, ValueError, IndexError):
        pass
    return None


def _timers_of(case: Case, row: Row) -> list[tuple[str, Timer]]:
    """Those that this thread's wait has to end for, by whom they are kept."""
    contexts = [c for c in case.session.loops.contexts if c.tid == row.thread.tid]
    found = [(context.name, timer) for context in contexts for timer in context.timers]
    if row.where.loop == "main_loop_wait" and row.where.depth == 1:
        found += [("main_loop_tlg", t) for t in case.session.loops.main_timers]
    return [(of, timer) for of, timer in found if timer.clock in CLOCKS]


def _late_ns(timer: Timer) -> int:
    """How long at least the program has run, up to the stop, with the timer overdue."""
    now = time.monotonic_ns()
    due = now - (time.clock_gettime_ns(CLOCKS[timer.clock]) - timer.expire_ns)
    return _stop_ns() - max(due, _went_on_ns)


def _missed(case: Case, row: Row, context: Context) -> list[tuple[str, str]]:
    """What a context's sleeper misses: culprit and proof."""
    found = []
    count = _eventfd_count(case.session, context.notifier_fd)
    for bh in context.bhs:
        wanted = bh.flags & (BH_SCHEDULED | BH_DELETED | BH_IDLE) == BH_SCHEDULED
        if not wanted or case.notifying or count:
            continue
        name = printable(bh.name) or case.session.names.callback(bh.cb) or "?"
        proof = f"BH {name} ({bh.addr:#x}) on the list of {context.name} is "
        proof += f"{describe.bh_state(bh.flags)} and not called"
        found.append((f"BH {name} of {context.name}", proof))
    if context.notify_me == 0:
        proof = f"notify_me of {context.name} is 0 while its thread sleeps: no aio_notify() "
        proof += "will write the eventfd"
        found.append((f"{context.name} sleeps with notify_me == 0", proof))
    aio_poll = (context.notify_me or 0) >= 2
    if context.notified and aio_poll and count == 0 and not case.notifying:
        proof = f"{context.name} was notified, its thread sleeps in aio_poll() and its eventfd "
        proof += f"{context.notifier_fd} counts 0"
        found.append((f"a notification of {context.name}", proof))
    return found


def _missed_timers(case: Case, row: Row) -> list[tuple[str, str]]:
    found = []
    polls = row.thread.polls
    for of, timer in _timers_of(case, row):
        name = case.session.names.name(timer.cb)
        about = f"timer {name} ({timer.addr:#x})"
        if polls is not None and polls.timeout_ns < 0 and not case.notifying:
            proof = f"{about} is armed, and the thread sleeps for ever"
            found.append((f"timer {name} of {of}", proof))
    return found


def _lost_advice(culprit: str) -> str:
    if culprit.startswith("timer"):
        return (
            "Whoever armed it has to wake the loop when it becomes the first: look at the list's "
            "notify callback."
        )
    return (
        "Work was published and the loop not woken: look for a missing barrier, or a missing "
        "aio_notify(), between publishing and reading notify_me."
    )


def _lost(case: Case) -> list[Finding]:
    findings = []
    for row in case.rows:
        polls = row.thread.polls
        if polls is None or not polls.timeout_ns or row.where.phase != POLLING:
            continue
        mine = [c for c in case.session.loops.contexts if c.tid == row.thread.tid]
        found = [missed for context in mine for missed in _missed(case, row, context)]
        found += _missed_timers(case, row)
        if not found:
            continue
        evidence = [
            f"the thread sleeps in {polls.call}, timeout {duration(polls.timeout_ns)}; when it "
            "was stopped, nothing it polls was ready"
        ]
        for context in mine:
            count = _eventfd_count(case.session, context.notifier_fd)
            evidence.append(
                f"{context.name}: notified {'true' if context.notified else 'false'}, notify_me "
                f"{context.notify_me}, its eventfd {context.notifier_fd} counts "
                f"{'unknown' if count is None else count}"
            )
        evidence += [proof for _, proof in found]
        advice = _lost_advice(found[0][0])
        span = "asleep with work to do"
        findings.append(
            Finding("LOST WAKEUP", row, span, found[0][0], evidence, advice)
        )
    return findings


# --- waiting in the wrong place -----------------------------------------------------------------


def _culprit(case: Case, row: Row) -> str:
    """The callback; of a thread that runs no loop, the program's own innermost function."""
    if row.subjects:
        return row.subjects[-1].text
    program = case.session.images.program
    own = [f for f in row.stack if program is not None and program.holds(f.function)]
    return shorten(own[:1] or row.stack, 1)


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


def _bql_hold(case: Case) -> list[Finding]:
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
        culprit = f"{_culprit(case, row)}, with {plural(len(waiters), 'waiter')}"
        findings.append(Finding("BQL HOLD", row, "now", culprit, evidence, advice))
    return findings


def _nested(case: Case) -> list[Finding]:
    findings = []
    for row in case.rows:
        if not _is_nested_wait(row):
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
        culprit = f"{_culprit(case, row)}: {_site(row)}"
        findings.append(Finding("NESTED WAIT", row, "now", culprit, evidence, advice))
    return findings


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


def _blocked(case: Case) -> list[Finding]:
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
        evidence += [f"meanwhile {text}" for text in _late_timers(case, row)]
        if "mutex" in row.wait:
            advice = "Look at the holder: a callback must not wait for a lock that is held for long."
        else:
            advice = (
                "A callback must not sleep: make the descriptor non-blocking, or do this in a "
                "thread."
            )
        culprit = _culprit(case, row)
        findings.append(
            Finding("BLOCKED CALLBACK", row, "in it now", culprit, evidence, advice)
        )
    return findings


def _holder(case: Case, row: Row) -> Optional[Row]:
    mutex = waits.waits_for_mutex(row.thread, row.stack)
    if not mutex:
        return None
    session = case.session
    return case.row_of(waits.mutex_owner(session.memory, mutex, session.threads))


# --- late, left over, closed --------------------------------------------------------------------


def _late_timers(case: Case, row: Row) -> list[str]:
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
        f"timer {session.names.name(t.cb)} ({t.addr:#x}) is overdue by {duration(_late_ns(t))}"
        for t in timers
        if t.clock in CLOCKS and _late_ns(t) > LATE_NS
    ]


def _late(case: Case) -> list[Finding]:
    """Of a thread that computes: one that sleeps in a callback, or in its poll, is judged above."""
    findings = []
    for row in case.rows:
        if not row.where.loop or row.wait is not None or row.where.phase == BQL_WAIT:
            continue
        late = _late_timers(case, row)
        if not late:
            continue
        evidence = [*late, f"meanwhile the thread is {row.where.phase}, and computes: "]
        evidence[-1] += shorten(row.stack, 6)
        advice = "What the thread is in keeps every timer of its loop waiting: do it in pieces."
        culprit = _culprit(case, row)
        findings.append(
            Finding("TIMER LATE", row, "when it was stopped", culprit, evidence, advice)
        )
    return findings


def _leak(case: Case) -> list[Finding]:
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
        culprit = (
            f"{context.name}, {len(left)} of {plural(len(context.handlers), 'handler')}"
        )
        findings.append(
            Finding("HANDLER LEAK", row, "asleep", culprit, evidence, advice)
        )
    return findings


def _dead(case: Case) -> list[Finding]:
    """A callback may close a descriptor before it removes the handler: not judged while in one."""
    session, findings = case.session, []
    for context in session.loops.contexts:
        row = case.row_of(context.tid)
        busy = [r for r in case.rows if r.where.phase == DISPATCH]
        if (row in busy if row is not None else busy) or case.notifying:
            continue
        dead = [
            h
            for h in context.handlers
            if not h.deleted and _is_dead(session, h.fd, h.revents)
        ]
        for handler in dead[:8]:
            callback = (
                session.names.callback(handler.io_read or handler.io_write) or "?"
            )
            evidence = [
                f"handler {handler.addr:#x} of {context.name} waits for fd {handler.fd}, which "
                "is not open",
                "poll says POLLNVAL to it at once, each time; epoll has forgotten it",
            ]
            advice = "Remove the handler (aio_set_fd_handler with no callbacks) before close()."
            culprit = f"handler {callback} of fd {handler.fd} in {context.name}"
            findings.append(Finding("DEAD FD", row, "now", culprit, evidence, advice))
    return findings


def _is_dead(session: Session, fd: int, revents: int) -> bool:
    if fd < 0:
        return False
    if session.inferior.live:
        proc = f"/proc/{session.inferior.pid}/fd"
        return os.path.isdir(proc) and not os.path.lexists(f"{proc}/{fd}")
    return bool(revents & NVAL)
