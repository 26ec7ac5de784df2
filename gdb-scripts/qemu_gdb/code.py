# SPDX-License-Identifier: MIT
"""Functions of a program without symbols: where they start and end, and what they call.

Start and end come from the program's own unwind table (.eh_frame_hdr and the FDEs it sorts), which
a stripped program keeps; what a function calls from gdb's disassembler. Nothing is guessed: a
table in another form than the usual one gives no function at all.
"""
import bisect
import re
import struct
from typing import Optional

import gdb

from qemu_gdb.errors import Unreadable
from qemu_gdb.inferior import Image, Images
from qemu_gdb.memory import Memory

# Version 1; the pointer to .eh_frame, their number, the table: sdata4, udata4, datarel sdata4.
USUAL_HEADER = bytes([1, 0x1B, 0x03, 0x3B])
MAX_FUNCTIONS = 1 << 20
MAX_SIZE = 1 << 16  # of a function that is disassembled
MAX_CALLS = 3  # enough to recognise a callback by
CALL = re.compile(r"\b(?:call|j)\w*\s+0x([0-9a-f]+) <([^<>+]+)>")


class Code:
    def __init__(self, memory: Memory, images: Images) -> None:
        self._memory = memory
        self._images = images
        self._tables: dict[str, tuple[list[int], list[int]]] = {}

    def _table(self, image: Image) -> tuple[list[int], list[int]]:
        """Starts of functions, ascending, and their FDEs: both as distances from the header."""
        if image.path not in self._tables:
            self._tables[image.path] = ([], [])
            at = image.eh_frame_hdr
            try:
                header = self._memory.read(at, 12) if at else b""
                (count,) = struct.unpack_from("<I", header, 8) if header else (0,)
                if header[:4] == USUAL_HEADER and count <= MAX_FUNCTIONS:
                    numbers = struct.unpack(
                        f"<{2 * count}i", self._memory.read(at + 12, 8 * count)
                    )
                    self._tables[image.path] = (list(numbers[::2]), list(numbers[1::2]))
            except Unreadable:
                pass
        return self._tables[image.path]

    def end_of(self, addr: int) -> Optional[int]:
        """Where the function that starts exactly at @addr ends; None if none starts there."""
        image = self._images.at(addr)
        if image is None:
            return None
        starts, fdes = self._table(image)
        i = bisect.bisect_left(starts, addr - image.eh_frame_hdr)
        if i == len(starts) or starts[i] != addr - image.eh_frame_hdr:
            return None
        fde = image.eh_frame_hdr + fdes[i]
        try:
            begin, size = struct.unpack("<iI", self._memory.read(fde + 8, 8))
        except Unreadable:
            return None
        return addr + size if fde + 8 + begin == addr and size else None

    def start_of(self, addr: int) -> int:
        """Where the function that @addr lies in starts; 0 if that is not known."""
        image = self._images.at(addr)
        if image is None:
            return 0
        starts, _ = self._table(image)
        i = bisect.bisect_right(starts, addr - image.eh_frame_hdr) - 1
        if i < 0:
            return 0
        start = image.eh_frame_hdr + starts[i]
        end = self.end_of(start)
        return start if end is not None and addr < end else 0

    def instructions(self, start: int, end: int) -> list[tuple[int, int, str]]:
        """Address, length and text of each, in whichever syntax the user has chosen."""
        if not start < end <= start + MAX_SIZE:
            return []
        try:
            lines = gdb.selected_inferior().architecture().disassemble(start, end - 1)
        except gdb.error:
            return []
        return [(line["addr"], line["length"], line["asm"]) for line in lines]

    def is_function(self, addr: int) -> bool:
        return self.end_of(addr) is not None

    def calls(self, addr: int) -> str:
        """The exported or imported functions that the one at @addr calls: "read, memset"."""
        end = self.end_of(addr)
        if end is None or end - addr > MAX_SIZE:
            return ""
        try:
            lines = gdb.selected_inferior().architecture().disassemble(addr, end - 1)
        except gdb.error:
            return ""
        names: list[str] = []
        for line in lines:
            match = CALL.search(line["asm"])
            if match is None or addr <= int(match[1], 16) < end:
                continue
            name = match[2].partition("@")[0]
            if not name.startswith("__stack_chk") and name not in names:
                names.append(name)
            if len(names) == MAX_CALLS:
                break
        return ", ".join(names)
