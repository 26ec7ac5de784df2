# SPDX-License-Identifier: MIT
"""LOST WAKEUP: a thread sleeps in its poll, and should not.

- A poll that a stop interrupted had found nothing ready: the kernel answers a ready descriptor
  first. What is ready now may have become so since.
- A notification that another thread is about to give looks like one that was lost: if any thread
  is in a function that notifies, nothing is said.
- Whoever is stopped sleeps on for the rest of its timeout: a timer's lateness says nothing here.
"""
from typing import Optional

from qemu_gdb import describe
from qemu_gdb.cmd_where import Row
from qemu_gdb.finding import Case, Finding
from qemu_gdb.loops import BH_DELETED, BH_IDLE, BH_SCHEDULED, Context, Timer
from qemu_gdb.out import duration, printable
from qemu_gdb.session import Session
from qemu_gdb.stop_clock import CLOCKS
from qemu_gdb.threads import epoll_fds
from qemu_gdb.where import POLLING


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
    told = context.notified and aio_poll and not case.notifying
    if told and _is_empty(row, context, count):
        proof = f"{context.name} was notified, its thread sleeps in aio_poll() and its eventfd "
        proof += f"{context.notifier_fd} counts 0"
        found.append((f"a notification of {context.name}", proof))
    return found + _unwatched(case, row, context)


def _is_empty(row: Row, context: Context, count: Optional[int]) -> bool:
    """Does its eventfd count 0? In a core: a poll that was interrupted had found nothing ready."""
    polls = row.thread.polls
    if count is not None or polls is None or polls.array == 0:
        return count == 0
    return any(fd.fd == context.notifier_fd for fd in polls.fds)


def _unwatched(case: Case, row: Row, context: Context) -> list[tuple[str, str]]:
    """Handlers with a descriptor that is ready, and that the epoll instance does not watch."""
    session, polls = case.session, row.thread.polls
    if not session.inferior.live or polls is None or case.notifying:
        return []
    fd = polls.monitor if context.fdmon_fd is None else context.fdmon_fd
    if fd is None or polls.monitor != fd and fd not in [p.fd for p in polls.fds]:
        return []
    watched = {polled.fd for polled in epoll_fds(session.inferior.pid, fd)}
    if context.notifier_fd not in watched:
        return []  # a ring, or another context's
    others = [
        h
        for h in context.handlers
        if not h.deleted and h.events and h.fd not in watched
    ]
    ready = session.fds.ready_each([(h.fd, h.events) for h in others])
    return [
        (
            f"fd {h.fd} ({session.fds.get(h.fd).kind}) of {context.name}",
            f"fd {h.fd} has a handler in {context.name} and is ready, and the thread sleeps on: "
            f"epoll instance {fd} does not watch it",
        )
        for h, is_ready in zip(others, ready)
        if is_ready
    ]


def _missed_timers(case: Case, row: Row) -> list[tuple[str, str]]:
    found = []
    polls = row.thread.polls
    for of, timer in _timers_of(case, row):
        name = case.session.names.name(timer.cb)
        about = f"timer {name} ({timer.addr:#x})"
        never = timer.expire_ns > 1 << 62
        if polls is not None and polls.for_ever and not never and not case.notifying:
            proof = f"{about} is armed, and the thread sleeps for ever"
            found.append((f"timer {name} of {of}", proof))
    return found


def _lost_advice(culprit: str) -> str:
    if culprit.startswith("fd "):
        return (
            "Was it added while the context changed its fd monitor? Adding another handler, or "
            "removing this one and adding it again, wakes the loop."
        )
    if culprit.startswith("timer"):
        return (
            "Whoever armed it has to wake the loop when it becomes the first: look at the list's "
            "notify callback."
        )
    return (
        "Work was published and the loop not woken: look for a missing barrier, or a missing "
        "aio_notify(), between publishing and reading notify_me."
    )


def lost(case: Case) -> list[Finding]:
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
