# SPDX-License-Identifier: MIT
"""Notebooks as files: which exercises one has, and the text it is edited as.

    python3 -m looplabs.notebook lab02.ipynb > lab02.md      to edit it
    python3 -m looplabs.notebook lab02.md > lab02.ipynb      back again, in the one form that is committed

In the text, a fence "```python" is a code cell, a line "+++" ends a cell of text.  A headline

    ### Exercise 2.1 · Who chose? · easy · 10 min · 2 points

begins an exercise; its answer cell has the line "answer = ..." and ends with lab.check("2.1", answer).
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

HEADLINE = re.compile(
    r"^### Exercise (?P<id>(?P<lab>\d+)\.\d+) · (?P<title>[^·\n]+) · (?P<level>easy|moderate|hard)"
    r" · (?P<minutes>\d+) min · (?P<points>\d+) points?$",
    re.MULTILINE,
)
PLACEHOLDER = "answer = ..."

Cell = Dict[str, Any]


@dataclass
class Exercise:
    """One exercise, as its headline has it."""

    id: str
    title: str
    level: str
    minutes: int
    points: int


def load(path: Path) -> Dict[str, Any]:
    """The notebook in a file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def exercises(path: Path) -> List[Exercise]:
    """The exercises of a notebook, in their order."""
    text = "\n".join(
        "".join(cell["source"])
        for cell in load(path)["cells"]
        if cell["cell_type"] == "markdown"
    )
    return [
        Exercise(m["id"], m["title"], m["level"], int(m["minutes"]), int(m["points"]))
        for m in HEADLINE.finditer(text)
    ]


def labs(where: Path) -> List[int]:
    """Which labs there are."""
    return sorted(int(path.stem[3:]) for path in where.glob("lab[0-9][0-9].ipynb"))


def _cell(kind: str, lines: List[str], number: int) -> Cell:
    text = "\n".join(lines).strip("\n")
    source = text.splitlines(keepends=True)
    cell: Cell = {"cell_type": kind, "id": f"c{number:02d}", "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": source}


def from_text(text: str) -> Dict[str, Any]:
    """A notebook of its text."""
    cells: List[Cell] = []
    lines: List[str] = []
    fence = ""

    def finish(kind: str) -> None:
        if any(line.strip() for line in lines):
            cells.append(_cell(kind, lines, len(cells) + 1))
        lines.clear()

    for line in text.splitlines():
        if not fence and line == "```python":
            finish("markdown")
            fence = "code"
        elif fence == "code" and line == "```":
            finish("code")
            fence = ""
        elif not fence and line == "+++":
            finish("markdown")
        else:
            if fence != "code" and line.startswith("```"):
                fence = "" if fence else "text"
            lines.append(line)
    finish("code" if fence == "code" else "markdown")
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def to_text(notebook: Dict[str, Any]) -> str:
    """The text of a notebook, outputs left out."""
    parts: List[str] = []
    before = ""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
        else:
            parts.append(("+++\n\n" if before == "markdown" else "") + source)
        before = cell["cell_type"]
    return "\n\n".join(parts) + "\n"


def as_committed(notebook: Dict[str, Any]) -> str:
    """The file's text: sorted, without outputs."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(prog="looplabs.notebook", description=__doc__)
    parser.add_argument("file", type=Path)
    path = parser.parse_args().file
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        sys.stdout.write(to_text(json.loads(text)))
    else:
        sys.stdout.write(as_committed(from_text(text)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
