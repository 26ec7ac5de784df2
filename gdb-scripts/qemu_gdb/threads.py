# SPDX-License-Identifier: MIT
"""What each thread waits for: the system call it is in, read from its registers.

Only registers are read; frames are not needed, so it works without symbols. Switching threads is
the one way gdb offers to read them: the selected thread and frame are put back.
"""
import contextlib
import struct
from collections.abc import Iterator
from typing import NamedTuple, Optional

import gdb

from qemu_gdb.errors import Unreadable
from qemu_gdb.inferior import Inferior
from qemu_gdb.memory import Memory

# Linux on x86-64.
CALLS = {
    7: "poll",
    271: "ppoll",
    232: "epoll_wait",
    281: "epoll_pwait",
    441: "epoll_pwait2",
    426: "io_uring_enter",
}
TELL_TIMEOUT = frozenset(("poll", "ppoll", "epoll_wait", "epoll_pwait"))
POLL, PPOLL, EPOLL_WAIT, EPOLL_PWAIT, RESTART_SYSCALL = 7, 271, 232, 281, 219
IO_URING_ENTER = 426
# A call that a stop interrupted: rax says whether and how it goes on. -EINTR: it does not.
INTERRUPTED = {-4, -512, -513, -514, -516}
FDS_MAX = 1 << 18  # of one poll set
# What a function keeps for its caller: a pointer that is on no stack yet may be there.
KEPT = ("rbx", "rbp", "r12", "r13", "r14", "r15")
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")  # of a system call
REGISTERS = ("orig_rax", "rax", *ARGUMENTS, "rsp", "rip", "fs_base", *KEPT)


class PollFd(NamedTuple):
    fd: int
    events: int
    revents: int


class PollSet(NamedTuple):
    """What a waiting thread waits for."""

    call: str
    timeout_ns: int  # -1: for ever
    fds: list[PollFd]
    array: int = 0  # where poll or ppoll was given them
    monitor: Optional[int] = None  # the epoll instance or ring that others wait on

    @property
    def for_ever(self) -> bool:
        """A ring is told its timeout another way."""
        return self.timeout_ns < 0 and self.call in TELL_TIMEOUT


class Thread(NamedTuple):
    tid: int
    name: str
    sp: int
    kept: tuple[int, ...]  # the registers of that kind
    polls: Optional[PollSet]
    call: int = -1  # the system call it sleeps in
    args: tuple[int, ...] = ()
    fs_base: int = 0  # its thread control block


@contextlib.contextmanager
def selection_kept() -> Iterator[None]:
    thread = gdb.selected_thread()
    try:
        frame = gdb.selected_frame()
    except gdb.error:
        frame = None
    try:
        yield
    finally:
        if thread is not None and thread.is_valid():
            thread.switch()
        if frame is not None and frame.is_valid():
            frame.select()


def _registers() -> Optional[dict[str, int]]:
    """Of the selected thread, unsigned; None where the machine is not an x86-64."""
    try:
        frame = gdb.newest_frame()
        return {
            name: int(frame.read_register(name)) & (1 << 64) - 1 for name in REGISTERS
        }
    except (gdb.error, ValueError):
        return None


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _call_of(memory: Memory, regs: dict[str, int]) -> int:
    """The system call a thread is in, or -1."""
    call, result = _signed(regs["orig_rax"], 64), _signed(regs["rax"], 64)
    # A ring's wait says instead how many requests it has submitted before it slept.
    slept = call == IO_URING_ENTER and regs["rdx"] > 0 and 0 <= result <= regs["rsi"]
    if call < 0 or not (result in INTERRUPTED or slept):
        return -1
    try:
        code = memory.read(regs["rip"] - 7, 7)  # mov $number, %eax; syscall
    except Unreadable:
        return -1
    if code[5:] != b"\x0f\x05":
        return -1
    # A poll that a stop interrupted before goes on as restart_syscall().
    if call == RESTART_SYSCALL and code[0] == 0xB8:
        (call,) = struct.unpack("<I", code[1:5])
    return call


def _timeout_ns(memory: Memory, call: int, regs: dict[str, int]) -> int:
    if call == PPOLL:
        try:
            seconds, ns = struct.unpack("<qq", memory.read(regs["rdx"], 16))
        except Unreadable:
            return -1
        return -1 if seconds < 0 else seconds * 10**9 + ns
    if call in (POLL, EPOLL_WAIT, EPOLL_PWAIT):
        ms = _signed(regs["rdx" if call == POLL else "r10"], 32)
        return -1 if ms < 0 else ms * 10**6
    return -1


def epoll_fds(pid: int, epfd: int) -> list[PollFd]:
    """What an epoll descriptor watches: "tfd: 5 events: 19 ..."."""
    found = []
    try:
        with open(
            f"/proc/{pid}/fdinfo/{epfd}", encoding="ascii", errors="replace"
        ) as lines:
            for line in lines:
                words = line.split()
                if len(words) >= 4 and words[0] == "tfd:":
                    # The EPOLL bits of poll(2)'s meaning are the same.
                    found.append(PollFd(int(words[1]), int(words[3], 16) & 0x3F, 0))
    except (OSError, ValueError):
        pass
    return found


def _poll_set(
    memory: Memory, inferior: Inferior, call: int, regs: dict[str, int]
) -> Optional[PollSet]:
    if call not in CALLS:
        return None
    fds = []
    if call in (POLL, PPOLL):
        if 0 < regs["rsi"] <= FDS_MAX:
            try:
                data = memory.read(regs["rdi"], 8 * regs["rsi"])
                fds = [PollFd(*row) for row in struct.iter_unpack("<iHH", data)]
            except Unreadable:
                pass
    elif inferior.live:
        fds = epoll_fds(inferior.pid, _signed(regs["rdi"], 32))
    timeout = _timeout_ns(memory, call, regs)
    if call in (POLL, PPOLL):
        return PollSet(CALLS[call], timeout, fds, regs["rdi"])
    return PollSet(CALLS[call], timeout, fds, 0, _signed(regs["rdi"], 32))


def _comm(inferior: Inferior, tid: int) -> str:
    if not inferior.live:
        return ""
    try:
        path = f"/proc/{inferior.pid}/task/{tid}/comm"
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def read_threads(memory: Memory, inferior: Inferior) -> list[Thread]:
    """All threads, the lowest number first."""
    threads = []
    with selection_kept():
        for thread in gdb.selected_inferior().threads():
            tid = thread.ptid[1] or thread.ptid[2]
            regs = None
            if not thread.is_running():
                thread.switch()
                regs = _registers()
            name = _comm(inferior, tid)
            if regs is None:
                threads.append(Thread(tid, name, 0, (), None))
                continue
            call = _call_of(memory, regs)
            threads.append(
                Thread(
                    tid,
                    name,
                    regs["rsp"],
                    tuple(regs[name] for name in KEPT),
                    _poll_set(memory, inferior, call, regs),
                    call,
                    tuple(regs[name] for name in ARGUMENTS),
                    regs["fs_base"],
                )
            )
    return sorted(threads, key=lambda thread: thread.tid)
