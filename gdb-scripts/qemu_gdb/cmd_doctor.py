# SPDX-License-Identifier: MIT
"""qemu doctor: what is wrong with the loops, as far as one look at a stop can prove it."""
import textwrap
from typing import Any

from qemu_gdb import describe, stop_clock, verdicts
from qemu_gdb.cmd_where import Row, look
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.finding import Finding
from qemu_gdb.out import COLUMNS, json_line, plural, printable
from qemu_gdb.rows import damage_rows
from qemu_gdb.session import Session

CHECKED = (
    "LOST WAKEUP, NESTED WAIT, WRONG CONTEXT, BQL HOLD, BLOCKED CALLBACK (asleep in one), TIMER LATE, "
    "HANDLER LEAK (removed, and nobody frees it), DEAD FD"
)


class Doctor(Command):
    """What is wrong with the loops: qemu doctor [--json]

    Verdicts, each with its culprit, its evidence and an advice: the words are loopscope's. A stop
    is one look: what needs two, such as a loop that spins or a callback that computes for long,
    cannot be told here; loopscope doctor -p PID watches a running process. A healthy loop gives
    none."""

    name = "doctor"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        if text:
            raise QemuError(f'"{text}" is too much: type qemu doctor')
        for context in session.loops.contexts:
            session.loops.read_lists(context)
        session.loops.read_main_timers()
        rows = look(session, session.threads)
        findings = verdicts.examine(session, rows)
        if "json" in options:
            return "".join(map(json_line, _json_rows(session, findings, rows)))
        return _text(session, findings, rows)


def register() -> None:
    stop_clock.watch()
    Doctor()


def _json_rows(
    session: Session, findings: list[Finding], rows: list[Row]
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for finding in findings:
        row = finding.row
        out.append(
            {
                "type": "verdict",
                "verdict": finding.verdict,
                "thread": row.thread.tid if row else None,
                "role": printable(row.role) if row else None,
                "span": finding.span,
                "culprit": printable(finding.culprit),
                "evidence": [printable(text) for text in finding.evidence],
                "stack": [frame.name for frame in row.stack] if row else [],
                "advice": finding.advice,
            }
        )
    for context in session.loops.contexts:
        out += damage_rows(context.name, context.damages)
    loops = sum(bool(row.where.loop) for row in rows)
    out.append({"type": "total", "findings": len(findings), "loops": loops})
    out[-1].update(threads=len(rows), looks=1, lost=0)
    return out


def _folded(mark: str, text: str) -> str:
    """A sentence behind a mark, at most as wide as all output is."""
    first, rest = f"  {mark} " if mark else "    ", " " * (3 + max(len(mark), 1))
    return (
        textwrap.fill(
            printable(text),
            COLUMNS,
            initial_indent=first,
            subsequent_indent=rest,
            break_on_hyphens=False,
        )
        + "\n"
    )


def _finding_text(finding: Finding) -> str:
    row = finding.row
    who = f"   {row.role}, thread {row.thread.tid}, {finding.span}" if row else ""
    out = [f"{finding.verdict}{who}\n", _folded("", finding.culprit)]
    out += [_folded("-", text) for text in finding.evidence]
    if row is not None:
        out.append(_folded("", " > ".join(f.name for f in reversed(row.stack))))
    return "".join([*out, _folded("=>", finding.advice), "\n"])


def _text(session: Session, findings: list[Finding], rows: list[Row]) -> str:
    loops = [row for row in rows if row.where.loop]
    out = [_finding_text(finding) for finding in findings]
    count = plural(len(findings), "finding") if findings else "no finding"
    out.append(
        f"{count}: {plural(len(loops), 'loop')} of {session.title()}, one look.\n"
    )
    out.append(_folded("", f"Checked: {CHECKED}."))
    for context in session.loops.contexts:
        for what, damage in context.damages:
            text = f"DAMAGED: {context.name}: {describe.damage(what, damage)}"
            out.append(_folded("", text))
    named = [f.row for f in findings]
    for row in loops:
        if row.subjects and row.wait is None and row not in named:
            doubt = f"Thread {row.thread.tid} computes in {row.subjects[-1].text}: one look cannot "
            out.append(_folded("", doubt + "tell for how long."))
    pid = session.inferior.pid
    more = f"loopscope doctor -p {pid}" if session.inferior.live else "a live process"
    out.append(
        _folded(
            "",
            f"Not told by one look: SPIN, handlers that grow in number (qemu diff), since when: {more}.",
        )
    )
    return "".join(out)
