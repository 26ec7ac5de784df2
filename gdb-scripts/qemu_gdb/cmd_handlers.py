# SPDX-License-Identifier: MIT
"""qemu handlers, qemu bh, qemu timers: what is registered in each context."""
from typing import Any

from qemu_gdb import tables
from qemu_gdb.choose import choose
from qemu_gdb.command import Command
from qemu_gdb.glib import MainContext
from qemu_gdb.loops import IOHANDLER, MAIN, Context
from qemu_gdb.out import json_line, plural
from qemu_gdb.rows import (
    MAIN_TIMERS,
    bh_row,
    context_row,
    damage_rows,
    handler_rows,
    timer_row,
    total_row,
)
from qemu_gdb.session import Session

FOLDING = ("all", "json", "verbose")


def _is_unfolded(options: frozenset[str]) -> bool:
    return bool(options & {"all", "verbose"})


def _chosen(session: Session, text: str) -> list[Context]:
    return [choose(session, text)] if text else session.loops.contexts


class Handlers(Command):
    """What is registered in each AioContext: qemu handlers [CTX] [--all] [--json]

    CTX is a context's name (qemu_aio_context, iohandler_ctx, an IOThread's), an address, or any
    expression: qemu handlers ((IOThread*)0x55d2c0)->ctx. Without one: all contexts.
    A handler waits for a descriptor; a BH (bottom half) runs at the loop's next turn; a timer when
    it is due. Rows that differ only in descriptor and argument are one with a count.
    STATE: deleted, kept while somebody walks the list; ready, the descriptor is, now; poll list,
    busy polling asks it. A virtio queue's notifier comes with why it is in this context.
    """

    name = "handlers"
    options = FOLDING

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        loops, main = session.loops, not text
        chosen = _chosen(session, text)
        for context in chosen:
            loops.read_lists(context)
        if main:
            loops.read_main_timers()
        unfolded = _is_unfolded(options)
        if "json" in options:
            return "".join(map(json_line, _all_rows(session, chosen, main, unfolded)))
        return _all_text(session, chosen, main, unfolded)


class BottomHalves(Command):
    """The bottom halves of each AioContext: qemu bh [CTX] [--all] [--json]

    A bottom half is a call that somebody asked the loop to make at its next turn, from any thread.
    Those shown are on a context's list, or taken off it by an aio_bh_poll() that has not come to
    them yet. A scheduled one in a loop that sleeps is a lost wake-up; one that is idle is looked
    at every 10 ms; a cancelled one is only dropped at the next turn.
    """

    name = "bh"
    options = FOLDING

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        chosen = _chosen(session, text)
        for context in chosen:
            session.loops.read_bhs(context)
        count = sum(len(context.bhs) for context in chosen)
        if "json" in options:
            rows: list[dict[str, Any]] = []
            for context in chosen:
                rows += [bh_row(session, context, bh) for bh in context.bhs]
                rows += damage_rows(context.name, context.damages)
            rows.append(_total(chosen, bhs=count))
            return "".join(map(json_line, rows))
        out = [f"{session.title()}: bottom halves\n"]
        for context in chosen:
            out.append(tables.heading(session, context))
            out.append(tables.bhs(session, context, _is_unfolded(options)))
            out.append(tables.damages(context.damages))
        out.append(f"\n{plural(count, 'BH')}; layout {session.layout_text()}.\n")
        return "".join(out)


class Timers(Command):
    """The armed timers: qemu timers [CTX|all] [--all] [--json]

    Without an argument those the main loop runs: main_loop_tlg, which devices use, and the two of
    its contexts. "all" adds every IOThread's. Each list is sorted: the first row is due first.
    REALTIME and HOST are clocks of this machine; the time of the guest's clocks, VIRTUAL and
    VIRTUAL_RT, cannot be known from outside, so their timers show when on them they are due.
    """

    name = "timers"
    options = FOLDING

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        loops, main = session.loops, text in ("", "all")
        chosen = loops.contexts if main else [choose(session, text)]
        rest = [] if text else [c for c in chosen if c.kind not in (MAIN, IOHANDLER)]
        chosen = [context for context in chosen if context not in rest]
        for context in chosen:
            loops.read_timers(context)
        if main:
            loops.read_main_timers()
        if "json" in options:
            return "".join(map(json_line, _timer_rows(session, chosen, main)))
        unfolded = _is_unfolded(options)
        out = [f"{session.title()}: armed timers\n"]
        if main:
            out.append(f"\n{tables.MAIN_PURPOSE}\n")
            out.append(tables.timers(session, loops.main_timers, unfolded))
            out.append(tables.damages(loops.damages))
        for context in chosen:
            out.append(tables.heading(session, context))
            out.append(tables.timers(session, context.timers, unfolded))
            out.append(tables.damages(context.damages))
        count = sum(len(context.timers) for context in chosen) + len(loops.main_timers)
        more = "; those of IOThreads as well: qemu timers all" if rest else ""
        out.append(f"\n{plural(count, 'timer')}{more}.\n")
        return "".join(out)


def register() -> None:
    Handlers()
    BottomHalves()
    Timers()


def _total(contexts: list[Context], **counts: int) -> dict[str, Any]:
    damaged = sum(bool(context.damages) for context in contexts)
    total = {"type": "total", "contexts": len(contexts), **counts}
    return {**total, "damaged": damaged, "lost": 0}


def _timer_rows(
    session: Session, contexts: list[Context], main: bool
) -> list[dict[str, Any]]:
    """In loopscope's order: those of the contexts, then main_loop_tlg's."""
    loops = session.loops
    rows: list[dict[str, Any]] = []
    for context in contexts:
        rows += [timer_row(session, context.name, timer) for timer in context.timers]
        rows += damage_rows(context.name, context.damages)
    if main:
        rows += [timer_row(session, MAIN_TIMERS, timer) for timer in loops.main_timers]
        rows += damage_rows(None, loops.damages)
    count = sum(row["type"] == "timer" for row in rows)
    return [*rows, _total(contexts, timers=count)]


def _gcontexts(session: Session, main: bool) -> list[MainContext]:
    """Those that the AioContexts are attached to, unless one context is asked for by its name."""
    return session.gcontexts if main else []


def _all_rows(
    session: Session, contexts: list[Context], main: bool, unfolded: bool
) -> list[dict[str, Any]]:
    loops = session.loops
    rows: list[dict[str, Any]] = []
    for context in contexts:
        rows.append(context_row(session, context))
        rows += handler_rows(session, context, unfolded)
        rows += [bh_row(session, context, bh) for bh in context.bhs]
        rows += [timer_row(session, context.name, timer) for timer in context.timers]
        rows += damage_rows(context.name, context.damages)
    if main:
        rows += [timer_row(session, MAIN_TIMERS, timer) for timer in loops.main_timers]
        rows += damage_rows(None, loops.damages)
    return [*rows, total_row(contexts, loops.main_timers, _gcontexts(session, main))]


def _all_text(
    session: Session, contexts: list[Context], main: bool, unfolded: bool
) -> str:
    loops = session.loops
    out = [f"{session.title()}: its AioContexts\n"]
    for context in contexts:
        out.append(tables.heading(session, context))
        out.append(tables.handlers(session, context, unfolded))
        out.append(tables.bhs(session, context, unfolded))
        out.append(tables.timers(session, context.timers, unfolded))
        out.append(tables.damages(context.damages))
    if main:
        out.append(f"\n{tables.MAIN_PURPOSE}\n")
        out.append(tables.timers(session, loops.main_timers, unfolded))
        out.append(tables.damages(loops.damages))
    total = total_row(contexts, loops.main_timers)
    counts = ", ".join(
        plural(total[key], what)
        for key, what in (
            ("contexts", "context"),
            ("handlers", "handler"),
            ("bhs", "BH"),
            ("timers", "timer"),
        )
    )
    out.append(f"\n{counts}; layout {session.layout_text()}.\n")
    return "".join(out)
