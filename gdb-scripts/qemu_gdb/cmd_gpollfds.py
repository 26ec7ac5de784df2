# SPDX-License-Identifier: MIT
"""qemu gpollfds: which descriptors do the loops poll, whose are they, are they ready?"""
from typing import Any, NamedTuple, Optional

from qemu_gdb import describe
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.fds import FdInfo
from qemu_gdb.out import Table, events, fold, json_line, plural, printable, ranges
from qemu_gdb.owner import FDMON, NOTIFIER, SOURCE, UNKNOWN, WAKEUP, Owner
from qemu_gdb.rows import damage_rows
from qemu_gdb.session import Session
from qemu_gdb.threads import PollFd, Thread

READY = {None: "?", False: "-", True: "ready"}


class Row(NamedTuple):
    fd: int
    events: str
    info: FdInfo
    owner: Owner
    callback: Optional[str]
    calls: Optional[str]
    ready: Optional[bool]


class GPollFds(Command):
    """What each sleeping loop polls at this moment: qemu gpollfds [--all] [--json]

    The set is the one its thread gave to ppoll, poll or epoll_wait, read from that thread's
    registers. Each descriptor is an AioContext's (its own notifier, or a handler's), a GSource's,
    or GLib's own for waking the loop up; NOW says which are ready and not served yet.
    """

    name = "gpollfds"
    options = ("all", "json")

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        if text:
            raise QemuError(f'"{text}" is too much: type qemu gpollfds')
        for context in session.loops.contexts:
            session.loops.read_handlers(context)
        loop_tids = {context.tid for context in session.loops.contexts}
        loop_tids |= set(session.gcontext_tids.values())
        sets = [
            (thread, _rows(session, thread))
            for thread in session.threads
            if thread.polls is not None and thread.tid in loop_tids
        ]
        if not sets:
            raise QemuError(
                "no loop waits in a poll just now (qemu contexts shows the loops): "
                "let it run a moment (continue, then Ctrl-C), and try again"
            )
        if "json" in options:
            return "".join(map(json_line, _json_rows(session, sets)))
        return _text(session, sets, "all" in options)


def register() -> None:
    GPollFds()


def _polled(session: Session, thread: Thread) -> list[PollFd]:
    """The kernel does not tell what a ring polls; its context's list of handlers does."""
    if thread.polls is None or thread.polls.call != "io_uring_enter":
        return thread.polls.fds if thread.polls else []
    return [
        PollFd(handler.fd, handler.events, 0)
        for context in session.loops.contexts
        if context.fdmon_fd is not None and context.fdmon_fd == thread.polls.monitor
        for handler in context.handlers
        if handler.events and not handler.deleted
    ]


def _rows(session: Session, thread: Thread) -> list[Row]:
    rows = []
    polled = _polled(session, thread)
    ready = session.fds.ready_each([(fd, bits) for fd, bits, _ in polled])
    for (fd, bits, _), is_ready in zip(polled, ready):
        owner = session.owners.find(thread.tid, fd)
        rows.append(
            Row(
                fd,
                events(bits),
                session.fds.get(fd),
                owner,
                session.names.callback(owner.callback),
                session.names.calls(owner.callback),
                is_ready,
            )
        )
    return rows


def _totals(sets: list[tuple[Thread, list[Row]]]) -> dict[str, Any]:
    rows = [row for _, rows in sets for row in rows]
    kinds = [row.owner.kind for row in rows]
    return {
        "type": "total",
        "loops": len(sets),
        "fds": len(rows),
        "notifiers": kinds.count(NOTIFIER) + kinds.count(FDMON),
        "sources": kinds.count(SOURCE),
        "wakeups": kinds.count(WAKEUP),
        "unknown": kinds.count(UNKNOWN),
        "ready": sum(row.ready is True for row in rows),
        "lost": 0,
    }


def _json_rows(
    session: Session, sets: list[tuple[Thread, list[Row]]]
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for thread, rows in sets:
        for row in rows:
            out.append(
                {
                    "type": "fd",
                    "thread": thread.tid,
                    "role": session.role(thread.tid),
                    "fd": row.fd,
                    "fd_kind": row.info.kind,
                    "fd_detail": row.info.detail or None,
                    "events": row.events,
                    "owner": printable(row.owner.name),
                    "owner_kind": row.owner.kind,
                    "ctx": row.owner.context,
                    "callback": row.callback,
                    "calls": row.calls,
                    "registered_by": "older than attach",
                    "ready": row.ready,
                    "via": "gdb",
                }
            )
    for context in session.loops.contexts:
        out += damage_rows(context.name, context.damages)
    return [*out, _totals(sets)]


def _table(rows: list[Row], unfolded: bool) -> str:
    table = Table(" FD", "KIND", "EVENTS", "OWNER", "CALLBACK", "NOW")
    for row, equal in fold(rows, [row[1:] for row in rows], unfolded):
        fds = [other.fd for other in equal]
        table.row(
            f"x{len(fds)}" if fds else f"{row.fd:3}",
            row.info.kind,
            row.events,
            printable(row.owner.name),
            row.owner.callback_text(row.callback),
            READY[row.ready],
        )
        table.under(3, f"fds {ranges(fds)}" if fds else row.info.detail)
        if row.calls and row.owner.kind != NOTIFIER:
            table.under(3, f"calls {row.calls}")
    return table.text(" ")


def _text(
    session: Session, sets: list[tuple[Thread, list[Row]]], unfolded: bool
) -> str:
    out = [f"{session.title()}: what its loops poll\n"]
    for thread, rows in sets:
        out.append(f"\n{session.doing(thread.tid)}\n{_table(rows, unfolded)}")
    for context in session.loops.contexts:
        for what, damage in context.damages:
            out.append(f"\nDAMAGED: {context.name}: {describe.damage(what, damage)}\n")
    t = _totals(sets)
    unknown = f", {t['unknown']} NOT explained" if t["unknown"] else ""
    out.append(
        f"\n{t['fds']} fds in {plural(t['loops'], 'loop')}: {t['notifiers']} of AioContexts' own, "
        f"{t['sources']} of GSources, {t['wakeups']} of GLib's own{unknown}. {t['ready']} ready.\n"
    )
    return "".join(out)
