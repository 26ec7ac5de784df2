"""Targets that do what a test tells them, step by step, so that what they do can be counted."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any, List

import pytest
from process_memory import PPOLL, Memory, syscall_of, wait_until
from tracer_run import DEMO, HANG_S
from tracer_targets import Qemu, Qmp, Target

WRITE = 1  # its system call


class Held(Target):
    """A demo that has set itself up and is held before its first iteration: nobody reads the pipe
    that it writes "ready" to, and the pipe is full."""

    def __init__(self, scenario: str, iterations: int) -> None:
        super().__init__("held")
        self.reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writer, b"\n" * 4096)
        os.set_blocking(writer, True)
        words = [DEMO, "--scenario", scenario, "--iterations", iterations]
        self.process = subprocess.Popen(
            [str(word) for word in (*words, "--vnc", self.dir / "vnc")], stdout=writer
        )
        os.close(writer)
        wait_until(
            lambda: self.in_call(self.pid, WRITE), "the demo writes that it is ready"
        )

    def in_call(self, tid: int, number: int) -> bool:
        call = syscall_of(self.pid, tid)
        return call is not None and call[0] == number

    def result(self) -> str:
        """Let it run to its end; what it printed."""
        assert self.process
        with open(self.reader, "rb") as pipe:
            text = pipe.read().decode().lstrip("\n")
        assert self.process.wait(HANG_S) == 0
        return text


def running(pid: int) -> bool:
    tids = os.listdir(f"/proc/{pid}/task")
    return any(syscall_of(pid, int(tid)) is None for tid in tids)


def settle(pid: int) -> None:
    """No thread runs, and none did in five looks."""
    quiet = 0

    def looks_quiet() -> bool:
        nonlocal quiet
        quiet = 0 if running(pid) else quiet + 1
        return quiet >= 5

    wait_until(looks_quiet, f"all threads of {pid} sleep")


class Scripted(Qemu):
    """A QEMU whose threads have names, with a slow disk and no display: nothing but the script
    makes it do anything."""

    def __init__(self) -> None:
        super().__init__("qemu-system-x86_64")
        self.monitor: Qmp = self.qmp()
        wait_until(self.no_timer, "the clock's first second is over")
        settle(self.pid)

    def no_timer(self) -> bool:
        """The main loop sleeps for hours; the RTC does something at the end of its first second."""
        call = syscall_of(self.pid, self.pid)
        if not call or call[0] != PPOLL:
            return False
        if not call[3]:
            return True
        memory = Memory(self.pid)
        seconds = memory.u64(call[3])
        memory.close()
        return seconds > 3600

    def default_args(self) -> List[object]:
        slow = "null-co,node-name=slow,size=1048576,latency-ns=1000000"
        return ["-name", "scripted,debug-threads=on", "-blockdev", slow]

    def command(self, name: str, **arguments: object) -> Any:
        """Sent, answered, and every consequence of it is over."""
        answer = self.monitor.command(name, **arguments)
        settle(self.pid)
        return answer

    def stir_io0(self) -> None:
        """io0 is notified once: it has other settings."""
        self.command(
            "qom-set", path="/objects/io0", property="poll-max-ns", value=32768
        )

    def signal(self) -> None:
        os.kill(self.pid, signal.SIGALRM)
        settle(self.pid)

    def thread(self, name: str) -> int:
        if name == "main":
            return self.pid
        tids = Path(f"/proc/{self.pid}/task").iterdir()
        (tid,) = [t.name for t in tids if (t / "comm").read_text().strip() == name]
        return int(tid)

    def kill(self) -> None:
        if hasattr(self, "monitor"):
            self.monitor.close()
        super().kill()
