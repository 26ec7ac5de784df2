"""Trying something many times, some at once, and keeping what went wrong: for bench-doctor.

A try gets a directory and returns a number; it fails by an exception. What loopscope had printed until
then is in the exception's frames, and is shown and kept whole.
"""

import shutil
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional

import pytest
from tracer_run import Result

RECORDING_MAX = 64 << 20  # one that was misjudged is kept if it is no larger


@dataclass
class Outcome:
    seconds: float = 0
    miss: Optional[str] = None  # what was said in place of what is right


class Progress:
    """A line on a terminal's stderr; the table goes to stdout, above it."""

    def __init__(self, what: str) -> None:
        self.what, self.shown = what, sys.stderr.isatty()
        self.begun, self.total, self.done, self.missed = time.monotonic(), 0, 0, 0
        self.lock = threading.Lock()

    def _draw(self) -> None:
        if self.shown:
            minutes, seconds = divmod(int(time.monotonic() - self.begun), 60)
            missed = f", {self.missed} wrong" if self.missed else ""
            of = f" of {self.total}" if self.total else ""
            sys.stderr.write(
                f"\r\033[K{self.what}: {self.done}{of}{missed}, {minutes}:{seconds:02}"
            )
            sys.stderr.flush()

    def step(self, missed: bool) -> None:
        with self.lock:
            self.done += 1
            self.missed += missed
            self._draw()

    def say(self, line: str) -> None:
        with self.lock:
            if self.shown:
                sys.stderr.write("\r\033[K")
                sys.stderr.flush()
            print(line, flush=True)
            self._draw()

    def end(self) -> None:
        if self.shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def printed(error: BaseException) -> List[Result]:
    """All that loopscope said to those who then failed."""
    found: List[Result] = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, Result) and all(value is not r for r in found):
                found.append(value)
    return found


def told(error: BaseException) -> str:
    lines = traceback.format_exception_only(type(error), error)
    for result in printed(error):
        words = " ".join(str(word) for word in result.args)
        lines += [f"$ {words}", f"exit {result.rc}", result.out, result.err]
    if not printed(error):
        lines += traceback.format_tb(error.__traceback__)
    return "\n".join(line.rstrip("\n") for line in lines if line)


class Tries:
    """@jobs at once; misses are kept in files below @kept."""

    def __init__(self, jobs: int, kept: Path, progress: Progress) -> None:
        self.pool = ThreadPoolExecutor(jobs)
        self.kept, self.progress = kept, progress

    def submit(self, label: str, try_it: Callable[[Path], float]) -> "Future[Outcome]":
        return self.pool.submit(self._try, label, try_it)

    def _keep(self, label: str, text: str, directory: Path) -> None:
        place = self.kept / label.replace(" ", "-").replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        (place / "said").write_text(text + "\n")
        recording = directory / "r"
        files = recording.iterdir() if recording.is_dir() else []
        if recording.is_dir() and sum(f.stat().st_size for f in files) < RECORDING_MAX:
            shutil.copytree(recording, place / "recording", dirs_exist_ok=True)

    def _try(self, label: str, try_it: Callable[[Path], float]) -> Outcome:
        outcome = Outcome()
        with tempfile.TemporaryDirectory(prefix="ls-bench-") as directory:
            try:
                outcome.seconds = try_it(Path(directory))
            except (Exception, pytest.skip.Exception) as error:
                outcome.miss = told(error)
                self._keep(label, outcome.miss, Path(directory))
        self.progress.step(outcome.miss is not None)
        return outcome

    def close(self) -> None:
        """Nothing new is begun; what has begun ends."""
        self.pool.shutdown(wait=True, cancel_futures=True)
