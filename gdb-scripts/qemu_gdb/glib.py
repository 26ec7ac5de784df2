# SPDX-License-Identifier: MIT
"""The sources of the GMainContexts that QEMU's contexts are attached to.

GSource's fields are public in <glib.h> and have kept their places since GLib 2.0: they are written
down here, once, for LP64 machines. GMainContext is private: the way from it to its first source
and to its wake-up descriptor comes from the layout.
"""
import struct
from collections.abc import Iterator
from typing import NamedTuple, Optional

from qemu_gdb import glib_reach
from qemu_gdb.code import Code
from qemu_gdb.errors import Damaged, Unreadable
from qemu_gdb.glib_reach import SOURCE_NEXT, Place
from qemu_gdb.inferior import Images
from qemu_gdb.layout import Layout
from qemu_gdb.lists import walk
from qemu_gdb.memory import Memory
from qemu_gdb.threads import PollFd

# struct _GSource. SOURCE holds what is read of it: from callback_data to priv.
SOURCE = struct.Struct("<QQQI4xQiII4xQQQQQ")
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
    data: int  # its argument
    priority: int
    flags: int
    ref_count: int
    id: int
    name: str
    polled: tuple[PollFd, ...]
    fds: frozenset[int]
    ready_ns: Optional[int]  # CLOCK_MONOTONIC; -1: never by itself; None: unknown


class MainContext(NamedTuple):
    addr: int
    wakeup_fd: Optional[int]
    sources: list[Source]
    damage: Optional[Damaged]  # where a list of sources breaks
    by: str  # how its sources were found: "dwarf", "inferred" or "public"


class GLib:
    def __init__(
        self, memory: Memory, layout: Layout, images: Images, code: Code
    ) -> None:
        self._memory = memory
        self._layout = layout
        self._code = code
        self._library = images.library("libglib-2.0.so")

    def read(self, addr: int) -> MainContext:
        sources: list[Source] = []
        damage = None
        place, by = self._place(addr)
        try:
            if place is not None:
                sources.extend(self._sources(addr, place))
        except Damaged as found:  # what it would have explained stays unknown
            damage = found
        return MainContext(addr, self._wakeup_fd(addr), sources, damage, by)

    def unix_fd(self, addr: int) -> Optional[int]:
        """What g_source_add_unix_fd() gave a source: an AioContext's fd monitor."""
        try:
            fields = SOURCE.unpack(self._memory.read(addr, SOURCE.size))
            found = self._private_fds(fields[-1], fields[4])
        except Unreadable:
            return None
        return found[0].fd if len(found) == 1 else None

    def _place(self, gctx: int) -> tuple[Optional[Place], str]:
        lists_at = self._layout.offset("GMainContext", "source_lists")
        head_at = self._layout.offset("GSourceList", "head")
        if lists_at is not None and head_at is not None:
            return Place(lists_at, head_at), self._layout.source
        return glib_reach.find_place(self._memory, gctx), "public"

    def _wakeup_fd(self, addr: int) -> Optional[int]:
        at = self._layout.offset("GMainContext", "wake_up_rec.fd")
        if at is None:
            return None
        try:
            fd, events, _ = POLL_FD.unpack(self._memory.read(addr + at, 8))
        except Unreadable:
            return None
        return fd if events == POLLIN else None

    def _sources(self, gctx: int, place: Place) -> Iterator[Source]:
        for _, link in walk(self._memory, gctx + place.source_lists, 16, LINK_NEXT):
            (source_list,) = struct.unpack_from("<Q", link)
            head = source_list + place.head
            for addr, data in walk(self._memory, head, SOURCE.size, SOURCE_NEXT):
                fields = SOURCE.unpack(data)
                if fields[4] != gctx:
                    raise Damaged(addr, f"is of another GMainContext, {fields[4]:#x}")
                yield self._source(addr, fields)

    def _source(self, addr: int, fields: tuple[int, ...]) -> Source:
        data, data_funcs, funcs, refs, gctx, priority, flags, number = fields[:8]
        fds, _, _, name, priv = fields[8:]
        found = self._fd_list(fds)
        try:
            found += self._private_fds(priv, gctx)
        except Unreadable:
            pass
        callback, opaque = self._callback(data, data_funcs)
        return Source(
            addr,
            funcs,
            callback,
            opaque,
            priority,
            flags,
            refs,
            number,
            self._memory.string(name, 64) if name else "",
            tuple(found),
            frozenset(polled.fd for polled in found),
            self._ready_ns(priv),
        )

    def _ready_ns(self, priv: int) -> Optional[int]:
        at = self._layout.offset("GSourcePrivate", "ready_time")  # us; private
        if at is None or not priv:
            return None
        try:
            (us,) = struct.unpack("<q", self._memory.read(priv + at, 8))
        except Unreadable:
            return None
        return -1 if us < 0 else us * 1000

    def _fd_list(self, link: int) -> list[PollFd]:
        """A GSList of pointers to GPollFD; whatever else lies there is an empty one."""
        found: list[PollFd] = []
        while link and not link % 8 and len(found) < MAX_FDS:
            try:
                data, link = self._memory.words(link, 2)
                polled = PollFd(*POLL_FD.unpack(self._memory.read(data, 8)))
            except Unreadable:
                break
            if polled.fd < -1 or polled.events & ~0x3F:
                break
            found.append(polled)  # -1 is no descriptor: poll() passes over it
        return found

    def _private_fds(self, priv: int, gctx: int) -> list[PollFd]:
        """What g_source_add_unix_fd() gave a source of @gctx.

        Some word of GSourcePrivate leads to a list of it. Others lead to its parent and to a list
        of its children, or to what looks like a descriptor that is polled for nothing.
        """
        found: list[PollFd] = []
        for word in self._memory.words(priv, PRIV_WORDS) if priv else ():
            if not word or self._is_source_of(word, gctx):
                continue
            listed = self._fd_list(word)
            if not listed or self._is_source_of(self._memory.words(word, 1)[0], gctx):
                continue
            if all(polled.fd >= 0 and polled.events for polled in listed):
                found += listed
        return found

    def _is_source_of(self, addr: int, gctx: int) -> bool:
        """A word that happens to be @gctx is not enough: a source has functions, too."""
        try:
            fields = SOURCE.unpack(self._memory.read(addr, SOURCE.size))
            return (
                0 != gctx == fields[4]
                and fields[3] > 0
                and self._memory.pointer(fields[2] + FUNCS_DISPATCH) != 0
            )
        except Unreadable:
            return False

    def _callback(self, data: int, funcs: int) -> tuple[int, int]:
        """What g_source_set_callback() set is { reference count, function, data, destroy }."""
        if not data or self._library is None or not self._library.holds(funcs):
            return 0, 0
        try:
            _, function, opaque = self._memory.words(data, 3)
        except Unreadable:
            return 0, 0
        return (function, opaque) if self._code.is_function(function) else (0, 0)
