"""The programs that loopscope looks at: our demo loop and real QEMUs, started and ended here."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Type, TypeVar

import pytest
from process_memory import fd_link, listeners, poll_sets, ring_waiters, wait_until
from tracer_run import DEMO, HANG_S

T = TypeVar("T", bound="Target")


class Target:
    """A child process and a directory of its own, both gone at the end of the with."""

    def __init__(self, prefix: str) -> None:
        # Short: the path of a unix socket has at most 107 bytes.
        self.dir = Path(tempfile.mkdtemp(prefix=f"ls-{prefix}-"))
        self.dir.chmod(0o755)
        self.process: Optional["subprocess.Popen[bytes]"] = None

    def start(
        self,
        args: Sequence[object],
        env: Optional[Mapping[str, str]] = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        with open(self.dir / "stderr", "wb") as err:
            self.process = subprocess.Popen(
                [a if isinstance(a, bytes) else str(a) for a in args],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=err,
                cwd=self.dir,
                env={**os.environ, **(env or {})},
                bufsize=0,  # what readline() has not returned is for communicate() to read
            )

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def said(self) -> str:
        return (self.dir / "stderr").read_text(errors="replace")

    def alive(self) -> bool:
        assert self.process
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and nothing of it is left: not even a zombie."""
        if self.process:
            self.process.kill()
            self.process.wait(HANG_S)
            if self.process.stdout:
                self.process.stdout.close()

    def stop(self) -> None:
        """SIGSTOP, and every thread has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(self._stopped, f"process {self.pid} stops")

    def _stopped(self) -> bool:
        tasks = Path(f"/proc/{self.pid}/task")
        return all(
            (task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
            for task in tasks.iterdir()
        )

    def cont(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def thread(self, name: str) -> int:
        """The one thread of that name."""
        tasks = Path(f"/proc/{self.pid}/task")
        (tid,) = [
            int(task.name)
            for task in tasks.iterdir()
            if (task / "comm").read_text() == f"{name}\n"
        ]
        return tid

    def threads(self) -> List[str]:
        """Their names."""
        comms = Path(f"/proc/{self.pid}/task").glob("*/comm")
        return [comm.read_text().rstrip("\n") for comm in comms]

    def wait_polling(self, threads: int) -> None:
        """So many threads, all loops of the target, sleep in poll."""

        def polls() -> bool:
            assert self.alive(), f"it ended: {self.said()}"
            return len(poll_sets(self.pid)) == threads

        wait_until(polls, f"{threads} threads of {self.pid} poll")

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.kill()
        shutil.rmtree(self.dir)


class Demo(Target):
    """demo-qemu-loop running a scenario; back when it has said that it is ready."""

    # That poll; the others have one.
    THREADS = dict.fromkeys(
        "five-sources aio-wait aio-wait-kick-barrier coroutines iothread iothread-gcontext "
        "missing-kick poll-recursion stolen-accept iothread-stop-race virtio".split(),
        2,
    )

    def __init__(
        self,
        scenario: str,
        *args: object,
        program: object = DEMO,
        wrapper: Sequence[str] = (),
    ) -> None:
        super().__init__("demo")
        self.scenario = scenario
        self.vnc = self.dir / "vnc"
        words: List[object] = [*wrapper, program, "--scenario", scenario, *args]
        if scenario == "five-sources" and "--vnc" not in args:
            words += ["--vnc", self.vnc]
        if wrapper:
            self.dir.chmod(0o777)
        try:
            self.start(words)
            assert self.process and self.process.stdout
            self.ready = self.process.stdout.readline().decode()
            assert self.ready.endswith(
                "ready\n"
            ), f"{words}: {self.ready} {self.said()}"
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def wait_asleep(self) -> "Demo":
        self.wait_polling(self.THREADS.get(self.scenario, 1))
        return self

    def result(self) -> str:
        """What it prints at its end, which it comes to by itself (--iterations)."""
        assert self.process
        out, _ = self.process.communicate(timeout=HANG_S)
        assert self.process.returncode == 0, self.said()
        return out.decode()


class Qmp:
    """A connection to a QEMU's monitor, ready for commands."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(HANG_S)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rw")
        self.greeting = json.loads(self.file.readline())
        assert "QMP" in self.greeting
        # With out-of-band commands the monitor reads on while a command runs: its poll set is
        # the same before and after one.
        self.command("qmp_capabilities", enable=["oob"])

    def command(self, name: str, **arguments: object) -> Any:
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                break
        assert "return" in answer, answer
        return answer["return"]

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> "Qmp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def installed(program: str) -> str:
    path = shutil.which(program)
    if not path:
        pytest.skip(f"{program} is not installed")
    return path


class Qemu(Target):
    """A real qemu-system: stopped guest, main loop, two IOThreads (io0 and the monitor's)."""

    LOOPS = 3

    def __init__(
        self,
        program: str = "qemu-system-x86_64",
        *args: object,
        wrapper: Sequence[object] = (),
    ) -> None:
        path = installed(program)
        super().__init__("qemu")
        self.vnc, self.qmp_path = self.dir / "vnc", self.dir / "qmp"
        words: List[object] = [
            *wrapper,
            path,
            "-accel",
            "tcg,tb-size=1",
            "-S",
            "-m",
            "64",
            "-nodefaults",
        ]
        words += ["-display", "none", "-object", "iothread,id=io0"]
        words += ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        try:
            # A copy of the program elsewhere finds its accelerator here.
            modules = {"QEMU_MODULE_DIR": "/usr/lib/x86_64-linux-gnu/qemu"}
            self.start(words + list(args or self.default_args()), modules)
            wait_until(self._listens, f"{program} listens at {self.qmp_path}")
            self.idle()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def default_args(self) -> List[object]:
        return [
            *("-vnc", f"unix:{self.vnc}"),
            *("-blockdev", "null-co,node-name=disk,size=1048576"),
            *("-device", "virtio-blk-pci,drive=disk,iothread=io0"),
        ]

    def _listens(self) -> bool:
        assert self.alive(), f"it ended: {self.said()}"
        return str(self.qmp_path) in listeners(self.pid)

    def idle(self) -> "Qemu":
        """The monitor has greeted and awaits the next client; all loops sleep."""
        with self.qmp():
            pass
        wait_until(self._awaits_client, "the monitor listens again")
        return self

    def _awaits_client(self) -> bool:
        assert self.alive(), f"it ended: {self.said()}"
        link = listeners(self.pid)[str(self.qmp_path)]
        sets = poll_sets(self.pid)
        # From QEMU 10.2 on an IOThread sleeps in a ring, where the kernel lets it have one.
        loops = {*sets, *ring_waiters(self.pid)}
        return len(loops) == self.LOOPS and any(
            fd_link(self.pid, fd) == link
            for polled in sets.values()
            for fd, _ in polled
        )

    def qmp(self) -> Qmp:
        return Qmp(self.qmp_path)


class QuietQemu(Qemu):
    """One whose main loop has no timer that wakes it and so heals what it lost.

    It has no display to refresh, and its clock chip follows the guest's clock, which stands still.
    """

    def default_args(self) -> List[object]:
        return super().default_args()[2:] + ["-rtc", "clock=vm"]


class Daemon(Target):
    """qemu-storage-daemon or qemu-nbd: a QEMU main loop without a machine."""

    def _waiting(self) -> int:
        assert self.alive(), f"it ended: {self.said()}"
        return len({*poll_sets(self.pid), *ring_waiters(self.pid)})

    def __init__(self, program: str, threads: int, *args: str) -> None:
        path = installed(program)
        super().__init__(program.rsplit("-", 1)[-1])
        try:
            self.start([path, *(a.format(dir=self.dir) for a in args)])
            wait_until(lambda: self._waiting() == threads, f"{threads} loops wait")
        except BaseException:
            self.__exit__(None, None, None)
            raise


def storage_daemon() -> Daemon:
    return Daemon(
        "qemu-storage-daemon",
        3,
        *("--blockdev", "null-co,node-name=disk"),
        *("--object", "iothread,id=io1"),
        *("--chardev", "socket,id=monitor,path={dir}/qmp,server=on,wait=off"),
        *("--monitor", "chardev=monitor"),
        *("--nbd-server", "addr.type=unix,addr.path={dir}/nbd"),
    )


def nbd_server() -> Daemon:
    options = "driver=null-co,size=1048576"
    return Daemon("qemu-nbd", 1, "-t", "-k", "{dir}/nbd", "--image-opts", options)


@contextmanager
def stranger() -> Iterator[int]:
    """A process without a loop, once it is what it becomes: asleep in clock_nanosleep()."""
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        call = Path(f"/proc/{sleeper.pid}/syscall")
        try:
            wait_until(lambda: call.read_text().startswith("230 "), "sleep sleeps")
            yield sleeper.pid
        finally:
            sleeper.kill()


def summary(output: str) -> Dict[str, str]:
    """The "key=value" lines that a scenario ends with."""
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
