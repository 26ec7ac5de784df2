# SPDX-License-Identifier: MIT
"""Grading: what students handed in, against answers found anew for each one's variant.

    make grade LAB=2 ANSWERS=dir

dir has lab02.json (one student), or a directory with that file for each student.  A line an exercise:
points, GOOD, BAD or MISSING.  Exit status 0 with full marks only, 1 without, 2 for wrong usage, 4 if a
file cannot be read.  What a file says of itself (whether an answer was GOOD) is not believed.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Dict, List, Optional

from . import answers, notebook, truth
from .lab import Lab
from .run import NOTEBOOKS, RunError

LARGEST = 1 << 20  # bytes of a file that is handed in


class GradeError(Exception):
    """What cannot be graded; the text says which file and why."""


@dataclass
class Handed:
    """What one student handed in."""

    path: Path
    student: str
    answers: Dict[str, Any]


def read_answers(path: Path, lab: int) -> Handed:
    """Read a file that a student handed in: anything may be in it."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise GradeError(f"{path}: {error.strerror}") from error
    if len(data) > LARGEST:
        raise GradeError(f"{path}: larger than {LARGEST} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise GradeError(f"{path}: not JSON") from error
    if not isinstance(found, dict) or not isinstance(found.get("answers"), dict):
        raise GradeError(f"{path}: not an answers file of a lab")
    if found.get("lab") != lab:
        raise GradeError(f"{path}: of lab {found.get('lab')!r:.20}, not of lab {lab}")
    student = found.get("student")
    if not isinstance(student, str) or not student.strip():
        raise GradeError(f"{path}: no student's id")
    return Handed(path, student, found["answers"])


def judge(solution: truth.Solution, lab: Lab, given: Any) -> str:
    """GOOD, BAD or MISSING."""
    if answers.is_missing(given):
        return "MISSING"
    try:
        value = answers.normal(solution.kind, given)
    except answers.AnswerError:
        return "BAD"
    return "GOOD" if value == solution.answer(lab).value else "BAD"


class Grader:
    """All that is to be graded of one lab."""

    def __init__(self, number: int) -> None:
        self.number = number
        path = NOTEBOOKS / f"lab{number:02d}.ipynb"
        if not path.is_file():
            there = " ".join(map(str, notebook.labs(NOTEBOOKS)))
            raise GradeError(f"there is no lab {number}; there are: {there}")
        self.exercises = notebook.exercises(path)
        self.solutions = truth.solutions(number)
        if not self.solutions:
            raise GradeError(f"lab {number}: no solutions here to grade against")
        self.full = sum(e.points for e in self.exercises)
        self.labs: Dict[int, Lab] = {}

    def verdicts(self, handed: Handed) -> Dict[str, str]:
        """Of each exercise: GOOD, BAD or MISSING."""
        variant = answers.variant_of(handed.student)
        lab = self.labs.setdefault(
            variant, Lab(self.number, handed.student, variant, keep=False)
        )
        return {
            e.id: judge(self.solutions[e.id], lab, handed.answers.get(e.id))
            for e in self.exercises
        }

    def points(self, verdicts: Dict[str, str]) -> int:
        """The sum of them."""
        return sum(e.points for e in self.exercises if verdicts[e.id] == "GOOD")

    def one(self, handed: Handed) -> bool:
        """Print one student's marks."""
        verdicts = self.verdicts(handed)
        print(f"lab {self.number}, student {printable(handed.student)}, {handed.path}")
        for e in self.exercises:
            word = verdicts[e.id]
            got = e.points if word == "GOOD" else 0
            print(f"  {word:8}{e.id:6}{got:2} of {e.points:2}  {e.title}")
        got = self.points(verdicts)
        print(f"  {'':8}{'':6}{got:2} of {self.full:2}")
        return got == self.full

    def many(self, all_handed: List[Handed]) -> bool:
        """Print a line a student, then how the class did in each exercise."""
        heads = " ".join(f"{e.id:>7}" for e in self.exercises)
        print(f"lab {self.number}: {len(all_handed)} students\n{'':24}{heads}  POINTS")
        words: Dict[str, List[str]] = {e.id: [] for e in self.exercises}
        full, seen = True, set()
        for handed in all_handed:
            verdicts = self.verdicts(handed)
            cells = " ".join(f"{verdicts[e.id]:>7}" for e in self.exercises)
            got = self.points(verdicts)
            again = "  id handed in twice" if handed.student in seen else ""
            print(
                f"{printable(handed.student):24}{cells}  {got:2} of {self.full}{again}"
            )
            seen.add(handed.student)
            full = full and got == self.full
            for e in self.exercises:
                words[e.id].append(verdicts[e.id])
        for word in ("GOOD", "BAD", "MISSING"):
            counts = " ".join(f"{words[e.id].count(word):7}" for e in self.exercises)
            print(f"{word.lower() + ', how many':24}{counts}")
        minutes = [
            h.answers["minutes"]
            for h in all_handed
            if _is_count(h.answers.get("minutes"))
        ]
        if minutes:
            print(
                f"they say it took {median(minutes):.0f} minutes (median of {len(minutes)})"
            )
        return full


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000


def printable(text: str) -> str:
    """A student's id for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)[:22]


def find(where: Path, number: int) -> List[Path]:
    """The files that were handed in."""
    name = f"lab{number:02d}.json"
    if (where / name).exists():
        return [where / name]
    return sorted(
        p / name for p in where.iterdir() if p.is_dir() and (p / name).exists()
    )


def grade(number: int, where: Path) -> bool:
    """Print marks; True for full ones."""
    if not where.is_dir():
        raise GradeError(f"{where}: no such directory")
    grader = Grader(number)
    files = find(where, number)
    if not files:
        nobody = Handed(where / f"lab{number:02d}.json", "nobody", {})
        return grader.one(nobody)
    handed = [read_answers(path, number) for path in files]
    if files[0].parent == where:
        return grader.one(handed[0])
    return grader.many(handed)


def main(argv: Optional[List[str]] = None) -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(prog="grade", usage="make grade LAB=N ANSWERS=dir")
    parser.add_argument("--lab", type=int, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        return 0 if grade(args.lab, args.answers) else 1
    except (GradeError, RunError) as error:
        print(f"grade: {error}", file=sys.stderr)
        return 4


if __name__ == "__main__":
    sys.exit(main())
