# SPDX-License-Identifier: MIT
"""Running a notebook without a browser, with the right answers, with none, or with wrong ones.

    python3 -m looplabs.execute lab02.ipynb [--with solutions|nothing|nonsense] [--student ID]

Prints what the exercises' checks said.  A cell may take ten seconds.  Exit status 1 if a cell failed,
or (with solutions) if an answer was not GOOD.
"""

import argparse
import asyncio
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List

from . import notebook

CELL_S = 10
CHECKED = re.compile(r"^(GOOD|BAD|MISSING) +(\d+\.\d+)", re.MULTILINE)
ANSWERS = {
    "nothing": notebook.PLACEHOLDER,
    "nonsense": 'answer = "nonsense"',
    "solutions": 'from looplabs import truth; answer = truth.solution(lab, "{id}")',
}


@dataclass
class Outcome:
    """What came of a run."""

    results: Dict[str, str] = field(default_factory=dict)
    error: str = ""
    slowest_s: float = 0.0
    figures: List[bytes] = field(default_factory=list)


def fill_in(source: str, how: str) -> str:
    """An answer cell with an answer; any other cell as it is."""
    found = re.search(r'lab\.check\("([\d.]+)", answer\)', source)
    if not found or notebook.PLACEHOLDER not in source:
        return source
    return source.replace(notebook.PLACEHOLDER, ANSWERS[how].format(id=found[1]))


def execute(path: Path, how: str, student: str, work: Path) -> Outcome:
    """Run the notebook in a kernel whose directory is `work`; answers are noted there."""
    # pylint: disable=import-outside-toplevel
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
    )

    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # no concern of ours
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.source = fill_in(cell.source, how)
    env = {
        **os.environ,
        "LOOPLABS_STUDENT": student,
        "PYTHONPATH": str(path.resolve().parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    client = NotebookClient(
        book,
        timeout=CELL_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(work)}},
    )
    # What an exercise's check does not say anything about counts as not checked.
    outcome = Outcome({e.id: "UNCHECKED" for e in notebook.exercises(path)})
    try:
        client.execute(env=env)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        outcome.error = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    for cell in book.cells:
        for out in cell.get("outputs", []):
            if out.output_type == "stream":
                outcome.results |= {m[2]: m[1] for m in CHECKED.finditer(out.text)}
            elif "image/png" in out.get("data", {}):
                outcome.figures.append(out.data["image/png"].encode())
        times = cell.metadata.get("execution", {})
        if "shell.execute_reply" in times:
            begin = _seconds(times["iopub.execute_input"])
            end = _seconds(times["shell.execute_reply"])
            outcome.slowest_s = max(outcome.slowest_s, end - begin)
    return outcome


def _seconds(stamp: str) -> float:
    # pylint: disable=import-outside-toplevel
    from datetime import datetime

    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(prog="looplabs.execute", description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument(
        "--with", dest="how", choices=list(ANSWERS), default="solutions"
    )
    parser.add_argument("--student", default="guest")
    parser.add_argument("--figures", type=Path, help="write the pictures there, too")
    args = parser.parse_args()
    # Python 3.11 and the tornado of Debian 12 disagree about who makes the loop.
    asyncio.set_event_loop(asyncio.new_event_loop())
    outcome = execute(args.notebook, args.how, args.student, Path.cwd())
    for exercise, word in outcome.results.items():
        print(f"{word:8}{exercise}")
    if args.figures:
        import base64

        args.figures.mkdir(parents=True, exist_ok=True)
        for i, data in enumerate(outcome.figures):
            (args.figures / f"{i:02d}.png").write_bytes(base64.b64decode(data))
    print(f"slowest cell: {outcome.slowest_s:.1f} s; {len(outcome.figures)} figures")
    if outcome.error:
        print(outcome.error, file=sys.stderr)
        return 1
    all_good = all(word == "GOOD" for word in outcome.results.values())
    return 0 if args.how != "solutions" or all_good else 1


if __name__ == "__main__":
    sys.exit(main())
