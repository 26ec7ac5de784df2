"""Running loopscope, and what it answers: exit code, text, rows of NDJSON."""

import json
import os
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

ROOT = Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
LOOPSCOPE = BUILD / "loopscope"
DEMO = BUILD / "demo-qemu-loop"

FINE, USAGE, PRIVILEGE, FAILED = 0, 2, 3, 4
COLUMNS = 100
# Nothing here takes seconds. Whatever runs longer than this hangs.
HANG_S = 60

# To be another user with no privilege at all.
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

Row = Dict[str, Any]


@dataclass
class Result:
    """One run of loopscope that has ended."""

    args: Sequence[str]
    rc: int
    out: str
    err: str
    rows: List[Row] = field(default_factory=list)

    def of_type(self, kind: str) -> List[Row]:
        return [row for row in self.rows if row["type"] == kind]

    @property
    def total(self) -> Row:
        """The last line of NDJSON, which has to be the totals."""
        assert self.rows[-1]["type"] == "total", self.out
        return self.rows[-1]

    def fine(self) -> "Result":
        assert (self.rc, self.err) == (FINE, ""), f"{self.args}: {self.rc} {self.err}"
        return self

    def refused(self, rc: int = FAILED) -> str:
        """It said one line on stderr, nothing else, and ended with @rc. Returns that line."""
        assert self.rc == rc, f"{self.args}: exit {self.rc}: {self.err or self.out}"
        assert self.err.startswith("loopscope: ") and self.err.endswith("\n"), repr(
            self.err
        )
        assert self.err.count("\n") == 1, self.err
        return self.err.rstrip("\n")


def command(args: Sequence[object], user: Sequence[str] = ()) -> List[str]:
    return [*user, str(LOOPSCOPE), *(str(a) for a in args)]


def parse(args: Sequence[str], rc: int, out: bytes, err: bytes) -> Result:
    """Every byte has to be UTF-8, and with --json every line an object with a type."""
    result = Result(args, rc, out.decode("utf-8"), err.decode("utf-8"))
    if "--json" in args:
        result.rows = [json.loads(line) for line in result.out.splitlines()]
        assert all(isinstance(row["type"], str) for row in result.rows)
    return result


def run(
    *args: object, env: Optional[Mapping[str, str]] = None, user: Sequence[str] = ()
) -> Result:
    """Run loopscope to its end. @user is put before the command (NOBODY, strace ...)."""
    words = command(args, user)
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        timeout=HANG_S,
        check=False,
    )
    return parse(words, done.returncode, done.stdout, done.stderr)


def start(
    *args: object, env: Optional[Mapping[str, str]] = None
) -> "subprocess.Popen[bytes]":
    """Start loopscope; finish() waits for it. The caller ends it."""
    return subprocess.Popen(
        command(args),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )


def finish(process: "subprocess.Popen[bytes]") -> Result:
    out, err = process.communicate(timeout=HANG_S)
    assert isinstance(process.args, list)
    return parse([str(a) for a in process.args], process.returncode, out, err)


def probe_while(pid: int, seconds: int, stimulate: Callable[[], Any]) -> Result:
    """fds --via probe, while the loops are given reasons to poll for as long as it takes."""
    process = start("fds", "-p", pid, "--via", "probe", "-d", seconds, "--json")
    ended = threading.Event()

    def give_reasons() -> None:
        while not ended.wait(0.02):
            stimulate()

    thread = threading.Thread(target=give_reasons)
    thread.start()
    try:
        return finish(process)
    finally:
        ended.set()
        thread.join()
        process.kill()
