# SPDX-License-Identifier: MIT
"""Breakpoints that go away by themselves: a group stops the program once, says why, and is gone.

They are gdb's own, listed by "info breakpoints", and only look: a condition reads registers and
memory, nothing is called. A catchpoint for system calls has no object in gdb's Python: it is known
by its number.
"""
import re
from collections.abc import Callable
from typing import Optional

import gdb

from qemu_gdb.errors import QemuError
from qemu_gdb.out import COLUMNS, cut, plural, write
from qemu_gdb.session import Session

Condition = Callable[[], bool]
CATCHPOINT = re.compile(r"Catchpoint (\d+)")


def register(name: str) -> int:
    """Of the thread that stopped, unsigned."""
    return int(gdb.newest_frame().read_register(name)) & (1 << 64) - 1


class _At(gdb.Breakpoint):
    def __init__(self, addr: int, condition: Condition) -> None:
        super().__init__(f"*{addr:#x}", internal=False)
        self.silent = True
        self._condition = condition

    def stop(self) -> bool:
        try:
            return self._condition()
        except (gdb.error, QemuError, ValueError):
            return True  # better once too often


class Group:
    """The breakpoints of one command. @report: what is said where one of them stops."""

    def __init__(
        self, what: str, report: Callable[[Session], str], keep: bool = False
    ) -> None:
        self._what = what
        self._report = report
        self._keep = keep
        self._points: list[_At] = []
        self._catches: dict[int, int] = {}  # number -> how often it was hit
        self._stops = 0
        gdb.events.stop.connect(self._on_stop)
        gdb.events.exited.connect(self._on_exit)

    def at(self, addr: int, condition: Condition = lambda: True) -> None:
        self._points.append(_At(addr, condition))

    def catch(self, calls: list[int], condition: str) -> None:
        """System calls by number: gdb's list of names depends on its version."""
        said = gdb.execute(f"catch syscall {' '.join(map(str, calls))}", to_string=True)
        match = CATCHPOINT.search(said)
        if match is not None:
            gdb.execute(f"condition {match[1]} {condition}", to_string=True)
            self._catches[int(match[1])] = 0

    def numbers(self) -> str:
        """For people who want to delete them."""
        points = [point.number for point in self._points if point.is_valid()]
        return " ".join(str(n) for n in sorted([*points, *self._catches]))

    def _was_hit(self, event: gdb.Event) -> bool:
        if isinstance(event, gdb.BreakpointEvent):
            if any(point in event.breakpoints for point in self._points):
                return True
        hit = False
        for number, before in self._catches.items():
            hits = _hits(number)
            hit |= hits > before
            self._catches[number] = hits
        return hit

    def _on_stop(self, event: gdb.Event) -> None:
        if not self._was_hit(event):
            return
        self._stops += 1
        if not self._keep:
            self.remove()
        try:
            with Session() as session:
                text = self._report(session)
        except (QemuError, gdb.error) as error:
            text = " ".join(str(error).split())
        lines = f"{self._what}: {text}".splitlines()
        write("\n" + "".join(cut(line, COLUMNS) + "\n" for line in lines))

    def _on_exit(self, _: gdb.Event) -> None:
        self.remove()
        times = f"it came to that {plural(self._stops, 'time')}"
        times = times if self._stops else "it never came to that"
        gdb.write(f"{self._what}: {times}, and the program has ended\n")

    def remove(self) -> None:
        """Gone, whether or not the user has deleted some of them already."""
        for point in self._points:
            if point.is_valid():
                point.delete()
        for number in self._catches:
            try:
                gdb.execute(f"delete {number}", to_string=True)
            except gdb.error:
                pass
        self._points, self._catches = [], {}
        for registry, handler in (
            (gdb.events.stop, self._on_stop),
            (gdb.events.exited, self._on_exit),
        ):
            try:
                registry.disconnect(handler)
            except ValueError:
                pass


def _hits(number: int) -> int:
    try:
        text = gdb.execute(f"info breakpoints {number}", to_string=True)
    except gdb.error:
        return 0
    match = re.search(r"already hit (\d+) time", text)
    return int(match[1]) if match else 0


def needs_a_process(session: Session, what: str) -> None:
    if session.inferior.core is not None or not session.inferior.live:
        raise QemuError(
            f"{what} waits for something to happen, and here nothing runs: attach to a process "
            "of this machine (attach PID), or start one (starti)"
        )


def selected_tid() -> Optional[int]:
    thread = gdb.selected_thread()
    return (thread.ptid[1] or thread.ptid[2]) if thread is not None else None
