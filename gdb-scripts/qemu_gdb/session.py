# SPDX-License-Identifier: MIT
"""The parts of one command, put together: memory, images, layout, names, contexts, threads.

A command makes a Session and asks it; everything is read when first needed and forgotten at the
end. Only layouts are kept between commands, by build of the program.
"""
import functools
from typing import Any, Optional

import gdb

from qemu_gdb import describe, inferior, layout_file
from qemu_gdb.bql import Bql
from qemu_gdb.code import Code
from qemu_gdb.coroutine import Coroutines
from qemu_gdb.errors import QemuError, Unreadable
from qemu_gdb.fds import Fds
from qemu_gdb.frames import Stack, Stacks
from qemu_gdb.glib import GLib, MainContext
from qemu_gdb.inferior import Image, Images
from qemu_gdb.iothread import IOThreads
from qemu_gdb.layout import Layout
from qemu_gdb.layout_file import FileLayout
from qemu_gdb.layout_types import TypesLayout
from qemu_gdb.loops import Context, Loops
from qemu_gdb.memory import Memory
from qemu_gdb.names import Names
from qemu_gdb.owner import Owners
from qemu_gdb.threads import Thread, epoll_fds, read_threads
from qemu_gdb.tls import Tls, function
from qemu_gdb.where import Where, locate

# What "qemu layout FILE" loaded, and what loopscope said: (origin, document) by build.
_loaded: dict[Any, tuple[str, Any]] = {}
_asked: dict[Any, tuple[str, Any]] = {}

MONITOR_WORDS = 3  # of FDMonOps, in all versions: update, wait, need_wait
TAILS = ("aio_bh_call",)


class Session:
    def __init__(self) -> None:
        self.inferior = inferior.current()
        self.memory = Memory()
        self.images = Images(self.memory, self.inferior)
        self.code = Code(self.memory, self.images)
        self.names = Names(self.images, self.code)
        self.fds = Fds(self.inferior)
        self.notes: list[str] = []  # remarks, to be shown beside the output

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.fds.close()

    # The layout.

    @property
    def program(self) -> Image:
        if self.images.program is None:
            raise QemuError(
                "gdb does not tell which files are mapped here (info proc mappings), "
                "so the program cannot be found"
            )
        return self.images.program

    def _build(self) -> Any:
        return self.program.build_id or (self.inferior.pid, self.program.path)

    def load_layout(self, path: str) -> None:
        """Use the layout in a file from now on, for this build of the program."""
        document = layout_file.load(path)
        FileLayout(document, f"from {path}", self.program)
        _loaded[self._build()] = (path, document)
        self.__dict__.pop("layout", None)

    def _ask_loopscope(self) -> FileLayout:
        if self._build() not in _asked:
            path, document = layout_file.ask_loopscope(self.inferior)
            _asked[self._build()] = (path, document)
            self.notes.append(f"layout of {self.program.name} inferred by {path}")
        path, document = _asked[self._build()]
        return FileLayout(document, f"inferred by {path}", self.program)

    def _is_loaded(self) -> bool:
        return self.images.program is not None and self._build() in _loaded

    @functools.cached_property
    def layout(self) -> Layout:
        if self._is_loaded():
            path, document = _loaded[self._build()]
            return FileLayout(document, f"from {path}", self.program)
        types = TypesLayout()
        return types if types.knows_contexts() else self._ask_loopscope()

    def complete_glib(self) -> None:
        """GLib mostly has no debug information where the program has: loopscope can prove it."""
        layout = self.layout
        if layout.offset("GMainContext", "wake_up_rec.fd") is not None:
            return
        try:
            layout.borrow(
                self._ask_loopscope(), "GMainContext", "GSourceList", "GSourcePrivate"
            )
        except QemuError as error:
            self.notes.append(f"GLib's own descriptors stay unknown: {error}")

    # What is read with it.

    @functools.cached_property
    def threads(self) -> list[Thread]:
        return read_threads(self.memory, self.inferior)

    @functools.cached_property
    def pollers(self) -> dict[Optional[int], int]:
        """Descriptor -> thread: who polls a loop's own descriptor is the one that runs the loop."""
        found: dict[Optional[int], int] = {}
        for thread in reversed(self.threads):
            if thread.polls is not None:
                found.update((polled.fd, thread.tid) for polled in thread.polls.fds)
                if thread.polls.monitor is not None:
                    found[thread.polls.monitor] = thread.tid
        return found

    @functools.cached_property
    def loops(self) -> Loops:
        """The contexts with threads and names, not yet their lists."""
        loops = Loops(self.memory, self.layout, self.images.holds)
        self._find_threads(loops.contexts)
        return loops

    def _find_threads(self, contexts: list[Context]) -> None:
        glib = GLib(self.memory, self.layout, self.images, self.code)
        for context in contexts:
            context.fdmon_fd = glib.unix_fd(context.addr)
            context.tid = self.pollers.get(context.notifier_fd)
            if context.tid is None and context.fdmon_fd is not None:
                context.tid = self.pollers.get(context.fdmon_fd)
            if context.tid is None:
                self._find_monitor(context)
        IOThreads(self.memory, self.layout, self.threads).name(contexts)

    def _find_monitor(self, context: Context) -> None:
        """A ppoll() with a timeout of nanoseconds polls the epoll instance, and nothing else."""
        for thread in self.threads:
            fds = thread.polls.fds if thread.polls is not None else []
            if len(fds) == 1 and self.inferior.live:
                watched = epoll_fds(self.inferior.pid, fds[0].fd)
                if context.notifier_fd in [polled.fd for polled in watched]:
                    context.fdmon_fd, context.tid = fds[0].fd, thread.tid

    def context_at(self, addr: int) -> Optional[Context]:
        """The context at an address, also one that no clock and no global leads to."""
        found = self.loops.add(addr)
        if found is not None:
            self._find_threads([found])
        return found

    @functools.cached_property
    def contexts(self) -> list[Context]:
        """The AioContexts; none in a program that is no QEMU."""
        if not self._is_qemu():
            return []
        try:
            return self.loops.contexts
        except QemuError as error:
            self.notes.append(str(error))
            return []

    def _is_qemu(self) -> bool:
        """Or might be one: a core without its program has no symbols at all."""
        if gdb.current_progspace().filename is None or self._is_loaded():
            return True
        try:
            gdb.parse_and_eval("&qemu_get_aio_context")
        except gdb.error:
            return TypesLayout().knows_contexts()
        return True

    @functools.cached_property
    def gcontexts(self) -> list[MainContext]:
        """Those that AioContexts are attached to."""
        self.complete_glib()
        glib = GLib(self.memory, self.layout, self.images, self.code)
        found = dict.fromkeys(
            context.gctx for context in self.loops.contexts if context.gctx
        )
        return [glib.read(addr) for addr in found]

    @functools.cached_property
    def gcontext_tids(self) -> dict[int, Optional[int]]:
        return {g.addr: self.pollers.get(g.wakeup_fd) for g in self.gcontexts}

    # What the threads are in.

    @functools.cached_property
    def stacks(self) -> Stacks:
        return Stacks(self.code, self.names)

    @functools.cached_property
    def tls(self) -> Tls:
        return Tls(self.memory, self.code, self.program)

    @functools.cached_property
    def bql(self) -> Bql:
        return Bql(self.memory, self.code, self.tls, self.threads)

    @functools.cached_property
    def coroutines(self) -> Coroutines:
        return Coroutines(self.memory, self.code, self.tls, self.stacks, self.threads)

    def stack(self, thread: Thread) -> Stack:
        """The whole chain of calls, through the coroutines the thread is in."""
        return [frame for _, part, _ in self.coroutines.parts(thread) for frame in part]

    @functools.cached_property
    def _monitors(self) -> frozenset[int]:
        """The functions in the contexts' tables of fd monitor functions."""
        found: set[int] = set()
        for table in {context.fdmon_ops for context in self.loops.contexts}:
            try:
                found.update(self.memory.words(table or 0, MONITOR_WORDS))
            except Unreadable:
                continue
        return frozenset(found)

    @functools.cached_property
    def _tails(self) -> frozenset[int]:
        return frozenset(filter(None, map(function, TAILS)))

    def where(self, stack: Stack) -> Where:
        return locate(self.code, stack, self._monitors, self._tails)

    @functools.cached_property
    def owners(self) -> Owners:
        return Owners(
            self.memory, self.loops.contexts, self.gcontexts, self.gcontext_tids
        )

    # The words for it.

    def title(self) -> str:
        core = "" if self.inferior.core is None else "core of "
        return f"{core}{self.program.name} (pid {self.inferior.pid})"

    def role(self, tid: int) -> str:
        return describe.role(self.contexts, self.threads, tid, self._glib_tids())

    def doing(self, tid: Optional[int]) -> str:
        return describe.thread(self.contexts, self.threads, tid, self._glib_tids())

    def _glib_tids(self) -> frozenset[Optional[int]]:
        """Threads that run GLib's loop; not looked for only to find a word for one."""
        known = self.__dict__.get("gcontext_tids", {})
        return frozenset(known.values())

    def fdmon(self, context: Context) -> str:
        return describe.fdmon(self.names.callback(context.fdmon_ops or 0))

    def layout_text(self) -> str:
        dwarf = self.layout.source == "dwarf"
        return "from debug information" if dwarf else "inferred (see: qemu layout)"

    def opaque(self, addr: int) -> Optional[str]:
        return self.names.opaque(addr, self._spans) if addr else None

    @functools.cached_property
    def _spans(self) -> list[tuple[int, int, str]]:
        size = self.layout.size("AioContext") or 1
        if not self.contexts:
            return []
        contexts = sorted(self.contexts, key=lambda context: context.addr)
        return [(c.addr, c.addr + size, c.name) for c in contexts]
