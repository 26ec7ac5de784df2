# SPDX-License-Identifier: MIT
"""Running gdb with the commands loaded, on a process or a core; rows of it and of loopscope."""
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import pytest
from tracer_run import HANG_S, LOOPSCOPE, ROOT, Row, run
from tracer_targets import Target

# Every command that looks at a stop as a whole; "qemu tail" and "qemu break-..." need more words.
LOOKS = ["contexts", "handlers", "bh", "timers all", "iothreads", "sources", "gpollfds"]
LOOKS += ["where", "bql", "bt", "doctor", "diff", "layout"]

HERE = Path(__file__).resolve().parent
SCRIPTS = ROOT / "gdb-scripts"


class Core:
    """A core file, with the program and the number of the process it is of."""

    def __init__(self, path: Path, program: str, pid: int) -> None:
        self.path, self.program, self.pid = path, program, pid


What = Union[Target, Core]


def program_of(target: Target) -> str:
    return os.readlink(f"/proc/{target.pid}/exe")


def gdb_words(what: Optional[What]) -> List[str]:
    if what is None:
        return []
    if isinstance(what, Core):
        return [what.program, str(what.path)]
    return ["-p", str(what.pid)]


def loopscope_rows(command: str, what: What, *kinds: str) -> List[Row]:
    where: List[object] = ["-p", what.pid]
    if isinstance(what, Core):
        where = [what.path]
    more = [] if command == "layout" else ["--all"]
    return comparable(run(command, *where, "--json", *more).fine().rows, *kinds)


def gdb_rows(text: str, *kinds: str) -> List[Row]:
    """Every line has to be an object with a type, but for what gdb itself warns of."""
    lines = [line for line in text.splitlines() if not line.startswith("warning: ")]
    return comparable([json.loads(line) for line in lines], *kinds)


def comparable(rows: List[Row], *kinds: str) -> List[Row]:
    """Without how it was read, and without what no two moments share: of the time that is left
    only whether it is known; and while gdb holds it, no loop is awake."""
    found = []
    for row in rows:
        if row["type"] in kinds:
            left_out = ("via", "doing", "awake")
            row = {k: v for k, v in row.items() if k not in left_out}
            if "left_ns" in row:
                row["left_ns"] = row["left_ns"] is not None
            found.append(row)
    return found


def names(text: str) -> List[str]:
    """Of the contexts in it, in order."""
    return [str(row["ctx"]) for row in gdb_rows(text, "context")]


class Gdb:
    """gdb -batch with the commands loaded."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def start(
        self, *words: object, env: Optional[Mapping[str, str]] = None
    ) -> "subprocess.CompletedProcess[bytes]":
        settings = {"LOOPSCOPE": str(LOOPSCOPE), "DEBUGINFOD_URLS": "", **(env or {})}
        return subprocess.run(
            ["gdb", "-nx", "-q", "-batch", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env={**os.environ, **settings},
            timeout=HANG_S,
            check=False,
        )

    def answers(
        self,
        what: Optional[What],
        *commands: str,
        env: Optional[Mapping[str, str]] = None,
        scripts: Path = SCRIPTS,
    ) -> List[Dict[str, Any]]:
        """Run commands in turn. For each: command, out, error (None: it did not fail), seconds."""
        plan, answer = self.directory / "plan.json", self.directory / "answer.json"
        plan.write_text(json.dumps(commands))
        answer.unlink(missing_ok=True)
        done = self.start(
            *("-iex", f"python plan, answer = {str(plan)!r}, {str(answer)!r}"),
            *gdb_words(what),
            *("-ex", f"source {scripts}/qemu-gdb.py", "-x", HERE / "driver.py"),
            env=env,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert "Traceback" not in said and done.returncode == 0, said
        answers: List[Dict[str, Any]] = json.loads(answer.read_text())
        return answers

    def out(self, what: What, *commands: str, **how: Any) -> str:
        """What the last command printed; none may have failed."""
        answers = self.answers(what, *commands, **how)
        assert [a for a in answers if a["error"] is not None] == []
        return str(answers[-1]["out"])

    def error(self, what: What, *commands: str, **how: Any) -> str:
        """The one line with which the last command failed."""
        error = self.answers(what, *commands, **how)[-1]["error"]
        assert error and "\n" not in error and "Error while executing" not in error
        return str(error)


def at_one_stop(
    gdb: Gdb, what: What, command: str, *kinds: str
) -> Tuple[List[Row], List[Row]]:
    """Rows of a gdb command, and of loopscope handlers: it reads while gdb holds the process."""
    where = f"-p {what.pid}" if isinstance(what, Target) else str(what.path)
    theirs = gdb.directory / "theirs.json"
    look = f"shell {LOOPSCOPE} handlers {where} --json --all > {theirs}"
    ours = gdb.out(what, look, f"qemu {command} --json")
    rows = [json.loads(line) for line in theirs.read_text().splitlines()]
    return gdb_rows(ours, *kinds), comparable(rows, *kinds)


MakeCore = Callable[..., Core]
CORE_MAX = 8 << 30  # bytes


def refuse_huge_core(target: Target) -> None:
    pages = int(Path(f"/proc/{target.pid}/statm").read_text().split()[0])
    if pages * os.sysconf("SC_PAGESIZE") > CORE_MAX:
        pytest.skip("a sanitizer's shadow memory: its core would fill the disk")


def dump(gdb: Gdb, target: Target, path: Path, *commands: str) -> Core:
    """A core by gdb, after some commands."""
    refuse_huge_core(target)
    gdb.out(target, *commands, f"generate-core-file {path}")
    return Core(path, program_of(target), target.pid)
