# SPDX-License-Identifier: MIT
"""What a thread waits for, in words: the system call it sleeps in, a mutex and who holds that.

A futex is a mutex only if libc's function for mutexes called it; the owner stands beside its word,
and is named only if it is a thread of the target.
"""
import struct
from typing import Optional

from qemu_gdb.errors import Unreadable
from qemu_gdb.fds import Fds
from qemu_gdb.frames import Stack
from qemu_gdb.memory import Memory
from qemu_gdb.out import printable
from qemu_gdb.threads import CALLS as POLLS
from qemu_gdb.threads import Thread

FUTEX = 202
# Those in which a callback may be found asleep; True: the first argument is a descriptor.
NAMES = {
    **{0: ("read", True), 1: ("write", True), 2: ("open", False), 5: ("fstat", True)},
    **{
        4: ("stat", False),
        7: ("poll", False),
        16: ("ioctl", True),
        17: ("pread64", True),
    },
    **{18: ("pwrite64", True), 19: ("readv", True), 20: ("writev", True)},
    **{23: ("select", False), 34: ("pause", False), 35: ("nanosleep", False)},
    **{40: ("sendfile", True), 42: ("connect", True), 43: ("accept", True)},
    **{44: ("sendto", True), 45: ("recvfrom", True), 46: ("sendmsg", True)},
    **{47: ("recvmsg", True), 56: ("clone", False), 61: ("wait4", False)},
    **{72: ("fcntl", True), 73: ("flock", True), 74: ("fsync", True)},
    **{75: ("fdatasync", True), 77: ("ftruncate", True), 82: ("rename", False)},
    **{87: ("unlink", False), 128: ("rt_sigtimedwait", False), FUTEX: ("futex", False)},
    **{208: ("io_getevents", False), 209: ("io_submit", False)},
    **{
        230: ("clock_nanosleep", False),
        232: ("epoll_wait", True),
        247: ("waitid", False),
    },
    **{257: ("openat", False), 262: ("newfstatat", False), 270: ("pselect6", False)},
    **{271: ("ppoll", False), 281: ("epoll_pwait", True), 285: ("fallocate", True)},
    **{288: ("accept4", True), 295: ("preadv", True), 296: ("pwritev", True)},
    **{299: ("recvmmsg", True), 307: ("sendmmsg", True), 426: ("io_uring_enter", True)},
}
LIBC_WAITS = ("pthread_", "__pthread_", "sem_", "mtx_", "cnd_", "__lll_lock")


def mutex_owner(memory: Memory, addr: int, threads: list[Thread]) -> int:
    """The thread that holds the pthread mutex at @addr: 0 if none of the target's is proven to.

    glibc: int __lock; unsigned __count; int __owner."""
    try:
        lock, _, owner = struct.unpack("<III", memory.read(addr, 12))
    except Unreadable:
        return 0
    return owner if lock and any(t.tid == owner for t in threads) else 0


def waits_for_mutex(thread: Thread, stack: Stack) -> int:
    """The address of the mutex that a thread sleeps for; 0: it does not."""
    if thread.call != FUTEX:
        return 0
    return thread.args[0] if "mutex" in _libc_wait(stack) else 0


def _libc_wait(stack: Stack) -> str:
    """The innermost function with a name like one of libc's waits, in its innermost frames."""
    for frame in stack[:5]:
        if frame.symbol.startswith(LIBC_WAITS):
            # What mutexes call has several names inside of glibc.
            return "mutex" if frame.symbol.startswith("__lll_lock") else frame.symbol
    return ""


def thread_text(threads: list[Thread], tid: int) -> str:
    name = next((t.name for t in threads if t.tid == tid), "")
    return f'thread {tid} "{printable(name)}"' if name else f"thread {tid}"


def describe(
    memory: Memory, fds: Fds, threads: list[Thread], thread: Thread, stack: Stack
) -> Optional[str]:
    """ "asleep in read on fd 7 (fifo /tmp/x)"; None: it does not sleep, it computes."""
    if thread.call < 0:
        return None
    mutex = waits_for_mutex(thread, stack)
    if mutex:
        owner = mutex_owner(memory, mutex, threads)
        if not owner or owner == thread.tid:
            return f"waiting for the mutex at {mutex:#x}; who holds it is not proven"
        holder = thread_text(threads, owner)
        return f"waiting for the mutex at {mutex:#x}, which {holder} holds"
    if thread.call == FUTEX:
        wait = _libc_wait(stack)
        return (
            f"asleep in {wait}" if wait else f"asleep in futex, at {thread.args[0]:#x}"
        )
    if thread.call not in NAMES:
        return f"asleep in system call {thread.call}"
    name, has_fd = NAMES[thread.call]
    if not has_fd or thread.call in POLLS:
        return f"asleep in {name}"
    fd = thread.args[0] & 0xFFFFFFFF
    info = fds.get(fd)
    detail = f" {info.detail}" if info.detail else ""
    return f"asleep in {name} on fd {fd} ({info.kind}{detail})"
