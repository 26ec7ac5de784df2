"""A target may start, change and end while it is looked at, and loopscope itself may be killed.

Whatever the moment: exit 0 or 4 with at most one line, and in the kernel nothing is left attached.
"""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Iterator, List, Set, Tuple

import pytest
from process_memory import Memory, load_base, maps, text_symbols, wait_until
from tracer_run import Result, finish, run, start
from tracer_targets import Demo, Qemu

OUR_PROGRAMS = {"send_pollset", "dump_tables"}
UPROBE_MULTI = (12, "uprobe_multi")  # Debian 12's bpftool has no word for it
STEPS = 24


def bpf_objects() -> Set[Tuple[str, int]]:
    """What of ours the kernel has: programs by name, and every uprobe_multi link."""
    found = set()
    for kind in ("prog", "link"):
        out = subprocess.run(
            ["bpftool", "--json", kind, "list"], stdout=subprocess.PIPE, check=True
        ).stdout
        for row in json.loads(out):
            if row.get("name") in OUR_PROGRAMS or row.get("type") in UPROBE_MULTI:
                found.add((kind, int(row["id"])))
    return found


def held_objects() -> Set[Tuple[str, int]]:
    """What some living process has open: another test's loopscope, say."""
    found = set()
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if "bpf" not in os.readlink(fd):
                continue
            info = (fd.parents[1] / "fdinfo" / fd.name).read_text()
        except OSError:
            continue
        for line in info.splitlines():
            key, _, value = line.partition(":")
            if key in ("prog_id", "link_id"):
                found.add((key.split("_", maxsplit=1)[0], int(value)))
    return found


@pytest.fixture(autouse=True)
def nothing_left(root: None) -> Iterator[None]:
    before = bpf_objects()
    yield
    wait_until(
        lambda: bpf_objects() - before <= held_objects(),
        "the kernel lets go of all bpf programs and links",
    )


def clean(result: Result) -> Result:
    if result.rc:
        result.refused()
    else:
        result.fine()
    return result


def attached(pid: int) -> bool:
    """Does this loopscope hold a link? From here on its probes are in place."""
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in fds]
    except OSError:
        return False
    return any("bpf_link" in link or "bpf-link" in link for link in links)


def probe_for(pid: int, seconds: int) -> "subprocess.Popen[bytes]":
    """A loopscope that has attached and, as nobody polls, stays so."""
    process = start("fds", "-p", pid, "--via", "probe", "-d", seconds)
    wait_until(lambda: attached(process.pid), "loopscope attaches")
    return process


# --- the target -----------------------------------------------------------------------------------


def test_many_short_lived_processes() -> None:
    """Each runs some iterations and ends: before, while or after it is looked at."""
    codes: List[int] = []
    for i in range(STEPS):
        with Demo("five-sources", "--iterations", 200 * i) as target:
            for args in (
                ["--via", "probe", "-d", "0.2"],
                ["--via", "iter"],
                ["--via", "mem"],
            ):
                codes.append(clean(run("fds", "-p", target.pid, *args)).rc)
    assert 4 in codes


@pytest.mark.parametrize("way", ["mem", "iter", "probe"])
def test_killed_at_any_moment(way: str) -> None:
    """SIGKILL after 1/24, 2/24 ... of the time that loopscope takes: all is told, or why not."""
    args = ("--via", way, "-d", "0.1", "--json")
    with Demo("five-sources") as target:
        begin = time.monotonic()
        run("fds", "-p", target.wait_asleep().pid, *args)
        takes = time.monotonic() - begin
    for i in range(STEPS):
        with Demo("five-sources") as target:
            process = start("fds", "-p", target.pid, *args)
            # However far it comes, what it says has to be true.
            time.sleep(takes * i / STEPS)
            target.kill()
            result = finish(process)
            if result.rc:
                result.refused()
            else:
                assert result.fine().total["unknown"] == 0


def test_killed_while_attached() -> None:
    """It ends when the target ends, long before its time is over, and says that it did."""
    with Demo("five-sources") as target:
        process = probe_for(target.wait_asleep().pid, 3000)
        target.kill()
        try:
            line = finish(process).refused()
        finally:
            process.kill()
        assert str(target.pid) in line and "exited" in line


def test_a_qemu_that_is_starting_and_one_that_ends() -> None:
    stop = threading.Event()
    results: List[Result] = []
    started: List[int] = []

    def look() -> None:
        while not stop.is_set():
            for pid in started:
                results.append(run("handlers", "-p", pid, "--via", "mem"))

    class Watched(Qemu):
        def start(self, *args: object, **kwargs: object) -> None:
            super().start(*args, **kwargs)  # type: ignore[arg-type]
            started.append(self.pid)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        with Watched() as target:
            wait_until(lambda: 0 in {r.rc for r in results}, "it is seen running")
            with target.qmp() as monitor:
                monitor.command("quit")
            assert target.process and target.process.wait(60) == 0
            wait_until(lambda: results and results[-1].rc == 4, "its end is noticed")
    finally:
        stop.set()
        thread.join()
    assert {clean(result).rc for result in results} == {0, 4}


def test_a_loop_that_changes_all_the_time() -> None:
    """Handlers and bottom halves come and go; none of the readings may break or fail."""
    with Demo("five-sources", "--iterations", 10**9) as target:
        for _ in range(STEPS):
            for way in ("mem", "iter"):
                result = run(
                    "handlers", "-p", target.pid, "--via", way, "--json"
                ).fine()
                assert result.total["contexts"] == 3 and result.total["damaged"] == 0


# --- loopscope ------------------------------------------------------------------------------------


def poll_code(pid: int) -> bytes:
    """The first bytes of poll() and ppoll() as the target would execute them."""
    (path,) = {
        m.path for m in maps(pid) if m.path.rsplit("/", 1)[-1].startswith("libc.so")
    }
    symbols, base = text_symbols(path), load_base(pid, path)
    memory = Memory(pid)
    code = b"".join(memory.read(base + symbols[name], 64) for name in ("poll", "ppoll"))
    memory.close()
    return code


def poll_code_in_file(pid: int) -> bytes:
    (path,) = {
        m.path for m in maps(pid) if m.path.rsplit("/", 1)[-1].startswith("libc.so")
    }
    symbols = text_symbols(path)
    with open(path, "rb") as file:
        code = b""
        for name in ("poll", "ppoll"):
            file.seek(symbols[name])  # libc's text lies at its file offset
            code += file.read(64)
    return code


def test_the_kernel_tells_of_a_probe_while_it_is_there(demo: Demo) -> None:
    """Otherwise "nothing is left" would be found after anything."""
    before = bpf_objects()
    process = probe_for(demo.pid, 3000)
    ours = bpf_objects() - before
    held = held_objects()
    process.kill()
    process.communicate()
    assert {kind for kind, _ in ours & held} == {"prog", "link"}


def test_text_is_as_in_the_file_after_a_probe(demo: Demo) -> None:
    whole = poll_code_in_file(demo.pid)
    assert poll_code(demo.pid) == whole
    process = probe_for(demo.pid, 1)
    wait_until(
        lambda: poll_code(demo.pid) != whole or process.poll() is not None,
        "probes are in",
    )
    assert process.poll() is None, "it ended before its probes were seen"
    clean(finish(process))
    assert poll_code(demo.pid) == whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_text_is_as_in_the_file_after_loopscope_is_killed(
    demo: Demo, number: int
) -> None:
    whole = poll_code_in_file(demo.pid)
    process = probe_for(demo.pid, 3000)
    wait_until(lambda: poll_code(demo.pid) != whole, "the probes are in the text")
    process.send_signal(number)
    process.communicate(timeout=60)
    wait_until(lambda: poll_code(demo.pid) == whole, "the probes are out of the text")


def test_two_probes_at_once_and_one_is_killed(demo: Demo) -> None:
    whole = poll_code_in_file(demo.pid)
    first, second = probe_for(demo.pid, 3000), probe_for(demo.pid, 3000)
    first.kill()
    first.communicate()
    assert attached(second.pid) and poll_code(demo.pid) != whole
    second.kill()
    second.communicate()
    wait_until(lambda: poll_code(demo.pid) == whole, "the probes are out of the text")


def test_probes_touch_no_other_process(demo: Demo, many: Demo) -> None:
    """libc is mapped by everybody; only the target's copy is changed."""
    process = probe_for(demo.pid, 3000)
    whole = poll_code_in_file(demo.pid)
    wait_until(lambda: poll_code(demo.pid) != whole, "the probes are in the text")
    assert poll_code(many.pid) == whole
    process.kill()
    process.communicate()
    wait_until(lambda: poll_code(demo.pid) == whole, "the probes are out of the text")


# --- results --------------------------------------------------------------------------------------


def traced_result(target: Demo) -> Tuple[str, int]:
    """What it prints at its end, and how often its polls were caught until then."""
    looks = 0
    while target.alive():
        for way in ("probe", "iter", "mem"):
            result = clean(run("fds", "-p", target.pid, "--via", way, "-d", "0.05"))
            looks += way == "probe" and result.rc == 0
    return target.result(), looks


@pytest.mark.parametrize(
    "scenario, iterations",
    [("five-sources", 300000), ("many-fds", 10000), ("signal", 400000)],
)
def test_a_traced_run_computes_what_an_untraced_one_does(
    scenario: str, iterations: int
) -> None:
    """The demo prints exact counts and a hash of the order; loopscope looks as often as it can."""
    for _ in range(5):
        args = (scenario, "--iterations", iterations)
        with Demo(*args) as target:
            untraced = target.result()
        with Demo(*args) as target:
            traced, looks = traced_result(target)
        assert traced == untraced
        if looks:
            return
        iterations *= 4  # a fast machine: it ended before anybody could look
    pytest.fail("it always ended before it was ever traced")
