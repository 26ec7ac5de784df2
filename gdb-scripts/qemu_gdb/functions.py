# SPDX-License-Identifier: MIT
"""Convenience functions, for scripts and conditions: $qemu_ctx("io0"), $qemu_handler(7), ...

What they return is a pointer of the structure's type where the program has types, a number where
it has none; 0 if there is no such thing.
"""
from typing import Any, Callable, Optional

import gdb

from qemu_gdb.choose import choose
from qemu_gdb.errors import QemuError
from qemu_gdb.loops import IOTHREAD, Context
from qemu_gdb.session import Session

COUNTS = ("contexts", "handlers", "bhs", "timers")


def _pointer(addr: int, structure: str) -> gdb.Value:
    number = gdb.Value(addr)
    try:
        return number.cast(gdb.lookup_type(structure).pointer())
    except gdb.error:
        return number


def _text(value: Any, what: str) -> str:
    try:
        return str(value.string())
    except (gdb.error, AttributeError):
        raise QemuError(f'{what} is text in quotes, such as "io0"')


def _contexts(session: Session, ctx: Optional[Any]) -> list[Context]:
    if ctx is None:
        return session.loops.contexts
    if ctx.type.strip_typedefs().code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_INT):
        return [choose(session, str(int(ctx)))]
    return [choose(session, _text(ctx, "a context"))]


class Function(gdb.Function):
    """What all share: a session of its own, and one line where something cannot be done."""

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.__doc__ = call.__doc__
        self._name, self._call = name, call
        super().__init__(name)

    def invoke(self, *words: Any) -> Any:
        try:
            with Session() as session:
                return self._call(session, *words)
        except QemuError as error:
            raise gdb.GdbError(f"${self._name}: {error}")
        except TypeError:
            raise gdb.GdbError(f"${self._name}: wrong arguments; see: help function")


def ctx(session: Session, name: Any) -> gdb.Value:
    """$qemu_ctx("NAME"): the AioContext of that name, such as iohandler_ctx or an IOThread's."""
    return _pointer(choose(session, _text(name, "a context")).addr, "AioContext")


def handler(session: Session, fd: Any, context: Any = None) -> gdb.Value:
    """$qemu_handler(FD [, CTX]): the AioHandler of a descriptor, one that is not deleted; or 0."""
    for found in _contexts(session, context):
        session.loops.read_handlers(found)
        for row in found.handlers:
            if row.fd == int(fd) and not row.deleted:
                return _pointer(row.addr, "AioHandler")
    return gdb.Value(0)


def bh(session: Session, name: Any, context: Any = None) -> gdb.Value:
    """$qemu_bh("NAME" [, CTX]): the first QEMUBH of that name, or that calls that function; or 0."""
    wanted = _text(name, "a bottom half's name")
    for found in _contexts(session, context):
        session.loops.read_bhs(found)
        for row in found.bhs:
            if wanted in (row.name, session.names.callback(row.cb)):
                return _pointer(row.addr, "QEMUBH")
    return gdb.Value(0)


def timer(session: Session, callback: Any) -> gdb.Value:
    """$qemu_timer("FUNCTION"): the first armed QEMUTimer that calls it; or 0."""
    wanted = _text(callback, "a function")
    session.loops.read_main_timers()
    armed = list(session.loops.main_timers)
    for found in session.loops.contexts:
        session.loops.read_timers(found)
        armed += found.timers
    for row in armed:
        if session.names.callback(row.cb) == wanted:
            return _pointer(row.addr, "QEMUTimer")
    return gdb.Value(0)


def iothread(session: Session, name: Any) -> gdb.Value:
    """$qemu_iothread("NAME"): the IOThread of that name."""
    found = choose(session, _text(name, "an IOThread"))
    if found.kind != IOTHREAD:
        raise QemuError(f"{found.name} is not an IOThread's: see qemu iothreads")
    return _pointer(found.iothread, "IOThread")


def thread(session: Session, context: Any) -> int:
    """$qemu_thread(CTX): the number (LWP) of the thread that polls a context now; 0: none does."""
    (found,) = _contexts(session, context)
    return found.tid or 0


def count(session: Session, what: Any, context: Any = None) -> int:
    """$qemu_count("handlers"|"bhs"|"timers"|"contexts" [, CTX]): how many there are."""
    wanted = _text(what, "what to count")
    if wanted not in COUNTS:
        raise QemuError(f'no "{wanted}" to count; there are {", ".join(COUNTS)}')
    found, loops = _contexts(session, context), session.loops
    if wanted == "contexts":
        return len(found)
    for each in found:
        loops.read_lists(each)
    if wanted == "timers" and context is None:
        loops.read_main_timers()
    main = len(loops.main_timers) if wanted == "timers" else 0
    return main + sum(len(getattr(each, wanted)) for each in found)


def register() -> None:
    for call in (ctx, handler, bh, timer, iothread, thread, count):
        Function(f"qemu_{call.__name__}", call)
