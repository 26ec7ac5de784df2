# SPDX-License-Identifier: MIT
"""qemu coroutine, qemu bt: chains of calls of coroutines, asleep or entered by each other."""
from typing import Any


from qemu_gdb.choose import evaluate
from qemu_gdb.cmd_where import choose_thread
from qemu_gdb.command import Command
from qemu_gdb.coroutine import Coroutine
from qemu_gdb.errors import QemuError
from qemu_gdb.frames import Stack
from qemu_gdb.out import COLUMNS, cut, json_line, plural, printable
from qemu_gdb.session import Session
from qemu_gdb.where import locate

# The first functions on a coroutine's own stack.
ENDS = ("coroutine_trampoline", "__start_context")


class CoroutineCommand(Command):
    """Where a sleeping coroutine goes on: qemu coroutine ADDRESS [--json]

    ADDRESS may be any expression: qemu coroutine req->co, or qemu coroutine
    *(void**)&qmp_dispatcher_co for one in a global variable. Its registers are taken from its jump
    buffer; nothing of the program is called or changed, and a core will do. One that runs, or has
    entered another, is shown with its thread."""

    name = "coroutine"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        coroutines = session.coroutines
        if coroutines.places is None:
            raise QemuError(coroutines.why)
        if not text:
            raise QemuError(
                "which coroutine? type qemu coroutine ADDRESS (the Coroutine * of a request, say); "
                "those that threads are in: qemu bt"
            )
        addr = evaluate(text, "a coroutine")
        if not addr:
            raise QemuError(f'"{text}" is 0: there is no coroutine')
        running = coroutines.runs_in(addr)
        if running is not None and running[1]:
            thread = running[0]
            stack = session.stacks.of_thread(thread.tid)
            what = f"runs in thread {thread.tid}: qemu bt {thread.tid} shows who entered it"
            found = None
        else:
            found = coroutines.read(addr)
            stack = coroutines.stack(addr)
            begun = not stack or stack[0].symbol != ENDS[0]
            what = "sleeps" if begun else "sleeps and has not begun"
            if running is not None:
                tid = running[0].tid
                what = f"has entered another, which runs in thread {tid}: qemu bt {tid}"
        if "json" in options:
            rows = _json_frames(stack, addr, None)
            return "".join(map(json_line, [*rows, _total(rows)]))
        head = f"coroutine {addr:#x} {what}\n"
        if found is not None:
            head += _facts(session, found, "began" if begun else "begins")
        return head + _frames_text(stack, 0)


class Backtrace(Command):
    """A thread's chain of calls, on through all coroutines it is in: qemu bt [THREAD] [--json]

    gdb's own bt ends where the stack of the running coroutine begins. This one goes on with who
    entered it, up to the thread's own stack. Nested aio_poll()s are marked. THREAD as in qemu where;
    without one, the selected thread."""

    name = "bt"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        thread = choose_thread(session, text)
        parts = session.coroutines.parts(thread)
        if "json" in options:
            rows = [
                row
                for addr, stack, _ in parts
                for row in _json_frames(stack, addr, thread.tid)
            ]
            return "".join(map(json_line, [*rows, _total(rows)]))
        out, number = [], 0
        for i, (addr, stack, wrong) in enumerate(parts):
            if i or addr:
                out.append(_part_head(i, addr, thread.tid))
            out.append(_frames_text(stack, number))
            if wrong:
                out.append(f"  the chain is broken here: {wrong}\n")
            number += len(stack)
        whole = [frame for _, stack, _ in parts for frame in stack]
        loops = locate(session.code, whole).depth
        inside = sum(addr != 0 for addr, _, _ in parts)
        what = [plural(inside, "coroutine")] if inside else []
        if loops > 1:
            what.append(f"{loops} loops within each other")
        if what:
            out.append(f"\n{', '.join(what)}.\n")
        if session.coroutines.why and any(f.symbol in ENDS for f in whole):
            out.append(f"\n{session.coroutines.why}\n")
        return "".join(out)


def register() -> None:
    CoroutineCommand()
    Backtrace()


def _part_head(i: int, addr: int, tid: int) -> str:
    if not i:
        return f"in coroutine {addr:#x}:\n"
    who = f"coroutine {addr:#x}" if addr else f"thread {tid} on its own stack"
    return f"entered by {who}:\n"


def _facts(session: Session, found: Coroutine, verb: str) -> str:
    out = f"  it {verb} in {session.names.name(found.entry)}"
    out += (
        f", argument {session.names.name(found.argument)}\n" if found.argument else "\n"
    )
    if found.caller:
        out += f"  entered by coroutine {found.caller:#x}\n"
    if found.scheduled:
        out += f"  to be entered: {printable(found.scheduled)} has scheduled it\n"
    return cut(out, 4 * COLUMNS)


def _frames_text(stack: Stack, number: int) -> str:
    lines = []
    for frame in stack:
        for name, line in zip(frame.inlined, frame.lines):
            lines.append(f"#{number:<3} {'':18} {name} (inlined) {line}")
        mark = "   <== a loop" if frame.symbol in ("aio_poll", "main_loop_wait") else ""
        lines.append(
            f"#{number:<3} {frame.pc:#018x} {frame.name} {frame.lines[-1]}{mark}"
        )
        number += 1
    return (
        "".join(cut(line.rstrip(), COLUMNS) + "\n" for line in lines) or "  no frames\n"
    )


def _json_frames(stack: Stack, addr: int, tid: Any) -> list[dict[str, Any]]:
    return [
        {
            "type": "frame",
            "thread": tid,
            "coroutine": f"{addr:#x}" if addr else None,
            "pc": f"{frame.pc:#x}",
            "function": frame.name,
            "inlined": list(frame.inlined),
            "where": frame.lines[0] or None,
        }
        for frame in stack
    ]


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "total", "frames": len(rows), "lost": 0}
