# SPDX-License-Identifier: MIT
"""What all checks of "qemu doctor" look at, and what each of them says."""
from typing import NamedTuple, Optional

from qemu_gdb.cmd_where import Row
from qemu_gdb.frames import shorten
from qemu_gdb.session import Session

ONE_LOOK = "one look: since when is not known"


class Finding(NamedTuple):
    verdict: str
    row: Optional[Row]  # of the thread
    span: str
    culprit: str
    evidence: list[str]
    advice: str


class Case(NamedTuple):
    """What all checks look at."""

    session: Session
    rows: list[Row]
    notifying: bool  # some thread may be about to wake another

    def row_of(self, tid: Optional[int]) -> Optional[Row]:
        return next((row for row in self.rows if row.thread.tid == tid), None)


def culprit(case: Case, row: Row) -> str:
    """The callback; of a thread that runs no loop, the program's own innermost function."""
    if row.subjects:
        return row.subjects[-1].text
    program = case.session.images.program
    own = [f for f in row.stack if program is not None and program.holds(f.function)]
    return shorten(own[:1] or row.stack, 1)
