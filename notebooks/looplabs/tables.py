# SPDX-License-Identifier: MIT
"""What follows from a recording's events: one pass, each thread with a state of its own.

A thread's state is the iteration it is in, its waits (nested ones inside) and the callbacks it is
in.  A begin without its end, at the recording's edge, has an end_ns of -1.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import pandas as pd

if TYPE_CHECKING:
    from .recording import Event, Recording

Row = Dict[str, Any]

COLUMNS = {
    "iterations": "n thread loop kind begin_ns end_ns timeout_ns by chooser n_fds ready callbacks progress",
    "polls": "iteration thread loop depth n_fds timeout_ns by chooser monitor bql begin_ns end_ns ret ready",
    "callbacks": "iteration thread kind cb ctx fd inside depth poll_depth begin_ns end_ns late_ns",
    "timeouts": "iteration thread loop timeout_ns by chooser ns",
    "wakeups": "iteration thread loop fd fd_kind depth written_by site ns",
    "notifies": "thread ctx notify_me written site ns",
    "nested": "iteration thread ctx depth called_by site begin_ns end_ns",
    "bql": "thread site wait_ns acquired_ns hold_ns",
    "handlers": "op ctx fd io_read io_write by thread deferred ns",
    "sources": "name dispatch cb priority by ns",
}

CALLBACK_BEGIN = {
    "bh_begin": "BH",
    "handler_begin": "handler",
    "timer_begin": "timer",
    "source_dispatch_begin": "GSource",
    "poll_notifier_begin": "poll notifier",
}
CALLBACK_END = {name.replace("begin", "end"): name for name in CALLBACK_BEGIN}


@dataclass
class Thread:
    """Where a thread is in its loop."""

    tid: int
    iteration: Optional[Row] = None
    n: int = 0
    callbacks: List[Row] = field(default_factory=list)
    polls: List[Row] = field(default_factory=list)
    timeout: Row = field(default_factory=dict)
    last_poll: Optional[Row] = None
    nested: List[Row] = field(default_factory=list)
    bql: Optional[Row] = None
    registering: int = 0


class Walk:
    """All tables of a recording."""

    def __init__(self, rec: "Recording") -> None:
        self.rec = rec
        self.rows: Dict[str, List[Row]] = {name: [] for name in COLUMNS}
        self.threads: Dict[int, Thread] = {}
        self.lists: Dict[int, str] = {}
        self.written: Dict[int, Row] = {}
        for event in rec.all_events:
            if event.name == "timer_list":
                self.lists[event.args["list"]] = rec.name(event.args["ctx"])
            elif event.name == "handler_state":
                # Older than the recording; whoever registered it was not seen.
                self._handler("there", Thread(0), event.args, 0)
        for event in rec.events:
            thread = self.threads.setdefault(event.tid, Thread(event.tid))
            self._event(thread, event)

    def frame(self, table: str, loop: str = "") -> pd.DataFrame:
        """One of the tables, as pandas has them; only the rows of one loop, if it is named."""
        rows = [r for r in self.rows[table] if not loop or r["loop"] == loop]
        return pd.DataFrame(rows, columns=COLUMNS[table].split())

    def busy_polling(self, loop: str) -> pd.DataFrame:
        """One row an iteration: for how long it would poll busily (0: not), and what came of it."""
        rows: List[Row] = []
        poll_ns = 0
        for event in self.rec.events:
            ctx = event.args.get("ctx")
            if not ctx or self.rec.name(ctx) != loop:
                continue
            if event.name == "iteration_begin":
                rows.append({"n": len(rows), "poll_ns": poll_ns, "what": "not tried"})
            elif event.name == "run_poll_handlers_end" and rows:
                found = event.args["progress"]
                rows[-1]["what"] = "found" if found else "in vain"
            elif event.name in ("poll_grow", "poll_shrink"):
                poll_ns = event.args["new_ns"]
        return pd.DataFrame(rows, columns=["n", "poll_ns", "what"])

    def _add(self, table: str, **row: Any) -> Row:
        self.rows[table].append(row)
        return row

    def _event(self, t: Thread, e: "Event") -> None:
        ns = e.ns - self.rec.start_ns
        if e.name in CALLBACK_BEGIN:
            self._callback_begin(t, e, ns)
        elif e.name in CALLBACK_END:
            self._callback_end(t, e, ns)
        else:
            step = getattr(self, "_on_" + e.name, None)
            if step:
                step(t, e.args, ns)

    # --- iterations and waits ------------------------------------------------------------------

    def _iteration_of(self, t: Thread) -> int:
        return int(t.iteration["n"]) if t.iteration else -1

    def _on_iteration_begin(self, t: Thread, a: Row, ns: int) -> None:
        t.iteration = self._add(
            "iterations",
            n=t.n,
            thread=self.rec.thread(t.tid),
            loop=self.rec.name(a["ctx"]),
            kind=a["kind"],
            begin_ns=ns,
            end_ns=-1,
            timeout_ns=None,
            by="",
            chooser="",
            n_fds=0,
            ready=[],
            callbacks=[],
            progress=0,
        )
        t.n += 1

    def _on_iteration_end(self, t: Thread, a: Row, ns: int) -> None:
        if t.iteration:
            t.iteration.update(end_ns=ns, progress=a["progress"])
        t.iteration = None

    def _on_timeout_chosen(self, t: Thread, a: Row, ns: int) -> None:
        who = self.rec.name(a["what"]) if a["by"] == "source" else ""
        if not who or who.startswith("0x"):
            who = self.rec.name(a["cb"]) or ("" if who.startswith("0x") else who)
        t.timeout = {
            "timeout_ns": a["timeout_ns"],
            "by": a["by"],
            "chooser": who,
        }
        loop = self.rec.name(a["ctx"])
        thread = self.rec.thread(t.tid)
        iteration = self._iteration_of(t)
        self._add(
            "timeouts",
            iteration=iteration,
            thread=thread,
            loop=loop,
            ns=ns,
            **t.timeout,
        )
        if t.iteration and not t.nested:
            t.iteration.update(t.timeout)

    def _on_poll_enter(self, t: Thread, a: Row, ns: int) -> None:
        t.last_poll = self._add(
            "polls",
            iteration=self._iteration_of(t),
            thread=self.rec.thread(t.tid),
            loop=self.rec.name(a["ctx"]),
            depth=a["depth"],
            n_fds=a["n_fds"],
            timeout_ns=a["timeout_ns"],
            by=t.timeout.get("by", ""),
            chooser=t.timeout.get("chooser", ""),
            monitor=a["monitor"],
            bql=a["bql"],
            begin_ns=ns,
            end_ns=-1,
            ret=None,
            ready=[],
        )
        if t.iteration and a["depth"] <= 1:
            t.iteration["n_fds"] = a["n_fds"]

    def _on_poll_exit(self, t: Thread, a: Row, ns: int) -> None:
        if t.last_poll:
            t.last_poll.update(end_ns=ns, ret=a["ret"])

    def _on_fd_ready(self, t: Thread, a: Row, ns: int) -> None:
        if not t.last_poll:
            return
        t.last_poll["ready"].append(a["fd"])
        depth = t.last_poll["depth"]
        if t.iteration and depth <= 1:
            t.iteration["ready"].append(a["fd"])
        writer = self.written.pop(a["fd"], {"by": "", "site": ""})
        self._add(
            "wakeups",
            iteration=self._iteration_of(t),
            thread=self.rec.thread(t.tid),
            loop=self.rec.name(a["ctx"]),
            fd=a["fd"],
            fd_kind=self.rec.fds.get(a["fd"], ""),
            depth=depth,
            written_by=writer["by"],
            site=writer["site"],
            ns=ns,
        )

    def _on_aio_poll_enter(self, t: Thread, a: Row, ns: int) -> None:
        row = self._add(
            "nested",
            iteration=self._iteration_of(t),
            thread=self.rec.thread(t.tid),
            ctx=self.rec.name(a["ctx"]),
            depth=a["depth"],
            called_by=t.callbacks[-1]["cb"] if t.callbacks else "",
            site=self.rec.site(a["site"]),
            begin_ns=ns,
            end_ns=-1,
        )
        t.nested.append(row)

    def _on_aio_poll_exit(self, t: Thread, _a: Row, ns: int) -> None:
        if t.nested:
            t.nested.pop()["end_ns"] = ns

    # --- callbacks -----------------------------------------------------------------------------

    def _callback_begin(self, t: Thread, e: "Event", ns: int) -> None:
        a, kind = e.args, CALLBACK_BEGIN[e.name]
        if kind == "handler":
            kind = {"read": "handler", "write": "handler write"}.get(a["op"], a["op"])
        elif kind == "poll notifier":
            kind = f"poll notifier {a['phase']}"
        cb = self.rec.name(a["cb"])
        if kind == "GSource":
            name = self.rec.name(a["source"])
            cb = name if not name.startswith("0x") else cb or name
        ctx = self.rec.name(a["ctx"]) if "ctx" in a else ""
        if kind == "timer":
            ctx = self.lists.get(a["list"], "") or (
                t.callbacks[-1]["ctx"] if t.callbacks else "main loop"
            )
        row = self._add(
            "callbacks",
            iteration=self._iteration_of(t),
            thread=self.rec.thread(t.tid),
            kind=kind,
            cb=cb,
            ctx=ctx,
            fd=a.get("fd", -1) if kind.startswith(("handler", "poll_ready")) else -1,
            inside=t.callbacks[-1]["cb"] if t.callbacks else "",
            depth=len(t.callbacks),
            poll_depth=len(t.nested) + 1,
            begin_ns=ns,
            end_ns=-1,
            late_ns=a.get("late_ns"),
        )
        t.callbacks.append(row)
        if t.iteration and kind != "GSource" and not kind.startswith("poll notifier"):
            t.iteration["callbacks"].append(cb)
        elif t.iteration and kind == "GSource" and not self._is_context(a["source"]):
            t.iteration["callbacks"].append(cb)

    def _is_context(self, source: int) -> bool:
        """An AioContext as a GSource only passes on: its callbacks are rows of their own."""
        return source in self.rec.contexts

    def _callback_end(self, t: Thread, _e: "Event", ns: int) -> None:
        if t.callbacks:
            t.callbacks.pop()["end_ns"] = ns

    # --- wake-ups and the big lock -------------------------------------------------------------

    def _on_notify(self, t: Thread, a: Row, ns: int) -> None:
        self._add(
            "notifies",
            thread=self.rec.thread(t.tid),
            ctx=self.rec.name(a["ctx"]),
            notify_me=a["notify_me"],
            written=a["written"],
            site=self.rec.site(a["site"]),
            ns=ns,
        )

    def _on_event_notifier_set(self, t: Thread, a: Row, _ns: int) -> None:
        who = {"by": self.rec.thread(t.tid), "site": self.rec.site(a["site"])}
        self.written.setdefault(a["fd"], who)

    def _on_bql_wait(self, t: Thread, a: Row, ns: int) -> None:
        t.bql = self._add(
            "bql",
            thread=self.rec.thread(t.tid),
            site=self.rec.site(a["site"]),
            wait_ns=ns,
            acquired_ns=-1,
            hold_ns=None,
        )

    def _on_bql_acquired(self, t: Thread, a: Row, ns: int) -> None:
        if not t.bql or t.bql["acquired_ns"] >= 0:
            self._on_bql_wait(t, a, ns)
        assert t.bql
        t.bql.update(acquired_ns=ns, wait_ns=ns - t.bql["wait_ns"])

    def _on_bql_released(self, t: Thread, _a: Row, ns: int) -> None:
        if t.bql and t.bql["acquired_ns"] >= 0:
            t.bql["hold_ns"] = ns - t.bql["acquired_ns"]
        t.bql = None

    # --- who is registered ---------------------------------------------------------------------

    def _on_handler_set(self, t: Thread, a: Row, _ns: int) -> None:
        t.registering = a["site"]

    def _handler(self, op: str, t: Thread, a: Row, ns: int) -> None:
        self._add(
            "handlers",
            op=op,
            ctx=self.rec.name(a["ctx"]),
            fd=a["fd"],
            io_read=self.rec.name(a.get("io_read", 0)),
            io_write=self.rec.name(a.get("io_write", 0)),
            by=self.rec.site(t.registering) if op not in ("free", "there") else "",
            thread=self.rec.thread(t.tid),
            deferred=a.get("deferred", 0),
            ns=ns,
        )

    def _on_handler_add(self, t: Thread, a: Row, ns: int) -> None:
        self._handler("add", t, a, ns)

    def _on_handler_modify(self, t: Thread, a: Row, ns: int) -> None:
        self._handler("modify", t, a, ns)

    def _on_handler_remove(self, t: Thread, a: Row, ns: int) -> None:
        self._handler("remove", t, a, ns)

    def _on_handler_free(self, t: Thread, a: Row, ns: int) -> None:
        self._handler("free", t, a, ns)

    def _on_source_attach(self, _t: Thread, a: Row, ns: int) -> None:
        self._add(
            "sources",
            name=self.rec.name(a["source"]),
            dispatch=self.rec.name(a["dispatch"]),
            cb=self.rec.name(a["cb"]),
            priority=a["priority"],
            by=self.rec.site(a["site"]),
            ns=ns,
        )
