"""A real guest: Debian's QEMU boots Debian's kernel and does the disk work that it is told to.

    with Guest() as guest:                        # back when the guest awaits commands
        print(guest.run("uname -r"))              # runs in the guest, returns what it printed
        work = guest.work(2000)                   # starts 2000 direct requests of 4 KiB, does not wait
        ...                                       # trace it
        assert work.wait() == pattern_sum(2000)

Three disks: vda is served by the IOThread io0, vdb by the main loop, vdc too and may be written. A NIC
with user networking, VNC and QMP on unix sockets, two serial ports: the console goes to a file,
commands come through a socket. The kernel needs some seconds to boot under TCG: tests share a guest.
"""

import hashlib
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

import guest_image
from process_memory import listeners, wait_until
from tracer_targets import Qmp, Target, installed

BLOCK = 4096
DISK_BLOCKS = 4096  # 16 MiB
DISKS = {"disk0": ",iothread=io0", "disk1": "", "disk2": ""}
SUM = "md5sum | cut -c 1-32"
ROUND = 500  # requests of kept_working() at a time
# Its timer is checked against the host's time: on a busy host the check fails, and it panics.
KERNEL_OPTIONS = "mitigations=off no_timer_check"
BOOT_S = 180.0  # under sanitizers of somebody else's, on a busy machine


def pattern(blocks: int) -> bytes:
    """What lies on the disks: each block's number, again and again."""
    return b"".join(b"%07d\n" % block * (BLOCK // 8) for block in range(blocks))


def pattern_sum(blocks: int) -> str:
    return hashlib.md5(pattern(blocks)).hexdigest()


class Work:
    """Something that runs in the guest, from begin to end as the host sees it."""

    def __init__(self, guest: "Guest", command: str, requests: int) -> None:
        self.guest, self.requests = guest, requests
        self.begin = time.monotonic()
        self.seconds: Optional[float] = None
        guest.send(command)

    def wait(self) -> str:
        """What it printed, which is all of it once it has ended."""
        answer = self.guest.answer()
        self.seconds = time.monotonic() - self.begin
        return answer

    @property
    def per_second(self) -> float:
        assert self.seconds
        return self.requests / self.seconds


class Guest(Target):
    """A qemu-system-x86_64 whose guest runs and obeys."""

    LOOPS = 3  # main, io0, the monitor's

    def __init__(
        self,
        *args: object,
        program: str = "qemu-system-x86_64",
        programs: Sequence[Path] = (),
    ) -> None:
        """@args go to QEMU; @programs of this host are in the guest."""
        path = installed(program)
        super().__init__("guest")
        self.vnc, self.qmp_path = self.dir / "vnc", self.dir / "qmp"
        self.console, self.port = self.dir / "console", self.dir / "commands"
        self.socket: Optional[socket.socket] = None
        self.unread = b""
        try:
            # All that it is given lies in its directory: it may see no other of this host's.
            shutil.copy(guest_image.kernel(), self.dir / "vmlinuz")
            (self.dir / "initramfs").write_bytes(guest_image.initramfs(programs))
            for disk in DISKS:
                (self.dir / disk).write_bytes(pattern(DISK_BLOCKS))
            (self.dir / "disk2").write_bytes(bytes(BLOCK * DISK_BLOCKS))
            self.start([path, *self.machine(), *args])
            wait_until(self._listens, f"{program} listens at {self.port}")
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(BOOT_S)
            self.socket.connect(str(self.port))
            self._read_to(guest_image.READY)
            self._read_to("\n")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def machine(self) -> List[object]:
        words: List[object] = ["-accel", "tcg", "-m", "256", "-nodefaults"]
        words += ["-display", "none", "-vnc", f"unix:{self.vnc}"]
        words += ["-kernel", self.dir / "vmlinuz", "-initrd", self.dir / "initramfs"]
        words += ["-append", f"console=ttyS0 quiet panic=-1 {KERNEL_OPTIONS}"]
        words += ["-no-reboot", "-object", "iothread,id=io0"]
        for disk, loop in DISKS.items():
            file = f"driver=file,filename={self.dir / disk},node-name={disk}"
            words += ["-blockdev", f"{file},cache.direct=off"]
            words += ["-device", f"virtio-blk-pci,drive={disk},id={disk}-dev{loop}"]
        words += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"]
        words += ["-serial", f"file:{self.console}"]
        words += ["-serial", f"unix:{self.port},server=on,wait=on"]
        words += ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        return words

    def _listens(self) -> bool:
        assert self.alive(), f"it ended: {self.said()}"
        return str(self.port) in listeners(self.pid)

    def _read_to(self, end: str) -> str:
        """What the guest says up to @end, without it."""
        assert self.socket
        while end.encode() not in self.unread:
            data = self.socket.recv(65536)
            assert data, f"the guest ended: {self.said()} {self.console.read_text()}"
            self.unread += data
        said, self.unread = self.unread.split(end.encode(), 1)
        return said.decode(errors="replace")

    # --- what it is told ----------------------------------------------------------------------

    def send(self, command: str) -> None:
        """Have it run; answer() waits for its end."""
        assert self.socket and "\n" not in command
        self.socket.sendall(command.encode() + b"\n")

    def answer(self) -> str:
        """What the command printed, when it has ended well."""
        said = self._read_to(guest_image.END)
        status = int(self._read_to("\n"))
        assert status == 0, f"exit {status}: {said}"
        return said.strip()

    def run(self, command: str) -> str:
        self.send(command)
        return self.answer()

    def work(self, requests: int, disk: str = "vda") -> Work:
        """Reads that many blocks from the disk past the guest's cache, and tells their sum."""
        assert requests <= DISK_BLOCKS
        dd = f"dd if=/dev/{disk} bs={BLOCK} count={requests} iflag=direct status=none"
        return Work(self, f"{dd} | {SUM}", requests)

    def copy(self, blocks: int) -> Work:
        """The same from vda to vdc, each block a request to either; then tells what vdc has."""
        dd = f"dd bs={BLOCK} count={blocks} iflag=direct status=none"
        write = f"{dd} if=/dev/vda of=/dev/vdc oflag=direct conv=notrunc"
        return Work(self, f"{write} && {dd} if=/dev/vdc | {SUM}", 3 * blocks)

    def throughput(self, requests: int = DISK_BLOCKS, disk: str = "vda") -> float:
        """Requests a second that the guest's disk does, as the host's clock sees it."""
        work = self.work(requests, disk)
        assert work.wait() == pattern_sum(requests), "the guest read something else"
        return work.per_second

    @contextmanager
    def kept_working(self, disk: str = "vda") -> Iterator[None]:
        """It reads without a pause, and every sum is right, until the with ends."""
        ended, sums = threading.Event(), []

        def keep() -> None:
            while not ended.is_set():
                sums.append(self.work(ROUND, disk).wait())

        thread = threading.Thread(target=keep)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert set(sums) == {pattern_sum(ROUND)}

    # --- what else is known of it -------------------------------------------------------------

    def io0_thread(self) -> int:
        with self.qmp() as qmp:
            (row,) = qmp.command("query-iothreads")
        return int(row["thread-id"])

    @staticmethod
    def disk_reads(qmp: Qmp, disk: str) -> int:
        """How many reads of the guest QEMU has counted."""
        (stats,) = [
            row["stats"]
            for row in qmp.command("query-blockstats")
            if row["node-name"] == disk
        ]
        return int(stats["rd_operations"])

    def qmp(self) -> Qmp:
        return Qmp(self.qmp_path)

    def kill(self) -> None:
        super().kill()
        if self.socket:
            self.socket.close()
