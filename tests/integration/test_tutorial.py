# SPDX-License-Identifier: MIT
"""docs/bpftrace-tutorial.md keeps its word: every command runs, and prints what the page shows.

A command is taken from the page and run by a shell with PID set, as a reader would. Numbers differ;
every other word of the page's output has to come out again.
"""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Set

import pytest
from probed import breakpoints
from process_memory import syscall_of, wait_until
from scripted import Scripted
from tracer_run import HANG_S, ROOT
from tracer_targets import Demo, installed

pytestmark = pytest.mark.usefixtures("root")

PAGE = (ROOT / "docs" / "bpftrace-tutorial.md").read_text()
EPOLL_WAIT = (
    232,
    281,
)  # epoll_wait, epoll_pwait: where bpftrace is when its probes are in place


class Lesson(NamedTuple):
    name: str  # "6", "12b"
    command: str
    shown: List[str]


def lessons() -> Dict[str, Lesson]:
    found: Dict[str, Lesson] = {}
    for part in PAGE.split("\n## ")[1:]:
        number = part.split(".")[0]
        blocks = re.findall(r"```\n# (bpftrace .*)\n((?:.*\n)*?)```", part)
        for which, (command, shown) in enumerate(blocks):
            name = number + ("b" if which else "")
            found[name] = Lesson(name, command, shown.splitlines())
    return found


LESSONS = lessons()


def shapes(lines: List[str]) -> Set[str]:
    """Lines without their numbers; of histograms only the headings."""
    rows = (line.rstrip() for line in lines)
    return {
        re.sub(r"\d+", "N", row)
        for row in rows
        if row and not re.match(r"[\[(].*\|$", row)
    }


class Run:
    """A command of the page; its probes are in place when the with is entered."""

    def __init__(self, lesson: Lesson, pid: int) -> None:
        installed("bpftrace")
        self.lines: List[str] = []
        self.errors: List[str] = []
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {lesson.command}"],
            cwd=ROOT,
            env={**os.environ, "PID": str(pid)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.readers = [
            threading.Thread(target=self.read, args=pair, daemon=True)
            for pair in (
                (self.process.stdout, self.lines),
                (self.process.stderr, self.errors),
            )
        ]
        for reader in self.readers:
            reader.start()
        self.target = pid
        self.command = lesson.command
        try:
            if " -l " not in lesson.command:
                wait_until(self.in_place, f"{lesson.command} has attached")
        except BaseException:
            self.process.kill()
            raise

    @staticmethod
    def read(stream: Iterable[str], lines: List[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def in_place(self) -> bool:
        """Its probes are, and it waits for what they say (it has come by that call before)."""
        assert self.process.poll() is None, (self.lines, self.errors)
        pid = self.process.pid
        call = syscall_of(pid, pid)
        if call is None or call[0] not in EPOLL_WAIT:
            return False
        names = set(re.findall(r"(?:usdt:\*:qemu|uprobe:\$1):(\w+)", self.command))
        if names:
            return breakpoints(self.target) == len(names)
        shown = subprocess.run(
            ["bpftool", "perf", "show"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        mine = re.findall(rf"^pid {pid}\s.*\stracepoint\s+(\w+)", shown, re.M)
        return set(mine) == set(re.findall(r"syscalls:(\w+)", self.command))

    def end(self) -> List[str]:
        """Ctrl-C, unless it has ended by itself: all it printed."""
        for _ in range(HANG_S // 2):
            if self.process.poll() is not None:
                break
            call = syscall_of(self.process.pid, self.process.pid)
            # One that comes before bpftrace counts its signals is forgotten; a second one that
            # comes while it prints would end it.
            if call is not None and call[0] in EPOLL_WAIT:
                self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                pass
        return self.ended()

    def ended(self) -> List[str]:
        assert self.process.wait(HANG_S) == 0, self.errors
        for reader in self.readers:
            reader.join()
        return self.lines

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def assert_as_shown(lesson: Lesson, lines: List[str]) -> None:
    missing = shapes(lesson.shown) - shapes(lines)
    assert not missing, f"{missing} not in {shapes(lines)}"


def turns(pid: int) -> int:
    """How often the threads of a process have gone to sleep."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text()
        total += int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return total


def test_the_page_has_twelve_lessons() -> None:
    assert list(LESSONS) == [*map(str, range(1, 13)), "12b"]
    for lesson in LESSONS.values():
        assert lesson.shown
    for part in PAGE.split("\n## ")[1:13]:
        assert "\n- " in part  # new ideas


@pytest.mark.parametrize(
    "name",
    [
        *("1", "2"),
        *(pytest.param(str(n), marks=pytest.mark.full) for n in range(3, 9)),
    ],
)
def test_lessons_of_the_demo(name: str) -> None:
    lesson = LESSONS[name]
    with Demo("five-sources", "--iterations", 10**9) as target:
        with Run(lesson, target.pid) as command:
            if name in ("1", "8"):  # these end by themselves
                assert_as_shown(lesson, command.ended())
                return
            before = turns(target.pid)
            wait_until(lambda: turns(target.pid) > before + 200, "the loop goes on")
            assert_as_shown(lesson, command.end())


@pytest.mark.full
def test_a_stall_with_a_name() -> None:
    lesson = LESSONS["12b"]
    with Demo("blocked-sleep") as target:
        with Run(lesson, target.pid) as command:
            wait_until(lambda: len(command.lines) >= 3, "stalls were told")
            assert_as_shown(lesson, command.end())


@pytest.mark.full
@pytest.mark.parametrize("name", ["9", "10", "11"])
def test_lessons_of_a_stripped_qemu(name: str) -> None:
    lesson = LESSONS[name]
    with Scripted() as target, Run(lesson, target.pid) as command:
        if name == "9":
            assert_as_shown(lesson, command.ended())
            return
        for _ in range(3):
            target.command("query-status")
        lines = command.end()
        assert_as_shown(lesson, lines)
        if name == "11":
            assert "@from[IO mon_iothread, aio_co_schedule]: 3" in lines


@pytest.mark.full
def test_a_stall_of_a_stripped_qemu(tmp_path: Path) -> None:
    """It writes its memory to a file, in its main loop, as often as it takes to take 10 ms."""
    lesson = LESSONS["12"]
    with Scripted() as target, Run(lesson, target.pid) as command:

        def stalled() -> bool:
            file = str(tmp_path / "memory")
            target.command("pmemsave", val=0, size=64 << 20, filename=file)
            return any("kept its loop waiting" in line for line in command.lines)

        wait_until(stalled, "the stall is told")
        assert_as_shown(lesson, command.end())
