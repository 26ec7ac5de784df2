# SPDX-License-Identifier: MIT
"""Where the fields of the event loop's structures lie in the program that is debugged.

A Layout answers offset("AioHandler", "pfd.fd"), variable("qemu_aio_context"), size("AioContext").
There are two, of one interface: TypesLayout asks gdb's types, FileLayout has the JSON of "loopscope
layout --json". Everything above works on these offsets and on bytes, and never asks which of the
two it was; what a layout does not know is None and is shown as unknown. Fields are looked for,
versions never compared.

A Decoder takes copies of one structure apart, many in a row:

    decode = layout.decoder("AioHandler", "pfd.fd", "node.le_next")
    fd, following = decode(memory.read(address, decode.size))
"""
import struct
from typing import Any, NamedTuple, Optional

# Structure, path, and what struct.unpack() makes of the field. docs/layout.md tells their meaning.
FIELDS = {
    "AioContext": {
        "aio_handlers.lh_first": "Q",
        "notify_me": "I",
        "bh_list.slh_first": "Q",
        "bh_slice_list.sqh_first": "Q",
        "notified": "B",
        "notifier.rfd": "i",
        "notifier.wfd": "i",
        "tlg.tl": "32s",
        "poll_aio_handlers.lh_first": "Q",
        "fdmon_ops": "Q",
        "first_bh": "Q",  # before 5.0, as are the next five
    },
    "AioHandler": {
        "pfd.fd": "i",
        "pfd.events": "H",
        "pfd.revents": "H",
        "io_read": "Q",
        "io_write": "Q",
        "io_poll": "Q",
        "io_poll_ready": "Q",
        "io_poll_begin": "Q",
        "io_poll_end": "Q",
        "opaque": "Q",
        "node.le_next": "Q",
        "node.le_prev": "Q",
        "node_deleted.le_prev": "Q",
        "node_poll.le_prev": "Q",
        "deleted": "I",
    },
    "QEMUBH": {
        "ctx": "Q",
        "name": "Q",
        "cb": "Q",
        "opaque": "Q",
        "next.sle_next": "Q",
        "flags": "I",
        "next": "Q",
        "scheduled": "B",
        "idle": "B",
        "deleted": "B",
    },
    "BHListSlice": {"bh_list.slh_first": "Q", "next.sqe_next": "Q"},
    "QEMUTimerList": {
        "clock": "Q",
        "active_timers": "Q",
        "list.le_next": "Q",
        "notify_cb": "Q",
        "notify_opaque": "Q",
    },
    "QEMUClock": {"timerlists.lh_first": "Q", "type": "I", "enabled": "B"},
    "QEMUTimer": {
        "expire_time": "q",
        "timer_list": "Q",
        "cb": "Q",
        "opaque": "Q",
        "next": "Q",
        "scale": "i",
    },
    "IOThread": {"ctx": "Q", "id": "Q"},
    "GMainContext": {"source_lists": "Q", "wake_up_rec.fd": "i", "owner": "Q"},
    "GSourcePrivate": {"ready_time": "q"},
    "GSourceList": {"head": "Q"},
}
# Fields that only debug information tells: a layout from loopscope does not have them.
TYPED = {
    "IOThread": {
        "run_gcontext": "B",
        "stopping": "B",
        "running": "B",
        "thread_id": "i",
        "poll_max_ns": "q",
    },
}
VARIABLES = ("qemu_aio_context", "iohandler_ctx", "aio_source_funcs")
SIZES = ("AioContext", "AioHandler")


def code_of(structure: str, path: str) -> str:
    known = FIELDS.get(structure, {})
    return known[path] if path in known else TYPED[structure][path]


class Field(NamedTuple):
    offset: Optional[int]  # None: unknown
    proof: str


UNKNOWN = Field(None, "")


class Decoder:
    """Takes a copy of a structure apart: a tuple in the order of the paths, None for unknown.

    One unpack takes all fields at once, which matters for thousands of copies; fields that lie over
    each other, as only a damaged layout has them, are taken one by one.
    """

    def __init__(self, places: list[tuple[Optional[int], str]]) -> None:
        self._places = places
        self.size, text, order = 0, "<", {}
        known = [(at, i, code) for i, (at, code) in enumerate(places) if at is not None]
        for n, (at, i, code) in enumerate(sorted(known)):
            text += f"{at - self.size}x{code}" if at >= self.size else "!"
            self.size = max(self.size, at + struct.calcsize("<" + code))
            order[i] = n
        self._order = [order.get(i, len(known)) for i in range(len(places))]
        self._unpack = None if "!" in text else struct.Struct(text).unpack_from
        self._in_order = self._order == list(range(len(known)))

    def __call__(self, data: bytes) -> tuple[Any, ...]:
        if self._unpack is None:
            return self._one_by_one(data)
        values = self._unpack(data)
        if self._in_order:
            return values
        values += (None,)
        return tuple([values[i] for i in self._order])

    def _one_by_one(self, data: bytes) -> tuple[Any, ...]:
        return tuple(
            None if at is None else struct.unpack_from("<" + code, data, at)[0]
            for at, code in self._places
        )


class Layout:
    """What both kinds share. A kind gives field(), variable() and size()."""

    source = ""  # "dwarf" or "inferred": the word loopscope uses
    origin = ""  # where it comes from, for people

    def __init__(self) -> None:
        self._borrowed: dict[tuple[str, str], Field] = {}

    def field(self, structure: str, path: str) -> Field:
        raise NotImplementedError

    def variable(self, name: str) -> Optional[int]:
        """The run address of a variable."""
        raise NotImplementedError

    def size(self, structure: str) -> Optional[int]:
        raise NotImplementedError

    def offset(self, structure: str, path: str) -> Optional[int]:
        own = self.field(structure, path)
        return self._borrowed.get((structure, path), own).offset

    def borrow(self, other: "Layout", *structures: str) -> None:
        """Take from another layout what this one does not know of some structures."""
        for structure in structures:
            for path in FIELDS[structure]:
                if self.field(structure, path).offset is None:
                    self._borrowed[structure, path] = other.field(structure, path)

    def decoder(self, structure: str, *paths: str) -> Decoder:
        return Decoder(
            [(self.offset(structure, path), code_of(structure, path)) for path in paths]
        )

    def rows(self) -> list[tuple[str, str, Field]]:
        """Every field, for people and for JSON."""
        return [
            (
                structure,
                path,
                self._borrowed.get((structure, path), self.field(structure, path)),
            )
            for structure, paths in FIELDS.items()
            for path in paths
        ]
