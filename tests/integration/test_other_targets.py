"""What is not a qemu-system-x86_64 of this host: other architectures, the tools, other namespaces.

Each is looked at in the same way, and its loops are what its kind of program has. On qemu-img, which
ends by itself, everything is done while it converts.
"""

import os
import shutil
import socket


from pathlib import Path
from typing import Callable, List

import pytest
from process_memory import PPOLL, fd_link, listeners, syscall_of, wait_until
from recordings import Recorder, report
from tracer_run import HANG_S, run
from tracer_targets import Qemu, Target, installed, nbd_server, storage_daemon

pytestmark = pytest.mark.usefixtures("root")

MAIN = {"qemu_aio_context", "iohandler_ctx"}
# Where a program that was copied elsewhere finds its firmware.
FIRMWARE = [f"/usr/share/{name}" for name in ("seabios", "qemu")]
FIRMWARE += ["/usr/lib/ipxe/qemu"]
# Another program's place, seen by nobody else.
HIDE = 'mount -t tmpfs none "$0"; cp "$1" "$0/inside"; shift; exec "$0/inside" "$@"'
DISK = ("-blockdev", "null-co,node-name=disk,size=1048576")


def of_architecture(program: str) -> Callable[[Path], Target]:
    disk = ("-M", "virt", *DISK, "-device", "virtio-blk-device,drive=disk")
    return lambda _: Qemu(program, *disk)


def elsewhere() -> List[str]:
    words = [word for path in FIRMWARE for word in ("-L", path)]
    return [*words, *DISK, "-device", "virtio-blk-pci,drive=disk,iothread=io0"]


def upgraded(directory: Path) -> Target:
    """The package has been replaced while it runs: its file has no name any more."""
    copy = directory / "qemu-system-x86_64"
    shutil.copy(installed("qemu-system-x86_64"), copy)
    target = Qemu(str(copy), *elsewhere())
    copy.unlink()
    return target


class ChildOfUnshare(Qemu):
    """One in a namespace of process ids, where a child is the first."""

    @property
    def pid(self) -> int:
        assert self.process
        started = self.process.pid
        children = Path(f"/proc/{started}/task/{started}/children").read_text().split()
        return int(children[0]) if children else started


def contained(*options: str) -> Callable[[Path], Target]:
    def start(directory: Path) -> Target:
        words = ["unshare", *options, "sh", "-ec", HIDE, directory]
        kind = ChildOfUnshare if "-p" in options else Qemu
        return kind("qemu-system-x86_64", *elsewhere(), wrapper=words)

    return start


TARGETS = {
    "aarch64": (of_architecture("qemu-system-aarch64"), {"io0", "mon_iothread"}),
    "riscv64": (of_architecture("qemu-system-riscv64"), {"io0", "mon_iothread"}),
    "storage-daemon": (lambda _: storage_daemon(), {"io1", "mon_iothread"}),
    "nbd": (lambda _: nbd_server(), set()),
    "upgraded": (upgraded, {"io0", "mon_iothread"}),
    "mount-namespace": (contained("-m"), {"io0", "mon_iothread"}),
    "pid-namespace": (
        contained("-m", "-p", "-f", "--kill-child", "--mount-proc"),
        {"io0", "mon_iothread"},
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_every_loop_is_found_and_every_fd_explained(name: str, tmp_path: Path) -> None:
    start, iothreads = TARGETS[name]
    with start(tmp_path) as target:
        tables = run("handlers", "-p", target.pid, "--json").fine()
        contexts = {row["ctx"]: row["thread"] for row in tables.of_type("context")}
        assert set(contexts) == MAIN | iothreads
        polled = run("fds", "-p", target.pid, "--json").fine()
        rows = polled.of_type("fd")
        assert {row["thread"] for row in rows} == set(contexts.values())
        assert polled.total["unknown"] == polled.total["awake"] == 0
        for row in rows:
            assert row["fd_kind"] in fd_link(target.pid, row["fd"]) or (
                row["fd_kind"] == "unix"
            )


@pytest.mark.full
@pytest.mark.parametrize("name", TARGETS)
def test_it_is_recorded_and_healthy(name: str, tmp_path: Path) -> None:
    start, _ = TARGETS[name]
    (tmp_path / "target").mkdir()
    with start(tmp_path / "target") as target:
        assert not run("doctor", "-p", target.pid, "--json").fine().of_type("verdict")
        with Recorder(target.pid, tmp_path / "r") as recorder:
            greeted_by(target)
            ended = recorder.end()
    result = report(tmp_path / "r")
    assert ended.lost == result.total["lost"] == 0
    assert result.total["iterations"] > 0 and result.of_type("callback")


def greeted_by(target: Target) -> None:
    """A client of its monitor or its disk: that it is greeted takes some turns of a loop."""
    path = next(p for p in listeners(target.pid) if p.startswith(str(target.dir)))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(HANG_S)
        client.connect(path)
        assert client.recv(1)


# --- qemu-img at work -------------------------------------------------------------------------------


class Conversion(Target):
    """qemu-img copies 32 MiB, and waits in between to keep to its rate."""

    SIZE = 32 << 20

    def __init__(self) -> None:
        super().__init__("img")
        self.source, self.copy = self.dir / "source", self.dir / "copy"
        self.source.write_bytes(os.urandom(1 << 20) * (self.SIZE >> 20))
        words: List[object] = [installed("qemu-img"), "convert", "-r", "32M"]
        words += ["-f", "raw", "-O", "raw", self.source, self.copy]
        try:
            self.start(words)
            wait_until(self.has_begun, "qemu-img has its main loop")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def has_begun(self) -> bool:
        call = syscall_of(self.pid, self.pid)
        return self.copy.exists() and call is not None and call[0] == PPOLL

    def finished(self) -> bool:
        assert self.process
        return self.process.wait() == 0


def test_qemu_img_while_it_converts(tmp_path: Path) -> None:
    """Looked at in the middle, and recorded from there: the copy is what it would have been."""
    with Conversion() as target:
        target.stop()
        tables = run("handlers", "-p", target.pid, "--json").fine()
        assert {row["ctx"] for row in tables.of_type("context")} == MAIN
        polled = run("fds", "-p", target.pid, "--json").fine()
        assert polled.total["unknown"] == 0 and polled.total["fds"] > 0
        with Recorder(target.pid, tmp_path / "r") as recorder:
            target.cont()
            assert target.finished()
            ended = recorder.ended()
        assert target.copy.read_bytes() == target.source.read_bytes()
    result = report(tmp_path / "r")
    assert ended.lost == result.total["lost"] == 0
    (loop,) = result.of_type("loop")
    assert loop["thread"] == target.pid and loop["iterations"] > 0
    callbacks = {row["callback"] for row in result.of_type("callback")}
    assert "thread_pool_completion_bh" in callbacks
