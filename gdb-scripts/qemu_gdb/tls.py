# SPDX-License-Identifier: MIT
"""Thread-local variables of the program, without libthread_db.

The program's own block lies right below the thread control block, to which fs_base points: the
System V ABI for x86-64. So a variable is at a fixed distance from fs_base, known from its symbol,
or, without symbols, from the code of a function that does nothing but read it.
"""
import re
import struct
from typing import Optional

import gdb

from qemu_gdb.code import Code
from qemu_gdb.errors import Unreadable
from qemu_gdb.inferior import Image
from qemu_gdb.memory import Memory

PT_TLS = 7
SYMBOL = re.compile(r"thread-local variable at offset 0x([0-9a-f]+) in .* for `(.*)'")
# mov %fs:disp32,%rax; ret, and the same for a bool: movzbl %fs:disp32,%eax; ret.
GETTERS = (bytes.fromhex("64488b0425"), bytes.fromhex("640fb60425"))
RET = 0xC3
GUARD = 0x30  # in the thread control block: glibc's pointer guard


class Tls:
    def __init__(self, memory: Memory, code: Code, program: Image) -> None:
        self._memory = memory
        self._code = code
        self._size = self._block_size(program)

    def _block_size(self, program: Image) -> Optional[int]:
        """Of the program's block, as the ABI rounds it."""
        try:
            header = self._memory.read(program.start, 64)
            (table,) = struct.unpack_from("<Q", header, 32)
            size, count = struct.unpack_from("<HH", header, 54)
            for i in range(count):
                row = self._memory.read(program.start + table + i * size, 56)
                kind, _, _, _, _, _, memsz, align = struct.unpack("<IIQQQQQQ", row)
                if kind == PT_TLS and align:
                    return memsz + -memsz % align
        except (Unreadable, struct.error):
            pass
        return None

    def by_symbol(self, *names: str) -> Optional[int]:
        """Distance from fs_base of the first of the variables that the program has."""
        for name in names:
            try:
                text = gdb.execute(f"info address {name}", to_string=True)
            except gdb.error:
                continue
            match = SYMBOL.search(text)
            # Libraries have variables of the same names.
            own = match and match[2] == gdb.current_progspace().filename
            if match and own and self._size is not None:
                return int(match[1], 16) - self._size
        return None

    def by_getter(self, addr: int) -> Optional[int]:
        """The same from the function at @addr, if all it does is to return the variable."""
        if not addr:
            return None
        try:
            code = self._memory.read(addr, 10)
        except Unreadable:
            return None
        if code[0] == 0xE9:  # a jump to the one that does it
            (to,) = struct.unpack_from("<i", code, 1)
            return self.by_getter(addr + 5 + to) if to else None
        if code[:5] not in GETTERS or code[9] != RET:
            return None
        return struct.unpack_from("<i", code, 5)[0]

    def read(self, fs_base: int, at: int, size: int) -> Optional[int]:
        if not fs_base:
            return None
        try:
            return int.from_bytes(self._memory.read(fs_base + at, size), "little")
        except Unreadable:
            return None


def function(name: str) -> int:
    """The address of a function that the program exports or has a symbol of; 0: none."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&{name}")) & (1 << 64) - 1
    except gdb.error:
        return 0


def direct_calls(code: Code, memory: Memory, addr: int) -> list[int]:
    """What the function at @addr calls or jumps to by address, in order."""
    end = code.end_of(addr)
    found = []
    for at, length, _ in code.instructions(addr, end) if end else []:
        data = memory.read(at, length)
        if length == 5 and data[0] in (0xE8, 0xE9):
            to = at + 5 + struct.unpack_from("<i", data, 1)[0]
            if not addr <= to < (end or 0):
                found.append(to)
    return found
