# SPDX-License-Identifier: MIT
"""qemu contexts, qemu iothreads: which loops there are, one row each, and what their threads do."""
from typing import Any, Optional

from qemu_gdb import describe
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError, Unreadable
from qemu_gdb.loops import IOTHREAD, Context
from qemu_gdb.out import Table, address, duration, json_line, plural
from qemu_gdb.rows import context_row, damage_rows, total_row
from qemu_gdb.session import Session


class Contexts(Command):
    """Which AioContexts there are, and what their threads do: qemu contexts [--json]

    NOTIFY says whether somebody has notified it since it last looked, and how many sleepers need a
    wake-up: bit 0 is GLib's loop, each 2 one aio_poll()."""

    name = "contexts"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        if text:
            raise QemuError(
                f'"{text}" is too much: type qemu contexts, or qemu handlers {text}'
            )
        loops = session.loops
        for context in loops.contexts:
            loops.read_lists(context)
        if "json" in options:
            rows = [context_row(session, context) for context in loops.contexts]
            for context in loops.contexts:
                rows += damage_rows(context.name, context.damages)
            return "".join(map(json_line, [*rows, total_row(loops.contexts, [])]))
        return _text(session)


class IOThreadsCommand(Command):
    """The IOThreads: qemu iothreads [--json]

    Each runs one AioContext. It is driven by aio_poll(), or by GLib from when somebody has asked
    for the thread's GMainContext: busy polling is lost then. BUSY POLL says for how long at most
    it spins before it sleeps. Those that the program made for itself are shown too.
    """

    name = "iothreads"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        if text:
            raise QemuError(
                f'"{text}" is too much: type qemu iothreads, or qemu handlers {text}'
            )
        found = [c for c in session.loops.contexts if c.kind == IOTHREAD]
        for context in found:
            session.loops.read_lists(context)
        rows = [_iothread_row(session, context) for context in found]
        if "json" in options:
            for context in found:
                rows += damage_rows(context.name, context.damages)
            total = {"type": "total", "iothreads": len(found), "lost": 0}
            return "".join(map(json_line, [*rows, total]))
        return _iothreads_text(session, found, rows)


def register() -> None:
    Contexts()
    IOThreadsCommand()


def _iothread_row(session: Session, context: Context) -> dict[str, Any]:
    paths = ("thread_id", "run_gcontext", "stopping", "running", "poll_max_ns")
    decode = session.layout.decoder("IOThread", *paths)
    try:
        values = decode(session.memory.read(context.iothread, max(decode.size, 8)))
    except Unreadable:
        values = (None,) * len(paths)
    thread_id, by_glib, stopping, running, poll_max_ns = values
    state = None
    if running is not None and stopping is not None:
        state = "stopping" if stopping else "running" if running else "stopped"
    return {
        "type": "iothread",
        "iothread": context.name,
        "addr": address(context.iothread),
        "ctx": context.name,
        "ctx_addr": address(context.addr),
        "thread": context.tid or thread_id or None,
        "doing": session.doing(context.tid),
        "state": state,
        "driven_by": None if by_glib is None else "GLib" if by_glib else "aio_poll",
        "poll_max_ns": poll_max_ns,
        "handlers": len(context.handlers),
        "bhs": len(context.bhs),
        "timers": len(context.timers),
        "source": session.layout.source,
    }


def _busy_poll(poll_max_ns: Optional[int]) -> str:
    if poll_max_ns is None:
        return "unknown"
    return f"at most {duration(poll_max_ns)}" if poll_max_ns > 0 else "no"


def _iothreads_text(
    session: Session, found: list[Context], rows: list[dict[str, Any]]
) -> str:
    if not found:
        return (
            f"{session.title()}: no IOThread: the main loop does everything\n"
            "(a QEMU gets one by -object iothread,id=NAME; qemu contexts shows all loops)\n"
        )
    table = Table(
        *("IOTHREAD", "THREAD", "STATE", "DRIVEN BY", "BUSY POLL"),
        *("HANDLERS", "BHS", "TIMERS"),
    )
    for context, row in zip(found, rows):
        table.row(
            context.name,
            str(row["thread"] or "unknown"),
            row["state"] or "unknown",
            row["driven_by"] or "unknown",
            _busy_poll(row["poll_max_ns"]),
            *(
                f"{row[k]:>{w}}"
                for k, w in (("handlers", 8), ("bhs", 3), ("timers", 6))
            ),
        )
        busy = ": see qemu where" if context.tid is None else ""
        table.under(0, f"  {row['doing']}{busy}")
        for what, damage in context.damages:
            table.under(0, f"  DAMAGED: {describe.damage(what, damage)}")
    return (
        f"{session.title()}: {plural(len(found), 'IOThread')}\n\n{table.text()}"
        f"\nMore of one: qemu handlers {found[0].name}\n"
    )


def _text(session: Session) -> str:
    table = Table("CONTEXT", "ADDRESS", "OWN FD", "NOTIFY", "HANDLERS", "BHS", "TIMERS")
    contexts = session.loops.contexts
    for context in contexts:
        own = "?" if context.notifier_fd is None else str(context.notifier_fd)
        notified = {None: "?", 0: "no"}.get(context.notified, "yes")
        sleepers = "?" if context.notify_me is None else str(context.notify_me)
        counts = (len(context.handlers), len(context.bhs), len(context.timers))
        table.row(
            context.name,
            f"{context.addr:#x}",
            f"{own:>6}",
            f"{notified}, {sleepers}",
            *(
                f"{count:>{len(head)}}"
                for count, head in zip(counts, ("HANDLERS", "BHS", "TIMERS"))
            ),
        )
        fdmon = session.fdmon(context)
        monitor = f"; fd monitor {fdmon}" if fdmon else ""
        busy = ": see qemu where" if context.tid is None else ""
        table.under(0, f"  {session.doing(context.tid)}{busy}{monitor}")
        table.under(0, f"  {describe.PURPOSE[context.kind]}")
        for what, damage in context.damages:
            table.under(0, f"  DAMAGED: {describe.damage(what, damage)}")
    return (
        f"{session.title()}: {plural(len(contexts), 'AioContext')}\n\n{table.text()}"
        f"\nMore of one: qemu handlers {contexts[-1].name}\n"
    )
