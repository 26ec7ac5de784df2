# SPDX-License-Identifier: MIT
"""qemu where: in which step of its loop each thread is, in whose callback, and with which lock."""
from typing import Any, NamedTuple, Optional

import gdb

from qemu_gdb import subject, waits
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.frames import Stack, shorten
from qemu_gdb.iothread import IOThreads
from qemu_gdb.loops import IOTHREAD
from qemu_gdb.out import cut, duration, json_line, plural, printable
from qemu_gdb.session import Session
from qemu_gdb.subject import Subject
from qemu_gdb.threads import Thread
from qemu_gdb.where import POLLING, Where

MAX_CALLERS = 6
COLUMNS = 100


class Row(NamedTuple):
    thread: Thread
    role: str
    stack: Stack
    where: Where
    subjects: list[Subject]  # of where.callbacks
    wait: Optional[str]  # "asleep in nanosleep"; None: it runs
    bql: str
    site: str  # where it waits for the BQL


class WhereCommand(Command):
    """What each thread does in its loop now: qemu where [THREAD] [--all] [--json]

    A loop's thread is preparing, polling (or busy polling), checking, or dispatching: then the
    callback is named. Depth 2 and more: a callback polls again, by aio_poll(), and the loop around
    it waits until that is over. THREAD is a thread's number as the kernel gives it, or one of gdb's.
    Threads that run no loop are one line; --all shows where they are called from."""

    name = "where"
    options = ("all", "json")

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        threads = session.threads if not text else [choose_thread(session, text)]
        rows = look(session, threads)
        if "json" in options:
            lines = [json_row(row) for row in rows]
            loops = sum(bool(row.where.loop) for row in rows)
            total = {"type": "total", "threads": len(rows), "loops": loops, "lost": 0}
            return "".join(map(json_line, [*lines, total]))
        out = [f"{session.title()}: where its threads are\n"]
        out += [_text(row, bool(text) or "all" in options) for row in rows]
        if session.coroutines.why == "" and not text:
            out.append("\nA thread's whole chain of calls: qemu bt THREAD\n")
        return "".join(out)


def register() -> None:
    WhereCommand()


def choose_thread(session: Session, text: str) -> Thread:
    """By the kernel's number or by gdb's; "" is the selected one."""
    number = int(text) if text.isdecimal() else -1
    selected = gdb.selected_thread()
    for thread in gdb.selected_inferior().threads():
        tid = thread.ptid[1] or thread.ptid[2]
        is_it = thread is selected or thread == selected if not text else False
        if is_it or number in (tid, thread.num):
            return next(t for t in session.threads if t.tid == tid)
    numbers = " ".join(str(thread.tid) for thread in session.threads)
    raise QemuError(
        f'no thread "{text}"; there are {numbers} (and gdb\'s: info threads)'
    )


def look(session: Session, threads: list[Thread]) -> list[Row]:
    for context in session.loops.contexts:
        if not context.handlers:
            session.loops.read_handlers(context)
    if session.inferior.live and not gdb.current_progspace().filename:
        session.notes.append(
            "gdb has no file of the program, so chains of calls end early: "
            f"type file /proc/{session.inferior.pid}/exe"
        )
    return [_look_at(session, thread) for thread in threads]


def _look_at(session: Session, thread: Thread) -> Row:
    stack = session.stack(thread)
    where = session.where(stack)
    if not where.loop and thread.polls is not None and _is_loop(session, thread.tid):
        where = where._replace(loop="its own loop", phase=POLLING, depth=1)
    subjects = [subject.find(session, stack, callback) for callback in where.callbacks]
    wait = waits.describe(session.memory, session.fds, session.threads, thread, stack)
    bql, site = _bql(session, thread, stack)
    return Row(
        thread, role(session, thread, where), stack, where, subjects, wait, bql, site
    )


def _is_loop(session: Session, tid: int) -> bool:
    return any(context.tid == tid for context in session.loops.contexts)


def role(session: Session, thread: Thread, where: Where) -> str:
    """Also of a loop that does not poll now."""
    known = session.role(thread.tid)
    if known in ("main loop", "GLib loop") or known.startswith("IOThread "):
        return known
    if where.loop == "main_loop_wait":
        return "main loop"
    if where.loop:
        finder = IOThreads(session.memory, session.layout, [thread])
        for context in session.loops.contexts:
            if context.kind == IOTHREAD and finder.runs(context, thread):
                return f"IOThread {context.name}"
    return known


def _bql(session: Session, thread: Thread, stack: Stack) -> tuple[str, str]:
    """How it stands to the lock, and from where it asks for it."""
    bql = session.bql
    if bql.lock is None:
        return "unknown", ""
    if bql.lock.owner == thread.tid:
        return "held", ""
    if bql.waits(thread):
        return "waited for", bql.waiter(thread.tid, stack).site
    return ("given up meanwhile" if bql.says_locked(thread) else "not held"), ""


def json_row(row: Row) -> dict[str, Any]:
    nested = row.where.nested_at
    return {
        "type": "where",
        "thread": row.thread.tid,
        "role": printable(row.role),
        "loop": row.where.loop or None,
        "phase": row.where.phase or None,
        "depth": row.where.depth,
        "callbacks": [s.text for s in row.subjects],
        "ctx": row.subjects[-1].ctx if row.subjects else None,
        "fd": row.subjects[-1].fd if row.subjects else None,
        "nested_site": shorten(row.stack[nested + 1 :], 3) if nested >= 0 else None,
        "wait": row.wait,
        "bql": row.bql,
        "bql_site": row.site or None,
        "stack": [frame.name for frame in row.stack],
    }


def _text(row: Row, everything: bool) -> str:
    if not row.where.loop:
        return _text_without_loop(row, everything)
    where = row.where
    polls = row.thread.polls
    out = [f"\n{row.role}, thread {row.thread.tid}: {where.phase}\n"]
    for depth, found in enumerate(row.subjects):
        again = "in it, again " if depth else ""
        out.append(f"  {again}in {found.text}\n")
    if where.nested_at >= 0:
        callers = shorten(row.stack[where.nested_at + 1 :], MAX_CALLERS)
        out.append(f"  aio_poll() inside of that, depth {where.depth}: {callers}\n")
    if polls is not None:
        until = duration(polls.timeout_ns)
        fds = plural(len(polls.fds), "fd")
        out.append(f"  sleeps in {polls.call}, timeout {until}, {fds}\n")
    else:
        out.append(f"  {row.wait or 'runs, or could'}\n")
    if where.depth == 1:
        out.append(f"  by {where.loop}()\n")
    out.append(f"  {bql_text(row)}\n")
    if everything:
        out.append(f"  {shorten(row.stack, 64)}\n")
    return "".join(cut(line, COLUMNS) + "\n" for line in "".join(out).splitlines())


def bql_text(row: Row) -> str:
    if row.bql == "waited for":
        return f"BQL waited for{' at ' + row.site if row.site else ''}"
    return f"BQL {row.bql}"


def _text_without_loop(row: Row, everything: bool) -> str:
    held = "" if row.bql in ("not held", "unknown") else f"; {bql_text(row)}"
    line = f"{row.role}, thread {row.thread.tid}: no loop; {row.wait or 'runs, or could'}{held}"
    out = f"\n{cut(line, COLUMNS)}\n"
    if everything:
        out += cut(f"  {shorten(row.stack, 64)}", COLUMNS) + "\n"
    return out
