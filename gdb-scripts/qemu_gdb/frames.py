# SPDX-License-Identifier: MIT
"""The chain of calls of a thread, or of a coroutine that sleeps.

gdb unwinds, by .eh_frame, so that it works without symbols. A sleeping coroutine runs in no thread:
its registers are in its jump buffer. For the time of one walk an unwinder of gdb's says that the
selected thread's innermost frame was called from there. That is a statement about frames, made to
gdb alone: no register of the thread is written, and on a core there is nothing to write to.

A frame's function is known by where its code starts, from the program's own table of functions;
gdb's names of code without symbols would be those of whatever lies before it.
"""
import contextlib
from collections.abc import Iterator
from typing import NamedTuple, Optional

import gdb
from gdb.unwinder import Unwinder

from qemu_gdb.code import Code
from qemu_gdb.names import Names
from qemu_gdb.out import printable
from qemu_gdb.threads import KEPT, selection_kept

MAX_FRAMES = 256
SAVED = (*KEPT, "rsp", "rip")

# Behind these there is nothing but what lies on the stack by chance.
OUTERMOST = ("__start_context", "_start", "start_thread", "clone", "clone3")


class Frame(NamedTuple):
    pc: int
    function: int  # where its code starts; 0: not known
    symbol: str  # the function's name without ".part.0" and the like; "" if it has none
    name: str  # for people: "aio_poll", "qemu-system-x86_64+0x97fb60"
    inlined: tuple[str, ...]  # what the compiler put into it here, innermost first
    lines: tuple[
        str, ...
    ]  # "util/async.c:171" or "", of each inlined one and of the function
    kept: tuple[
        int, ...
    ] = ()  # the registers that a callee saves, as they are in this frame

    def names(self) -> tuple[str, ...]:
        return (*self.inlined, self.symbol) if self.symbol else self.inlined


Stack = list[Frame]


class _Id:
    def __init__(self, sp: int, pc: int) -> None:
        self.sp, self.pc = gdb.Value(sp), gdb.Value(pc)


class _CalledFrom(Unwinder):
    """Says that the innermost frame was called with these registers.

    What the compiler has put into it are frames too, for gdb, further in: they are not asked about.
    So the first frame that is asked about is the one."""

    def __init__(self, registers: dict[str, int]) -> None:
        super().__init__("qemu coroutine")
        self._registers = registers
        self.level: Optional[int] = None  # of the innermost that is no inlined one

    def __call__(self, pending: gdb.PendingFrame) -> Optional[gdb.UnwindInfo]:
        if self.level is None:
            self.level = pending.level()
        if pending.level() != self.level:
            return None
        # Further in than the caller, as gdb expects of a callee.
        sp = self._registers["rsp"] - 16
        info = pending.create_unwind_info(_Id(sp, self._registers["rip"]))
        for name, value in self._registers.items():
            info.add_saved_register(name, gdb.Value(value))
        return info


@contextlib.contextmanager
def _called_from(registers: dict[str, int]) -> Iterator[Optional[gdb.Frame]]:
    """The outermost of what is called: the next older frame is where the registers lead."""
    unwinder = _CalledFrom(registers)
    gdb.frame_unwinders.insert(0, unwinder)
    gdb.invalidate_cached_frames()
    try:
        frame = _newest()
        while frame is not None and frame.type() == gdb.INLINE_FRAME:
            frame = _older(frame)
        yield frame
    finally:
        gdb.frame_unwinders.remove(unwinder)
        gdb.invalidate_cached_frames()


class Stacks:
    """Of one stop; each is taken once."""

    def __init__(self, code: Code, names: Names) -> None:
        self._code = code
        self._names = names
        self._threads: dict[int, Stack] = {}

    def of_thread(self, tid: int) -> Stack:
        """The innermost frame first; empty where there is no such thread."""
        if tid not in self._threads:
            self._threads[tid] = []
            with selection_kept():
                for thread in gdb.selected_inferior().threads():
                    if (
                        thread.ptid[1] or thread.ptid[2]
                    ) == tid and thread.is_stopped():
                        thread.switch()
                        self._threads[tid] = self._walk(_newest())
        return self._threads[tid]

    def of_registers(self, registers: dict[str, int]) -> Stack:
        """Of what would go on with these: all of SAVED."""
        with selection_kept(), _called_from(registers) as callee:
            return self._walk(_older(callee)) if callee is not None else []

    def _walk(self, frame: Optional[gdb.Frame]) -> Stack:
        stack: Stack = []
        inlined: list[str] = []
        lines: list[str] = []
        innermost = frame is not None and frame.level() == 0
        for _ in range(MAX_FRAMES):
            if frame is None:
                break
            lines.append(_line(frame))
            if frame.type() in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
                inlined.append(printable(str(frame.name())))
            else:
                pc = frame.pc()
                # A return address may lie behind the function that made its last call.
                inside = pc - (not innermost)
                stack.append(self._frame(pc, inside, inlined, lines, _kept(frame)))
                inlined, lines = [], []
                innermost = frame.type() == gdb.SIGTRAMP_FRAME
                if not pc or stack[-1].symbol in OUTERMOST:
                    break
            frame = _older(frame)
        return stack

    def _frame(
        self,
        pc: int,
        inside: int,
        inlined: list[str],
        lines: list[str],
        kept: tuple[int, ...],
    ) -> Frame:
        start = self._code.start_of(inside)
        name = self._names.name(start or pc)
        symbol = "" if "+" in name or name.startswith("0x") else name.partition(".")[0]
        symbol = symbol.partition("@")[0]
        return Frame(
            pc, start, symbol, symbol or name, tuple(inlined), tuple(lines), kept
        )


def _newest() -> Optional[gdb.Frame]:
    try:
        return gdb.newest_frame()
    except gdb.error:
        return None


def _older(frame: gdb.Frame) -> Optional[gdb.Frame]:
    try:
        return frame.older()
    except gdb.error:
        return None


def _kept(frame: gdb.Frame) -> tuple[int, ...]:
    found = []
    for name in KEPT:
        try:
            found.append(int(frame.read_register(name)) & (1 << 64) - 1)
        except (gdb.error, ValueError):
            found.append(0)  # this frame does not tell
    return tuple(found)


def _line(frame: gdb.Frame) -> str:
    try:
        sal = frame.find_sal()
        if sal.symtab is not None and sal.line:
            file = "/".join(sal.symtab.filename.split("/")[-2:])
            return printable(f"{file}:{sal.line}")
    except (gdb.error, UnicodeError):
        pass
    return ""


def shorten(frames: Stack, most: int) -> str:
    """ "a < b < c": who called whom, for one line."""
    names = [name for frame in frames for name in (*frame.inlined, frame.name)]
    more = " < ..." if len(names) > most else ""
    return " < ".join(names[:most]) + more
