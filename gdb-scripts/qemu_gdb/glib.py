# SPDX-License-Identifier: MIT
"""The sources of the GMainContexts that QEMU's contexts are attached to.

GSource's fields are public in <glib.h> and have kept their places since GLib 2.0: they are written
down here, once, for LP64 machines. GMainContext is private: the way from it to its first source
and to its wake-up descriptor comes from the layout.
"""
import struct
from typing import NamedTuple, Optional

from qemu_gdb.code import Code
from qemu_gdb.errors import Damaged, Unreadable
from qemu_gdb.inferior import Images
from qemu_gdb.layout import Layout
from qemu_gdb.lists import walk
from qemu_gdb.memory import Memory
from qemu_gdb.threads import PollFd

# struct _GSource. SOURCE holds what is read of it: from callback_data to priv.
SOURCE_FUNCS, SOURCE_CONTEXT, SOURCE_NEXT = 16, 32, 72
SOURCE = struct.Struct("<QQQI4xQiIIxxxxQQQQQ")
# struct _GSourceFuncs: prepare, check, dispatch, finalize.
FUNCS_DISPATCH = 16
# GSList {data, next}; GList {data, next, prev}; GPollFD {gint fd; gushort events, revents}.
LINK_NEXT = 8
POLL_FD = struct.Struct("<iHH")
POLLIN = 1
MAX_FDS = 4096  # of one source
PRIV_WORDS = 8  # of GSourcePrivate that are looked at for a list of fds


class Source(NamedTuple):
    addr: int
    funcs: int
    callback: int  # set by g_source_set_callback(); 0: none
    priority: int
    id: int
    name: str
    fds: frozenset[int]


class MainContext(NamedTuple):
    addr: int
    wakeup_fd: Optional[int]
    sources: list[Source]


class GLib:
    def __init__(
        self, memory: Memory, layout: Layout, images: Images, code: Code
    ) -> None:
        self._memory = memory
        self._layout = layout
        self._code = code
        self._library = images.library("libglib-2.0.so")

    def read(self, addr: int) -> MainContext:
        return MainContext(addr, self._wakeup_fd(addr), list(self._sources(addr)))

    def _wakeup_fd(self, addr: int) -> Optional[int]:
        at = self._layout.offset("GMainContext", "wake_up_rec.fd")
        if at is None:
            return None
        try:
            fd, events, _ = POLL_FD.unpack(self._memory.read(addr + at, 8))
        except Unreadable:
            return None
        return fd if events == POLLIN else None

    def _sources(self, gctx: int):
        lists_at = self._layout.offset("GMainContext", "source_lists")
        head_at = self._layout.offset("GSourceList", "head")
        if lists_at is None or head_at is None:
            return
        try:
            for _, link in walk(self._memory, gctx + lists_at, 16, LINK_NEXT):
                (source_list,) = struct.unpack_from("<Q", link)
                head = source_list + head_at
                for addr, data in walk(self._memory, head, SOURCE.size, SOURCE_NEXT):
                    fields = SOURCE.unpack(data)
                    if fields[4] != gctx:
                        raise Damaged(addr, "is of another GMainContext")
                    yield self._source(addr, fields)
        except Damaged:
            return  # what it would have explained stays unknown

    def _source(self, addr: int, fields: tuple[int, ...]) -> Source:
        (
            data,
            data_funcs,
            funcs,
            _,
            _,
            priority,
            _,
            number,
            fds,
            _,
            _,
            name,
            priv,
        ) = fields
        found = self._fd_list(fds)
        if priv:
            try:
                for word in self._memory.words(priv, PRIV_WORDS):
                    found += self._fd_list(word)
            except Unreadable:
                pass
        return Source(
            addr,
            funcs,
            self._callback(data, data_funcs),
            priority,
            number,
            self._memory.string(name, 64) if name else "",
            frozenset(polled.fd for polled in found),
        )

    def _fd_list(self, link: int) -> list[PollFd]:
        """A GSList of pointers to GPollFD; whatever else lies there is an empty one."""
        found: list[PollFd] = []
        while link and not link % 8 and len(found) < MAX_FDS:
            try:
                data, link = self._memory.words(link, 2)
                polled = PollFd(*POLL_FD.unpack(self._memory.read(data, 8)))
            except Unreadable:
                break
            if polled.fd < 0 or polled.events & ~0x3F:
                break
            found.append(polled)
        return found

    def _callback(self, data: int, funcs: int) -> int:
        """What g_source_set_callback() set is { reference count, function, data, destroy }."""
        if not data or self._library is None or not self._library.holds(funcs):
            return 0
        try:
            function = self._memory.words(data, 2)[1]
        except Unreadable:
            return 0
        return function if self._code.is_function(function) else 0
