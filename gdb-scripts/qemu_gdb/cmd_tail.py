# SPDX-License-Identifier: MIT
"""qemu tail: a recording seen from the stop: its last events, and the tables at a moment before."""
import collections
import re
from typing import Any, NamedTuple, Optional

import gdb

from qemu_gdb import stop_clock
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.out import COLUMNS, cut, duration, json_line, plural, printable
from qemu_gdb.recording import RECORDS, Event, Replay, export
from qemu_gdb.session import Session

MOMENT = re.compile(r"-?(\d+(?:\.\d+)?)(s|ms|us|ns)?")
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1, None: 10**9}
EVENTS = 20
# Of an event, what the columns before it have said already.
SHOWN = ("type", "event", "time_ns", "tid")
CLOCKS_NS = ("expire_ns", "in_ns", "late_ns", "timeout_ns")
USAGE = "type qemu tail DIR, qemu tail DIR -n 50, or qemu tail DIR --at -2.5s"


class Request(NamedTuple):
    directory: str
    count: int
    back_ns: Optional[int]  # before the stop; None: no tables


class View(NamedTuple):
    """What a recording says up to a moment."""

    end_ns: int  # of what it has of the time before the stop
    replay: Replay
    events: list[Event]
    total: int
    lost: int
    tids: set[int]


class Tail(Command):
    """The end of a recording, seen from the stop: qemu tail DIR [-n N] [--at -2.5s] [--json]

    DIR is what loopscope record wrote of this process: the last N (20) events before the stop. With
    --at, the events before that moment, and what was registered, armed and going on then. A stopped
    program makes no events, so the last one is where it was stopped, or where the recording ends.
    """

    name = "tail"
    options = ("at", "json")

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        request = _parse(text, "at" in options)
        view = _read(request)
        if not view.end_ns:
            raise QemuError(
                f"{request.directory} has nothing before the stop: was it recorded after that?"
            )
        mine = {thread.tid for thread in session.threads}
        if view.tids and not view.tids & mine:
            session.notes.append(
                f"the recording is of threads {_few(view.tids)}, and none of them is in this "
                "process"
            )
        else:
            for context in session.loops.contexts:
                view.replay.contexts.setdefault(f"{context.addr:#x}", context.name)
        if "json" in options:
            return "".join(map(json_line, _json_rows(view, request)))
        return _text(view, request)


def register() -> None:
    Tail()


def _few(tids: set[int]) -> str:
    return ", ".join(map(str, sorted(tids)[:4])) + (", ..." if len(tids) > 4 else "")


def _parse(text: str, at: bool) -> Request:
    words = gdb.string_to_argv(text)
    directory, count, back = "", EVENTS, None
    while words:
        word = words.pop(0)
        match = MOMENT.fullmatch(word)
        if word == "-n":
            if not words or not words[0].isdecimal() or not int(words[0]):
                raise QemuError(f"-n needs a number of events: {USAGE}")
            count = int(words.pop(0))
        elif at and back is None and match:
            back = int(float(match[1]) * UNITS[match[2]])
        elif not directory:
            directory = word
        else:
            raise QemuError(f'"{word}" is too much: {USAGE}')
    if not directory:
        raise QemuError(f"which recording? {USAGE}")
    if at and back is None:
        raise QemuError(f"--at needs a time before the stop, such as -2.5s: {USAGE}")
    return Request(directory, count, back)


def _before(row: Event, limit_ns: Optional[int]) -> bool:
    return limit_ns is None or int(row.get("time_ns") or 0) <= limit_ns


def _end(directory: str, replay: Replay) -> tuple[int, int]:
    """The time of the last event before the stop, and how many were lost; learns all names.

    Where there is none: of the last record, what an idle program was like."""
    stop = stop_clock.stop_seen_ns()
    end = records = lost = 0
    for row in export(directory):
        if row.get("type") == "total":
            lost = int(row.get("lost") or 0)
        elif row.get("type") == "event":
            replay.learn(row)
            at = int(row.get("time_ns") or 0)
            if not _before(row, stop):
                continue
            if row.get("event") in RECORDS:
                records = max(records, at)
            else:
                end = max(end, at)
    return end or records, lost


def _read(request: Request) -> View:
    replay = Replay()
    end, lost = _end(request.directory, replay)
    limit = end - (request.back_ns or 0)
    events: collections.deque[Event] = collections.deque(maxlen=request.count)
    total, tids = 0, set()
    for row in export(request.directory):
        if row.get("type") != "event" or not _before(row, limit):
            continue
        replay.take(row)
        if row.get("event") not in RECORDS:
            total += 1
            tids.add(int(row.get("tid") or 0))
            events.append(row)
    return View(end, replay, list(events), total, lost, tids)


def _ago(view: View, row: Event) -> str:
    return f"-{(view.end_ns - int(row.get('time_ns') or 0)) / 1e9:.6f} s"


def _value(replay: Replay, key: str, value: object) -> str:
    if key in CLOCKS_NS and isinstance(value, int) and key != "expire_ns":
        return duration(value)
    return replay.name(value)


def _event_text(view: View, row: Event) -> str:
    facts = " ".join(
        f"{key}={_value(view.replay, key, value)}"
        for key, value in row.items()
        if key not in SHOWN
    )
    event = printable(str(row.get("event")))
    return cut(f"{_ago(view, row):>14} {row.get('tid'):>8}  {event} {facts}", COLUMNS)


def _text(view: View, request: Request) -> str:
    lost = f", {view.lost} LOST" if view.lost else ""
    until = ""
    if request.back_ns is not None:
        until = f" up to {request.back_ns / 1e9:g} s before the stop"
    out = [
        f"{printable(request.directory)}: {plural(view.total, 'event')}{until}{lost}\n\n"
    ]
    out.append(f"{'TIME':>14} {'THREAD':>8}  EVENT\n")
    out += [_event_text(view, row) + "\n" for row in view.events]
    if request.back_ns is not None:
        out.append(f"\nas it was {request.back_ns / 1e9:g} s before the stop\n")
        out.append(_tables(view))
    return "".join(out)


def _tables(view: View) -> str:
    """By context: handlers, bottom halves, timers; then what the threads did."""
    replay, lines = view.replay, []
    owners = {ctx for ctx, _ in replay.handlers}
    owners |= {str(bh.get("ctx")) for bh in replay.bhs.values()}
    for ctx in sorted(owners, key=replay.name):
        me = replay.notify_me.get(ctx)
        lines.append(
            f"\n{replay.name(ctx)}" + ("" if me is None else f", notify_me {me}")
        )
        for (of, fd), row in sorted(
            replay.handlers.items(), key=lambda item: item[0][1]
        ):
            if of == ctx:
                called = [
                    replay.name(row[k]) for k in ("io_read", "io_write") if _set(row, k)
                ]
                lines.append(f"  fd {fd:<4} {' / '.join(called) or '-'}")
        for row in replay.bhs.values():
            if row.get("ctx") == ctx:
                lines.append(f"  BH      {replay.name(row.get('cb'))} (scheduled)")
    lines.append("\ntimers")
    for row in replay.timers.values():
        home = replay.lists.get(str(row.get("list")), {})
        of = replay.name(home.get("ctx")) if _set(home, "ctx") else "main_loop_tlg"
        clock = str(home.get("clock") or "clock unknown")
        name = replay.name(row.get("cb"))
        lines.append(f"  {name} at {row.get('expire_ns')} ns ({clock}), {of}")
    lines += [] if replay.timers else ["  none armed"]
    lines.append("\nthreads")
    for tid in sorted(view.tids):
        lines.append(f"  {tid} {_doing(replay, tid)}")
    return "".join(cut(line, COLUMNS) + "\n" for line in lines)


def _set(row: Event, key: str) -> bool:
    return row.get(key) not in (None, 0, "0x0")


def _doing(replay: Replay, tid: int) -> str:
    polls = replay.polling.get(tid)
    inside = [f"{kind} {replay.name(cb)}" for kind, cb in replay.callbacks[tid]]
    where = f"in {' > '.join(inside)}" if inside else ""
    if polls is not None:
        timeout = duration(int(polls.get("timeout_ns") or 0))
        return f"polled {polls.get('n_fds')} fds, timeout {timeout} {where}".rstrip()
    return where or "ran"


def _json_rows(view: View, request: Request) -> list[dict[str, Any]]:
    replay = view.replay
    rows: list[dict[str, Any]] = []
    for row in view.events:
        rows.append(
            {**row, "before_stop_ns": view.end_ns - int(row.get("time_ns") or 0)}
        )
    if request.back_ns is not None:
        for (ctx, fd), row in replay.handlers.items():
            called = {
                k: replay.name(row[k]) for k in ("io_read", "io_write") if _set(row, k)
            }
            rows.append(
                {"type": "handler", "ctx": replay.name(ctx), "fd": fd, **called}
            )
            rows[-1]["source"] = "trace"
        for row in replay.bhs.values():
            ctx, cb = replay.name(row.get("ctx")), replay.name(row.get("cb"))
            rows.append({"type": "bh", "ctx": ctx, "callback": cb, "source": "trace"})
        for row in replay.timers.values():
            cb, due = replay.name(row.get("cb")), row.get("expire_ns")
            rows.append({"type": "timer", "callback": cb, "expire_ns": due})
            rows[-1]["source"] = "trace"
        for tid in sorted(view.tids):
            rows.append({"type": "thread", "thread": tid, "doing": _doing(replay, tid)})
    rows.append({"type": "total", "events": view.total, "lost": view.lost})
    return rows
