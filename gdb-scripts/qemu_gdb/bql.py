# SPDX-License-Identifier: MIT
"""The big QEMU lock: where it is, who holds it, who waits for it and from which line.

By symbol: "bql", before 9.0 "qemu_global_mutex". Without symbols: the two exported functions that
lock and unlock it both load its address as their first argument for the mutex functions, and
nothing else is loaded so by both. Its owner is what glibc writes into the mutex.
"""
import re
import struct
from typing import NamedTuple, Optional

import gdb

from qemu_gdb.code import Code
from qemu_gdb.errors import Unreadable
from qemu_gdb.frames import Frame, Stack
from qemu_gdb.memory import Memory
from qemu_gdb.out import printable
from qemu_gdb.threads import Thread
from qemu_gdb.tls import Tls, function
from qemu_gdb.waits import FUTEX
from qemu_gdb.where import BQL_FUNCTIONS

VARIABLES = ("bql", "qemu_global_mutex")
LOCK = ("bql_lock_impl", "qemu_mutex_lock_iothread_impl")
UNLOCK = ("bql_unlock", "qemu_mutex_unlock_iothread")
LOCKED = ("bql_locked", "qemu_mutex_iothread_locked")
FLAGS = ("co_tls_bql_locked", "co_tls_iothread_locked", "iothread_locked")
# In either syntax of gdb's.
LOADS = re.compile(r"\blea\s.*(?:,%rdi|rdi,).*# 0x([0-9a-f]+)")
LINE = re.compile(r"\bmov\s+(?:\$0x([0-9a-f]+),%esi|esi,0x([0-9a-f]+))\s*$")
PATH = re.compile(r"[\w./+-]+\.(?:c|h|inc|cc)")
BEFORE_CALL = 8  # instructions in which the arguments are looked for


class Lock(NamedTuple):
    addr: int  # of the mutex
    name: str
    proof: str
    word: int  # glibc's __lock: 0 free, 1 held, 2 held and waited for
    owner: int  # a thread of the target; 0: nobody


class Waiter(NamedTuple):
    tid: int
    site: str  # "system/cpus.c:76"; "" if the caller's code does not tell
    path: Stack  # who asks for it


class Bql:
    def __init__(
        self, memory: Memory, code: Code, tls: Tls, threads: list[Thread]
    ) -> None:
        self._memory = memory
        self._code = code
        self._tls = tls
        self._threads = threads
        self.why = ""  # it is not known
        self.lock = self._find()
        self._flag = self._find_flag()

    # Where it is.

    def _find(self) -> Optional[Lock]:
        for name in VARIABLES:
            addr = _variable(name)
            if addr:
                return self._read(addr, name, f"symbol {name}")
        lock, unlock = (
            next((n for n in names if function(n)), "") for names in (LOCK, UNLOCK)
        )
        if not lock or not unlock:
            self.why = (
                "this program has neither a symbol of the lock (bql, qemu_global_mutex) "
                "nor the functions that take and release it"
            )
            return None
        both = self._loads(function(lock)) & self._loads(function(unlock))
        if len(both) != 1:
            self.why = f"the code of {lock} and {unlock} does not tell one mutex"
            return None
        name = VARIABLES[lock in LOCK[1:]]
        return self._read(both.pop(), name, f"{lock} and {unlock} both load it")

    def _loads(self, addr: int) -> set[int]:
        """What a function loads into the register of a first argument."""
        end = self._code.end_of(addr) or 0
        found = set()
        for _, _, text in self._code.instructions(addr, end):
            match = LOADS.search(text)
            if match:
                found.add(int(match[1], 16))
        return found

    def _read(self, addr: int, name: str, proof: str) -> Optional[Lock]:
        """glibc's mutex: int __lock; unsigned __count; int __owner; unsigned __nusers."""
        try:
            word, _, owner, _ = struct.unpack("<IIII", self._memory.read(addr, 16))
        except Unreadable as error:
            self.why = f"{name}: {error}"
            return None
        known = {t.tid for t in self._threads}
        if word > 2 or (word and owner not in known | {0}) or (not word and owner):
            self.why = (
                f"what lies at {addr:#x}, where {name} should be, is no mutex of this process "
                f"(state {word}, owner {owner})"
            )
            return None
        return Lock(addr, name, proof, word, owner if word else 0)

    # Who has it, who wants it.

    def _find_flag(self) -> Optional[int]:
        at = self._tls.by_symbol(*FLAGS)
        if at is not None:
            return at
        for name in LOCKED:
            found = self._tls.by_getter(function(name))
            if found is not None:
                return found
        return None

    def says_locked(self, thread: Thread) -> Optional[bool]:
        """What the thread's own flag says: also true while it waits for a condition with it."""
        if self._flag is None:
            return None
        value = self._tls.read(thread.fs_base, self._flag, 1)
        return None if value is None else bool(value)

    def waits(self, thread: Thread) -> bool:
        if self.lock is None or thread.call != FUTEX:
            return False
        return thread.args[0] == self.lock.addr

    def waiter(self, tid: int, stack: Stack) -> Waiter:
        """@stack: of a thread that waits for it."""
        for i, frame in enumerate(stack[:-1]):
            if frame.symbol in BQL_FUNCTIONS:
                return Waiter(tid, self._site(stack[i + 1]), stack[i + 1 :])
        return Waiter(tid, "", stack)

    def _site(self, caller: Frame) -> str:
        """File and line, as the caller's code hands them over: the macro's __FILE__, __LINE__."""
        file, line = "", 0
        code = self._code.instructions(caller.function, caller.pc)
        for _, _, text in code[-BEFORE_CALL:-1] if caller.function else []:
            match = LOADS.search(text)
            if match:
                file = printable(self._memory.string(int(match[1], 16), 128))
            match = LINE.search(text)
            if match:
                line = int(match[1] or match[2], 16)
        if not PATH.fullmatch(file) or not line:
            return ""
        while file.startswith("../"):
            file = file[3:]
        return f"{file}:{line}"


def _variable(name: str) -> int:
    """The mutex of that name: other files may have a static variable called so, of another type."""
    found = [*gdb.lookup_static_symbols(name, gdb.SYMBOL_VAR_DOMAIN)]
    found.append(gdb.lookup_global_symbol(name, gdb.SYMBOL_VAR_DOMAIN))
    for symbol in found:
        try:
            fields = symbol.type.strip_typedefs().fields() if symbol else []
            if fields and fields[0].name == "lock":
                return int(symbol.value().address)
        except (gdb.error, TypeError, ValueError):
            continue
    return 0
