"""loopscope doctor on a QEMU at work that others do wrong: each fault comes from outside and goes again.

A helper that the main loop waits for is stopped; a disk is slow behind a blocking call; a peer does
not read what a device writes; a QMP client floods; the guest kicks a queue with nothing in it.
Before and after them, and while a client asks as fast as it is answered, nothing is found.
"""

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import termios
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from guest import Guest
from process_memory import wait_until
from tracer_run import Result, Row, run
from tracer_targets import Qmp, installed

pytestmark = pytest.mark.usefixtures("root")

FINDING = 1
CLOCK_NANOSLEEP = "230"
SYS_PIDFD_GETFD = 438
QUEUE_NOTIFY = 16  # of a virtio device's ports
KICKED = {"vda": "IOThread io0", "vdb": "main loop"}  # who serves it
LIBC = ctypes.CDLL(None)


class Patient(Guest):
    """With a disk that another process serves, and a debug console that a socket is behind."""

    def __init__(self, nbd: Path) -> None:
        self.nbd = nbd
        server = f"server.type=unix,server.path={nbd}"
        super().__init__(
            *("-blockdev", f"driver=nbd,node-name=remote,{server}"),
            *("-device", "virtio-blk-pci,drive=remote"),
            *("-chardev", f"socket,id=debug,path={nbd}.debug,server=on,wait=off"),
            *("-device", "isa-debugcon,chardev=debug"),
        )

    @contextmanager
    def asked(self, command: str, **arguments: object) -> Iterator[Any]:
        """A QMP command that has been sent and is not answered before the with ends."""
        with self.qmp() as qmp:
            line = json.dumps({"execute": command, "arguments": arguments})
            qmp.file.write(line + "\n")
            qmp.file.flush()
            yield qmp
            while "event" in (answer := json.loads(qmp.file.readline())):
                pass
            assert "return" in answer, answer


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Helper"]:
    with Helper(tmp_path_factory.mktemp("nbd") / "socket") as process:
        yield process


class Helper:
    """A qemu-nbd, which serves a disk of zeroes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        words = [installed("qemu-nbd"), "-t", "-e", "8", "-k", str(path)]
        words += ["--image-opts", "driver=null-co,size=16777216,read-zeroes=on"]
        self.process = subprocess.Popen(words)
        wait_until(path.exists, "qemu-nbd listens")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.go_on()

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def has_unread(self) -> bool:
        """Is there something in one of its sockets that it has not read?"""
        pidfd = os.pidfd_open(self.process.pid)
        unread = 0
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            if not os.readlink(link).startswith("socket:"):
                continue
            fd = LIBC.syscall(SYS_PIDFD_GETFD, pidfd, int(link.name), 0)
            with socket.socket(fileno=fd) as copy:
                if not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    size = fcntl.ioctl(copy, termios.FIONREAD, bytes(4))
                    unread += int.from_bytes(size, "little")
        os.close(pidfd)
        return unread > 0

    def __enter__(self) -> "Helper":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def patient(helper: Helper) -> Iterator[Patient]:
    with Patient(helper.path) as guest:
        yield guest


def visit(patient: Patient, seconds: float = 1) -> Result:
    return run("doctor", "-p", patient.pid, "-d", seconds, "--json")


def finding(patient: Patient) -> Row:
    """The only one."""
    result = visit(patient)
    assert (result.rc, result.err) == (FINDING, ""), result.out + result.err
    (row,) = result.of_type("verdict")
    return row


def in_words(row: Row) -> str:
    return " ".join([row["culprit"], *row["evidence"]])


def reads(path: Path, size: int, pause: threading.Event) -> None:
    """A slow disk: takes so much, and then not before a tenth of a second, until @pause is set."""
    with open(path, "rb", buffering=0) as file:
        while file.read(size):
            pause.wait(0.1)


def test_a_healthy_guest_at_work_has_no_finding(patient: Patient) -> None:
    for disk in ("vda", "vdb"):
        with patient.kept_working(disk):
            assert not visit(patient).fine().of_type("verdict")


def test_a_stopped_helper_that_a_drain_waits_for(
    patient: Patient, helper: Helper
) -> None:
    """QMP's stop drains all disks, and the stopped qemu-nbd does not answer a read."""
    with helper.stopped():
        patient.send("dd if=/dev/vdd of=/dev/null bs=4k count=1 iflag=direct")
        wait_until(helper.has_unread, "the read has been sent")
        with patient.asked("stop"):
            row = finding(patient)
            helper.go_on()
    with patient.qmp() as qmp:
        qmp.command("cont")
    patient.answer()
    assert (row["verdict"], row["role"]) == ("NESTED WAIT", "main loop")
    assert "bdrv_drain_all_begin" in row["culprit"]
    assert {"aio_poll", "vm_stop", "qmp_marshal_stop"} <= set(row["stack"])
    assert "(unix" in in_words(row) and "not ready" in in_words(row)


@pytest.mark.full
def test_a_stopped_helper_that_is_connected_to(
    patient: Patient, helper: Helper
) -> None:
    server = {"type": "unix", "path": str(helper.path)}
    with helper.stopped():
        with patient.asked(
            "blockdev-add", driver="nbd", server=server, **{"node-name": "again"}
        ):
            row = finding(patient)
            helper.go_on()
    with patient.qmp() as qmp:
        qmp.command("blockdev-del", **{"node-name": "again"})
    assert (row["verdict"], row["role"]) == ("NESTED WAIT", "main loop")
    assert "nbd_do_establish_connection" in row["culprit"]
    assert "qmp_blockdev_add" in row["stack"]


def test_a_slow_disk_behind_a_blocking_call(patient: Patient) -> None:
    """QMP's pmemsave writes the guest's memory into a pipe that is read slowly."""
    pipe, faster = patient.dir / "slow", threading.Event()
    os.mkfifo(pipe)
    disk = threading.Thread(target=reads, args=(pipe, 1 << 16, faster))
    disk.start()
    with patient.asked("pmemsave", val=0, size=1 << 26, filename=str(pipe)):
        row = finding(patient)
        faster.set()
    disk.join()
    assert (row["verdict"], row["role"]) == ("BLOCKED CALLBACK", "main loop")
    assert row["culprit"] == "BH do_qmp_dispatch_bh"
    assert "qmp_pmemsave" in row["stack"]
    assert "asleep in write on fd" in in_words(row) and str(pipe) in in_words(row)


def test_a_peer_that_does_not_read(patient: Patient) -> None:
    """A vCPU writes a debug console whose socket is full: it waits with the big lock held."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(f"{patient.nbd}.debug")
        with patient.qmp() as qmp:
            wait_until(lambda: connected(qmp, "debug"), "the chardev has its peer")
        patient.send("poke 0xe9 1 3000")
        wait_until(lambda: sleeps_with_lock(patient), "the socket is full")
        row = finding(patient)
        taken = threading.Thread(target=drain, args=(peer,))
        taken.start()
        patient.answer()
        peer.shutdown(socket.SHUT_RDWR)
        taken.join()
    assert row["verdict"] == "BQL HOLD" and "qemu_chr_write" in row["culprit"]
    assert f"which it holds: {patient.pid}" in in_words(row)


@contextmanager
def talking(patient: Patient, talk: Callable[[Qmp], None]) -> Iterator[None]:
    """A QMP client of its own that goes on with @talk until the end."""
    ended = threading.Event()
    with patient.qmp() as qmp:

        def go_on() -> None:
            while not ended.is_set():
                try:
                    talk(qmp)
                except OSError:
                    break

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            qmp.socket.shutdown(socket.SHUT_RDWR)
            thread.join()


def asks(qmp: Qmp) -> None:
    qmp.file.write('{"execute": "query-status"}\n')
    qmp.file.flush()
    qmp.file.readline()


def floods(qmp: Qmp) -> None:
    """As much as the socket takes, and whatever has been answered."""
    commands = b'{"execute": "query-status"}\n' * 100
    readable, writable, _ = select.select([qmp.socket], [qmp.socket], [])
    if readable:
        qmp.socket.recv(1 << 16)
    if writable:
        qmp.socket.send(commands, socket.MSG_DONTWAIT)


def test_a_client_that_floods_qmp(patient: Patient) -> None:
    with talking(patient, floods):
        row = finding(patient)
    assert (row["verdict"], row["role"]) == ("SPIN", "IOThread mon_iothread")
    peer = f"process {os.getpid()} ("
    assert row["culprit"].startswith(peer) and str(patient.qmp_path) in row["culprit"]
    assert " floods fd " in row["culprit"]


def test_a_client_that_waits_for_its_answers(patient: Patient) -> None:
    """It keeps the monitor as busy."""
    with talking(patient, asks):
        assert not visit(patient).fine().of_type("verdict")


@contextmanager
def kicking(patient: Patient, disk: str) -> Iterator[None]:
    """The disk's driver has nothing to ask; somebody else writes its port of kicks, without end."""
    ports = patient.run(f"head -n 1 /sys/block/{disk}/device/../resource")
    port = int(ports.split()[0], 16) + QUEUE_NOTIFY
    poke = patient.run(f"poke {port} 2 >/dev/null & echo $!")
    try:
        yield
    finally:
        patient.run(f"kill {poke}")


@pytest.mark.parametrize("disk", ["vda", "vdb"])
def test_a_guest_that_kicks_without_end(patient: Patient, disk: str) -> None:
    with kicking(patient, disk):
        row = finding(patient)
    assert (row["verdict"], row["role"]) == ("SPIN", KICKED[disk])
    assert row["culprit"].startswith("handler virtio_queue_host_notifier_read of ")
    assert " is kicked without end: fd " in row["culprit"]


def connected(qmp: Qmp, chardev: str) -> bool:
    (row,) = [r for r in qmp.command("query-chardev") if r["label"] == chardev]
    return not row["filename"].startswith("disconnected:")


def drain(peer: socket.socket) -> None:
    while peer.recv(1 << 20):
        pass


def sleeps_with_lock(patient: Patient) -> bool:
    """Its vCPU naps until the socket takes more."""
    return any(
        (task / "syscall").read_text().split()[0] == CLOCK_NANOSLEEP
        for task in Path(f"/proc/{patient.pid}/task").iterdir()
    )


def test_with_the_faults_gone_nothing_is_found(patient: Patient) -> None:
    with patient.kept_working():
        assert not visit(patient).fine().of_type("verdict")


# --- the same from recordings -------------------------------------------------------------------


def recorded(patient: Patient, path: Path) -> List[Row]:
    """The verdicts on a recording of two seconds."""
    assert run("record", "-p", patient.pid, "-o", path, "-d", 2).rc == 0
    return run("doctor", path, "--json").of_type("verdict")


@pytest.mark.full
def test_a_recording_of_a_client_that_floods_qmp(
    patient: Patient, tmp_path: Path
) -> None:
    with talking(patient, floods):
        (row,) = recorded(patient, tmp_path / "r")
    assert (row["verdict"], row["role"]) == ("SPIN", "IOThread mon_iothread")
    peer = f"process {os.getpid()} ("
    assert row["culprit"].startswith(peer) and str(patient.qmp_path) in row["culprit"]
    assert " floods fd " in row["culprit"]


@pytest.mark.full
def test_a_recording_of_a_client_that_waits_for_its_answers(
    patient: Patient, tmp_path: Path
) -> None:
    with talking(patient, asks):
        assert not recorded(patient, tmp_path / "r")


@pytest.mark.full
@pytest.mark.parametrize("disk", ["vda", "vdb"])
def test_a_recording_of_a_guest_that_kicks_without_end(
    patient: Patient, disk: str, tmp_path: Path
) -> None:
    with kicking(patient, disk):
        (row,) = recorded(patient, tmp_path / "r")
    assert (row["verdict"], row["role"]) == ("SPIN", KICKED[disk])
    assert row["culprit"].startswith("handler virtio_queue_host_notifier_read of ")
    assert " is kicked without end: fd " in row["culprit"]
