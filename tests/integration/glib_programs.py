"""GLib programs that are no QEMU: one of the tests', our two examples, and some of Debian's."""

import os
import subprocess
from pathlib import Path
from typing import Dict

from tracer_run import BUILD, ROOT
from tracer_targets import Target, installed

GDB_TESTS = ROOT / "tests" / "integration" / "gdb"


def build(source: Path, program: Path, *words: str) -> Path:
    """A program that uses GLib, without debug information."""
    glib = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "glib-2.0"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    command = [installed("gcc"), "-O2", *words, str(source)]
    subprocess.run([*command, "-o", str(program), *glib], check=True)
    return program


class GLibProgram(Target):
    """gloop.c: back when its loops are about to sleep."""

    THREADS = 3  # that poll: GLib has one of its own, for signals

    def __init__(self, program: Path, *args: str) -> None:
        super().__init__("gloop")
        try:
            self.start([program, *args])
            assert self.process and self.process.stdout
            line = self.process.stdout.readline().decode()
            self.default, self.other = line.split()
            assert self.process.stdout.readline() == b"ready\n", self.said()
        except BaseException:
            self.__exit__(None, None, None)
            raise


class OddSources(Target):
    """odd-sources.c: a source of no descriptor, and one with a child; polled is that one's fd."""

    def __init__(self, directory: Path) -> None:
        super().__init__("odd")
        source = ROOT / "tests" / "integration" / "odd-sources.c"
        try:
            self.start([build(source, directory / "odd-sources", "-s")])
            assert self.process and self.process.stdout
            self.polled = int(self.process.stdout.readline())
            self.wait_polling(1)
        except BaseException:
            self.__exit__(None, None, None)
            raise


class Example(Target):
    """build/glib-io-watch or build/glib-custom-source, ready."""

    def __init__(self, name: str, *args: str) -> None:
        super().__init__("example")
        try:
            self.start([BUILD / name, *args])
            assert self.process and self.process.stdout
            assert self.process.stdout.readline().endswith(b"ready\n"), self.said()
        except BaseException:
            self.__exit__(None, None, None)
            raise


class Monitor(Target):
    """gio monitor of a directory: a thread of libgio's reads inotify for the main loop."""

    def __init__(self) -> None:
        super().__init__("gio")
        try:
            self.start([installed("gio"), "monitor", self.dir], {"LC_ALL": "C"})
            self.wait_polling(2)
        except BaseException:
            self.__exit__(None, None, None)
            raise


class Bus(Target):
    """A message bus of its own, and what a program needs to find it."""

    def __init__(self) -> None:
        super().__init__("bus")
        try:
            path = self.dir / "socket"
            self.start(
                [
                    installed("dbus-daemon"),
                    *("--session", "--nofork", "--print-address"),
                    f"--address=unix:path={path}",
                ]
            )
            assert self.process and self.process.stdout
            self.address = self.process.stdout.readline().decode().strip()
            assert self.address.startswith("unix:path="), self.said()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def environment(self) -> Dict[str, str]:
        return {
            "DBUS_SESSION_BUS_ADDRESS": self.address,
            "HOME": str(self.dir),
            "XDG_RUNTIME_DIR": str(self.dir),
            "XDG_CONFIG_HOME": str(self.dir),
        }


class BusMonitor(Target):
    """gdbus monitor: the worker thread of GDBus reads the bus for the main loop."""

    def __init__(self, bus: Bus) -> None:
        super().__init__("gdbus")
        name = "org.freedesktop.DBus"
        try:
            self.start(
                [installed("gdbus"), "monitor", "--session", "--dest", name],
                bus.environment(),
            )
            assert self.process and self.process.stdout
            while b"The name" not in self.process.stdout.readline():
                assert self.alive(), self.said()
            self.wait_polling(3)
        except BaseException:
            self.__exit__(None, None, None)
            raise


class Driven(Target):
    """gdrive.c: it does one thing for each byte it gets, and answers."""

    def __init__(self, program: Path) -> None:
        super().__init__("gdrive")
        inner, self.commands = os.pipe()
        try:
            self.start([program], stdin=inner)
            assert self.answer() == "ready"
        except BaseException:
            self.__exit__(None, None, None)
            raise
        finally:
            os.close(inner)

    def answer(self) -> str:
        assert self.process and self.process.stdout
        return self.process.stdout.readline().decode().strip()

    def tell(self, command: str) -> str:
        """Have it do something, and be back when it sleeps again."""
        os.write(self.commands, command.encode())
        answer = self.answer()
        self.wait_polling(1)
        return answer

    def kill(self) -> None:
        super().kill()
        os.close(self.commands)
