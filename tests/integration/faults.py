"""Faults brought into a real QEMU from outside, and taken out again.

Through its memory, while its loops sleep: a bottom half of our making on a context's list, a flag of
the protocol turned over, a callback exchanged. Where things lie, loopscope layout says; what is wrong
then, these faults decide. No fault outlives its with-block.
"""

import ctypes
import os
import re
import struct
import subprocess
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Tuple

from process_memory import (
    Memory,
    exe,
    load_base,
    maps,
    poll_sets,
    text_symbols,
    wait_until,
)
from tracer_run import Row, run

PAGE = 4096
SYS_PIDFD_GETFD = 438
PENDING, SCHEDULED = 1, 2
ONE = struct.pack("<Q", 1)


class Faults:
    """Of one QEMU. Needs root, and a target whose loops sleep when a fault comes and goes."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.memory = Memory(pid)
        (layout,) = run("layout", "-p", pid, "--json").fine().of_type("layout")
        self.off: Dict[str, int] = {
            f"{row['struct']}.{row['field']}": row["offset"] for row in layout["fields"]
        }
        rows = run("handlers", "-p", pid, "--json").fine()
        self.contexts: Dict[str, Row] = {
            row["ctx"]: row for row in rows.of_type("context")
        }
        self.loops = len({row["thread"] for row in self.contexts.values()})
        self.hole = self._hole()

    def close(self) -> None:
        self.memory.close()

    def __enter__(self) -> "Faults":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- places -------------------------------------------------------------------------------

    def _hole(self) -> int:
        """Zeroed memory that nobody uses: between the end of .bss and of its page."""
        path = exe(self.pid)
        out = subprocess.run(
            ["readelf", "-lW", path], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        loads = re.findall(r"LOAD\s+0x\w+ 0x(\w+) 0x\w+ 0x\w+ 0x(\w+)", out)
        end = max(int(addr, 16) + int(size, 16) for addr, size in loads)
        addr = (load_base(self.pid, path) + end + 63) & ~63
        room = -addr % PAGE
        assert room >= 512, f"{room} bytes behind .bss are too few for a bottom half"
        assert self.memory.read(addr, 512) == bytes(512)
        return addr

    def function(self, name: str) -> int:
        """Of the program."""
        path = exe(self.pid)
        return load_base(self.pid, path) + text_symbols(path)[name]

    def libc(self, name: str) -> int:
        path = next(m.path for m in maps(self.pid) if "/libc.so.6" in m.path)
        return load_base(self.pid, path) + text_symbols(path)[name]

    def field(self, ctx: str, path: str) -> int:
        return int(self.contexts[ctx]["ctx_addr"], 16) + self.off[f"AioContext.{path}"]

    # --- what is done to it -------------------------------------------------------------------

    @contextmanager
    def eventfd(self, ctx: str) -> Iterator[int]:
        """A duplicate of the context's eventfd."""
        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = os.pidfd_open(self.pid)
        fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, self.contexts[ctx]["notifier_fd"], 0)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        os.close(pidfd)
        try:
            yield fd
        finally:
            os.close(fd)

    def wake(self, ctx: str) -> None:
        """As aio_notify() does: one more for the context's eventfd."""
        with self.eventfd(ctx) as fd:
            os.write(fd, ONE)

    @contextmanager
    def kept_busy(self, ctx: str) -> Iterator[None]:
        """No fault: woken again and again, faster than it can sleep."""
        ended = threading.Event()

        def keep() -> None:
            with self.eventfd(ctx) as fd:
                while not ended.is_set():
                    os.write(fd, ONE)

        thread = threading.Thread(target=keep)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def put_bh(
        self, ctx: str, callback: int, opaque: int, name: str, place: int = 0
    ) -> int:
        """A scheduled bottom half on the list of @ctx, and nobody woken. Returns its address.

        There are two places; what is in one is called before another one is put there.
        """
        bh = self.hole + 256 * place
        text, head = bh + 128, self.field(ctx, "bh_list.slh_first")
        self.memory.write(text, name.encode() + b"\0")
        words = {
            "ctx": int(self.contexts[ctx]["ctx_addr"], 16),
            "name": text,
            "cb": callback,
            "opaque": opaque,
            "next.sle_next": self.memory.u64(head),
        }
        for path, value in words.items():
            self.memory.write_u64(bh + self.off[f"QEMUBH.{path}"], value)
        self._set_flags(bh, PENDING | SCHEDULED)
        self.memory.write_u64(head, bh)
        return bh

    def _set_flags(self, bh: int, flags: int) -> None:
        self.memory.write(bh + self.off["QEMUBH.flags"], struct.pack("<I", flags))

    def flags(self, bh: int) -> int:
        at = bh + self.off["QEMUBH.flags"]
        (flags,) = struct.unpack("<I", self.memory.read(at, 4))
        return int(flags)

    @contextmanager
    def _gone(self, ctx: str, bh: int) -> Iterator[None]:
        """Afterwards it has been called for the last time, on a getter, and its place is zero."""
        try:
            yield
        finally:
            cb = bh + self.off["QEMUBH.cb"]
            self.memory.write_u64(cb, self.function("qemu_get_aio_context"))
            self.wake(ctx)
            wait_until(lambda: not self.flags(bh), "the bottom half is called")
            self.wait_asleep()
            self.memory.write(self.hole, bytes(512))

    @contextmanager
    def lost_bh(self, ctx: str, name: str) -> Iterator[int]:
        """Scheduled, and the loop not woken."""
        bh = self.put_bh(ctx, self.function("qemu_get_aio_context"), 0, name)
        with self._gone(ctx, bh):
            yield bh

    def left_bh(self, ctx: str, name: str) -> None:
        """Scheduled where nobody looks. For a QEMU that is thrown away."""
        self.put_bh(ctx, self.function("qemu_get_aio_context"), 0, name, place=1)

    def end_iothread(self, ctx: str) -> None:
        """Its thread ends, and the context stays. For a QEMU that is thrown away."""
        tid, stop = self.contexts[ctx]["thread"], self.function("iothread_stop")
        self.put_bh("qemu_aio_context", stop, self._iothread(ctx, tid), "ends_iothread")
        self.wake("qemu_aio_context")
        task = f"/proc/{self.pid}/task/{tid}"
        wait_until(lambda: not os.path.exists(task), f"thread {tid} ends")

    def _iothread(self, ctx: str, tid: int) -> int:
        """The object: its context is where it has to be, and its thread's number near that."""
        (heap,) = [m for m in maps(self.pid) if m.path == "[heap]"]
        data = self.memory.read(heap.start, heap.end - heap.start)
        wanted = struct.pack("<Q", int(self.contexts[ctx]["ctx_addr"], 16))
        at = self.off["IOThread.ctx"]
        found = [m.start() - at for m in re.finditer(re.escape(wanted), data)]
        (it,) = [f for f in found if struct.pack("<i", tid) in data[f : f + 256]]
        return heap.start + it

    @contextmanager
    def spinning_bh(self, ctx: str, name: str) -> Iterator[int]:
        """Its callback is qemu_bh_schedule(), its argument itself."""
        bh = self.put_bh(ctx, self.function("qemu_bh_schedule"), self.hole, name)
        with self._gone(ctx, bh):
            self.wake(ctx)
            yield bh

    @contextmanager
    def sleeping_bh(self, ctx: str, name: str, seconds: int) -> Iterator[int]:
        """Its callback is libc's sleep()."""
        bh = self.put_bh(ctx, self.libc("sleep"), seconds, name)
        with self._gone(ctx, bh):
            self.wake(ctx)
            yield bh

    @contextmanager
    def _changed(self, addr: int, data: bytes) -> Iterator[None]:
        before = self.memory.read(addr, len(data))
        self.memory.write(addr, data)
        try:
            yield
        finally:
            self.memory.write(addr, before)

    @contextmanager
    def deaf(self, ctx: str) -> Iterator[None]:
        """Asleep with notify_me == 0: no aio_notify() would write the eventfd."""
        with self._changed(self.field(ctx, "notify_me"), bytes(4)):
            yield

    @contextmanager
    def unanswered(self, ctx: str) -> Iterator[None]:
        """Notified, and the eventfd empty."""
        with self._changed(self.field(ctx, "notified"), b"\1"):
            yield

    @contextmanager
    def overdue(self, addr: int) -> Iterator[None]:
        """The timer at @addr should have fired long ago."""
        at = addr + self.off["QEMUTimer.expire_time"]
        with self._changed(at, struct.pack("<q", 1)):
            yield

    @contextmanager
    def undrained(self, ctx: str) -> Iterator[int]:
        """The handler of the context's notifier reads nothing. Yields its descriptor."""
        fd = self.contexts[ctx]["notifier_fd"]
        head = self.memory.u64(self.field(ctx, "aio_handlers.lh_first"))
        node = next(n for n in self._nodes(head) if self._fd_of(n) == fd)
        getter = struct.pack("<Q", self.function("qemu_get_aio_context"))
        with self._changed(node + self.off["AioHandler.io_read"], getter):
            self.wake(ctx)
            yield int(fd)
        self.wake(ctx)

    @contextmanager
    def closed(self, ctx: str) -> Iterator[int]:
        """A handler names a descriptor that is not open: not the notifier's. Yields the number.

        For a loop that sleeps on: GLib asserts that the numbers it polls are in order.
        """
        own = self.contexts[ctx]["notifier_fd"]
        head = self.memory.u64(self.field(ctx, "aio_handlers.lh_first"))
        node = next(n for n in self._nodes(head) if self._fd_of(n) != own)
        closed = 987
        assert not os.path.lexists(f"/proc/{self.pid}/fd/{closed}")
        at = node + self.off["AioHandler.pfd.fd"]
        with self._changed(at, struct.pack("<i", closed)):
            yield closed

    def _nodes(self, node: int) -> Iterator[int]:
        while node:
            yield node
            node = self.memory.u64(node + self.off["AioHandler.node.le_next"])

    def _fd_of(self, node: int) -> int:
        at = node + self.off["AioHandler.pfd.fd"]
        (fd,) = struct.unpack("<i", self.memory.read(at, 4))
        return int(fd)

    def timers(self, ctx: str, clock: str) -> List[Tuple[int, Any]]:
        """Address and expiry of what is armed now."""
        read = run("handlers", "-p", self.pid, "--json").fine()
        rows = [r for r in read.of_type("timer") if r["ctx"] == ctx]
        return [
            (int(r["addr"], 16), r["expire_ns"]) for r in rows if r["clock"] == clock
        ]

    def wait_asleep(self) -> None:
        wait_until(lambda: len(poll_sets(self.pid)) == self.loops, "all loops sleep")
