# SPDX-License-Identifier: MIT
"""The layout from gdb's types: a program with debug information.

A type is looked up when the first field of it is asked for, never earlier: looking up types of a
large program may take gdb seconds.
"""
import struct
from typing import Optional

import gdb

from qemu_gdb.layout import UNKNOWN, Field, Layout, code_of

# Fields that some releases have elsewhere: paths to try in turn.
VARIANTS = {
    # GLib 2.80 made the list of source lists a GQueue.
    ("GMainContext", "source_lists"): ("source_lists.head", "source_lists"),
}


def _lookup(name: str) -> Optional[gdb.Type]:
    for spelling in ("struct " + name, name):
        try:
            found = gdb.lookup_type(spelling).strip_typedefs()
        except gdb.error:
            continue
        if found.code == gdb.TYPE_CODE_STRUCT and found.sizeof and found.fields():
            return found
    return None


def _member(parent: gdb.Type, name: str) -> Optional[tuple[int, gdb.Type]]:
    """Offset and type of a member, also of one inside an unnamed union or structure."""
    for member in parent.fields():
        if not hasattr(member, "bitpos") or member.bitsize:
            continue
        kind = member.type.strip_typedefs()
        if member.name == name:
            return member.bitpos // 8, kind
        if not member.name and kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            inner = _member(kind, name)
            if inner is not None:
                return member.bitpos // 8 + inner[0], inner[1]
    return None


def _find(parent: gdb.Type, path: str, code: str) -> Optional[int]:
    at = 0
    for name in path.split("."):
        if parent.code not in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            return None
        found = _member(parent, name)
        if found is None:
            return None
        at, parent = at + found[0], found[1]
    if parent.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        return None  # QEMUBH.next, say: what was a pointer, and holds one now
    return at if parent.sizeof == struct.calcsize("<" + code) else None


class TypesLayout(Layout):
    source = "dwarf"
    origin = "from debug information"

    def __init__(self) -> None:
        super().__init__()
        self._types: dict[str, Optional[gdb.Type]] = {}
        self._fields: dict[tuple[str, str], Field] = {}

    def _type(self, name: str) -> Optional[gdb.Type]:
        if name not in self._types:
            self._types[name] = _lookup(name)
        return self._types[name]

    def field(self, structure: str, path: str) -> Field:
        key = (structure, path)
        if key not in self._fields:
            self._fields[key] = self._find_field(structure, path)
        return self._fields[key]

    def _find_field(self, structure: str, path: str) -> Field:
        parent = self._type(structure)
        if parent is None:
            return UNKNOWN
        for variant in VARIANTS.get((structure, path), (path,)):
            at = _find(parent, variant, code_of(structure, path))
            if at is not None:
                return Field(at, "debug information")
        return UNKNOWN

    def variable(self, name: str) -> Optional[int]:
        for lookup in (gdb.lookup_static_symbol, gdb.lookup_global_symbol):
            symbol = lookup(name, gdb.SYMBOL_VAR_DOMAIN)
            if symbol is not None:
                try:
                    return int(symbol.value().address)
                except (gdb.error, TypeError, ValueError):
                    continue
        return None

    def size(self, structure: str) -> Optional[int]:
        found = self._type(structure)
        return None if found is None else found.sizeof

    def knows_contexts(self) -> bool:
        """True if the program's types tell what is needed to list handlers."""
        return (
            self.offset("AioContext", "aio_handlers.lh_first") is not None
            and self.offset("AioHandler", "node.le_next") is not None
            and self.variable("qemu_aio_context") is not None
        )
