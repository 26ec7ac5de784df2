# SPDX-License-Identifier: MIT
"""Which handler, bottom half or timer a running callback is of.

One that runs is often on no list any more. But the function that called it goes on with it, and so
keeps a pointer to it in a register that the callback must save: whichever of those leads to a
structure whose callback is this function is it.
"""
from typing import NamedTuple, Optional

from qemu_gdb.errors import Unreadable
from qemu_gdb.frames import Stack
from qemu_gdb.out import printable
from qemu_gdb.session import Session
from qemu_gdb.where import Callback

LOOPS_FRAMES = 3  # of the loop's functions around the call


class Subject(NamedTuple):
    text: str  # "BH slow_bh_cb of qemu_aio_context", "handler sigfd_handler of fd 5 (signalfd)"
    ctx: Optional[str]
    fd: Optional[int]
    addr: int  # of the structure; 0: not found


def _name_of_context(session: Session, addr: int) -> Optional[str]:
    return next((c.name for c in session.loops.contexts if c.addr == addr), None)


def _candidates(stack: Stack, callback: Callback) -> list[int]:
    around = stack[callback.at + 1 : callback.at + 1 + LOOPS_FRAMES]
    words = [word for frame in around for word in frame.kept]
    return list(dict.fromkeys(word for word in words if word and not word % 8))


def _bh(session: Session, addr: int, function: int) -> Optional[Subject]:
    decode = session.layout.decoder("QEMUBH", "ctx", "name", "cb")
    owner, name, cb = decode(session.memory.read(addr, decode.size))
    if owner is None or cb != function:
        return None
    ctx = _name_of_context(session, owner)
    if ctx is None:
        return None
    text = printable(session.memory.string(name, 64)) if name else ""
    text = text or session.names.name(function)
    return Subject(f"BH {text} of {ctx}", ctx, None, addr)


def _handler(session: Session, addr: int, function: int) -> Optional[Subject]:
    decode = session.layout.decoder(
        "AioHandler", "pfd.fd", "io_read", "io_write", "io_poll", "io_poll_ready"
    )
    fd, *callbacks = decode(session.memory.read(addr, decode.size))
    if fd is None or function not in callbacks:
        return None
    for context in session.loops.contexts:
        if any(handler.addr == addr for handler in context.handlers):
            info = session.fds.get(fd)
            return Subject(
                f"handler {session.names.name(function)} of fd {fd} ({info.kind}) in "
                f"{context.name}",
                context.name,
                fd,
                addr,
            )
    return None


def _timer(session: Session, addr: int, function: int) -> Optional[Subject]:
    decode = session.layout.decoder("QEMUTimer", "timer_list", "cb")
    timer_list, cb = decode(session.memory.read(addr, decode.size))
    if timer_list is None or cb != function or timer_list % 8 or not timer_list:
        return None
    owner_at = session.layout.offset("QEMUTimerList", "notify_opaque")
    owner = session.memory.pointer(timer_list + owner_at) if owner_at is not None else 0
    ctx = _name_of_context(session, owner)
    of = f" of {ctx}" if ctx else ""
    return Subject(f"timer {session.names.name(function)}{of}", ctx, None, addr)


FINDERS = {"BH": (_bh,), "handler": (_handler,), "timer": (_timer,)}


def find(session: Session, stack: Stack, callback: Callback) -> Subject:
    """The handlers of all contexts have to be read."""
    function = callback.frame.function
    for finder in FINDERS.get(callback.kind, (_bh, _handler, _timer)):
        for addr in _candidates(stack, callback):
            try:
                found = finder(session, addr, function)
            except Unreadable:
                continue
            if found is not None:
                return found
    kind = "GSource callback" if callback.kind == "GSource" else callback.kind
    return Subject(f"{kind} {callback.frame.name}", None, None, 0)
