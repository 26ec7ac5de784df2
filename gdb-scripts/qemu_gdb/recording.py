# SPDX-License-Identifier: MIT
"""A recording of loopscope's, replayed: what was registered, armed and going on at a moment.

It is read through "loopscope export --to ndjson", a line at a time, and begins with records of what
there was when it began; events change that. Names may come later than the first event that needs
them, so addresses become words only when they are shown.
"""
import collections
import json
import subprocess
from collections.abc import Iterator
from typing import Any, Optional

from qemu_gdb.errors import QemuError
from qemu_gdb.layout_file import find_loopscope
from qemu_gdb.out import printable

Event = dict[str, Any]
# Not events but what is known beside them.
RECORDS = frozenset(
    """symbol source_line string thread context bh_name source_name fd event_source note
    handler_state bh_state timer_list timer_state source_state fd_state notify_state wait_state
    callback_state bql_state""".split()
)
BEGINS = {"handler_begin": "handler", "bh_begin": "BH", "timer_begin": "timer"}
BEGINS["source_dispatch_begin"] = "GSource"
ENDS = ("handler_end", "bh_end", "timer_end", "source_dispatch_end")


def export(directory: str) -> Iterator[Event]:
    """The rows of a recording; raises QemuError with what loopscope says of a bad one."""
    loopscope = find_loopscope()
    if loopscope is None:
        raise QemuError(
            "loopscope reads recordings, and is neither in build/ nor on PATH nor in $LOOPSCOPE; "
            "type: python import os; os.environ['LOOPSCOPE'] = '/path/to/loopscope'"
        )
    try:
        process = subprocess.Popen(
            [loopscope, "export", "--to", "ndjson", "--", directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise QemuError(f"{loopscope}: {error.strerror}")
    try:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row
        said = process.stderr.read().decode("utf-8", "replace")
        if process.wait() != 0:
            raise QemuError(
                printable(" ".join(said.split())) or f"{directory}: no recording"
            )
    finally:
        process.kill()
        process.communicate()


class Replay:
    """What there was after the events that it was given."""

    def __init__(self) -> None:
        self.contexts: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.handlers: dict[tuple[str, int], Event] = {}
        self.bhs: dict[str, Event] = {}
        self.timers: dict[str, Event] = {}
        self.lists: dict[str, Event] = {}
        self.notify_me: dict[str, int] = {}
        self.polling: dict[int, Event] = {}  # threads in their poll
        self.callbacks: dict[int, list[tuple[str, str]]] = collections.defaultdict(list)
        self.threads: dict[int, str] = {}

    def learn(self, row: Event) -> None:
        """Names are good for all times."""
        kind = row.get("event")
        if kind == "symbol":
            offset = row.get("offset") or 0
            name = str(row.get("name"))
            self.names[str(row.get("addr"))] = f"{name}+{offset:#x}" if offset else name
        elif kind == "context":
            self.contexts[str(row.get("ctx"))] = str(row.get("name"))
        elif kind == "thread":
            self.threads[int(row.get("of_tid") or 0)] = str(row.get("name"))

    def take(self, row: Event) -> None:
        kind, tid = str(row.get("event")), int(row.get("tid") or 0)
        if kind in ("handler_state", "handler_add", "handler_modify"):
            self.handlers[str(row.get("ctx")), int(row.get("fd") or 0)] = row
        elif kind == "handler_remove":
            self.handlers.pop((str(row.get("ctx")), int(row.get("fd") or 0)), None)
        elif kind in ("bh_state", "bh_schedule"):
            self.bhs[str(row.get("bh"))] = row
        elif kind in ("bh_cancel", "bh_delete"):
            self.bhs.pop(str(row.get("bh")), None)
        elif kind == "timer_list":
            self.lists[str(row.get("list"))] = row
        elif kind in ("timer_state", "timer_arm"):
            self.timers[str(row.get("timer"))] = row
        elif kind == "timer_del":
            self.timers.pop(str(row.get("timer")), None)
        elif kind in ("notify_me", "notify_state"):
            value = row.get("value", row.get("notify_me"))
            self.notify_me[str(row.get("ctx"))] = int(value or 0)
        elif kind == "poll_enter":
            self.polling[tid] = row
        elif kind == "poll_exit":
            self.polling.pop(tid, None)
        self._take_callback(kind, tid, row)

    def _take_callback(self, kind: str, tid: int, row: Event) -> None:
        if kind in BEGINS:
            self.callbacks[tid].append((BEGINS[kind], str(row.get("cb"))))
            self.bhs.pop(str(row.get("bh")), None)
            self.timers.pop(str(row.get("timer")), None)
        elif kind in ENDS and self.callbacks[tid]:
            self.callbacks[tid].pop()

    def name(self, value: Optional[object]) -> str:
        """An address in words, as far as the recording has one."""
        text = str(value)
        return printable(self.contexts.get(text) or self.names.get(text) or text)
