# SPDX-License-Identifier: MIT
"""A recording of a loop, read through babeltrace2's library into pandas.

    rec = read("DIR")
    rec.log("poll_enter", "poll_exit")    what happened, in words, in order
    rec.of("timer_arm")                   one event's arguments as they are: addresses, numbers
    rec.iterations() .callbacks() ...     what follows from them (tables.py says which there are)

`rec.name(address)` is what a person would call a callback, a context, a source; `rec.path` is the
directory, for `loopscope report`.  Whatever is shown as `ns` counts from the first event.  Tables of
several loops are cut to one by its name: rec.iterations("main loop"), rec.iterations("io0").
"""

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Union

import pandas as pd

from . import tables

POLL_BITS = {0x1: "IN", 0x2: "PRI", 0x4: "OUT", 0x8: "ERR", 0x10: "HUP", 0x20: "NVAL"}
# Arguments that are addresses of something with a name.
NAMED = ("ctx", "cb", "what", "source", "dispatch", "io_read", "io_write", "io_poll")
SITES = ("site", "action")


class Event(NamedTuple):
    """One event: its name, when, in which thread, and its arguments."""

    name: str
    ns: int
    tid: int
    args: Dict[str, Any]


class RecordingError(Exception):
    """A directory that cannot be read as a recording; the text says why, in one line."""


def _value(field: Any, bt2: Any) -> Any:
    if isinstance(field, bt2._StringFieldConst):
        return str(field)
    if isinstance(field, bt2._EnumerationFieldConst):
        labels = field.labels
        return str(labels[0]) if labels else str(int(field))
    return int(field)


def _messages(path: Path) -> Iterator[Any]:
    import bt2  # here: who only draws or grades needs no babeltrace2

    try:
        for message in bt2.TraceCollectionMessageIterator(str(path)):
            # pylint: disable=unidiomatic-typecheck
            if type(message) is bt2._EventMessageConst:
                yield message, bt2
    except (bt2._Error, ValueError, OSError) as error:
        raise RecordingError(f"{path}: not a recording that can be read") from error


class Recording:
    """All events of a recording in the order of their times, and who is who in it."""

    def __init__(self, path: Union[str, Path]) -> None:
        self.path = Path(path)
        self.said = ""  # what the program that was recorded printed
        metadata = self.path / "metadata"
        if not metadata.is_file():
            raise RecordingError(f"{self.path}: no recording (no file 'metadata')")
        # babeltrace2's library ends the whole program where there is something else.
        if not metadata.read_bytes().startswith(b"/* CTF 1.8 */"):
            raise RecordingError(f"{self.path}: not a recording that can be read")
        self.env: Dict[str, Any] = {}
        self.all_events: List[Event] = []
        for message, bt2 in _messages(self.path):
            event = message.event
            if not self.env:
                self.env = {
                    k: int(v) if isinstance(v, bt2._IntegerValueConst) else str(v)
                    for k, v in event.stream.trace.environment.items()
                }
            args = {k: _value(v, bt2) for k, v in event.payload_field.items()}
            ns = message.default_clock_snapshot.value
            self.all_events.append(Event(event.name, ns, int(event["tid"]), args))
        # The recorder's own remarks (thread 0) are written later than what they are about.
        self.events = [e for e in self.all_events if e.tid != 0]
        self.start_ns = self.events[0].ns if self.events else 0
        self._learn_names()

    def _learn_names(self) -> None:
        self.threads: Dict[int, str] = {}
        self.contexts: Dict[int, str] = {}
        self.fds: Dict[int, str] = {}
        self._names: Dict[int, str] = {}
        self._sites: Dict[int, str] = {}
        bottom_halves: Dict[int, str] = {}
        for e in self.all_events:
            a = e.args
            if e.name == "symbol":
                self._sites[a["addr"]] = a["name"]
                offset = f"+{a['offset']:#x}" if a["offset"] else ""
                self._names[a["addr"]] = a["name"] + offset
            elif e.name == "bh_name":
                bottom_halves[a["cb"]] = a["name"]
            elif e.name == "source_name":
                self._names.setdefault(a["source"], a["name"])
            elif e.name == "context":
                self.contexts[a["ctx"]] = a["name"]
            elif e.name == "thread":
                self.threads[a["of_tid"]] = a["name"]
            elif e.name == "fd":
                self.fds[a["fd"]] = a["kind"]
            elif e.name == "iteration_begin" and a["kind"] == "main_loop_wait":
                self.contexts.setdefault(a["ctx"], "main loop")

        for cb, name in bottom_halves.items():
            if "+" in self._names.get(cb, "+"):
                self._names[cb] = name  # in a stripped program it is the only one

    # --- words ---------------------------------------------------------------------------------

    def name(self, address: int) -> str:
        """A context's, callback's or source's name; "" for 0; the address if it has none."""
        if not address:
            return ""
        return self.contexts.get(address) or self._names.get(address) or f"{address:#x}"

    def site(self, address: int) -> str:
        """The function an address lies in."""
        if not address:
            return ""
        return self._sites.get(address) or f"{address:#x}"

    def thread(self, tid: int) -> str:
        """A thread's name."""
        return self.threads.get(tid, str(tid))

    def words(self, event: Event) -> str:
        """An event's arguments as a person would write them; addresses without a name are left out."""
        said = []
        for key, value in event.args.items():
            if key in ("events", "revents", "ready") and key != "ready":
                bits = [n for bit, n in POLL_BITS.items() if value & bit]
                said.append(f"{key}={'|'.join(bits) or 0}")
            elif key in SITES:
                if value:
                    said.append(f"by {self.site(value)}")
            elif isinstance(value, str):
                said.append(f"{key}={value}")
            elif key in NAMED:
                text = self.name(value)
                if text and not text.startswith("0x"):
                    said.append(f"{key}={text}")
            elif abs(value) < 1 << 32 or key.endswith("_ns"):
                said.append(f"{key}={value}")
        return " ".join(said)

    # --- events as tables ----------------------------------------------------------------------

    def log(self, *names: str) -> pd.DataFrame:
        """What happened, in order: all events, or those of these names, in words."""
        rows = [
            (e.ns - self.start_ns, self.thread(e.tid), e.name, self.words(e))
            for e in self.events
            if not names or e.name in names
        ]
        return pd.DataFrame(rows, columns=["ns", "thread", "event", "what"])

    def story(
        self, iteration: int, loop: str = "main loop", *names: str
    ) -> pd.DataFrame:
        """What happened in one iteration, in its own thread; all events or those of these names."""
        rows = self.iterations(loop)
        rows = rows[rows.n == iteration]
        if rows.empty:
            raise KeyError(f"{loop} has no iteration {iteration} in this recording")
        row = rows.iloc[0]
        log = self.log(*names)
        mine = (log.thread == row.thread) & (log.ns >= row.begin_ns)
        if row.end_ns >= 0:
            mine &= log.ns <= row.end_ns
        return log[mine].reset_index(drop=True)

    def of(self, name: str) -> pd.DataFrame:
        """One kind of event, its arguments as columns: numbers, addresses, names of enums."""
        found = [e for e in self.all_events if e.name == name]
        rows = [{"ns": e.ns - self.start_ns, "tid": e.tid, **e.args} for e in found]
        return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["ns", "tid"])

    def counts(self) -> pd.Series:
        """How many events of each kind."""
        return pd.Series(Counter(e.name for e in self.events), dtype=int).sort_index()

    # --- what follows from them ----------------------------------------------------------------

    @cached_property
    def walk(self) -> "tables.Walk":
        """One pass over the events, from which the tables below are made."""
        return tables.Walk(self)

    def iterations(self, loop: str = "") -> pd.DataFrame:
        """One row an iteration of a loop: who chose its timeout, what was ready, what was called."""
        return self.walk.frame("iterations", loop)

    def polls(self, loop: str = "") -> pd.DataFrame:
        """One row a wait, nested ones (depth 2 and more) included."""
        return self.walk.frame("polls", loop)

    def callbacks(self) -> pd.DataFrame:
        """One row a call of a bottom half, handler, timer, GSource or poll notifier."""
        return self.walk.frame("callbacks")

    def timeouts(self, loop: str = "") -> pd.DataFrame:
        """One row a settled timeout: how long, chosen by whom."""
        return self.walk.frame("timeouts", loop)

    def wakeups(self, loop: str = "") -> pd.DataFrame:
        """One row an fd that a wait found ready: who had written it, if that was seen."""
        return self.walk.frame("wakeups", loop)

    def notifies(self) -> pd.DataFrame:
        """One row an aio_notify: from which thread, whose context, and whether it wrote the eventfd."""
        return self.walk.frame("notifies")

    def nested(self) -> pd.DataFrame:
        """One row an aio_poll inside another iteration: its depth and the callback that called it."""
        return self.walk.frame("nested")

    def bql(self) -> pd.DataFrame:
        """One row a time somebody had the big lock: who, where, waited how long, held it how long."""
        return self.walk.frame("bql")

    def handlers(self) -> pd.DataFrame:
        """One row a change of a context's handlers: added, modified, removed, freed, and by whom."""
        return self.walk.frame("handlers")

    def sources(self) -> pd.DataFrame:
        """One row a GSource that was attached, or had been before."""
        return self.walk.frame("sources")


def read(path: Union[str, Path]) -> Recording:
    """Read the recording in a directory."""
    return Recording(path)
