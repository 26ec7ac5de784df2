# SPDX-License-Identifier: MIT
"""The instructor's side: solutions/labNN.py, and the keys that are made of them.

A solution is a function that finds the answer in the student's own recordings:

    @solves("2.3", kind="names")
    def who_chose(lab):
        rec = lab.record("slirp", iterations=9)
        right = list(rec.iterations("main loop").chooser)
        return Answer(right, {"That is who ended the wait, not who chose its timeout.": wrong})

It returns the answer itself, or an Answer, with known mistakes: what is said to whoever makes one,
and the wrong answer it leads to.
"""

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from . import answers
from .run import NOTEBOOKS

if TYPE_CHECKING:
    from .lab import Lab

Finder = Callable[["Lab"], Any]


@dataclass
class Answer:
    """A right answer, and wrong ones by what is to be said about them."""

    value: Any
    mistakes: Dict[str, Any] = field(default_factory=dict)


@dataclass
class Solution:
    """How an exercise's answer is found."""

    exercise: str
    kind: str
    find: Finder

    def answer(self, lab: "Lab") -> Answer:
        """The answer for the variant of this lab."""
        found = self.find(lab)
        found = found if isinstance(found, Answer) else Answer(found)
        right = answers.normal(self.kind, found.value)
        wrong = {s: answers.normal(self.kind, v) for s, v in found.mistakes.items()}
        # What is a mistake in one variant may be right by chance in another.
        return Answer(right, {s: v for s, v in wrong.items() if v != right})

    def keys(self, lab: "Lab") -> Dict[str, Any]:
        """What a student's release knows of it."""
        found = self.answer(lab)

        def key(value: Any) -> str:
            return answers.key(self.exercise, lab.variant, self.kind, value)

        mistakes = {key(value): said for said, value in found.mistakes.items()}
        return {"kind": self.kind, "key": key(found.value), "mistakes": mistakes}


_solutions: Dict[str, Solution] = {}


def solves(exercise: str, kind: str) -> Callable[[Finder], Finder]:
    """Marks a function as the solution of an exercise."""
    if kind not in answers.KINDS:
        raise ValueError(f"{exercise}: no kind {kind}")

    def mark(find: Finder) -> Finder:
        _solutions[exercise] = Solution(exercise, kind, find)
        return find

    return mark


def solutions_dir() -> Optional[Path]:
    """Where solutions are, if they are anywhere."""
    place = Path(os.environ.get("LOOPLABS_SOLUTIONS", NOTEBOOKS / "solutions"))
    return place if place.is_dir() else None


def solutions(number: int) -> Dict[str, Solution]:
    """All solutions of a lab, by exercise; empty where there are none."""
    place = solutions_dir()
    path = place / f"lab{number:02d}.py" if place else None
    if not path or not path.is_file():
        return {}
    mine = {k: s for k, s in _solutions.items() if k.split(".")[0] == str(number)}
    if not mine:
        spec = importlib.util.spec_from_file_location(f"solution{number:02d}", path)
        assert spec and spec.loader
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        mine = {k: s for k, s in _solutions.items() if k.split(".")[0] == str(number)}
    return mine


def solution(lab: "Lab", exercise: str) -> Any:
    """The right answer: what headless runs put in place of the dots."""
    return solutions(lab.n)[exercise].answer(lab).value
