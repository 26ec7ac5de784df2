# SPDX-License-Identifier: MIT
"""qemu diff: what has changed in the loops since the last stop at which it was typed."""
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from qemu_gdb.cmd_where import bql_text, look
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.loops import BH_ONESHOT, BH_SCHEDULED
from qemu_gdb.out import COLUMNS, cut, events, json_line, plural, printable
from qemu_gdb.session import Session

Key = tuple[str, Any]  # what kind of thing, and which one


class Thing(NamedTuple):
    name: str  # "handler of fd 7 in iohandler_ctx"
    facts: dict[str, str]  # what may change: "callback" -> "vnc_client_io"


class Snapshot(NamedTuple):
    pid: int
    build: str
    things: dict[Key, Thing]
    number: int


# The last one that was taken.
_last: Optional[Snapshot] = None


class Diff(Command):
    """What has changed in the loops between two stops: qemu diff [--json]

    The first time it only remembers what there is; later times it compares with the time before and
    remembers anew: contexts with their notify state, handlers, bottom halves, timers, threads. So:
    qemu diff, continue, Ctrl-C, qemu diff."""

    name = "diff"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        global _last
        if text:
            raise QemuError(f'"{text}" is too much: type qemu diff')
        before = _last
        same = (
            before is not None
            and before.pid == session.inferior.pid
            and before.build == session.program.build_id
        )
        number = before.number + 1 if before is not None and same else 1
        now = Snapshot(
            session.inferior.pid, session.program.build_id, _take(session), number
        )
        _last = now
        if before is None or not same:
            return _first(session, now, "json" in options)
        changes = _compare(before.things, now.things)
        if "json" in options:
            rows = [_json_row(change) for change in changes]
            rows.append({"type": "total", "changes": len(changes), "lost": 0})
            rows[-1]["things"] = len(now.things)
            return "".join(map(json_line, rows))
        return _text(session, before, now, changes)


def register() -> None:
    Diff()


# --- what there is ------------------------------------------------------------------------------


def _take(session: Session) -> dict[Key, Thing]:
    loops, name = session.loops, session.names.name
    things: dict[Key, Thing] = {}
    for context in loops.contexts:
        loops.read_lists(context)
        facts = {
            "notified": str(context.notified),
            "notify_me": str(context.notify_me),
            "polled by thread": str(context.tid or "none"),
        }
        things["context", context.addr] = Thing(f"context {context.name}", facts)
        for h in context.handlers:
            # A changed handler is a new structure; a deleted one may stand beside its successor.
            key = ("handler", (context.addr, h.fd, bool(h.deleted) and h.addr))
            called = [name(cb) for cb in (h.io_read, h.io_write) if cb]
            facts = {
                "callback": " / ".join(called) or "-",
                "events": events(h.events),
                "argument": session.opaque(h.opaque) or "-",
                "structure": f"{h.addr:#x}",
            }
            gone = "removed " if h.deleted else ""
            title = f"{gone}handler of fd {h.fd} in {context.name}"
            things[key] = Thing(title, facts)
        for bh in context.bhs:
            title = printable(bh.name) or name(bh.cb)
            state = "scheduled" if bh.flags & BH_SCHEDULED else "cancelled"
            state += ", one-shot" if bh.flags & BH_ONESHOT else ""
            facts = {"state": state, "taken": str(bh.taken)}
            things["bh", bh.addr] = Thing(f"BH {title} of {context.name}", facts)
    loops.read_main_timers()
    lists = [(context.name, context.timers) for context in loops.contexts]
    for of, timers in [*lists, ("main_loop_tlg", loops.main_timers)]:
        for timer in timers:
            facts = {"due": f"{timer.expire_ns} ns"}
            things["timer", timer.addr] = Thing(
                f"timer {name(timer.cb)} of {of}", facts
            )
    for row in look(session, session.threads):
        doing = row.where.phase or row.wait or "runs, or could"
        inside = f", in {row.subjects[-1].text}" if row.subjects else ""
        facts = {
            "does": doing + inside,
            "depth": str(row.where.depth),
            "BQL": bql_text(row)[4:],
        }
        things["thread", row.thread.tid] = Thing(
            f"{row.role}, thread {row.thread.tid}", facts
        )
    return things


# --- what has changed ---------------------------------------------------------------------------


class Change(NamedTuple):
    mark: str  # "+", "-", "~"
    key: Key
    thing: Thing
    differences: list[tuple[str, str, str]]  # what, before, now


def _compare(before: dict[Key, Thing], now: dict[Key, Thing]) -> list[Change]:
    changes = [Change("-", key, before[key], []) for key in before if key not in now]
    for key, thing in now.items():
        if key not in before:
            changes.append(Change("+", key, thing, []))
            continue
        old = before[key].facts
        differences = [
            (what, old.get(what, "-"), value)
            for what, value in thing.facts.items()
            if old.get(what) != value
        ]
        if before[key].name != thing.name:
            differences.insert(0, ("was", before[key].name, thing.name))
        if differences:
            changes.append(Change("~", key, thing, differences))
    order: Callable[[Change], tuple[int, str]] = lambda c: (
        KINDS.index(c.key[0]),
        c.mark,
    )
    return sorted(changes, key=order)


KINDS = ("context", "handler", "bh", "timer", "thread")
WORDS = {"+": "appeared", "-": "went", "~": "changed"}


def _json_row(change: Change) -> dict[str, Any]:
    return {
        "type": "change",
        "change": WORDS[change.mark],
        "kind": change.key[0],
        "name": change.thing.name,
        "facts": change.thing.facts,
        "differences": {what: [old, new] for what, old, new in change.differences},
    }


def _first(session: Session, now: Snapshot, as_json: bool) -> str:
    if as_json:
        things = len(now.things)
        return json_line(
            {"type": "total", "changes": None, "lost": 0, "things": things}
        )
    return (
        f"{session.title()}: {plural(len(now.things), 'thing')} remembered.\n"
        "Type continue, stop it again (Ctrl-C), and qemu diff: it says what has changed.\n"
    )


def _text(
    session: Session, before: Snapshot, now: Snapshot, changes: list[Change]
) -> str:
    out = [f"{session.title()}: stop {now.number} against stop {before.number}\n\n"]
    for change in changes:
        if change.mark == "~":
            differences = "; ".join(f"{w} {a} -> {b}" for w, a, b in change.differences)
            out.append(f"~ {change.thing.name}: {differences}\n")
            continue
        facts = ", ".join(
            f"{what} {value}" for what, value in change.thing.facts.items()
        )
        out.append(f"{change.mark} {change.thing.name}: {facts}\n")
    counts = [
        f"{sum(change.mark == mark for change in changes)} {word}"
        for mark, word in WORDS.items()
    ]
    same = len(now.things) - sum(change.mark != "-" for change in changes)
    text = "".join(cut(line, COLUMNS) + "\n" for line in "".join(out).splitlines())
    return f"{text}\n{', '.join(counts)}; {same} as before.\n"
