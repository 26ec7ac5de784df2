# SPDX-License-Identifier: MIT
"""Coroutines: where a sleeping one goes on, who entered it, and which one a thread runs.

A coroutine that yields leaves its registers in a jump buffer inside its structure. glibc mangles
those that could be misused (rbp, rsp, rip: rotated, and exclusive-or with a secret that each thread
has at fs_base + 0x30); the secret is the target's own, read from its memory.

The structure is known from types (CoroutineUContext), or from code: qemu_coroutine_switch hands its
jump buffer to sigsetjmp, qemu_in_coroutine looks at the caller, and both ask for the current one.
A jump buffer counts only if what comes out of it is a place in a function right behind a call, and
a stack that is mapped.
"""
import re
import struct
from typing import NamedTuple, Optional

import gdb

from qemu_gdb.code import Code
from qemu_gdb.errors import QemuError, Unreadable
from qemu_gdb.frames import Stack, Stacks
from qemu_gdb.memory import Memory
from qemu_gdb.threads import Thread
from qemu_gdb.tls import GUARD, Tls, direct_calls, function

CURRENT = ("co_tls_current", "current")
# __jmp_buf of x86-64.
JUMP_BUFFER = struct.Struct("<8Q")
ORDER = ("rbx", "rbp", "r12", "r13", "r14", "r15", "rsp", "rip")
MANGLED = ("rbp", "rsp", "rip")
ROTATED = 17
MAX_CHAIN = 64
ENTRY, ENTRY_ARG = 0, 8
# The last instructions before a call of sigsetjmp: the buffer is its first argument.
BUFFER = re.compile(
    r"\blea\s+(?:0x([0-9a-f]+)\(%\w+\),%rdi|rdi,\[\w+\+0x([0-9a-f]+)\])\s*$"
)
SETJMP = re.compile(r"\bcall\w*\s+.*sigsetjmp")
CALLER = re.compile(
    r"\bcmp\w*\s+.*?(?:\$0x0,0x([0-9a-f]+)\(%|\[\w+\+0x([0-9a-f]+)\],0x0)"
)


class Places(NamedTuple):
    """Offsets in the structure that a Coroutine * points to."""

    buffer: int
    caller: int
    stack: Optional[int]
    size: Optional[int]
    scheduled: Optional[int]
    origin: str


class Coroutine(NamedTuple):
    addr: int
    entry: int
    argument: int
    caller: int  # who entered it, while it has not yielded
    registers: dict[
        str, int
    ]  # with which it goes on; of one that runs: those it had last
    scheduled: str  # "" or the function that asked for it to be entered


class Coroutines:
    def __init__(
        self,
        memory: Memory,
        code: Code,
        tls: Tls,
        stacks: Stacks,
        threads: list[Thread],
    ) -> None:
        self._memory = memory
        self._code = code
        self._tls = tls
        self._stacks = stacks
        self._threads = threads
        self.why = ""  # they are not known
        self.places = self._from_types() or self._from_code()
        self._current = self._find_current()

    # The structure.

    def _from_types(self) -> Optional[Places]:
        try:
            kind = gdb.lookup_type("CoroutineUContext").strip_typedefs()
            base = gdb.lookup_type("Coroutine").strip_typedefs()
            fields = {f.name: f.bitpos // 8 for f in kind.fields() if f.name}
            of_base = {f.name: f.bitpos // 8 for f in base.fields() if f.name}
        except (gdb.error, AttributeError, TypeError):
            return None
        if "env" not in fields or "base" not in fields or "caller" not in of_base:
            return None
        at = fields["base"]  # a Coroutine * points to it
        stack = fields.get("stack", at) - at if "stack" in fields else None
        size = fields["stack_size"] - at if "stack_size" in fields else None
        return Places(
            fields["env"] - at,
            of_base["caller"],
            stack,
            size,
            of_base.get("scheduled"),
            "types",
        )

    def _from_code(self) -> Optional[Places]:
        switch, inside = (
            function(n) for n in ("qemu_coroutine_switch", "qemu_in_coroutine")
        )
        if not switch or not inside:
            self.why = (
                "no coroutines here: the program has neither the type CoroutineUContext nor "
                "the functions qemu_coroutine_switch and qemu_in_coroutine"
            )
            return None
        buffers, last = set(), None
        for _, _, text in self._code.instructions(
            switch, self._code.end_of(switch) or 0
        ):
            if SETJMP.search(text) and last:
                buffers.add(last)
            match = BUFFER.search(text)
            last = int(match[1] or match[2], 16) if match else None
        lines = self._code.instructions(inside, self._code.end_of(inside) or 0)
        callers = {
            int(m[1] or m[2], 16)
            for m in (CALLER.search(text) for _, _, text in lines)
            if m
        }
        if len(buffers) != 1 or len(callers) != 1:
            self.why = (
                "the code of qemu_coroutine_switch and qemu_in_coroutine does not tell where "
                "a coroutine keeps its registers and its caller"
            )
            return None
        return Places(buffers.pop(), callers.pop(), None, None, None, "code")

    def _find_current(self) -> Optional[int]:
        if self.places is None:
            return None
        at = self._tls.by_symbol(*CURRENT)
        inside = function("qemu_in_coroutine")
        if at is None and inside:
            for called in direct_calls(self._code, self._memory, inside)[:1]:
                at = self._tls.by_getter(called)
        return at

    # One of them.

    def _guard(self) -> int:
        for thread in self._threads:
            guard = self._tls.read(thread.fs_base, GUARD, 8)
            if guard:
                return guard
        raise QemuError(
            "no thread's control block (fs_base) can be read, and with it the secret that "
            "jump buffers are mangled with"
        )

    def read(self, addr: int) -> Coroutine:
        """Raises QemuError if no coroutine is there, or none can be known."""
        if self.places is None:
            raise QemuError(self.why)
        try:
            entry, argument = self._memory.words(addr + ENTRY, 2)
            caller = self._memory.u64(addr + self.places.caller)
            data = self._memory.read(addr + self.places.buffer, JUMP_BUFFER.size)
        except Unreadable as error:
            raise QemuError(f"no coroutine at {addr:#x}: {error}")
        saved = dict(zip(ORDER, JUMP_BUFFER.unpack(data)))
        guard = self._guard()
        for name in MANGLED:
            value = saved[name]
            value = (value >> ROTATED | value << 64 - ROTATED) & (1 << 64) - 1
            saved[name] = value ^ guard
        wrong = self._wrong(addr, saved)
        if wrong:
            raise QemuError(f"no sleeping coroutine at {addr:#x}: {wrong}")
        scheduled = ""
        if self.places.scheduled is not None:
            word = self._memory.pointer(addr + self.places.scheduled)
            scheduled = self._memory.string(word, 64) if word else ""
        return Coroutine(addr, entry, argument, caller, saved, scheduled)

    def _wrong(self, addr: int, saved: dict[str, int]) -> str:
        """Why this cannot be what a coroutine left; "" if it can."""
        rip, rsp = saved["rip"], saved["rsp"]
        start = self._code.start_of(rip - 1)
        if not start:
            return f"its jump buffer leads to {rip:#x}, which is in no function"
        try:
            self._memory.read(rsp, 64)
        except Unreadable:
            return f"its jump buffer has the stack at {rsp:#x}, which cannot be read"
        lines = self._code.instructions(start, rip)
        if (
            not lines
            or lines[-1][0] + lines[-1][1] != rip
            or "call" not in lines[-1][2]
        ):
            return f"its jump buffer leads to {rip:#x}, which is behind no call"
        places = self.places
        assert places is not None
        if places.stack is None or places.size is None:
            return ""
        low = self._memory.pointer(addr + places.stack)
        size = self._memory.pointer(addr + places.size)
        # A thread's own, the leader, has no stack of that kind.
        if low and not low <= rsp < low + size:
            return (
                f"its jump buffer has the stack at {rsp:#x}, "
                f"outside of its own ({low:#x} to {low + size:#x})"
            )
        return ""

    # Chains of calls.

    def current(self, thread: Thread) -> int:
        """The coroutine a thread runs; 0: none, or it cannot be known."""
        if self.places is None or self._current is None:
            return 0
        addr = self._tls.read(thread.fs_base, self._current, 8) or 0
        # The thread's own chain is a coroutine too, the leader: nobody entered that one.
        return addr if addr and self._memory.pointer(addr + self.places.caller) else 0

    def runs_in(self, addr: int) -> Optional[tuple[Thread, bool]]:
        """The thread that is in it, and whether it is so right now or in one that it entered."""
        for thread in self._threads:
            chain = self.chain(self.current(thread))
            if addr in chain:
                return thread, chain[0] == addr
        return None

    def chain(self, addr: int) -> list[int]:
        """The coroutine, who entered it, who entered that one ...: up to the thread's own."""
        found: list[int] = []
        while addr and addr not in found and len(found) < MAX_CHAIN:
            found.append(addr)
            assert self.places is not None
            addr = self._memory.pointer(addr + self.places.caller)
        return found

    def stack(self, addr: int) -> Stack:
        return self._stacks.of_registers(self.read(addr).registers)

    def parts(self, thread: Thread) -> list[tuple[int, Stack, str]]:
        """The chain of calls of a thread through all coroutines it is in, the innermost first.

        Each with the coroutine's address (0: the thread's own stack) and what is wrong with it.
        """
        chain = self.chain(self.current(thread))
        parts = [(chain[0] if chain else 0, self._stacks.of_thread(thread.tid), "")]
        for i, addr in enumerate(chain[1:], start=1):
            own = i == len(chain) - 1
            try:
                parts.append((0 if own else addr, self.stack(addr), ""))
            except QemuError as error:
                parts.append((addr, [], str(error)))
                break
        return parts
