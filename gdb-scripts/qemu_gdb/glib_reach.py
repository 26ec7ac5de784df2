# SPDX-License-Identifier: MIT
"""GMainContexts of any GLib program, found by the part of GSource that is public.

GMainContext is private, and no debug information need be there. But a source names its context:
so what leads to a list of lists of sources that all say they belong to it is a GMainContext, and
those are its sources. Where it lies is known from the thread that runs it, which keeps a pointer
to it: on its stack or in a register.
"""
import struct
from typing import NamedTuple, Optional

from qemu_gdb.errors import Unreadable
from qemu_gdb.memory import Memory
from qemu_gdb.threads import Thread

# struct _GSource, on LP64 machines: public, the same since GLib 2.0.
SOURCE_FUNCS, SOURCE_CONTEXT, SOURCE_PRIORITY = 16, 32, 40
SOURCE_PREV, SOURCE_NEXT = 64, 72

CONTEXT_MAX = 512  # bytes of one that are looked at
HEADS = 4  # words of a list of sources, one of which is its head; from 2.80 on a link is before it
STACK_WORDS = 2048
STEP_WORDS = 64
BUSY_WORDS = 512  # of a thread that does not poll, with no poll set to tell by


class Place(NamedTuple):
    """Where a GMainContext keeps its list of lists, and such a list its first source."""

    source_lists: int
    head: int


def _bytes(memory: Memory, addr: int) -> bytes:
    """As many of CONTEXT_MAX bytes as there are."""
    for size in (CONTEXT_MAX, CONTEXT_MAX // 2):
        try:
            return memory.read(addr, size)
        except Unreadable:
            continue
    return b""


def _head_at(memory: Memory, source_list: int, gctx: int) -> Optional[int]:
    """Where a list { head, tail, priority } of sources of @gctx keeps its head."""
    for i in range(HEADS):
        source = memory.pointer(source_list + 8 * i)
        if not source or source % 8:
            continue
        try:
            priority = memory.u32(source + SOURCE_PRIORITY)
            if (
                memory.u64(source + SOURCE_CONTEXT) == gctx
                and memory.u64(source + SOURCE_FUNCS)
                and not memory.u64(source + SOURCE_PREV)
                and priority == memory.u32(source_list + 8 * (i + 2))
            ):
                return 8 * i
        except Unreadable:
            continue
    return None


def find_place(memory: Memory, gctx: int) -> Optional[Place]:
    """None: nothing that is there leads to sources of it, so it is none, or has none."""
    data = _bytes(memory, gctx)
    for at, (link,) in enumerate(struct.iter_unpack("<Q", data)):
        if (
            not link or link % 8 or memory.pointer(link + 16)
        ):  # GList.prev: not the first
            continue
        source_list = memory.pointer(link)
        head = _head_at(memory, source_list, gctx) if source_list else None
        if head is not None:
            return Place(8 * at, head)
    return None


def _words(memory: Memory, thread: Thread, count: int) -> list[int]:
    """What a thread holds, its registers first; each once. No context lies on its stack."""
    found = list(thread.kept)
    stack = range(thread.sp, thread.sp + 8 * count)
    for at in stack[:: 8 * STEP_WORDS]:
        try:
            found += memory.words(at, STEP_WORDS)
        except Unreadable:
            break
    return [
        word
        for word in dict.fromkeys(found)
        if word and not word % 8 and word not in stack
    ]


def context_of(memory: Memory, thread: Thread) -> Optional[int]:
    """The GMainContext whose poll set a thread waits for: it keeps the array it gave to poll."""
    if thread.polls is None or not thread.polls.array or not thread.sp:
        return None
    array = struct.pack("<Q", thread.polls.array)
    for word in _words(memory, thread, STACK_WORDS):
        if array in _bytes(memory, word) and find_place(memory, word):
            return word
    return None


def context_of_busy(memory: Memory, thread: Thread) -> Optional[int]:
    """One that a thread which does something else holds a pointer to."""
    for word in _words(memory, thread, BUSY_WORDS) if thread.sp else []:
        if find_place(memory, word):
            return word
    return None
