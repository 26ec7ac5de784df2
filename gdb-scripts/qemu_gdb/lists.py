# SPDX-License-Identifier: MIT
"""One walker for every linked list of the inferior.

It ends on any bytes whatsoever: each element is read once, one that was passed already ends the
walk, and so does one whose link does not point back, where the list has such links. What ends a
walk early is a Damaged with the element's address and the reason, raised by the generator after the
elements that were fine.
"""
import struct
from collections.abc import Iterator
from typing import Optional

from qemu_gdb.errors import Damaged, Unreadable
from qemu_gdb.memory import PAGE, Memory

LIMIT = 1 << 20  # elements: a longer list is a damaged one
WORD = struct.Struct("<Q")


def walk(
    memory: Memory,
    head: int,
    size: int,
    next_at: int,
    prev_at: Optional[int] = None,
) -> Iterator[tuple[int, bytes]]:
    """Address and bytes of each element, from the pointer at address @head on.

    @next_at: offset of the link to the next element. @prev_at: of the QLIST link that holds the
    address of the pointer that led to the element, for a list that has them.
    """
    size = max(size, next_at + 8, (prev_at or 0) + 8)
    try:
        at = memory.u64(head)
    except Unreadable:
        raise Damaged(head, "cannot be read") from None
    passed: set[int] = set()
    page_of, whole = memory.page, PAGE - size
    # In the midst of an insertion or removal a link still, or already, points back one further.
    back = further = head
    while at:
        if at in passed:
            raise Damaged(at, "the list has passed already")
        if len(passed) >= LIMIT:
            raise Damaged(at, f"is element {LIMIT}: that is no list")
        page, offset = page_of(at & -PAGE), at & PAGE - 1
        if page is not None and offset <= whole:
            data = page[offset : offset + size]
        else:
            try:
                data = memory.read(at, size)
            except Unreadable:
                raise Damaged(at, "cannot be read") from None
        if prev_at is not None:
            (prev,) = WORD.unpack_from(data, prev_at)
            if prev not in (back, further):
                raise Damaged(at, "does not point back")
        yield at, data
        passed.add(at)
        further, back = back, at + next_at
        (at,) = WORD.unpack_from(data, next_at)
