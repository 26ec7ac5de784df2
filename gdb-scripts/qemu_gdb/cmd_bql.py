# SPDX-License-Identifier: MIT
"""qemu bql: who holds the big QEMU lock, who waits for it, and from which line of the source."""
from typing import Any

from qemu_gdb import waits
from qemu_gdb.bql import Lock, Waiter
from qemu_gdb.cmd_where import Row, look
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.frames import shorten
from qemu_gdb.out import COLUMNS, address, cut, json_line, plural
from qemu_gdb.session import Session

MAX_CALLERS = 8


class BqlCommand(Command):
    """Who holds the big QEMU lock, and who waits for it: qemu bql [--json]

    The main loop holds it while it dispatches and gives it up to poll; a vCPU takes it to reach a
    device. A nested aio_poll() does not give it up. The owner is what the mutex itself says; a
    waiter's file and line are those that its code hands to the locking function."""

    name = "bql"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        if text:
            raise QemuError(f'"{text}" is too much: type qemu bql')
        bql = session.bql
        if bql.lock is None:
            raise QemuError(
                f"the BQL is not known: {bql.why}; who waits for whom: qemu where --all"
            )
        rows = look(session, session.threads)
        waiters = [
            bql.waiter(row.thread.tid, row.stack)
            for row in rows
            if row.bql == "waited for"
        ]
        if "json" in options:
            return "".join(map(json_line, _json_rows(bql.lock, rows, waiters)))
        return _text(session, bql.lock, rows, waiters)


def register() -> None:
    BqlCommand()


def _json_rows(
    lock: Lock, rows: list[Row], waiters: list[Waiter]
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = [
        {
            "type": "bql",
            "addr": address(lock.addr),
            "name": lock.name,
            "proof": lock.proof,
            "locked": bool(lock.word),
            "owner": lock.owner or None,
            "waiters": len(waiters),
        }
    ]
    for waiter in waiters:
        out.append(
            {"type": "waiter", "thread": waiter.tid, "site": waiter.site or None}
        )
        out[-1]["stack"] = [frame.name for frame in waiter.path]
    given = [row.thread.tid for row in rows if row.bql.startswith("given up")]
    out.append({"type": "total", "waiters": len(waiters), "given_up": given, "lost": 0})
    return out


def _state(lock: Lock) -> str:
    if not lock.word:
        return "free"
    if not lock.owner:
        return "being taken or given back at this moment"
    return "held"


def _text(session: Session, lock: Lock, rows: list[Row], waiters: list[Waiter]) -> str:
    out = [f"{session.title()}: the BQL is {_state(lock)}\n"]
    out.append(f"  mutex {lock.name} at {lock.addr:#x}\n  known from: {lock.proof}\n")
    for row in rows:
        if row.thread.tid != lock.owner:
            continue
        out.append(f"\nowner: {row.role}, thread {row.thread.tid}\n")
        out += [f"  in {found.text}\n" for found in row.subjects]
        out.append(f"  {row.wait or 'runs, or could'}\n")
        out.append(f"  {shorten(row.stack, MAX_CALLERS)}\n")
    for waiter in waiters:
        site = f" at {waiter.site}" if waiter.site else ""
        out.append(
            f"\nwaiter: {waits.thread_text(session.threads, waiter.tid)}{site}\n"
        )
        out.append(f"  {shorten(waiter.path, MAX_CALLERS)}\n")
    given = [str(row.thread.tid) for row in rows if row.bql.startswith("given up")]
    if given:
        out.append(
            f"\ngiven up meanwhile, by waiting for a condition with it: {' '.join(given)}\n"
        )
    out.append(f"\n{plural(len(waiters), 'waiter')}.\n")
    return "".join(cut(line, COLUMNS) + "\n" for line in "".join(out).splitlines())
