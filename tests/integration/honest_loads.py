"""Loops with all the work that they can do, and nothing wrong: the doctor has to say nothing of them.

    with BusyGuest() as guest, guest_sends(guest):
        ...                                        # look at guest.pid

Those of a real guest (Debian's QEMU and kernel, under TCG) drive one device each as fast as it goes:
user networking in both directions, a VNC client that asks for one picture after the other, disks, a
monitor. Those of qemu-img keep many requests in flight. A load has begun when its with does, and not
ended before.
"""

import socket
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, List, Tuple

from guest import DISK_BLOCKS, Guest, pattern
from process_memory import wait_until
from tracer_run import BUILD, HANG_S
from tracer_targets import Target, installed
from vnc_client import VncClient

PIECE = bytes(1 << 16)
GUEST_DEPTH = 32  # readers at once of a disk in the guest, each with one request
SHORT = 64  # requests of a reader before it looks whether to end
DEPTH = 64  # requests in flight of qemu-img bench
ENOUGH = 3  # of whatever a load does: then it has begun
ENDLESS = 1_000_000_000


class BusyGuest(Guest):
    """With a screen, and a disk whose requests the kernel gets all at once (linux-aio)."""

    loads = 0  # kept_at() so far

    def __init__(self) -> None:
        super().__init__("-device", "VGA")
        self.run("ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0")

    def machine(self) -> List[object]:
        deep = self.dir / "deep"
        deep.write_bytes(pattern(DISK_BLOCKS))
        options = f"driver=file,filename={deep},node-name=deep"
        return [
            *super().machine(),
            *("-blockdev", f"{options},aio=native,cache.direct=on"),
            *("-device", "virtio-blk-pci,drive=deep,iothread=io0"),
        ]

    def begun(self, command: str) -> str:
        """The number of a process of the guest that does that, in words for its shell."""
        return self.run(f"{{ {command}; }} >/dev/null 2>&1 & echo $!")

    def ended(self, *processes: str) -> None:
        """They end by themselves."""
        self.run(f"wait {' '.join(processes)}; true")

    @contextmanager
    def kept_at(self, command: str, shells: int = 1) -> Iterator[None]:
        """So many shells of the guest do that again and again."""
        self.loads += 1
        flag = f"/tmp/stop-{self.loads}"
        words = f"while [ ! -e {flag} ]; do {command}; done"
        processes = [self.begun(words) for _ in range(shells)]
        try:
            yield
        finally:
            self.run(f"touch {flag}")
            self.ended(*processes)


# --- user networking --------------------------------------------------------------------------------


@contextmanager
def server(serve: Callable[[socket.socket], int]) -> Iterator[Tuple[int, List[int]]]:
    """Of the guest's one connection, until the with ends. Yields its port and how much was moved."""
    ended = threading.Event()
    moved = [0]

    def go_on() -> None:
        peer, _ = listener.accept()
        with peer:
            with suppress(OSError):  # the guest may hang up first
                while not ended.is_set():
                    moved[0] += serve(peer)
                peer.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HANG_S)
        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield listener.getsockname()[1], moved
        finally:
            ended.set()
            thread.join()


@contextmanager
def guest_networking(
    guest: BusyGuest, words: str, serve: Callable[[socket.socket], int]
) -> Iterator[int]:
    with server(serve) as (port, moved):
        process = guest.begun(words.format(port=port))
        wait_until(lambda: moved[0] > ENOUGH * len(PIECE), "the guest's bytes move")
        yield guest.pid
    guest.ended(process)


def guest_sends(guest: BusyGuest) -> ContextManager[int]:
    words = "dd if=/dev/zero bs=64k | nc 10.0.2.2 {port}"
    return guest_networking(guest, words, lambda peer: len(peer.recv(1 << 20)))


def guest_receives(guest: BusyGuest) -> ContextManager[int]:
    words = "nc 10.0.2.2 {port} </dev/null"
    return guest_networking(guest, words, lambda peer: peer.send(PIECE))


# --- the screen -------------------------------------------------------------------------------------


@contextmanager
def vnc_pictures(guest: BusyGuest) -> Iterator[int]:
    """A client that asks for the next picture as soon as it has one, of a screen that changes."""
    ended, pictures = threading.Event(), [0]

    def ask() -> None:
        with VncClient(guest.vnc) as client:
            while not ended.is_set():
                client.picture()
                pictures[0] += 1

    thread = threading.Thread(target=ask)
    with guest.kept_at("cat /proc/cpuinfo >/dev/tty0; cat /proc/stat >/dev/tty0"):
        thread.start()
        try:
            wait_until(lambda: pictures[0] >= ENOUGH, "pictures come")
            yield guest.pid
        finally:
            ended.set()
            thread.join()


# --- disks ------------------------------------------------------------------------------------------


def reading(disk: str) -> Callable[[BusyGuest], ContextManager[int]]:
    """One request after the other: the disk's queue is never full, and its loop never idle."""

    @contextmanager
    def load(guest: BusyGuest) -> Iterator[int]:
        with guest.kept_working(disk):
            yield guest.pid

    return load


@contextmanager
def deep_reading(guest: BusyGuest) -> Iterator[int]:
    command = f"dd if=/dev/vdd of=/dev/null bs=4k iflag=direct count={SHORT}"
    with guest.kept_at(command, GUEST_DEPTH):
        with guest.qmp() as qmp:
            before = guest.disk_reads(qmp, "deep")
            wait_until(
                lambda: guest.disk_reads(qmp, "deep") > before + GUEST_DEPTH,
                "it reads",
            )
        yield guest.pid


# --- a monitor --------------------------------------------------------------------------------------


@contextmanager
def asked(guest: Guest) -> Iterator[int]:
    """A client that asks again as soon as it is answered."""
    ended, answers = threading.Event(), [0]

    def ask() -> None:
        with guest.qmp() as qmp:
            while not ended.is_set():
                qmp.command("query-block")
                answers[0] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_until(lambda: answers[0] >= ENOUGH, "the monitor answers")
        yield guest.pid
    finally:
        ended.set()
        thread.join()


@contextmanager
def all_at_once(guest: BusyGuest) -> Iterator[int]:
    with guest_receives(guest), deep_reading(guest), asked(guest):
        yield guest.pid


OF_GUEST: Dict[str, Callable[[BusyGuest], ContextManager[int]]] = {
    "guest, user net sends": guest_sends,
    "guest, user net receives": guest_receives,
    "guest, VNC pictures": vnc_pictures,
    "guest, disk of io0": reading("vda"),
    "guest, disk of main loop": reading("vdb"),
    "guest, linux-aio 32 deep": deep_reading,
    "guest, monitor asked": asked,
    "guest, three of these": all_at_once,
}


# --- no guest ---------------------------------------------------------------------------------------


class ImageBench(Target):
    """qemu-img bench, with 64 requests in flight; it works until it is ended."""

    def __init__(self, *words: object) -> None:
        super().__init__("img")
        image = self.dir / "image"
        image.write_bytes(bytes(16 << 20))
        command = [installed("qemu-img"), "bench", "-f", "raw", "-d", DEPTH]
        try:
            self.start([*command, "-c", ENDLESS, *words, image])
            wait_until(self.has_begun, "qemu-img works")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def has_begun(self) -> bool:
        """By the kernel's count: what its threads moved, or what was moved for it."""
        assert self.alive(), f"it ended: {self.said()}"
        words = dict(
            line.split(": ")
            for line in Path(f"/proc/{self.pid}/io").read_text().splitlines()
        )
        counts = ("rchar", "wchar", "read_bytes", "write_bytes")
        return max(int(words[count]) for count in counts) > 4 << 20


def image_bench(*words: object) -> Callable[[], ContextManager[int]]:
    @contextmanager
    def load() -> Iterator[int]:
        with ImageBench(*words) as target:
            yield target.pid

    return load


class ManyCallbacks(Target):
    """bench/top-target: 500,000 bottom halves a second."""

    def __init__(self) -> None:
        super().__init__("many")
        try:
            self.start([BUILD / "bench" / "top-target"], stdin=subprocess.PIPE)
            assert self.process and self.process.stdout and self.process.stdin
            assert self.process.stdout.readline() == b"ready\n", self.said()
            self.process.stdin.write(b"run %d\n" % ENDLESS)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def kill(self) -> None:
        super().kill()
        assert self.process and self.process.stdin
        self.process.stdin.close()


@contextmanager
def many_callbacks() -> Iterator[int]:
    with ManyCallbacks() as target:
        yield target.pid


# Not among them: the same by threads. There QEMU's completion bottom half finds more requests done
# each time it has told of one, and does not return for up to half a second: the doctor says so.
ALONE: Dict[str, Callable[[], ContextManager[int]]] = {
    "qemu-img bench, linux-aio": image_bench("-n", "-t", "none"),
    "qemu-img bench, io_uring": image_bench("-i", "io_uring", "-t", "none"),
    "500,000 callbacks a second": many_callbacks,
}

# A recorder slows these down, and more requests are done by the time one has been told of: then the
# completion handler does not return for long, either, and a recording rightly says so.
LIVE_ONLY = ["qemu-img bench, linux-aio", "qemu-img bench, io_uring"]
