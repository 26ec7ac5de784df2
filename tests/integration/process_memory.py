"""The truth that loopscope is held against: /proc read by nobody but this file.

What a thread polls is in its system call's arguments and its memory, what a descriptor is in
/proc/PID/fd and /proc/net/unix. No code is shared with what is tested.
"""

import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

POLL, PPOLL, IO_URING_ENTER = 7, 271, 426
DEADLINE_S = 60.0  # generous: only a test that is going to fail ever waits so long


def wait_until(
    holds: Callable[[], object], what: str, deadline_s: float = DEADLINE_S
) -> None:
    """Return as soon as @holds() does; fail when it never does."""
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.01)


class Memory:
    """A process's memory by /proc/PID/mem: also its read-only pages can be read and written."""

    def __init__(self, pid: int) -> None:
        self.fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.fd)

    def read(self, addr: int, size: int) -> bytes:
        data = os.pread(self.fd, size, addr)
        assert len(data) == size
        return data

    def write(self, addr: int, data: bytes) -> None:
        assert os.pwrite(self.fd, data, addr) == len(data)

    def u64(self, addr: int) -> int:
        (value,) = struct.unpack("<Q", self.read(addr, 8))
        return int(value)

    def write_u64(self, addr: int, value: int) -> None:
        self.write(addr, struct.pack("<Q", value))


@dataclass(frozen=True)
class Map:
    start: int
    end: int
    perms: str
    offset: int
    path: str


def maps(pid: int) -> List[Map]:
    result = []
    for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        span, perms, offset, _, _, *path = line.split(maxsplit=5)
        start, end = (int(x, 16) for x in span.split("-"))
        result.append(Map(start, end, perms, int(offset, 16), path[0] if path else ""))
    return result


def load_base(pid: int, path: str) -> int:
    """Where the first byte of the mapped file lies."""
    return min(m.start - m.offset for m in maps(pid) if m.path == path)


def exe(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/exe")


def syscall_of(pid: int, tid: int) -> Optional[List[int]]:
    """Number, six arguments, sp and pc of the call a thread sleeps in; None if it runs, or has ended
    since the threads were listed."""
    try:
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if len(words) != 9:
        return None
    return [int(words[0]), *(int(w, 16) for w in words[1:])]


def poll_sets(pid: int) -> Dict[int, List[Tuple[int, int]]]:
    """For each thread in poll() or ppoll(): the (fd, events) it waits for, in order."""
    sets: Dict[int, List[Tuple[int, int]]] = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for tid in sorted(int(t) for t in os.listdir(f"/proc/{pid}/task")):
            call = syscall_of(pid, tid)
            if not call or call[0] not in (POLL, PPOLL):
                continue
            mem.seek(call[1])
            array = mem.read(8 * call[2])
            sets[tid] = [
                (fd, events) for fd, events, _ in struct.iter_unpack("<ihh", array)
            ]
    return sets


def ring_waiters(pid: int) -> List[int]:
    """The threads that sleep in io_uring_enter(): what they wait for is the kernel's to know."""
    calls = {int(t): syscall_of(pid, int(t)) for t in os.listdir(f"/proc/{pid}/task")}
    return sorted(
        tid for tid, call in calls.items() if call and call[0] == IO_URING_ENTER
    )


def fd_link(pid: int, fd: int) -> str:
    return os.readlink(f"/proc/{pid}/fd/{fd}")


def listeners(pid: int) -> Dict[str, str]:
    """Path of each listening unix socket of the process's network: its link in /proc/PID/fd."""
    result = {}
    table = Path(f"/proc/{pid}/net/unix").read_text(errors="replace").splitlines()
    for line in table[1:]:
        words = line.split(maxsplit=7)
        if len(words) == 8 and int(words[3], 16) & 0x10000:
            result[words[7]] = f"socket:[{words[6]}]"
    return result


def text_symbols(path: str) -> Dict[str, int]:
    """Link addresses of the dynamic functions of an ELF file, by name."""
    out = subprocess.run(
        ["nm", "-D", "--defined-only", path],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    symbols = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in "TWi":
            symbols[words[2].split("@")[0]] = int(words[0], 16)
    return symbols
