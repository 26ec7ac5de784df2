# SPDX-License-Identifier: MIT
"""Pretty printers: "print *handler" says what it is, "print/r *handler" shows every field.

A printer is chosen by the name of the value's own type when a value is printed, and shows the
fields that this type has. No type is ever looked up.
"""
from typing import Callable, Optional

import gdb
import gdb.printing

from qemu_gdb import describe
from qemu_gdb.out import events, printable
from qemu_gdb.rows import clock_name


def _member(value: gdb.Value, path: str) -> Optional[gdb.Value]:
    """A member, or None where this build's structure has none of that name."""
    for name in path.split("."):
        try:
            value = value[name]
        except (gdb.error, KeyError):
            return None
    return value


def _number(value: gdb.Value, path: str) -> Optional[int]:
    found = _member(value, path)
    return None if found is None else int(found)


def _address(value: gdb.Value, path: str) -> int:
    return (_number(value, path) or 0) & (1 << 64) - 1


def _function(value: gdb.Value, path: str) -> str:
    """Its name, or its address."""
    addr = _address(value, path)
    text = gdb.execute(f"info symbol {addr:#x}", to_string=True) if addr else ""
    name, found, _ = text.partition(" in section ")
    return printable(name.replace(" + ", "+")) if found else f"{addr:#x}"


def _string(value: gdb.Value, path: str) -> str:
    found = _member(value, path)
    if found is None or not int(found):
        return ""
    try:
        return printable(found.string("utf-8", "replace", 64).split("\0")[0])
    except (gdb.error, UnicodeError):
        return ""


def poll_fd(value: gdb.Value) -> list[str]:
    revents = _number(value, "revents") or 0
    words = [f"fd {int(value['fd'])}", f"waits for {events(int(value['events']))}"]
    return words + ([f"got {events(revents)} ({revents:#x})"] if revents else [])


def handler(value: gdb.Value) -> list[str]:
    words = poll_fd(value["pfd"])
    for name in ("io_read", "io_write", "io_poll"):
        if _address(value, name):
            words.append(f"{name} {_function(value, name)}")
    words.append(f"opaque {_address(value, 'opaque'):#x}")
    if _address(value, "node_deleted.le_prev") or _number(value, "deleted"):
        words.append("deleted")
    if _address(value, "node_poll.le_prev"):
        words.append("on the poll list")
    return words


def bottom_half(value: gdb.Value) -> list[str]:
    name = _string(value, "name")
    return [
        *([f'"{name}"'] if name else []),
        f"calls {_function(value, 'cb')}({_address(value, 'opaque'):#x})",
        describe.bh_state(int(value["flags"])),
        f"of context {_address(value, 'ctx'):#x}",
    ]


def timer(value: gdb.Value) -> list[str]:
    expire = int(value["expire_time"])
    words = [f"due at {expire} ns" if expire >= 0 else "not armed"]
    clock = None
    try:
        clock = _number(value, "timer_list.clock.type")
    except gdb.MemoryError:
        pass
    words += [f"on {clock_name(clock)}"] if clock is not None else []
    return [*words, f"calls {_function(value, 'cb')}({_address(value, 'opaque'):#x})"]


def source(value: gdb.Value) -> list[str]:
    name, funcs = _string(value, "name"), _function(value, "source_funcs")
    return [
        *([f'"{name}"'] if name else []),
        f"id {int(value['source_id'])}",
        f"priority {int(value['priority'])}",
        describe.source_state(int(value["flags"])),
        f"{int(value['ref_count'])} references",
        funcs,
        f"of GMainContext {_address(value, 'context'):#x}",
    ]


def context(value: gdb.Value) -> list[str]:
    words = []
    fd = _number(value, "notifier.rfd")
    words += [f"own fd {fd}"] if fd is not None else []
    notified, notify_me = _number(value, "notified"), _number(value, "notify_me")
    words += [] if notified is None else ["notified" if notified else "not notified"]
    words += [] if notify_me is None else [f"notify_me {notify_me}"]
    for what, path in (
        ("handlers", "aio_handlers.lh_first"),
        ("BHs", "bh_list.slh_first"),
    ):
        first = _address(value, path)
        words.append(f"{what} from {first:#x}" if first else f"no {what}")
    monitor = describe.fdmon(_function(value, "fdmon_ops"))
    words += [f"fd monitor {monitor}"] if monitor else []
    where = value.address
    return [*words, *([f"see qemu handlers {int(where):#x}"] if where else [])]


PRINTERS: dict[str, Callable[[gdb.Value], list[str]]] = {
    "AioContext": context,
    "AioHandler": handler,
    "QEMUBH": bottom_half,
    "QEMUTimer": timer,
    "GSource": source,
    "_GSource": source,
    "GPollFD": poll_fd,
    "_GPollFD": poll_fd,
}


class Printer:
    """Of one value."""

    def __init__(self, value: gdb.Value, words: Callable[[gdb.Value], list[str]]):
        self._value, self._words = value, words

    def to_string(self) -> str:
        try:
            return "{" + ", ".join(self._words(self._value)) + "}"
        except gdb.MemoryError:
            where = self._value.address
            at = f" at {int(where):#x}" if where else ""
            return f"{{the memory{at} cannot be read}}"
        except (gdb.error, ValueError):
            return "{not the structure that is known by this name: see print/r}"


class Printers(gdb.printing.PrettyPrinter):
    def __call__(self, value: gdb.Value) -> Optional[Printer]:
        kind = value.type.strip_typedefs()
        if kind.code != gdb.TYPE_CODE_STRUCT:
            return None
        # An unnamed structure is known by its typedef only.
        words = PRINTERS.get(kind.tag or kind.name or value.type.name or "")
        return Printer(value, words) if words else None


def register() -> None:
    gdb.printing.register_pretty_printer(None, Printers("qemu-loops"), replace=True)
