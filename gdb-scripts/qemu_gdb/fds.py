# SPDX-License-Identifier: MIT
"""What the file descriptors of a live process are, from /proc/PID/fd and net. Of a core: "unknown".

ready() asks a duplicate of the descriptor, which is closed at once: the process is not touched.
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
UNIX_LISTENS = 0x10000
TCP_LISTEN = 0x0A
ANON = re.compile(r"anon_inode:\[?([^\]\s]{1,15})")


HEX = re.compile(r"[0-9A-Fa-f]+")


class FdInfo(NamedTuple):
    kind: str  # eventfd, signalfd, unix, tcp, pipe, file, chr, ..., unknown
    detail: str  # path, listening address or peer; "" if there is none


UNKNOWN = FdInfo("unknown", "")
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
        if self._proc is None:
            return UNKNOWN
        path = f"{self._proc}/fd/{fd}"
        try:
            target = os.readlink(path)
        except OSError:
            return UNKNOWN
        anonymous = ANON.match(target)
        if anonymous:
            kind = printable(anonymous[1])
            return FdInfo("epoll" if kind == "eventpoll" else kind, "")
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
                self._unix[words[6]] = listens + (
                    words[7] if len(words) > 7 else "unnamed"
                )
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

    def ready(self, fd: int, events: int) -> Optional[bool]:
        """Is it ready for poll(2)'s @events now? None: cannot be told."""
        if self._pidfd < 0:
            return None
        copy = self._libc.syscall(SYS_PIDFD_GETFD, self._pidfd, fd, 0)
        if copy < 0:
            return None
        try:
            poll = select.poll()
            poll.register(copy, events)
            return bool(poll.poll(0))
        except OSError:
            return None
        finally:
            os.close(copy)
