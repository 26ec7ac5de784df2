# SPDX-License-Identifier: MIT
"""A lab as its notebook sees it.

    from looplabs import Lab, draw
    lab = Lab(2, student="your id")       which variant of the lab you have depends on it
    rec = lab.record("slirp", iterations=lab.number("rounds", 9, 20))
    lab.check("2.1", answer)              GOOD, BAD or MISSING; and noted in answers/lab02.json

What a lab draws (number, choice, order) is the same for the same student in every run.
"""

import json
import os
import random
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, TypeVar

from . import answers, run, truth
from .recording import Recording, read

T = TypeVar("T")
BARE = str.maketrans("", "", "[]()")  # a list's brackets are not for names of files

_once: Dict[str, Recording] = {}  # what was made in this session for all labs, by name


class Lab:
    """One lab of one student."""

    def __init__(
        self,
        number: int,
        student: str = "guest",
        variant: Optional[int] = None,
        keep: bool = True,
    ) -> None:
        self.n = number
        self.student = os.environ.get("LOOPLABS_STUDENT", student)
        if not self.student.strip():
            raise ValueError("student: your id, please")
        if variant is None:
            variant = answers.variant_of(self.student)
        self.variant = variant
        self.keep = keep  # whether answers are noted
        self.results: Dict[str, str] = {}
        self._recordings: Dict[str, Recording] = {}
        self.made: Dict[str, Recording] = {}  # those of the demo loop
        self._keys: Optional[Dict[str, Any]] = None

    # --- what differs from student to student --------------------------------------------------

    def _random(self, name: str) -> random.Random:
        return random.Random(f"{self.n} {self.variant} {name}")

    def number(self, name: str, low: int, high: int) -> int:
        """A number between these two, them included."""
        return self._random(name).randint(low, high)

    def choice(self, name: str, items: Sequence[T]) -> T:
        """One of them."""
        return self._random(name).choice(list(items))

    def order(
        self, name: str, items: Sequence[T], most: Optional[int] = None
    ) -> List[T]:
        """All of them, or at most so many, in some order."""
        found = list(items)
        return self._random(name).sample(found, min(most or len(found), len(found)))

    @property
    def seed(self) -> int:
        """What to pass on as --seed."""
        return 100 * self.n + self.variant

    # --- recordings ----------------------------------------------------------------------------

    def record(self, scenario: str, **settings: Any) -> Recording:
        """The demo loop, run now and recorded by itself: as `demo-qemu-loop --scenario SCENARIO
        --record DIR --iterations N ...`.  Where it is not built, a recording made by the release.
        """
        return self._known(self._recordings, scenario, settings)

    def record_once(self, scenario: str, **settings: Any) -> Recording:
        """The same, made once for all labs of this session and all their variants."""
        return self._known(_once, scenario, settings)

    def _known(
        self, known: Dict[str, Recording], scenario: str, settings: Dict[str, Any]
    ) -> Recording:
        words = (
            f"{k}{v}".replace(", ", ".").translate(BARE)
            for k, v in sorted(settings.items())
        )
        name = "-".join([scenario, *words])
        if name not in known:
            known[name] = self._make(name, scenario, settings)
        self.made[name] = known[name]
        return known[name]

    def _make(self, name: str, scenario: str, settings: Dict[str, Any]) -> Recording:
        out = run.scratch() / f"{name}-{len(list(run.scratch().iterdir()))}"
        shipped = run.NOTEBOOKS / "recordings" / f"{name}.tar.xz"
        if run.find("demo-qemu-loop"):
            said = run.demo_record(out, scenario, **settings)
            rec = read(out)
            rec.said = said
            # The keys were made where there is io_uring; many a container has none.
            if not (ring_refused(rec) and shipped.is_file()):
                return rec
            out = out.with_name(f"{out.name}-shipped")
        elif not shipped.is_file():
            run.need("demo-qemu-loop")
        unpack(shipped, out)
        return read(out)

    def recorded(self, name: str) -> Recording:
        """A recording that comes with the labs: data/NAME.tar.xz."""
        if name not in self._recordings:
            out = run.scratch() / f"{name}-{len(list(run.scratch().iterdir()))}"
            unpack(run.NOTEBOOKS / "data" / f"{name}.tar.xz", out)
            self._recordings[name] = read(out)
        return self._recordings[name]

    # --- answers -------------------------------------------------------------------------------

    def keys(self, exercise: str) -> Dict[str, Any]:
        """The keys of an exercise: of the release, or made of the solutions beside it."""
        if self._keys is None:
            path = run.NOTEBOOKS / "keys" / f"lab{self.n:02d}.json"
            self._keys = (
                json.loads(path.read_text())[self.variant] if path.is_file() else {}
            )
        if exercise not in self._keys:
            found = truth.solutions(self.n).get(exercise)
            if not found:
                raise KeyError(f"there is no exercise {exercise} in lab {self.n}")
            self._keys[exercise] = found.keys(self)
        return dict(self._keys[exercise])

    def check(self, exercise: str, answer: Any) -> None:
        """Says whether an answer is right, and notes it for handing in."""
        keys = self.keys(exercise)
        word, said = self._judge(exercise, keys, answer)
        self.results[exercise] = word
        print(f"{word:8}{exercise}{': ' if said else ''}{said}")

    def _judge(
        self, exercise: str, keys: Dict[str, Any], answer: Any
    ) -> "tuple[str, str]":
        if answers.is_missing(answer):
            self._note(exercise, None)
            return "MISSING", "put your answer in place of the dots"
        try:
            value = answers.normal(keys["kind"], answer)
        except answers.AnswerError as error:
            self._note(exercise, None)
            return "BAD", str(error)
        self._note(exercise, value)
        key = answers.key(exercise, self.variant, keys["kind"], value)
        if key == keys["key"]:
            return "GOOD", ""
        return "BAD", keys["mistakes"].get(key, "look again; there is a hint above")

    def spent(self, minutes: int) -> None:
        """How long the lab took you: it is not graded, and it makes the next class's labs better."""
        self._note("minutes", int(minutes) or None)

    @property
    def answers_path(self) -> Path:
        """What is handed in."""
        return Path("answers") / f"lab{self.n:02d}.json"

    def _note(self, exercise: str, value: Any) -> None:
        if not self.keep:
            return
        path = self.answers_path
        noted: Dict[str, Any] = {}
        try:
            noted = json.loads(path.read_text())["answers"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if value is None:
            noted.pop(exercise, None)
        else:
            noted[exercise] = value
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"lab": self.n, "student": self.student, "answers": noted}
        path.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")

    def hand_in(self) -> None:
        """Says what is to be handed in, and how it stands."""
        for word in ("GOOD", "BAD", "MISSING"):
            which = [e for e, result in self.results.items() if result == word]
            if which:
                print(f"{word:8}{' '.join(which)}")
        print(f"Hand in the file {self.answers_path}.")


def ring_refused(rec: Recording) -> bool:
    """Whether a context that was to wait by io_uring had to do with something else."""
    changes = (e.args for e in rec.events if e.name == "fdmon_change")
    return any(a["from"] == "io_uring" and a["err"] for a in changes)


def unpack(archive: Path, out: Path) -> None:
    """A recording out of its archive: plain files of one directory, nothing else."""
    out.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            source = tar.extractfile(member) if member.isfile() else None
            if source:
                (out / name).write_bytes(source.read())
