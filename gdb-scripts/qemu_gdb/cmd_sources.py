# SPDX-License-Identifier: MIT
"""qemu sources: what each GMainContext of the program waits for, in a QEMU or any GLib program."""
import time
from typing import Any, NamedTuple, Optional

import gdb

from qemu_gdb import describe, glib_reach
from qemu_gdb.choose import evaluate
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.glib import FUNCS_DISPATCH, GLib, MainContext, Source
from qemu_gdb.layout import Layout
from qemu_gdb.layout_types import TypesLayout
from qemu_gdb.out import (
    Table,
    address,
    duration,
    events,
    fold,
    json_line,
    plural,
    printable,
    ranges,
)
from qemu_gdb.session import Session

# GLib's own kinds, by the symbol of their GSourceFuncs.
KINDS = {
    "g_timeout_funcs": "timeout",
    "g_idle_funcs": "idle",
    "g_child_watch_funcs": "child watch",
    "g_io_watch_funcs": "channel watch",
    "g_unix_signal_funcs": "signal",
    "g_unix_fd_source_funcs": "fd",
}
AIO_CONTEXT = "AioContext"
PUBLIC_ONLY = (
    "When a timeout is due lies in GLib's private part, which only its debug information tells\n"
    "(Debian: package libglib2.0-0-dbgsym)."
)


class Loop(NamedTuple):
    """A GMainContext, and the thread that runs it."""

    context: MainContext
    tid: Optional[int]


class Sources(Command):
    """The sources of each GMainContext: qemu sources [GMAINCONTEXT] [--all] [--json]

    GLib's loop asks its sources in the order of their priority, lowest number first: one that is
    always ready starves all below it. In a QEMU an AioContext is one of the sources. Works in any
    program that uses GLib. GMAINCONTEXT is an address or an expression; an AioContext's name or
    address stands for the GMainContext it is attached to, a GSource's for that it belongs to.
    """

    name = "sources"
    options = ("all", "json")

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        loops = Finder(session).find(text)
        unfolded = "all" in options
        if "json" in options:
            rows = [row for loop in loops for row in _rows(session, loop)]
            count = sum(row["type"] == "source" for row in rows)
            total = {"type": "total", "gcontexts": len(loops), "sources": count}
            damaged = sum(loop.context.damage is not None for loop in loops)
            rows.append({**total, "damaged": damaged, "lost": 0})
            return "".join(map(json_line, rows))
        return _text(session, loops, unfolded)


def register() -> None:
    Sources()


class Finder:
    """GMainContexts: those of AioContexts, and those that threads are seen to run."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._memory = session.memory
        layout: Layout = session.layout if session.contexts else TypesLayout()
        self._glib = GLib(session.memory, layout, session.images, session.code)

    def find(self, text: str) -> list[Loop]:
        known = dict.fromkeys(c.gctx for c in self._session.contexts if c.gctx)
        by_thread = self._by_thread(known)
        if text:
            addr = self._meant(text, [*known, *by_thread])
            return [self._read(addr, by_thread)]
        found = [self._read(addr, by_thread) for addr in [*known, *by_thread]]
        if not found:
            raise QemuError(
                "no thread is seen to run a GMainContext, and this is no QEMU with one; if you "
                "know where one is, type: qemu sources ADDRESS (of it, or of one of its GSources)"
            )
        return found

    def _by_thread(self, known: dict[int, None]) -> dict[int, int]:
        """GMainContext -> thread, of those that are not @known."""
        found: dict[int, int] = {}
        threads = self._session.threads
        loops = {context.tid for context in self._session.contexts}
        for thread in threads:
            if thread.tid not in loops:
                gctx = glib_reach.context_of(self._memory, thread)
                if gctx and gctx not in known:
                    found.setdefault(gctx, thread.tid)
        if not known and threads and threads[0].polls is None:
            gctx = glib_reach.context_of_busy(self._memory, threads[0])
            if gctx:
                found = {gctx: threads[0].tid, **found}
        return found

    def _read(self, addr: int, by_thread: dict[int, int]) -> Loop:
        context = self._glib.read(addr)
        tid = by_thread.get(addr) or self._session.pollers.get(context.wakeup_fd)
        pollers = self._session.pollers
        fds = [fd for source in context.sources for fd in sorted(source.fds)]
        return Loop(
            context, tid or next((pollers[fd] for fd in fds if fd in pollers), None)
        )

    def _meant(self, text: str, known: list[int]) -> int:
        """A GMainContext, or something that belongs to one."""
        session = self._session
        for context in session.contexts:
            if text == context.name and context.gctx:
                return context.gctx
        try:
            addr = evaluate(text)
        except gdb.error as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise QemuError(
                f'"{text}" is no address ({said}); type an address, or qemu sources alone'
            )
        for context in session.contexts:
            if addr == context.addr and context.gctx:
                return context.gctx
        if addr in known or glib_reach.find_place(self._memory, addr):
            return addr
        owner = self._memory.pointer(addr + glib_reach.SOURCE_CONTEXT)
        if owner and (owner in known or glib_reach.find_place(self._memory, owner)):
            return owner
        others = ", ".join(f"{gctx:#x}" for gctx in known)
        raise QemuError(
            f"no GMainContext is known at {addr:#x}: no source says that it belongs to it; "
            + (
                f"there are {others}"
                if others
                else "type qemu sources alone to look for one"
            )
        )


def _kind(session: Session, source: Source) -> Optional[str]:
    if any(context.addr == source.addr for context in session.contexts):
        return AIO_CONTEXT
    return KINDS.get(session.names.callback(source.funcs) or "")


def _dispatch(session: Session, source: Source) -> int:
    return session.memory.pointer(source.funcs + FUNCS_DISPATCH)


def _aio_context(session: Session, source: Source) -> Optional[str]:
    for context in session.contexts:
        if context.addr == source.addr:
            return context.name
    return None


def _rows(session: Session, loop: Loop) -> list[dict[str, Any]]:
    names, context = session.names, loop.context
    rows: list[dict[str, Any]] = []
    for source in context.sources:
        rows.append(
            {
                "type": "source",
                "gcontext": address(context.addr),
                "thread": loop.tid,
                "addr": address(source.addr),
                "id": source.id,
                "name": printable(source.name) or None,
                "priority": source.priority,
                "kind": _kind(session, source),
                "ctx": _aio_context(session, source),
                "fds": [polled.fd for polled in source.polled],
                "events": [events(polled.events) for polled in source.polled],
                "callback": names.callback(source.callback),
                "dispatch": names.callback(_dispatch(session, source)),
                "opaque": address(source.data),
                "state": describe.source_state(source.flags),
                "ready_ns": source.ready_ns,
                "ref_count": source.ref_count,
                "source": context.by,
            }
        )
    if context.damage is not None:
        rows.append(
            {
                "type": "damage",
                "gcontext": address(context.addr),
                "list": "sources",
                "addr": address(context.damage.addr),
                "why": context.damage.why,
            }
        )
    return rows


def _polled(source: Source) -> str:
    by_events: dict[str, list[int]] = {}
    for polled in source.polled:
        by_events.setdefault(events(polled.events), []).append(polled.fd)
    return (
        ", ".join(f"{ranges(fds)} {words}" for words, fds in by_events.items()) or "-"
    )


def _due(session: Session, source: Source) -> str:
    if source.ready_ns is None or source.ready_ns < 0:
        return ""
    if not session.inferior.live:
        return f", due at {source.ready_ns} ns"
    left = source.ready_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return ", due now" if left < 0 else f", due in {duration(left)}"


def _table(session: Session, sources: list[Source], unfolded: bool) -> str:
    table = Table("PRIORITY", "ID", "SOURCE", "FDS", "CALLBACK", "STATE")
    names = session.names
    called = [source.callback or _dispatch(session, source) for source in sources]
    keys = [
        (
            source.priority,
            source.name,
            source.funcs,
            callback,
            describe.source_state(source.flags),
        )
        for source, callback in zip(sources, called)
    ]
    callbacks = dict(zip((source.addr for source in sources), called))
    for source, equal in fold(sources, keys, unfolded):
        context = _aio_context(session, source)
        kind = _kind(session, source)
        words = [f'"{printable(source.name)}"'] if source.name else []
        words += [context or kind] if context or kind else []
        table.row(
            f"{source.priority:8}",
            f"x{len(equal)}" if equal else str(source.id),
            " ".join(words) or "-",
            "" if equal else _polled(source),
            names.callback(callbacks[source.addr]) or "-",
            describe.source_state(source.flags)
            + ("" if equal else _due(session, source)),
        )
        table.under(4, describe.calls(names, callbacks[source.addr]))
        fds = sorted(fd for other in equal for fd in other.fds)
        table.under(2, f"fds {ranges(fds)}" if fds else None)
    return table.text("  ")


def _text(session: Session, loops: list[Loop], unfolded: bool) -> str:
    out = [f"{session.title()}: sources of its GMainContexts\n"]
    for context, tid in loops:
        owned = [c.name for c in session.contexts if c.gctx == context.addr]
        of = f", that of {', '.join(owned)}" if owned else ""
        out.append(f"\nGMainContext {context.addr:#x}{of}\n  {_doing(session, tid)}\n")
        if context.sources:
            out.append(_table(session, context.sources, unfolded))
        else:
            out.append("  no sources\n")
        if context.damage is not None:
            damage = describe.damage("sources", context.damage)
            out.append(f"  DAMAGED: {damage}\n")
    count = sum(len(context.sources) for context, _ in loops)
    out.append(
        f"\n{plural(count, 'source')} in {plural(len(loops), 'GMainContext')}.\n"
    )
    unknown = [
        source
        for context, _ in loops
        for source in context.sources
        if source.ready_ns is None and _kind(session, source) in (None, "timeout")
    ]
    if unknown:
        out.append(f"{PUBLIC_ONLY}\n")
    return "".join(out)


def _doing(session: Session, tid: Optional[int]) -> str:
    if tid is None:
        return "no thread waits in it now: see qemu where"
    return session.doing(tid)
