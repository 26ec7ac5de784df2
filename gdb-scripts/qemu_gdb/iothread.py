# SPDX-License-Identifier: MIT
"""Which IOThread a context belongs to, and what it is called.

A thread that runs an IOThread keeps a pointer to it, on its stack or in a register: a word that
leads to a structure which holds the context where IOThread.ctx lies. Its name is its id where it
has one; QEMU's is an object, and its parent in the object tree keeps it under its name, as a
property of type "child<iothread>". Where neither is found, the thread's own name has to do.
"""
import struct
from collections.abc import Iterator
from typing import Optional

import gdb

from qemu_gdb.errors import Unreadable
from qemu_gdb.layout import Layout
from qemu_gdb.loops import IOTHREAD, OTHER, Context
from qemu_gdb.memory import TOP, Memory
from qemu_gdb.out import printable
from qemu_gdb.threads import Thread

STACK_WORDS = 2048  # from the stack pointer up
STEP_WORDS = 64
OBJECT_WORDS = 8
TABLE_WORDS = 12
MAX_PROPERTIES = 4096
PROPERTY_WORDS = 10


def _function(name: str) -> int:
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&{name}"))
    except gdb.error:
        return 0


class IOThreads:
    def __init__(self, memory: Memory, layout: Layout, threads: list[Thread]) -> None:
        self._memory = memory
        self._ctx_at = layout.offset("IOThread", "ctx")
        self._id_at = layout.offset("IOThread", "id")
        self._threads = threads
        self._hashes: Optional[bytes] = None

    def name(self, contexts: list[Context]) -> None:
        """Give the contexts of IOThreads their names."""
        for context in contexts:
            if context.kind != OTHER:
                continue
            # The thread that polls it first; one that is busy has it on its stack as well.
            threads = sorted(
                self._threads, key=lambda thread: thread.tid != context.tid
            )
            owner = next(filter(None, (self._find(context, t) for t in threads)), 0)
            comm = next((t.name for t in threads if t.tid == context.tid), "")
            if owner:
                context.kind, context.iothread = IOTHREAD, owner
            name = self._id(owner) or self._property_name(owner) if owner else ""
            if not name and comm.startswith("IO "):
                name = comm[3:]
            if not name and owner and context.tid:
                name = f"IOThread of thread {context.tid}"
            if name:
                context.name = printable(name)

    def runs(self, context: Context, thread: Thread) -> bool:
        """Is @thread the one that runs the IOThread of @context?"""
        return bool(self._find(context, thread))

    def _words(self, addr: int, count: int) -> tuple[int, ...]:
        try:
            return self._memory.words(addr, count)
        except Unreadable:
            return ()

    def _find(self, context: Context, thread: Thread) -> int:
        if self._ctx_at is None or not thread.sp:
            return 0
        tried = {0, context.addr - self._ctx_at}
        stack = range(thread.sp, thread.sp + 8 * STACK_WORDS)
        for word in self._held_by(thread, stack):
            # No IOThread lies on the stack itself.
            if word % 8 or word in tried or word in stack or word >= TOP - self._ctx_at:
                continue
            tried.add(word)
            if self._memory.pointer(word + self._ctx_at) == context.addr:
                return word
        return 0

    def _held_by(self, thread: Thread, stack: range) -> Iterator[int]:
        yield from thread.kept
        # In steps: one read that crosses the stack's end would get nothing.
        for at in stack[:: 8 * STEP_WORDS]:
            yield from self._words(at, STEP_WORDS)

    def _id(self, iothread: int) -> str:
        if self._id_at is None:
            return ""
        return self._memory.string(self._memory.pointer(iothread + self._id_at), 32)

    def _property_name(self, iothread: int) -> str:
        """Some word of the object leads to its parent, some word of that to the properties."""
        for word in self._words(iothread, OBJECT_WORDS):
            if not word or word % 8:
                continue
            for table in self._words(word, OBJECT_WORDS):
                for prop in self._table_values(table):
                    name = self._child_name(prop, iothread)
                    if name:
                        return name
        return ""

    def _table_values(self, table: int) -> tuple[int, ...]:
        """The values of the GHashTable at @table, if its keys are strings."""
        if self._hashes is None:
            self._hashes = struct.pack(
                "<QQ", _function("g_str_hash"), _function("g_str_equal")
            )
        if not table or table % 8 or self._hashes == bytes(16):
            return ()
        try:
            data = self._memory.read(table, 8 * TABLE_WORDS)
        except Unreadable:
            return ()
        at = data.find(self._hashes)
        if at < 24 or at % 8:
            return ()
        # size, mod, mask, ...: the arrays have mask + 1 places; the values' is before the hashes.
        (mask,) = struct.unpack_from("<I", data, 8)
        (values,) = struct.unpack_from("<Q", data, at - 8)
        return self._words(values, mask + 1) if mask < MAX_PROPERTIES else ()

    def _child_name(self, prop: int, iothread: int) -> str:
        """Is @prop { name, "child<iothread>", ..., @iothread, ... }?"""
        words = self._words(prop, PROPERTY_WORDS) if prop and not prop % 8 else ()
        if (
            iothread not in words[2:]
            or self._memory.string(words[1], 32) != "child<iothread>"
        ):
            return ""
        return self._memory.string(words[0], 32)
