"""record --on-stall keeps the last events in memory and writes them when a loop stalls; --events
records some events only; --stacks, the stack of what blocks."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest
from faults import Faults
from process_memory import wait_until
from test_stalls import FINDING, attached
from tracer_run import (
    COLUMNS,
    DEMO,
    FINE,
    USAGE,
    Result,
    command,
    finish,
    run,
    start,
)
from tracer_targets import Demo, Qemu, QuietQemu

pytestmark = pytest.mark.usefixtures("root")

Event = Dict[str, Any]


def flight(
    pid: int, directory: Path, *args: object, stall: str = "100ms"
) -> "subprocess.Popen[bytes]":
    words = ("record", "-p", pid, "-o", directory, "--on-stall", stall, "--json")
    return attached(start(*words, *args))


def ended(process: "subprocess.Popen[bytes]", number: int = signal.SIGINT) -> Result:
    process.send_signal(number)
    result = finish(process)
    assert result.rc == FINE, result.err
    return result


def events(recording: Path) -> List[Event]:
    result = run("export", recording, "--to", "ndjson", "--json")
    assert result.rc == FINE, result.err
    return result.of_type("event")


def named(rows: List[Event], *names: str) -> List[Event]:
    return [row for row in rows if row["event"] in names]


def babeltrace(recording: Path) -> List[str]:
    """It reads it without a word of warning."""
    done = subprocess.run(
        ["babeltrace2", str(recording)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def written(directory: Path, name: str) -> Path:
    """A recording of that name has begun, and what led to it is in its files."""
    path = directory / name
    wait_until(
        lambda: any(f.stat().st_size for f in path.glob("thread-*")),
        f"{path} is written",
    )
    return path


def symbols(rows: List[Event]) -> Dict[str, str]:
    return {row["addr"]: row["name"] for row in named(rows, "symbol")}


# --- the flight recorder ----------------------------------------------------------------------


def test_a_stall_writes_what_led_to_it_and_its_stack(tmp_path: Path) -> None:
    with Demo("blocked-lock") as demo:
        wait_until(lambda: "lock-holder" in demo.threads(), "there is a holder")
        holder = demo.thread("lock-holder")
        process = flight(demo.pid, tmp_path / "f")
        written(tmp_path / "f", "stall-1")
        time.sleep(1)  # it blocks again, five times in two seconds
        result = ended(process)
    (row,) = result.of_type("recording")
    path = tmp_path / "f" / "stall-1"
    assert (row["recording"], row["why"]) == (str(path), "stall")
    assert row["thread"] == demo.pid and row["for_ns"] >= 100_000_000
    assert (result.total["recordings"], result.total["lost"]) == (1, 0)
    rows = events(path)
    assert len(babeltrace(path)) == row["events"] == len(rows)
    state = [r for r in named(rows, "thread_state") if r["state"] == "lock"][-1]
    assert (state["of_tid"], state["holder"]) == (demo.pid, holder)
    assert state["syscall"] == 202 and state["for_ns"] >= 100_000_000
    at = rows.index(state)
    frames = named(rows[at:], "stack_frame")
    mine = [f for f in frames if f["of_tid"] == demo.pid]
    assert [f["index"] for f in mine[:3]] == [0, 1, 2]
    text = [f["ip"] for f in mine]
    assert any(ip.startswith("waits_for_lock_cb+") for ip in text)
    assert any(
        f["ip"].startswith("lock_holder+") for f in frames if f["of_tid"] == holder
    )
    # The callback that it is in has begun before, and every name is there.
    begins = named(rows[:at], "handler_begin", "handler_end")
    assert begins[-1]["event"] == "handler_begin"
    assert begins[-1]["cb"] == "waits_for_lock_cb"
    assert named(rows, "thread") and named(rows, "context") and named(rows, "symbol")
    # And in words.
    shown = run("stalls", path, "--min", "100ms", "--json")
    row = next(r for r in shown.of_type("stall") if r["kind"] == "lock")
    assert (row["culprit"], row["role"]) == ("handler waits_for_lock_cb", "main loop")
    assert (row["lock"]["holder"], row["lock"]["holder_name"]) == (
        holder,
        "lock-holder",
    )
    assert "lock_holder" in row["lock"]["holder_does"]
    assert "waits_for_lock_cb" in row["stack"] and shown.rc == FINDING
    assert "loopscope stalls shows them" in run("report", path).out
    text = run("stalls", path).out
    assert max(len(line) for line in text.splitlines()) <= COLUMNS


def test_a_loop_that_never_comes_back_is_on_disk_at_once(tmp_path: Path) -> None:
    """Also if the recorder is killed then."""
    with Demo("blocked-sleep", "--hold", 100_000) as demo:
        process = flight(demo.pid, tmp_path / "f")
        path = written(tmp_path / "f", "stall-1")
        wait_until(
            lambda: bool(named(events(path), "stack_frame")), "its stack is there"
        )
        process.kill()
        process.wait()
    rows = events(path)
    frames = [row["ip"] for row in named(rows, "stack_frame")]
    assert any(ip.startswith("slow_bh_cb+") for ip in frames)
    assert not named(rows, "bh_end")
    assert babeltrace(path)


def test_what_fell_out_of_the_ring_is_not_lost(tmp_path: Path) -> None:
    """A small ring holds the last events only: whole ones, and no loss is told."""
    with Demo("busy") as demo:
        process = flight(demo.pid, tmp_path / "f", "--ring", "64K", stall="60s")
        tid = demo.pid

        def has_seen_more_than_fits() -> bool:
            with open(f"/proc/{tid}/status", encoding="ascii") as status:
                text = status.read()
            match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)
            assert match
            return int(match[1]) > before + 1500

        with open(f"/proc/{tid}/status", encoding="ascii") as status:
            match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)
        assert match
        before = int(match[1])
        wait_until(has_seen_more_than_fits, "more events than the ring holds")
        process.send_signal(signal.SIGUSR1)
        path = written(tmp_path / "f", "asked-1")
        result = ended(process)
    (row,) = result.of_type("recording")
    assert (row["why"], row["thread"], row["lost"]) == ("asked", None, 0)
    assert result.total["lost"] == 0
    assert result.total["events"] > row["events"]
    rows = events(path)
    assert len(babeltrace(path)) == row["events"] == len(rows)
    probes = [r for r in rows if r["tid"]]
    # Events take 24 to 72 bytes.
    assert 64 * 1024 / 72 - 1 <= len(probes) <= 64 * 1024 / 24
    unnamed = [r for r in named(rows, "bh_begin", "handler_begin") if "0x" in r["cb"]]
    assert not unnamed


@pytest.mark.full
def test_an_iothread_of_qemu_and_the_end(tmp_path: Path) -> None:
    with QuietQemu() as qemu, Faults(qemu.pid) as faults:
        faults.wait_asleep()
        process = flight(qemu.pid, tmp_path / "f", stall="300ms")
        with faults.sleeping_bh("io0", "sleepy_bh", 1):
            path = written(tmp_path / "f", "stall-1")
        tid = faults.contexts["io0"]["thread"]
        qemu.kill()
        result = finish(process)
    assert result.rc == FINE
    first, last = result.of_type("recording")[0], result.of_type("recording")[-1]
    assert (first["why"], first["thread"]) == ("stall", tid)
    # It died: what led there is in the recording under way, or in one of its own.
    assert last["why"] in ("stall", "end")
    rows = events(path)
    (begin,) = [r for r in named(rows, "bh_begin") if r["tid"] == tid]
    assert begin["cb"] == "sleep"
    names = {row["name"] for row in named(rows, "context")}
    assert {"qemu_aio_context", "io0"} <= names
    frames = [r for r in named(rows, "stack_frame") if r["of_tid"] == tid]
    assert any(frame["ip"].startswith("aio_poll+") for frame in frames)


def test_nothing_happened_nothing_is_written(tmp_path: Path, demo: Demo) -> None:
    result = ended(flight(demo.pid, tmp_path / "f", stall="60s"))
    assert result.total["recordings"] == 0 and list((tmp_path / "f").iterdir()) == []
    result = ended(flight(demo.pid, tmp_path / "f", "--at-end", stall="60s"))
    (row,) = result.of_type("recording")
    assert row["why"] == "end" and (tmp_path / "f" / "end-1").is_dir()


def test_the_directory_of_recordings_is_none_and_names_them(tmp_path: Path) -> None:
    directory = tmp_path / "f"
    for number, name in enumerate(("stall-2", "stall-10", "end-1")):
        (directory / name).mkdir(parents=True)
        (directory / name / "metadata").touch()
        os.utime(directory / name / "metadata", ns=(number, number))
        if number == 0:
            said = f"{directory}: not a recording; the one in it is {directory}/stall-2"
            assert said in run("report", directory).refused()
    said = f"3 lie in it: stall-2, stall-10, end-1; the last is {directory}/end-1"
    for words in ("report",), ("stalls",), ("doctor",), ("export", "--to", "csv"):
        assert said in run(*words, directory).refused()


def test_a_directory_with_something_in_it_is_left_alone(
    tmp_path: Path, demo: Demo
) -> None:
    (tmp_path / "mine").write_text("precious")
    words = ("record", "-p", demo.pid, "-o", tmp_path, "--on-stall", "50ms")
    assert "is not an empty directory" in run(*words).refused()
    assert os.listdir(tmp_path) == ["mine"]


# --- some events only -------------------------------------------------------------------------


def record(tmp_path: Path, name: str, *args: object) -> List[Event]:
    """Of a scenario that ends by itself."""
    words = ["record", "-o", tmp_path / name, *args, "--", DEMO]
    words += ["--scenario", "nested-drain", "--iterations", 5]
    result = finish(start(*words))
    assert result.rc == FINE, result.err
    return events(tmp_path / name)


def test_only_the_chosen_events_get_probes(tmp_path: Path) -> None:
    every = record(tmp_path, "all")
    some = record(tmp_path, "some", "--events", "bh_begin,bh_end,notify")
    chosen = {"bh_begin", "bh_end", "notify"}
    assert {r["event"] for r in some if r["tid"]} == chosen
    for name in chosen:
        assert len(named(some, name)) == len(named(every, name)) > 0
    absent = {r["of_id"] for r in named(some, "event_source") if r["from"] == "absent"}
    assert absent and not [
        r for r in named(every, "event_source") if r["from"] == "absent"
    ]
    assert "Waits were not recorded" in run("report", tmp_path / "some").out


def test_patterns_and_groups(tmp_path: Path) -> None:
    rows = record(tmp_path, "r", "--events", "handler_b*,polls")
    seen = {r["event"] for r in rows if r["tid"]}
    assert {"handler_begin", "poll_enter", "poll_exit"} <= seen
    assert not seen & {"handler_end", "bh_begin", "iteration_begin"}


def test_fewer_probes_are_attached(demo: Demo, qemu: Qemu, tmp_path: Path) -> None:
    for target, first in ((demo, "--events=bh_begin"), (qemu, "--events=bh_begin")):
        path = tmp_path / str(target.pid)
        words = ("record", "-p", target.pid, "-d", 0.1, "-o", path, first)
        said = finish(start(*words)).err.splitlines()[0]
        numbers = re.search(r": (\d+) USDT probes, (\d+) functions", said)
        assert numbers and int(numbers[1]) + int(numbers[2]) == 1, said


@pytest.mark.parametrize(
    "name, nearest", [("poll_entr", "poll_enter"), ("bh", "bhs"), ("qemu", "qemu_")]
)
def test_an_unknown_event_and_the_nearest(
    tmp_path: Path, demo: Demo, name: str, nearest: str
) -> None:
    words = ("record", "-p", demo.pid, "-o", tmp_path / "r", "--events", name)
    said = run(*words).refused(USAGE)
    assert f'there is no event "{name}"; the nearest are {nearest}' in said
    assert "groups are iterations, polls, callbacks" in said
    assert not (tmp_path / "r").exists()


# --- how far it is ----------------------------------------------------------------------------


def on_terminal(*args: object) -> str:
    """What it says there until it ends, with the terminal as its standard error."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command(args), stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                said += os.read(ours, 4096)
            except OSError:  # the last one has closed it
                break
    os.close(ours)
    assert process.returncode in (FINE, FINDING)
    return said.decode()


@pytest.mark.full
def test_progress_on_a_terminal_and_nowhere_else(tmp_path: Path, demo: Demo) -> None:
    words = ("record", "-p", demo.pid, "-d", 0.5, "-o")
    said = on_terminal(*words, tmp_path / "a")
    assert re.search(r"\r\d+ s, \d+ events, 0 lost; Ctrl-C ends\x1b\[K", said), said
    # It is taken away before the last words.
    assert "\r\x1b[Kloopscope: " in said
    assert "\r" not in finish(start(*words, tmp_path / "b")).err
    said = on_terminal("stalls", "-p", demo.pid, "-d", 0.5)
    assert re.search(r"\r\d+ s, 0 stalls; Ctrl-C ends\x1b\[K", said), said


# --- stacks -----------------------------------------------------------------------------------


def test_the_stack_of_what_blocks(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with Demo("blocked-sleep") as demo:
        words = ("record", "-p", demo.pid, "-o", path, "--stacks", "--min", "50ms")
        result = ended(attached(start(*words, "-d", 2)), signal.SIGCONT)
    rows = events(path)
    states = named(rows, "thread_state")
    assert states and all(s["of_tid"] == demo.pid for s in states)
    assert {s["state"] for s in states} == {"syscall"}
    assert {s["syscall"] for s in states} == {230}  # clock_nanosleep
    frames = named(rows, "stack_frame")
    assert any(frame["ip"].startswith("slow_bh_cb+") for frame in frames)
    assert "lost" in result.err
