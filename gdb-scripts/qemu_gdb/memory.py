# SPDX-License-Identifier: MIT
"""The inferior's memory, read in bulk and kept for the length of one command.

    memory = Memory()
    memory.u64(address); memory.read(address, size); memory.string(address)

Whole pages are read and kept, many at once, so that thousands of small structures cost a few dozen
reads. A gdb.Value for each field would cost many times more. All methods raise Unreadable, with the
address asked for. Make a new one for each command: the inferior may have run since.
"""
import struct
from typing import Optional

import gdb

from qemu_gdb.errors import Unreadable

PAGE = 4096
AHEAD = 16 * PAGE  # what is read at once, where there is so much
TOP = 1 << 64


class Memory:
    def __init__(self) -> None:
        self._inferior = gdb.selected_inferior()
        self._pages: dict[int, Optional[bytes]] = {}
        self.page = self._pages.get  # the bytes of a page that was read, by address

    def _load(self, first: int, last: int) -> None:
        """Fetch the pages from @first to @last (their addresses), in one read if that works."""
        try:
            data = bytes(self._inferior.read_memory(first, last + PAGE - first))
        except (gdb.MemoryError, gdb.error, OverflowError):
            if first != last:
                for page in range(first, last + PAGE, PAGE):
                    if page not in self._pages:
                        self._load(page, page)
            else:
                self._pages[first] = None
            return
        for at in range(0, len(data), PAGE):
            self._pages[first + at] = data[at : at + PAGE]

    def _load_ahead(self, first: int, last: int) -> None:
        start, end = first & -AHEAD, (last & -AHEAD) + AHEAD
        if end - start == AHEAD and start:
            try:
                data = bytes(self._inferior.read_memory(start, AHEAD))
            except (gdb.MemoryError, gdb.error, OverflowError):
                pass
            else:
                for at in range(0, AHEAD, PAGE):
                    self._pages[start + at] = data[at : at + PAGE]
                return
        self._load(first, last)

    def read(self, addr: int, size: int) -> bytes:
        if not 0 < addr < TOP - size:
            raise Unreadable(addr)
        first, last = addr & -PAGE, (addr + size - 1) & -PAGE
        if first not in self._pages or last not in self._pages:
            self._load_ahead(first, last)
        if first == last:
            page = self._pages[first]
            if page is None:
                raise Unreadable(addr)
            return page[addr - first : addr - first + size]
        parts = []
        for at in range(first, last + PAGE, PAGE):
            if at not in self._pages:
                self._load(at, at)
            page = self._pages[at]
            if page is None:
                raise Unreadable(max(addr, at))
            parts.append(page)
        return b"".join(parts)[addr - first : addr - first + size]

    def u64(self, addr: int) -> int:
        return struct.unpack("<Q", self.read(addr, 8))[0]

    def u32(self, addr: int) -> int:
        return struct.unpack("<I", self.read(addr, 4))[0]

    def words(self, addr: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}Q", self.read(addr, 8 * count))

    def pointer(self, addr: int) -> int:
        """The pointer at @addr, 0 where there is no memory."""
        try:
            return self.u64(addr)
        except Unreadable:
            return 0

    def string(self, addr: int, limit: int = 256) -> str:
        """A C string of fewer than @limit bytes, "" where there is none. Not yet made printable."""
        data = b""
        while len(data) < limit and b"\0" not in data:
            at = addr + len(data)
            try:
                data += self.read(at, min(limit - len(data), PAGE - at % PAGE))
            except Unreadable:
                return ""
        text, end, _ = data.partition(b"\0")
        return text.decode("utf-8", "surrogateescape") if end else ""
