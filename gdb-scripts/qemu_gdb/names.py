# SPDX-License-Identifier: MIT
"""The words for an address: "symbol", "symbol+0x1f", "program+0x9c3b60" with the link address where
no symbol covers it, or "0x..." outside all images. The same ones as loopscope's.
"""
import re
from typing import Optional

import gdb

from qemu_gdb.code import Code
from qemu_gdb.inferior import Images
from qemu_gdb.out import printable

# "aio_poll + 5 in section .text of /usr/bin/..."; anything else is no symbol.
SYMBOL = re.compile(r"(\S+)(?: \+ (\d+))? in section ")


class Names:
    def __init__(self, images: Images, code: Code) -> None:
        self._images = images
        self._code = code
        self._known: dict[int, str] = {}
        self._calls: dict[int, Optional[str]] = {}

    @staticmethod
    def _symbol(addr: int) -> Optional[str]:
        """ELF symbols, as "info symbol" gives them; the bounds of a symbol are respected."""
        match = SYMBOL.match(gdb.execute(f"info symbol {addr:#x}", to_string=True))
        if match is None:
            return None
        return f"{match[1]}+{int(match[2]):#x}" if match[2] else match[1]

    def name(self, addr: int) -> str:
        if addr not in self._known:
            image = self._images.at(addr)
            if image is None:
                return f"{addr:#x}"
            text = self._symbol(addr) or f"{image.name}+{addr - image.bias:#x}"
            self._known[addr] = printable(text)
        return self._known[addr]

    def callback(self, addr: int) -> Optional[str]:
        return self.name(addr) if addr else None

    def calls(self, addr: int) -> Optional[str]:
        """What a function calls that has no name of its own: "read, memset"."""
        if addr not in self._calls:
            known = (
                not addr
                or self._images.at(addr) is None
                or self._symbol(addr) is not None
            )
            self._calls[addr] = (
                None if known else printable(self._code.calls(addr)) or None
            )
        return self._calls[addr]

    def opaque(self, addr: int, spans: list[tuple[int, int, str]]) -> str:
        """An argument: inside a context "io0+0xc4", otherwise as any address. @spans: begin, end
        and name of the contexts, ascending."""
        if spans and spans[0][0] <= addr < spans[-1][1]:
            for begin, end, name in spans:
                if begin <= addr < end:
                    return f"{name}+{addr - begin:#x}" if addr > begin else name
        return self.name(addr)
