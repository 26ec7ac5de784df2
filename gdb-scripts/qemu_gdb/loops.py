# SPDX-License-Identifier: MIT
"""Every AioContext with its handlers, bottom halves and timers.

Contexts are found from the two globals, and as the owners of all timer lists, which the clocks
string together: an IOThread that nobody named is found like any other. read_loops() reads them;
a list that breaks keeps what came before and its Damaged in context.damages.
"""
import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple, Optional

from qemu_gdb.errors import Damaged, QemuError, Unreadable
from qemu_gdb.glib_reach import SOURCE_CONTEXT, SOURCE_FUNCS
from qemu_gdb.layout import Layout
from qemu_gdb.lists import walk
from qemu_gdb.memory import Memory

MAIN, IOHANDLER, IOTHREAD, OTHER = "main", "iohandler", "iothread", "other"
GLOBALS = {"qemu_aio_context": MAIN, "iohandler_ctx": IOHANDLER}
N_CLOCKS = 4
BH_SCHEDULED, BH_DELETED, BH_ONESHOT, BH_IDLE = 2, 4, 8, 16


class Handler(NamedTuple):
    addr: int
    fd: int
    events: int
    revents: int
    io_read: int
    io_write: int
    io_poll: int
    opaque: int
    deleted: int  # node_deleted.le_prev: not 0 if it was removed, and kept while lists are walked
    on_poll_list: int  # node_poll.le_prev


class BottomHalf(NamedTuple):
    addr: int
    name: str  # "" in builds that keep none
    cb: int
    opaque: int
    flags: int
    taken: bool  # off the list, by an aio_bh_poll() that has not called it yet


class Timer(NamedTuple):
    addr: int
    cb: int
    opaque: int
    expire_ns: int  # on its clock
    clock: int  # QEMU_CLOCK_REALTIME 0, VIRTUAL 1, HOST 2, VIRTUAL_RT 3


@dataclasses.dataclass
class Context:
    addr: int
    kind: str
    name: str
    gctx: int  # its GMainContext
    tid: Optional[int] = None  # the thread that polls it now
    notifier_fd: Optional[int] = None
    fdmon_fd: Optional[int] = None  # its epoll instance or ring, if it has one
    notified: Optional[int] = None
    notify_me: Optional[int] = None
    fdmon_ops: Optional[int] = None
    iothread: int = 0  # address of the IOThread it belongs to
    handlers: list[Handler] = dataclasses.field(default_factory=list)
    bhs: list[BottomHalf] = dataclasses.field(default_factory=list)
    timers: list[Timer] = dataclasses.field(default_factory=list)
    damages: list[tuple[str, Damaged]] = dataclasses.field(default_factory=list)


class Loops:
    """The contexts of one target at one stop."""

    def __init__(
        self, memory: Memory, layout: Layout, in_image: Callable[[int], bool]
    ) -> None:
        """@in_image: whether there is a program or a library at an address."""
        self.memory = memory
        self.layout = layout
        self._in_image = in_image
        self._code: set[int] = set()  # functions that are in one
        self.contexts: list[Context] = []
        self.main_timers: list[Timer] = []
        self.damages: list[tuple[str, Damaged]] = []  # of what no context owns
        self._source_funcs = layout.variable("aio_source_funcs")
        self._find_contexts()

    # Which contexts there are.

    def add(self, addr: int, kind: str = OTHER, name: str = "") -> Optional[Context]:
        """The context at @addr, read; None if there is none: its GSourceFuncs tell."""
        for known in self.contexts:
            if known.addr == addr:
                return known
        try:
            funcs = self.memory.u64(addr + SOURCE_FUNCS)
            gctx = self.memory.u64(addr + SOURCE_CONTEXT)
        except Unreadable:
            return None
        if self._source_funcs and funcs != self._source_funcs:
            return None
        context = Context(addr, kind, name or f"context {addr:#x}", gctx)
        self._read_scalars(context)
        self.contexts.append(context)
        return context

    def _find_contexts(self) -> None:
        for name, kind in GLOBALS.items():
            variable = self.layout.variable(name)
            addr = self.memory.pointer(variable) if variable else 0
            if addr and not self.add(addr, kind, name):
                self.damages.append((name, Damaged(addr, "is no AioContext")))
        if not self.contexts:
            wrong = "; ".join(
                f"{name} is {damage.addr:#x}, which {damage.why}"
                for name, damage in self.damages
            )
            raise QemuError(
                f"{wrong}; look at it: print qemu_aio_context"
                if wrong
                else "no main loop yet: qemu_aio_context is not set up; "
                "let the program come to it (continue, then Ctrl-C), and try again"
            )
        for timer_list, _ in self._clock_lists(0, own=True):
            owner = self.memory.pointer(
                timer_list + self._at("QEMUTimerList", "notify_opaque")
            )
            if owner:
                self.add(owner)

    def _at(self, structure: str, path: str) -> int:
        """An offset that the caller knows to be known."""
        at = self.layout.offset(structure, path)
        assert at is not None
        return at

    def _timer_list(self, context: Context, clock: int) -> int:
        at = self.layout.offset("AioContext", "tlg.tl")
        return (
            self.memory.pointer(context.addr + at + 8 * clock) if at is not None else 0
        )

    def _clock_lists(self, clock: int, own: bool) -> Iterator[tuple[int, bytes]]:
        """The timer lists of a clock: those of contexts (@own), or the others."""
        lists = self.layout.decoder(
            "QEMUTimerList", "clock", "notify_cb", "list.le_next"
        )
        first = self._timer_list(self.contexts[0], clock)
        heads_at = self.layout.offset("QEMUClock", "timerlists.lh_first")
        next_at = self.layout.offset("QEMUTimerList", "list.le_next")
        if not first or heads_at is None or next_at is None:
            return
        try:
            clock_addr, own_cb, _ = lists(self.memory.read(first, lists.size))
            if clock_addr is None or own_cb is None:
                return
            for addr, data in walk(
                self.memory, clock_addr + heads_at, lists.size, next_at, next_at + 8
            ):
                if (lists(data)[1] == own_cb) == own:
                    yield addr, data
        except Unreadable:
            return
        except Damaged as damage:
            if own or clock:  # clock 0's were walked for their owners already
                self.damages.append((f"timer lists of clock {clock}", damage))

    # What is in them.

    def _read_scalars(self, context: Context) -> None:
        decode = self.layout.decoder(
            "AioContext", "notifier.rfd", "notified", "notify_me", "fdmon_ops"
        )
        try:
            values = decode(self.memory.read(context.addr, decode.size))
        except Unreadable:
            return
        (
            context.notifier_fd,
            context.notified,
            context.notify_me,
            context.fdmon_ops,
        ) = values

    def read_handlers(self, context: Context) -> None:
        at = self.layout.offset("AioContext", "aio_handlers.lh_first")
        next_at = self.layout.offset("AioHandler", "node.le_next")
        decode = self.layout.decoder(
            "AioHandler",
            *(
                "pfd.fd",
                "pfd.events",
                "pfd.revents",
                "io_read",
                "io_write",
                "io_poll",
                "opaque",
            ),
            *("node_deleted.le_prev", "node_poll.le_prev"),
        )
        if at is None or next_at is None:
            raise QemuError("this layout does not know AioContext's list of handlers")
        head = context.addr + at
        passed: set[tuple[Optional[int], ...]] = set()  # callbacks that were checked
        prev_at = self.layout.offset("AioHandler", "node.le_prev")
        try:
            for addr, data in walk(self.memory, head, decode.size, next_at, prev_at):
                fields = decode(data)
                called = fields[3:6]
                if called not in passed:
                    self._check_code(addr, *called)
                    passed.add(called)
                if None in fields:
                    fields = tuple([value or 0 for value in fields])
                context.handlers.append(Handler(addr, *fields))
        except Damaged as damage:
            context.damages.append(("handlers", damage))

    def _slices(self, context: Context) -> Iterator[int]:
        """What an aio_bh_poll() that runs has taken is a list of its own, on its stack."""
        at = self.layout.offset("AioContext", "bh_slice_list.sqh_first")
        next_at = self.layout.offset("BHListSlice", "next.sqe_next")
        list_at = self.layout.offset("BHListSlice", "bh_list.slh_first")
        if at is None or next_at is None or list_at is None:
            return
        for addr, _ in walk(self.memory, context.addr + at, list_at + 8, next_at):
            yield addr + list_at

    def read_bhs(self, context: Context) -> None:
        """Those taken first: they are called before those of the list."""
        at = self.layout.offset("AioContext", "bh_list.slh_first")
        if at is None or self.layout.offset("QEMUBH", "next.sle_next") is None:
            return
        try:
            for head in self._slices(context):
                context.bhs.extend(self._bhs_of(context, head, True))
        except Damaged as damage:
            context.damages.append(("BHs taken", damage))
        try:
            context.bhs.extend(self._bhs_of(context, context.addr + at, False))
        except Damaged as damage:
            context.damages.append(("BHs", damage))

    def _bhs_of(self, context: Context, head: int, taken: bool) -> Iterator[BottomHalf]:
        next_at = self.layout.offset("QEMUBH", "next.sle_next")
        assert next_at is not None
        decode = self.layout.decoder("QEMUBH", "ctx", "name", "cb", "opaque", "flags")
        names: dict[Optional[int], str] = {0: "", None: ""}
        for addr, data in walk(self.memory, head, decode.size, next_at):
            owner, name, cb, opaque, flags = decode(data)
            if owner is not None and owner != context.addr:
                raise Damaged(addr, f"is not of this context but of {owner:#x}")
            if cb not in self._code:
                self._check_code(addr, cb)
            if name not in names:
                names[name] = self.memory.string(name, 64)
            yield BottomHalf(addr, names[name], cb or 0, opaque or 0, flags or 0, taken)

    def _check_code(self, addr: int, *functions: Optional[int]) -> None:
        """An element calls what lies in the program or a library, or it is none (0: unused)."""
        for function in functions:
            if function and function not in self._code:
                if not self._in_image(function):
                    raise Damaged(addr, f"calls {function:#x}, where no function is")
                self._code.add(function)
        if not any(functions) and None not in functions:
            raise Damaged(addr, "calls nothing")

    def _timers_of(self, timer_list: int) -> Iterator[Timer]:
        lists = self.layout.decoder("QEMUTimerList", "clock", "active_timers")
        decode = self.layout.decoder(
            "QEMUTimer", "cb", "opaque", "expire_time", "timer_list"
        )
        active_at = self.layout.offset("QEMUTimerList", "active_timers")
        next_at = self.layout.offset("QEMUTimer", "next")
        type_at = self.layout.offset("QEMUClock", "type")
        if active_at is None or next_at is None or type_at is None:
            return
        try:
            clock_addr, _ = lists(self.memory.read(timer_list, lists.size))
            clock = self.memory.u32(clock_addr + type_at) if clock_addr else -1
        except Unreadable as error:
            raise Damaged(timer_list, "leads to no clock") from error
        for addr, data in walk(
            self.memory, timer_list + active_at, decode.size, next_at
        ):
            cb, opaque, expire, home = decode(data)
            if home is not None and home != timer_list:
                raise Damaged(addr, f"is not of this list but of {home:#x}")
            if cb not in self._code:
                self._check_code(addr, cb)
            yield Timer(addr, cb or 0, opaque or 0, expire or 0, clock)

    def read_timers(self, context: Context) -> None:
        for clock in range(N_CLOCKS):
            timer_list = self._timer_list(context, clock)
            try:
                if timer_list:
                    context.timers.extend(self._timers_of(timer_list))
            except Damaged as damage:
                context.damages.append(("timers", damage))

    def read_main_timers(self) -> None:
        """The timer lists of the clocks that no context owns are those of main_loop_tlg."""
        for clock in range(N_CLOCKS):
            for timer_list, _ in self._clock_lists(clock, own=False):
                try:
                    self.main_timers.extend(self._timers_of(timer_list))
                except Damaged as damage:
                    self.damages.append(("timers of main_loop_tlg", damage))

    def is_stopped(self, clock: int) -> bool:
        """A clock that is known to be disabled, such as the guest's while the guest is stopped."""
        at = self.layout.offset("QEMUTimerList", "clock")
        enabled_at = self.layout.offset("QEMUClock", "enabled")
        if at is None or enabled_at is None or not 0 <= clock < N_CLOCKS:
            return False
        try:
            timer_list = self._timer_list(self.contexts[0], clock)
            clock_addr = self.memory.u64(timer_list + at)
            return self.memory.read(clock_addr + enabled_at, 1) == b"\0"
        except Unreadable:
            return False

    def read_lists(self, context: Context) -> None:
        self.read_handlers(context)
        self.read_bhs(context)
        self.read_timers(context)
