#!/usr/bin/python3
"""Ends what a test run leaves behind when it is killed: its targets, its tracers, their children.

A test ends what it starts; a pytest that gets SIGKILL, or a runner's timeout, ends nothing. watch()
marks the environment, which all inherit, and starts this file as a program of its own: it waits for
the end of the run, however that comes, and kills every process that carries the mark. Not
PR_SET_PDEATHSIG, which would end a target already with the thread that started it.
"""

import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Iterator

OF_RUN = "LOOPSCOPE_TEST_RUN_"


def watch() -> None:
    """Whatever is started from now on ends with this process."""
    mark = f"{OF_RUN}{os.getpid()}_{os.urandom(4).hex()}"
    os.posix_spawn(
        sys.executable,
        [sys.executable, __file__, str(os.getpid()), mark],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)]
        + [(os.POSIX_SPAWN_DUP2, 0, fd) for fd in (1, 2)],
        setsid=True,
    )
    os.environ[mark] = "1"


def marked(mark: str) -> Iterator[int]:
    """A descriptor for each process that carries the mark, and still did with that open."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if f"{mark}=".encode() in (process / "environ").read_bytes():
                pidfd = os.pidfd_open(int(process.name))
                if f"{mark}=".encode() in (process / "environ").read_bytes():
                    yield pidfd
                os.close(pidfd)
        except OSError:
            pass  # gone, or another user's


def end_all(mark: str) -> None:
    """Until there is none: one may have started another meanwhile."""
    for _ in range(100):
        found = False
        for pidfd in marked(mark):
            found = True
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.02)


def wait_for(pid: int) -> None:
    """Until our parent @pid has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    if os.getppid() == pid:
        select.select([pidfd], [], [])


if __name__ == "__main__":
    wait_for(int(sys.argv[1]))
    end_all(sys.argv[2])
