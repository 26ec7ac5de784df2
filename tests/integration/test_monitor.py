"""The demo's monitor: a class pokes a running loop, and loopscope sees what that did."""

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Iterator, List

import pytest
from process_memory import wait_until
from scripted import settle
from tracer_run import DEMO, HANG_S, NOBODY, run
from tracer_targets import Demo


class Client:
    """A connection to a monitor."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(HANG_S)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rw", newline="\n")
        self.greeting = self.file.readline()

    def ask(self, line: str) -> List[str]:
        """The lines of the answer; the last one is "ok" or an error."""
        self.file.write(line + "\n")
        self.file.flush()
        answer: List[str] = []
        while not answer or not re.match("ok$|error: ", answer[-1]):
            text = self.file.readline()
            assert text.endswith("\n"), (line, answer, text)
            answer.append(text.rstrip("\n"))
        return answer

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Monitored(Demo):
    def __init__(self, scenario: str, *args: object) -> None:
        # Its socket lies beside the target's own files, which are not there yet.
        self.monitor = Path(f"/tmp/monitor-test-{os.getpid()}")
        super().__init__(scenario, "--monitor", self.monitor, *args)


@pytest.fixture
def target() -> Iterator[Monitored]:
    with Monitored("five-sources") as started:
        started.wait_asleep()
        yield started
    started.monitor.unlink(missing_ok=True)


def test_two_clients_and_the_end(target: Monitored) -> None:
    """What one adds the other sees; "quit" ends the program as a signal would."""
    one, other = Client(target.monitor), Client(target.monitor)
    assert one.greeting == other.greeting
    assert (
        one.greeting == f"demo-qemu-loop, pid {target.pid}: help lists the commands\n"
    )
    (fd,) = re.findall(r"^fd (\d+),", one.ask("add-fd io0")[0])
    rows = [row.split() for row in other.ask("info handlers io0")]
    assert ["io0", fd, "eventfd", "monitor_fd_read"] in [row[:4] for row in rows]
    assert other.ask(f"write-fd {fd}") == one.ask("kick io0") == ["ok"]
    assert one.ask(f"remove-fd {fd}") == ["ok"]
    assert other.ask("nonsense") == [
        "error: no command 'nonsense'; help lists the commands"
    ]
    assert other.ask("quit") == ["ok"]
    assert "iterations=" in target.result()
    assert one.file.readline() == ""
    assert not target.monitor.exists()
    one.close()
    other.close()


def test_tables_are_aligned_and_fit(target: Monitored) -> None:
    client = Client(target.monitor)
    for what in ("contexts", "handlers", "iothreads"):
        *table, last = client.ask(f"info {what}")
        assert last == "ok" and len(table) > 1
        starts = [match.start() for match in re.finditer(r"(?<=  )\S", table[0])]
        assert len(starts) > 4
        for row in table:
            assert len(row) <= 100
            assert all(re.match(r"  \S", row[at - 2 :]) for at in starts), row
    assert max(len(line) for line in client.ask("help")) <= 100
    client.close()


@pytest.mark.usefixtures("root")
def test_the_socket_is_its_users_alone(target: Monitored) -> None:
    assert target.monitor.stat().st_mode & 0o777 == 0o600
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    done = subprocess.run(
        [*NOBODY, "/usr/bin/python3", "-c", connect, str(target.monitor)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode != 0 and "PermissionError" in done.stderr


def test_what_it_did_is_seen_by_loopscope(target: Monitored) -> None:
    """The monitor is a handler of iohandler_ctx, and what it added is one where it said."""
    client = Client(target.monitor)
    (fd,) = re.findall(r"^fd (\d+),", client.ask("add-fd io0")[0])
    settle(target.pid)
    rows = run("handlers", "-p", target.pid, "--json").fine().of_type("handler")
    found = {(row["ctx"], row["io_read"], row["fd"]) for row in rows}
    assert ("io0", "monitor_fd_read", int(fd)) in found
    of_monitor = {(ctx, read) for ctx, read, _ in found if ctx == "iohandler_ctx"}
    assert ("iohandler_ctx", "monitor_accept") in of_monitor
    assert ("iohandler_ctx", "client_read") in of_monitor
    client.close()


@pytest.mark.usefixtures("root")
def test_a_blocked_iothread_is_diagnosed_while_the_monitor_answers(
    target: Monitored,
) -> None:
    client = Client(target.monitor)
    assert client.ask("block 60s io0")[-1] == "ok"
    assert client.ask("block 1ms")[0].startswith("error: a loop is blocked already")
    client.file.write("info bhs io0\n")  # that one waits for io0
    client.file.flush()
    other = Client(target.monitor)
    assert other.ask("info iothreads")[-1] == "ok"
    verdicts = run("doctor", "-p", target.pid, "--json").of_type("verdict")
    assert [row["verdict"] for row in verdicts] == ["BLOCKED CALLBACK"]
    assert "monitor_block_bh" in str(verdicts[0])
    other.close()
    client.close()


def test_random_bytes_do_not_end_it(target: Monitored) -> None:
    clients = [Client(target.monitor) for _ in range(4)]
    for client in clients:
        client.socket.settimeout(None)
        client.socket.setblocking(False)
    for _ in range(200):
        for client in clients:
            try:
                client.socket.send(os.urandom(200) + b"\ninfo handlers\nhelp")
            except BlockingIOError:
                pass  # it waits for us to read: so it should
    for client in clients:
        client.close()
    last = Client(target.monitor)
    assert last.ask("kick") == ["ok"]
    assert last.ask("quit") == ["ok"]
    target.result()
    last.close()


def test_a_path_that_cannot_be_taken_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mon").touch()
    for path in (tmp_path / "mon", tmp_path / ("long" * 40), tmp_path / "no" / "mon"):
        words = [str(DEMO), "--scenario", "signal", "--monitor", str(path)]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=HANG_S, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert f"cannot listen on '{path}': " in done.stderr
        assert done.stderr.count("\n") == 1
    assert (tmp_path / "mon").exists()


def test_the_monitor_and_the_recording_together(tmp_path: Path) -> None:
    with Monitored("five-sources", "--record", tmp_path / "r") as target:
        client = Client(target.monitor)
        assert client.ask("quit") == ["ok"]
        target.result()
        client.close()
    text = run("report", tmp_path / "r", "--json").fine().out
    assert '"monitor_accept"' in text and '"client_read"' in text
    wait_until(lambda: not target.monitor.exists(), "its socket is removed")
