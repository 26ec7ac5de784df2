# SPDX-License-Identifier: MIT
"""What the file descriptors of a live process are, from /proc/PID/fd and net. Of a core: "unknown".

ready_each() asks duplicates of the descriptors, which are closed at once: the process is not
touched.
"""
import ctypes
import os
import re
import select
import stat
from typing import NamedTuple, Optional

from qemu_gdb.inferior import Inferior
from qemu_gdb.out import printable

SYS_PIDFD_GETFD = 438
AT_ONCE = 128  # duplicates: few, as this process may have a low limit
UNIX_LISTENS = 0x10000
TCP_LISTEN = 0x0A
ANON = re.compile(r"anon_inode:\[?([^\]\s]{1,15})")


HEX = re.compile(r"[0-9A-Fa-f]+")


class FdInfo(NamedTuple):
    kind: str  # eventfd, signalfd, unix, tcp, pipe, file, chr, ..., unknown
    detail: str  # path, listening address or peer; "" if there is none


UNKNOWN = FdInfo("unknown", "")
NO_DESCRIPTOR = FdInfo("none", "no descriptor: poll() passes over it")
KINDS = {
    stat.S_IFCHR: "chr",
    stat.S_IFBLK: "blk",
    stat.S_IFDIR: "dir",
    stat.S_IFIFO: "fifo",
}


class Fds:
    def __init__(self, inferior: Inferior) -> None:
        self._proc = f"/proc/{inferior.pid}" if inferior.live else None
        self._known: dict[int, FdInfo] = {}
        self._anonymous: dict[str, FdInfo] = {}  # by link
        self._unix: Optional[dict[str, str]] = None
        self._libc = ctypes.CDLL(None)
        self._pidfd = -1
        if inferior.live and hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(inferior.pid)
            except OSError:
                pass

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def get(self, fd: int) -> FdInfo:
        if fd not in self._known:
            self._known[fd] = self._describe(fd)
        return self._known[fd]

    def _describe(self, fd: int) -> FdInfo:
        if fd < 0:
            return NO_DESCRIPTOR
        if self._proc is None:
            return UNKNOWN
        path = f"{self._proc}/fd/{fd}"
        try:
            target = os.readlink(path)
        except OSError:
            return UNKNOWN
        if target in self._anonymous:
            return self._anonymous[target]
        anonymous = ANON.match(target)
        if anonymous:
            kind = printable(anonymous[1])
            kind = "epoll" if kind == "eventpoll" else kind
            self._anonymous[target] = FdInfo(kind, "")
            return self._anonymous[target]
        kind, _, inode = target.partition(":[")
        if kind == "socket" and inode:
            info = self._socket(inode.rstrip("]"))
        elif kind == "pipe" and inode:
            info = FdInfo("pipe", "")
        else:
            info = FdInfo(self._file_kind(path), target)
        return FdInfo(info.kind, printable(info.detail)[:159])

    @staticmethod
    def _file_kind(path: str) -> str:
        try:
            return KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "file")
        except OSError:
            return "file"

    def _lines(self, table: str) -> list[str]:
        try:
            with open(
                f"{self._proc}/net/{table}", encoding="utf-8", errors="surrogateescape"
            ) as file:
                return file.read().split("\n")[1:]
        except OSError:
            return []

    def _socket(self, inode: str) -> FdInfo:
        if self._unix is None:
            # Num RefCount Protocol Flags Type St Inode [Path]
            self._unix = {}
            for line in self._lines("unix"):
                words = line.split(None, 7)
                if len(words) < 7 or not HEX.fullmatch(words[3]):
                    continue  # the rest of a path with a newline in it
                listens = "listens on " if int(words[3], 16) & UNIX_LISTENS else ""
                name = listens + (words[7] if len(words) > 7 else "unnamed")
                # A name with a newline in it can forge lines: what is said twice is not said.
                self._unix[words[6]] = "" if words[6] in self._unix else name
        if inode in self._unix:
            return FdInfo("unix", self._unix[inode])
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in self._lines(table):
                words = line.split()
                if len(words) < 10 or words[9] != inode:
                    continue
                port, peer = (int(word.rpartition(":")[2], 16) for word in words[1:3])
                if int(words[3], 16) == TCP_LISTEN:
                    return FdInfo(table[:3], f"listens on port {port}")
                return FdInfo(table[:3], f"port {port}, peer port {peer}")
        return FdInfo("socket", "")

    def ready_each(self, wanted: list[tuple[int, int]]) -> list[Optional[bool]]:
        """Is each (fd, poll(2)'s events) ready now? None: cannot be told."""
        found: list[Optional[bool]] = [None] * len(wanted)
        if self._pidfd < 0:
            return found
        for first in range(0, len(wanted), AT_ONCE):
            self._ask(wanted, found, range(first, min(first + AT_ONCE, len(wanted))))
        return found

    def _ask(
        self,
        wanted: list[tuple[int, int]],
        found: list[Optional[bool]],
        some: range,
    ) -> None:
        poll, copies = select.poll(), {}
        try:
            for i in some:
                fd, events = wanted[i]
                if fd < 0:
                    found[i] = False
                    continue
                if self.get(fd).kind == "signalfd":
                    found[i] = self._signalfd_ready(fd)
                    continue
                copy = self._libc.syscall(SYS_PIDFD_GETFD, self._pidfd, fd, 0)
                if copy >= 0:
                    copies[copy] = i
                    poll.register(copy, events)
            for i in copies.values():
                found[i] = False
            for copy, _ in poll.poll(0):
                found[copies[copy]] = True
        except OSError:
            pass
        finally:
            for copy in copies:
                os.close(copy)

    def _signalfd_ready(self, fd: int) -> Optional[bool]:
        """A signalfd looks at the signals of whoever asks: a duplicate of ours would see ours."""
        mask = self._number(f"fdinfo/{fd}", "sigmask:")
        shared = self._number("status", "ShdPnd:")
        own = self._number("status", "SigPnd:")
        if mask is None or shared is None or own is None:
            return None
        return bool(mask & (shared | own))

    def _number(self, file: str, key: str) -> Optional[int]:
        try:
            with open(f"{self._proc}/{file}", encoding="ascii", errors="replace") as f:
                for line in f:
                    if line.startswith(key):
                        return int(line[len(key) :], 16)
        except (OSError, ValueError):
            pass
        return None
