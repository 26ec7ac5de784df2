# SPDX-License-Identifier: MIT
"""gdb with a terminal: pages, and the text user interface."""
import os
import pty
import select
import subprocess

from gdb_run import SCRIPTS
from tracer_run import HANG_S
from tracer_targets import Demo


class Terminal:
    """gdb on a pseudo-terminal of 10 lines."""

    def __init__(self, *words: object) -> None:
        self.ours, theirs = pty.openpty()
        self.seen = ""
        env = {**os.environ, "TERM": "xterm", "DEBUGINFOD_URLS": ""}
        self.process = subprocess.Popen(
            ["gdb", "-nx", "-q", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, text: str) -> str:
        """What was shown up to and with @text."""
        while text not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], HANG_S)
            assert ready, f"never shown: {text!r}; shown: {self.seen[-400:]}"
            self.seen += os.read(self.ours, 4096).decode("utf-8", "replace")
        shown, _, self.seen = self.seen.partition(text)
        return shown

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode() + b"\n")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


def test_pages_can_be_turned_and_left(demo: Demo) -> None:
    terminal = Terminal("-p", demo.pid, "-ex", f"source {SCRIPTS}/qemu-gdb.py")
    try:
        terminal.until("(gdb) ")
        terminal.type("set height 10")
        terminal.until("(gdb) ")
        terminal.type("qemu handlers")
        terminal.until("--Type <RET>")
        terminal.type("")
        terminal.until("--Type <RET>")
        terminal.type("q")
        assert "Traceback" not in terminal.until("(gdb) ")
        terminal.type("set height 0")
        terminal.until("(gdb) ")
        terminal.type("qemu contexts")
        assert "io0" in terminal.until("More of one")
    finally:
        terminal.close()


def test_it_works_in_the_tui(demo: Demo) -> None:
    terminal = Terminal("-p", demo.pid, "-ex", f"source {SCRIPTS}/qemu-gdb.py")
    try:
        terminal.until("(gdb) ")
        terminal.type("set pagination off")
        terminal.type("tui enable")
        terminal.type("qemu contexts")
        assert "Traceback" not in terminal.until("More of one")
        terminal.type("qemu doctor")
        assert "no finding" in terminal.until("Not told by one look")
    finally:
        terminal.close()
