# SPDX-License-Identifier: MIT
"""qemu break-callback, qemu break-register: stop where a callback is about to run, or where a
descriptor gets its handler or comes into being; and say what that is."""
import functools
import re
from typing import NamedTuple, Optional

import gdb

from qemu_gdb.choose import evaluate
from qemu_gdb.cmd_where import Row, bql_text, look
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError, Unreadable
from qemu_gdb.frames import shorten
from qemu_gdb.glib import FUNCS_DISPATCH
from qemu_gdb.loops import Context, Handler
from qemu_gdb.out import printable
from qemu_gdb.session import Session
from qemu_gdb import stops
from qemu_gdb.stops import Group, needs_a_process, selected_tid
from qemu_gdb.tls import function

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
MAX_CALLERS = 8


class Target(NamedTuple):
    callback: int
    opaque: Optional[int]  # None: with any argument
    text: str


# --- break-callback -----------------------------------------------------------------------------


class BreakCallback(Command):
    """Stop before a callback: qemu break-callback (FD|CALLBACK|BH-NAME) [--keep]

    By the descriptor it serves, by the function's name or address (as qemu handlers shows it), or by
    the name of a bottom half. Then continue. It says in which context, for which descriptor and
    which event; the breakpoints are gone after the first stop, unless --keep."""

    name = "break-callback"
    options = ("keep",)

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        needs_a_process(session, "break-callback")
        if not text:
            raise QemuError(
                "which callback? type qemu break-callback 7 for what serves fd 7, or a callback's "
                "or bottom half's name (qemu handlers shows them)"
            )
        contexts = _contexts(session)
        targets = _targets(session, contexts, text)
        group = Group(f"break-callback {text}", _report_callback, "keep" in options)
        for target in targets:
            group.at(target.callback, _is_called_with(target.opaque))
        if not targets:
            _at_bh_call(session, group, text)
            what = f"a BH called {text}; none is scheduled now"
        else:
            what = "; ".join(dict.fromkeys(target.text for target in targets))
        return f"Will stop before {what}.\n{_how_to_go_on(group)}"


def _how_to_go_on(group: Group) -> str:
    return f"Type continue. (Breakpoints {group.numbers()}; to give up: delete {group.numbers()})\n"


def _contexts(session: Session) -> list[Context]:
    """None yet where the main loop is not set up."""
    try:
        contexts = session.loops.contexts
    except QemuError:
        return []
    for context in contexts:
        session.loops.read_lists(context)
    return contexts


def _targets(session: Session, contexts: list[Context], text: str) -> list[Target]:
    if text.isdecimal():
        found = _targets_of_fd(session, contexts, int(text))
        if not found:
            raise QemuError(
                f"nothing waits for fd {text}: qemu gpollfds shows what does; to stop where it "
                f"gets a handler: qemu break-register {text}"
            )
        return found
    for context in contexts:
        for bh in context.bhs:
            if bh.name == text:
                what = f"BH {printable(text)} of {context.name}"
                return [Target(bh.cb, bh.opaque, what)]
    callbacks = {
        cb for c in contexts for h in c.handlers for cb in (h.io_read, h.io_write) if cb
    }
    callbacks |= {t.cb for c in contexts for t in c.timers}
    addr = next((cb for cb in callbacks if session.names.name(cb) == text), 0)
    if not addr and IDENTIFIER.fullmatch(text):
        addr = function(text)
        if not addr:
            return []  # a bottom half's name, perhaps
    addr = addr or evaluate(text, "a callback")
    if not session.code.is_function(addr):
        raise QemuError(
            f'"{text}" is {addr:#x}, where no function starts: qemu handlers shows callbacks'
        )
    return [Target(addr, None, session.names.name(addr))]


def _targets_of_fd(session: Session, contexts: list[Context], fd: int) -> list[Target]:
    kind = session.fds.get(fd).kind
    found = []
    for context in contexts:
        for handler in context.handlers:
            if handler.fd != fd or handler.deleted:
                continue
            for callback in (handler.io_read, handler.io_write):
                if callback:
                    name = session.names.name(callback)
                    text = f"handler {name} of fd {fd} ({kind}) in {context.name}"
                    found.append(Target(callback, handler.opaque, text))
    known = {context.addr for context in contexts}
    for gcontext in session.gcontexts if contexts else []:
        for source in gcontext.sources:
            if fd not in source.fds or source.addr in known:
                continue
            callback = source.callback or session.memory.pointer(
                source.funcs + FUNCS_DISPATCH
            )
            if callback:
                name = session.names.name(callback)
                of = f'"{printable(source.name)}"' if source.name else str(source.id)
                text = f"{name} of GSource {of}, fd {fd} ({kind})"
                found.append(Target(callback, None, text))
    return found


def _is_called_with(opaque: Optional[int]):
    return lambda: opaque is None or stops.register("rdi") == opaque


def _at_bh_call(session: Session, group: Group, name: str) -> None:
    """At the function that calls any bottom half: its argument is the QEMUBH."""
    call = function("aio_bh_call")
    try:
        name_at = session.layout.offset("QEMUBH", "name")
    except QemuError:
        name_at = None
    if not call or name_at is None:
        raise QemuError(
            f'"{name}" is no function of this program and no scheduled BH has that name '
            "(qemu handlers shows both); an address will do: qemu break-callback 0x..."
        )

    def is_it() -> bool:
        # The inferior has run since the command: read anew.
        inferior = gdb.selected_inferior()
        at = stops.register("rdi") + name_at
        pointer = int.from_bytes(bytes(inferior.read_memory(at, 8)), "little")
        data = bytes(inferior.read_memory(pointer, len(name) + 1))
        return data == name.encode() + b"\0"

    group.at(call, is_it)


def _row_here(session: Session) -> Row:
    _contexts(session)
    tid = selected_tid()
    thread = next(t for t in session.threads if t.tid == tid)
    return look(session, [thread])[0]


def _event(handlers: list[tuple[Context, Handler]], pc: int, opaque: int) -> str:
    for context, handler in handlers:
        if handler.opaque != opaque or pc not in (handler.io_read, handler.io_write):
            continue
        event = "read (in)" if pc == handler.io_read else "write (out)"
        return f"for {event}, fd {handler.fd} in {context.name}"
    return ""


def _report_callback(session: Session) -> str:
    row = _row_here(session)
    pc, argument = stops.register("rip"), stops.register("rdi")
    handlers = [(c, h) for c in session.loops.contexts for h in c.handlers]
    at_bh_call = pc == function("aio_bh_call")
    if at_bh_call:
        what = _bh_text(session, argument)
    elif row.subjects and row.where.callbacks[-1].at == 0:
        what = row.subjects[-1].text
    else:
        what = session.names.name(pc)
    lines = [f"about to run {what}"]
    event = _event(handlers, pc, argument)
    if event:
        fd = int(event.rpartition("fd ")[2].split()[0])
        info = session.fds.get(fd)
        lines.append(f"{event}: {info.kind} {info.detail}".rstrip())
    if not at_bh_call:
        lines.append(f"argument {session.opaque(argument) or '0x0'}")
    return "\n  ".join([*lines, *_thread_lines(row)])


def _bh_text(session: Session, bh: int) -> str:
    decode = session.layout.decoder("QEMUBH", "ctx", "name", "cb")
    try:
        owner, name, cb = decode(session.memory.read(bh, decode.size))
    except Unreadable:
        return f"a BH at {bh:#x}"
    ctx = next((c.name for c in session.loops.contexts if c.addr == owner), "?")
    text = printable(session.memory.string(name or 0, 64))
    return f"BH {text} of {ctx}: {session.names.name(cb or 0)}"


def _thread_lines(row: Row) -> list[str]:
    depth = f", depth {row.where.depth}" if row.where.depth > 1 else ""
    phase = row.where.phase or "in no loop"
    return [
        f"{row.role}, thread {row.thread.tid}, {phase}{depth}; {bql_text(row)}",
        f"called by {shorten(row.stack[1:], MAX_CALLERS)}",
    ]


# --- break-register -----------------------------------------------------------------------------

# Functions, and where their argument tells the descriptor.
BY_VALUE = ("aio_set_fd_handler", "g_source_add_unix_fd")
BY_POINTER = ("g_source_add_poll",)
# Linux on x86-64: calls that return a new descriptor ...
CREATORS = {
    **{32: "dup", 33: "dup2", 41: "socket", 43: "accept", 213: "epoll_create"},
    **{253: "inotify_init", 282: "signalfd", 283: "timerfd_create", 284: "eventfd"},
    **{288: "accept4", 289: "signalfd4", 290: "eventfd2", 291: "epoll_create1"},
    **{292: "dup3", 294: "inotify_init1", 319: "memfd_create", 425: "io_uring_setup"},
    **{434: "pidfd_open"},
}
# ... of files, which are too many to stop at each ...
OPENERS = {2: "open", 85: "creat", 257: "openat"}
# ... and that write two of them where an argument points.
PAIRS = {22: ("pipe", "rdi"), 293: ("pipe2", "rdi"), 53: ("socketpair", "r10")}


class BreakRegister(Command):
    """Stop where an fd is made or registered: qemu break-register [FD] [--keep]

    Registered: aio_set_fd_handler(), g_source_add_unix_fd(), g_source_add_poll(). Created: socket,
    accept, eventfd, pipe and the like; with FD, files that are opened too. Then continue. It says by
    whom; the breakpoints are gone after the first stop, unless --keep."""

    name = "break-register"
    options = ("keep",)

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        needs_a_process(session, "break-register")
        if text and not text.isdecimal():
            raise QemuError(
                f'"{text}" is no descriptor: type qemu break-register 7, or without a number'
            )
        fd = int(text) if text else None
        # Where each is now: before libraries are loaded, in the program's own table of jumps.
        watched = {function(name): name for name in (*BY_VALUE, *BY_POINTER)}
        watched.pop(0, None)
        group = Group(
            f"break-register {text}".rstrip(),
            functools.partial(_report_register, watched),
            "keep" in options,
        )
        for addr, name in watched.items():
            group.at(addr, _registers(name, fd))
        _catch_creation(group, fd)
        which = "any descriptor" if fd is None else f"fd {fd}"
        missing = [n for n in (*BY_VALUE, *BY_POINTER) if n not in watched.values()]
        note = f" (not there yet: {', '.join(missing)})" if missing else ""
        return f"Will stop where {which} is created or registered{note}.\n{_how_to_go_on(group)}"


def _catch_creation(group: Group, fd: Optional[int]) -> None:
    calls = [*CREATORS, *(OPENERS if fd is not None else ())]
    group.catch(calls, "(long) $rax >= 0" if fd is None else f"$rax == {fd}")
    for call, (_, argument) in PAIRS.items():
        made = "$rax == 0"
        if fd is not None:
            made += f" && (*(int *) ${argument} == {fd} || *((int *) ${argument} + 1) == {fd})"
        group.catch([call], made)


def _fd_argument(name: str) -> int:
    if name in BY_VALUE:
        return stops.register("rsi") & 0xFFFFFFFF
    data = gdb.selected_inferior().read_memory(stops.register("rsi"), 4)
    return int.from_bytes(bytes(data), "little")


def _registers(name: str, fd: Optional[int]):
    def does() -> bool:
        if fd is not None and _fd_argument(name) != fd:
            return False
        # Without a callback it takes the handler away. Up to 8.0 is_external came before those.
        words = [stops.register(r) for r in ("rdx", "rcx", "r8", "r9")]
        return name not in BY_VALUE[:1] or any(word > 1 for word in words[:3])

    return does


def _report_register(watched: dict[int, str], session: Session) -> str:
    name = watched.get(stops.register("rip"), "")
    if name:
        return "\n  ".join([_registration(session, name), *_here(session)])
    call, made = stops.register("orig_rax"), stops.register("rax")
    if call in PAIRS:
        title, argument = PAIRS[call]
        first, second = (
            session.memory.u32(stops.register(argument) + 4 * i) for i in range(2)
        )
        what = f"{title} made fds {first} and {second}"
    else:
        title = {**CREATORS, **OPENERS}.get(call, f"system call {call}")
        info = session.fds.get(made)
        what = f"{title} made fd {made} ({info.kind}{' ' if info.detail else ''}{info.detail})"
    return "\n  ".join([what, *_here(session)])


def _here(session: Session) -> list[str]:
    """Also in a program that has not come to its main loop yet."""
    if _contexts(session):
        return _thread_lines(_row_here(session))
    tid = selected_tid()
    thread = next(t for t in session.threads if t.tid == tid)
    try:
        callers = shorten(session.stack(thread)[1:], MAX_CALLERS)
    except QemuError:
        callers = "?"
    return [f"thread {tid}, before there is a main loop", f"called by {callers}"]


def _registration(session: Session, name: str) -> str:
    fd = _fd_argument(name)
    info = session.fds.get(fd)
    what = f"{name}() of fd {fd} ({info.kind}{' ' if info.detail else ''}{info.detail})"
    if name != "aio_set_fd_handler":
        return what
    addr = stops.register("rdi")
    contexts = _contexts(session)
    ctx = next(
        (c.name for c in contexts if c.addr == addr), f"the context at {addr:#x}"
    )
    called = [stops.register(r) for r in ("rdx", "rcx", "r8")]
    names = [session.names.name(cb) for cb in called if session.code.is_function(cb)]
    return f"{what} in {ctx}\n  callback {names[0] if names else 'none'}"


def register() -> None:
    BreakCallback()
    BreakRegister()
