"""fds: who made each descriptor and who registered it; "older than attach" where that is the truth."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Sequence

import pytest
from process_memory import listeners, poll_sets, ring_waiters, wait_until
from tracer_run import DEMO, FAILED, HANG_S, Result, Row, command, parse, run
from tracer_targets import Demo, Qemu, installed

pytestmark = pytest.mark.usefixtures("root")


class Watch:
    """fds --provenance or fds -- COMMAND, which watches until it is told to show the table."""

    def __init__(self, *args: object) -> None:
        words = command(["fds", "-d", HANG_S, "--json", *args])
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def line(self) -> str:
        """The next line on stderr, where the command writes too."""
        assert self.process.stderr
        return self.process.stderr.readline().decode()

    def child(self) -> int:
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        wait_until(lambda: Path(path).read_text(), "the command is started")
        (pid,) = Path(path).read_text().split()
        return int(pid)

    def table(self) -> Result:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=HANG_S)
        assert isinstance(self.process.args, list)
        result = parse(
            [str(a) for a in self.process.args], self.process.returncode, out, err
        )
        assert result.rc == 0, result.err
        return result

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=HANG_S)


def state(pid: int) -> str:
    """As /proc/PID/stat has it: "T" is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def where(text: str) -> str:
    """What was called where, without when and on which thread."""
    return text.split(",")[0]


def in_order(stack: Sequence[str], *wanted: str) -> bool:
    """The functions are on the stack, outermost first."""
    left = iter(stack)
    return all(name in left for name in wanted)


def test_a_command_is_watched_from_its_first_instruction(tmp_path: Path) -> None:
    vnc = tmp_path / "vnc"
    with Watch("--", DEMO, "--scenario", "five-sources", "--vnc", vnc) as watch:
        assert watch.line().endswith("ready\n")
        wait_until(lambda: len(poll_sets(watch.child())) == 2, "both of its loops wait")
        result = watch.table()
    rows = {row["fd"]: row for row in result.of_type("fd")}
    said = {
        (row["owner"], where(row["made_by"]), where(row["registered_by"]))
        for row in rows.values()
    }
    notifier = "eventfd2() in event_notifier_init"
    set_notifier = "aio_set_fd_handler() in aio_set_event_notifier"
    assert said == {
        (
            "iohandler_ctx",
            "signalfd4() in qemu_init_main_loop",
            "aio_set_fd_handler() in qemu_init_main_loop",
        ),
        ("iohandler_ctx", notifier, set_notifier),
        ("qemu_aio_context", notifier, set_notifier),
        ("io0", notifier, set_notifier),
        ("GLib", glib_function(rows), "GLib itself"),
        (
            'GSource "vnc-listener"',
            "socket() in unix_socket",
            "g_source_add_poll() in vnc_display_open",
        ),
    }
    (listener,) = [r for r in rows.values() if r["fd_kind"] == "unix"]
    assert in_order(listener["made_stack"], "main", "vnc_display_open", "unix_socket")
    assert in_order(listener["registered_stack"], "main", "vnc_display_open")
    for row in rows.values():
        assert " after start, thread " in row["made_by"]
    assert result.total["unknown"] == 0


def glib_function(rows: Dict[int, Row]) -> str:
    """GLib's own function has a name where its debug file is installed."""
    (row,) = [row for row in rows.values() if row["owner"] == "GLib"]
    assert in_order(row["made_stack"], "g_main_context_new_with_flags")
    assert row["made_by"].startswith("eventfd2() in ")
    return where(row["made_by"])


def test_what_is_older_is_said_to_be_older_and_what_is_new_has_its_maker() -> None:
    with Qemu() as qemu:
        old = polled(qemu.pid)
        with Watch("-p", qemu.pid, "--provenance") as watch:
            assert watch.line().startswith("loopscope: watching process ")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(qemu.vnc))
                assert client.recv(12) == b"RFB 003.008\n"
                wait_until(lambda: polled(qemu.pid) > old, "the client is polled")
                qemu.wait_polling(Qemu.LOOPS)
                result = watch.table()
    rows = {row["fd"]: row for row in result.of_type("fd")}
    for fd in old:
        assert rows[fd]["made_by"] == "older than attach"
        assert rows[fd]["registered_by"] == "older than attach"
        assert rows[fd]["made_stack"] == rows[fd]["registered_stack"] == []
    (new,) = set(rows) - old
    assert where(rows[new]["made_by"]) == "accept4() in qemu_accept"
    assert " after attach, thread " in rows[new]["made_by"]
    for stack in rows[new]["made_stack"], rows[new]["registered_stack"]:
        assert in_order(stack, "main_loop_wait", "g_main_context_dispatch")


def polled(pid: int) -> "set[int]":
    return {fd for fds in poll_sets(pid).values() for fd, _ in fds}


def is_ready(pid: int, qmp: Path) -> bool:
    """A QEMU, perhaps still the wrapper that starts it: it listens, and its three loops wait."""
    comm = Path(f"/proc/{pid}/comm").read_text()
    loops = {*poll_sets(pid), *ring_waiters(pid)}
    return comm.startswith("qemu-") and str(qmp) in listeners(pid) and len(loops) == 3


def qemu_from_its_start(tmp_path: Path, *wrapper: object) -> List[Row]:
    """The descriptors of a QEMU; who made each was seen, and who registered its listener."""
    qmp = tmp_path / "qmp"
    words: List[object] = [*wrapper, installed("qemu-system-x86_64")]
    words += ["-accel", "tcg,tb-size=1", "-S", "-m", "64", "-nodefaults"]
    words += ["-display", "none", "-object", "iothread,id=io0"]
    words += ["-qmp", f"unix:{qmp},server=on,wait=off"]
    with Watch("--", *words) as watch:
        wait_until(lambda: is_ready(watch.child(), qmp), "it listens, its loops wait")
        rows = watch.table().of_type("fd")
    (listener,) = [row for row in rows if row["fd_kind"] == "unix"]
    assert where(listener["made_by"]) == "socket() in qemu_socket"
    assert in_order(listener["made_stack"], "main", "qemu_init", "qemu_socket")
    assert where(listener["registered_by"]).startswith("g_source_add_poll() in qio_")
    for row in rows:
        assert " after start, thread " in row["made_by"] and row["made_stack"]
    return rows


def registered(rows: List[Row]) -> None:
    """Those of its contexts, where each has its descriptors in the poll set."""
    by_owner = {(row["owner"], row["fd_kind"]): row for row in rows}
    signals = by_owner["iohandler_ctx", "signalfd"]
    assert where(signals["made_by"]) == "signalfd4() in qemu_signalfd"
    assert (
        where(signals["registered_by"]) == "aio_set_fd_handler() in qemu_init_main_loop"
    )
    io0 = by_owner["io0", "eventfd"]
    assert where(io0["made_by"]) == "eventfd2() in event_notifier_init"
    assert in_order(io0["registered_stack"], "aio_context_new", "aio_set_fd_handler")


def test_a_stripped_qemu(tmp_path: Path) -> None:
    registered(qemu_from_its_start(tmp_path))


IN_ANOTHER_ROOT = """#!/bin/sh
exec unshare --mount sh -c 'mount --rbind / "$0" && exec env A=1 chroot "$0" "$@"' "$@"
"""


def test_a_qemu_that_a_script_becomes_in_another_root(tmp_path: Path) -> None:
    """None of the files that it is at first is the one that counts."""
    script, root = tmp_path / "script", tmp_path / "root"
    script.write_text(IN_ANOTHER_ROOT)
    script.chmod(0o755)
    root.mkdir()
    registered(qemu_from_its_start(tmp_path, script, root))


def test_the_text_has_the_chain_below_the_table() -> None:
    result = run("fds", "-d", 0.1, "--", DEMO, "--scenario", "five-sources")
    lines = result.out.splitlines()
    assert result.rc == 0 and lines[0].endswith("what its loops poll")
    assert any(line.strip().startswith("made by eventfd2() in") for line in lines)
    assert any(" > event_notifier_init" in line for line in lines)
    assert max(map(len, lines)) <= 101  # a chain's line may end in a blank
    assert "ready" in result.err  # what the command says is not in the table


def test_what_is_older_is_one_line_a_loop(demo: Demo) -> None:
    """However many there are, and whatever they are."""
    result = run("fds", "-p", demo.pid, "--provenance", "-d", 0.1)
    assert result.rc == 0, result.err
    polled_by = poll_sets(demo.pid)
    said = [line for line in result.out.splitlines() if "older than attach" in line]
    assert len(said) == len(polled_by) == 2
    assert all(": made and registered: older than attach" in line for line in said)


@pytest.mark.parametrize(
    "args, says",
    [
        (["--", "no-such-command-here"], "there is no command no-such-command-here"),
        (["--", "true"], "the command ended before it had a loop"),
    ],
)
def test_a_command_that_has_no_loop(args: List[str], says: str) -> None:
    line = run("fds", "-d", 0.1, *args).refused(FAILED)
    assert says in line


@pytest.mark.full
def test_a_script_that_does_not_become_its_program() -> None:
    """What it starts is another process, which is named."""
    script = 'sleep 60 & echo "$!"; trap "kill $!" TERM; wait'
    result = run("fds", "-d", 0.1, "--", "sh", "-c", script)
    assert result.rc == FAILED
    pid, line = result.err.splitlines()
    assert f"it has started process {pid}: " in line


def test_who_is_killed_leaves_no_command_stopped() -> None:
    """It is held when it becomes its program, for some milliseconds: killed in these."""
    for _ in range(20):
        with Watch("--", DEMO, "--scenario", "five-sources") as watch:
            pid = watch.child()
            end = time.monotonic() + 2  # it was, and nobody looked: once more
            while (now := state(pid)) != "T" and time.monotonic() < end:
                pass
            watch.process.kill()
            watch.process.wait()
            wait_until(lambda: state(pid) != "T", "it goes on")
            os.kill(pid, signal.SIGKILL)
        if now == "T":
            return
    pytest.fail("it was never seen held")


def test_a_core_has_no_provenance(tmp_path: Path) -> None:
    line = run("fds", "--provenance", tmp_path / "core").refused(2)
    assert "--provenance needs -p PID or -- COMMAND" in line
