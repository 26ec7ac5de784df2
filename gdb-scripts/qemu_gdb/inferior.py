# SPDX-License-Identifier: MIT
"""What is debugged: a process of this machine, a core file, or something remote.

current() tells which. Images are the ELF files it has mapped: their bias, extent, build-id and
table of functions come from the headers in its memory, not from gdb's idea of the files, so that
they are also known without symbols.
"""
import bisect
import os
import re
import struct
from typing import NamedTuple, Optional

import gdb

from qemu_gdb.errors import QemuError, Unreadable
from qemu_gdb.memory import PAGE, Memory

ELF_CORE = 4
PT_LOAD, PT_NOTE, PT_GNU_EH_FRAME = 1, 4, 0x6474E550
NT_GNU_BUILD_ID = 3
MAP = re.compile(
    r"\s*0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+([rwxps-]{4}\s+)?(/.*)"
)


class Inferior(NamedTuple):
    pid: int
    live: bool  # a process of this machine: /proc/PID is its own
    core: Optional[str]  # path of the core file


def _core_path() -> Optional[str]:
    """gdb's Python does not tell; of the files it lists, it is the one that is a core."""
    for path in re.findall(r"`(.+)'", gdb.execute("info files", to_string=True)):
        try:
            with open(path, "rb") as file:
                header = file.read(18)
        except OSError:
            continue
        if header[:4] == b"\x7fELF" and header[16] == ELF_CORE:
            return os.path.abspath(path)
    return None


def current() -> Inferior:
    inferior = gdb.selected_inferior()
    if not inferior.pid:
        raise QemuError(
            "nothing to look at: attach to a process (attach PID) or open a core (core-file FILE)"
        )
    thread = gdb.selected_thread()
    if thread is not None and thread.is_running():
        raise QemuError("the process is running: stop it first (interrupt)")
    connection = getattr(inferior, "connection", None)
    kind = connection.type if connection is not None else "native"
    live = kind == "native" and os.path.isdir(f"/proc/{inferior.pid}")
    return Inferior(inferior.pid, live, None if live else _core_path())


class Mapping(NamedTuple):
    start: int
    end: int
    offset: int
    path: str


def mappings() -> list[Mapping]:
    """The files the inferior has mapped, by address."""
    try:
        text = gdb.execute("info proc mappings", to_string=True)
    except (gdb.error, UnicodeError):
        return []
    found = []
    for line in text.splitlines():
        match = MAP.match(line)
        if match:
            start, end, offset = (int(match[i], 16) for i in (1, 2, 3))
            found.append(Mapping(start, end, offset, match[5].strip()))
    return sorted(found)


class Image:
    """An ELF file in memory. Run addresses are link addresses plus the bias."""

    def __init__(self, memory: Memory, path: str, base: int) -> None:
        name = path.removesuffix(" (deleted)").rpartition("/")[2]
        self.path = path
        self.name = "".join(c if c.isprintable() else "?" for c in name)
        self.build_id = ""
        self.eh_frame_hdr = 0  # run address
        self.start, self.end, self.bias = base, base, 0
        header = memory.read(base, 64)
        if header[:5] != b"\x7fELF\x02":
            raise Unreadable(base)
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        rows = [
            struct.unpack("<IIQQQQQQ", memory.read(base + table + i * size, 56))
            for i in range(count)
        ]
        loads = [row for row in rows if row[0] == PT_LOAD]
        if not loads:
            raise Unreadable(base)
        self.bias = base - (loads[0][3] & -PAGE)
        self.start = min(row[3] for row in loads) + self.bias
        self.end = max(row[3] + row[6] for row in loads) + self.bias
        for kind, _, _, vaddr, _, _, memsz, _ in rows:
            if kind == PT_GNU_EH_FRAME:
                self.eh_frame_hdr = vaddr + self.bias
            elif kind == PT_NOTE and memsz <= PAGE:
                self._read_build_id(memory, vaddr + self.bias, memsz)

    def _read_build_id(self, memory: Memory, addr: int, size: int) -> None:
        try:
            notes = memory.read(addr, size)
        except Unreadable:
            return
        at = 0
        while at + 12 <= len(notes):
            name_size, size, kind = struct.unpack_from("<III", notes, at)
            text = at + 12 + (name_size + 3 & -4)
            if kind == NT_GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
                self.build_id = notes[text : text + size].hex()
            at = text + (size + 3 & -4)

    def holds(self, addr: int) -> bool:
        return self.start <= addr < self.end


class Images:
    def __init__(self, memory: Memory, inferior: Inferior) -> None:
        self._memory = memory
        self._maps = mappings()
        self._starts = [m.start for m in self._maps]
        self._known: dict[str, Optional[Image]] = {}
        self._outside: set[int] = set()  # pages that are of no image
        self.program = self._find_program(inferior)

    def _find_program(self, inferior: Inferior) -> Optional[Image]:
        try:
            exe = os.readlink(f"/proc/{inferior.pid}/exe") if inferior.live else None
        except OSError:
            exe = None
        # A core names no program, but the kernel maps it first of all.
        for m in self._maps:
            if exe is None or m.path == exe:
                return self._open(m.path)
        return None

    def _open(self, path: str) -> Optional[Image]:
        if path not in self._known:
            self._outside.clear()  # its .bss may be among them
            first = next(m for m in self._maps if m.path == path)
            try:
                self._known[path] = Image(
                    self._memory, path, first.start - first.offset
                )
            except Unreadable:
                self._known[path] = None
        return self._known[path]

    def at(self, addr: int) -> Optional[Image]:
        """The image that holds a run address; also its .bss, which no file stands behind."""
        if addr & -PAGE in self._outside:
            return None
        for image in self._known.values():
            if image is not None and image.holds(addr):
                return image
        m = self._mapping(addr)
        if m is None:
            self._outside.add(addr & -PAGE)
        return self._open(m.path) if m else None

    def _mapping(self, addr: int) -> Optional[Mapping]:
        i = bisect.bisect_right(self._starts, addr) - 1
        return self._maps[i] if i >= 0 and addr < self._maps[i].end else None

    def holds(self, addr: int) -> bool:
        """Whether a file is mapped there; true everywhere if gdb does not tell what is mapped."""
        return not self._maps or self._mapping(addr) is not None

    def library(self, prefix: str) -> Optional[Image]:
        for m in self._maps:
            if m.path.rpartition("/")[2].startswith(prefix):
                return self._open(m.path)
        return None
