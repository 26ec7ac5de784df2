"""loopscope record: every event of a known workload, and what is lost, cut or refused is told.

The workload is five-sources with 23 iterations, of which the demo's own test pins every event by
kind and thread. It is counted by our recorder (read by report, by babeltrace2, and packet by packet
by hand) and by bpftrace, in runs of their own.
"""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import pytest
import recordings
from process_memory import exe, wait_until
from probed import semaphores, text_differs, untouched
from recordings import (
    PACKET,
    Recorder,
    babeltrace,
    babeltrace_counts,
    events,
    events_in_packets,
    five_sources_counts,
    record_command,
    report,
    report_counts,
    said,
    said_line,
    sleeps,
    streams,
    sums,
)
from tracer_run import (
    DEMO,
    FAILED,
    FINE,
    HANG_S,
    LOOPSCOPE,
    NOBODY,
    PRIVILEGE,
    USAGE,
    finish,
    run,
    start,
)
from scripted import Held
from tracer_targets import Demo, Target, installed, stranger, summary

pytestmark = pytest.mark.usefixtures("root")

FIVE = (DEMO, "--scenario", "five-sources", "--iterations", 23)


def signals(iterations: int) -> Tuple[object, ...]:
    """A scenario that only runs: one thread, no timer, the same events in each iteration."""
    return (DEMO, "--scenario", "signal", "--iterations", iterations)


# --- every event of a known workload --------------------------------------------------------------


def test_five_sources_counted_by_report_and_by_babeltrace2(tmp_path: Path) -> None:
    """Ten runs, each the same: 23 iterations of the main loop, and of everything else as many.

    Every other one of what a script becomes.
    """
    expected = five_sources_counts()
    for number in range(10):
        out = tmp_path / str(number)
        script = ["sh", "-c", 'exec env A=1 "$0" "$@"'] if number % 2 else []
        ended = said(record_command(out, *script, *FIVE))
        result = report(out)
        assert (ended.events, ended.lost) == (result.total["events"], 0)
        assert report_counts(result) == sums(expected)
        assert babeltrace_counts(out) == sums(expected)
        assert babeltrace(out) == (result.total["events"], [])
        assert events_in_packets(out) == result.total["events"]
        assert (result.total["lost"], result.total["loops"]) == (0, 2)
        assert result.total["unfinished"] == result.total["unbegun"] == 0


def test_five_sources_by_thread(tmp_path: Path) -> None:
    """What each thread does is as exact as what all do together."""
    said(record_command(tmp_path / "r", *FIVE))
    counts: Dict[str, Counter[str]] = {}
    pid = int(report(tmp_path / "r").of_type("recording")[0]["pid"])
    io0 = {e.tid for e in events(tmp_path / "r", "poll_enter")} - {pid}
    assert len(io0) == 1
    for event in events(tmp_path / "r", *recordings.probe_names()):
        thread = "main" if event.tid == pid else "io0" if event.tid in io0 else "other"
        counts.setdefault(event.name, Counter())[thread] += 1
    assert counts == {
        name: {thread: n for thread, n in row.items() if n}
        for name, row in five_sources_counts().items()
    }
    main, second = report(tmp_path / "r").of_type("loop")
    assert (main["thread"], main["iterations"], main["loop"]) == (pid, 23, "main loop")
    assert second["thread"] == io0.pop() and "IOThread" in second["loop"]


def test_five_sources_counted_by_bpftrace(tmp_path: Path) -> None:
    """The same probes, in a run without us. (bpftrace takes its time to detach.)"""
    expected = {
        (name, str(int(main))): n
        for name, row in five_sources_counts().items()
        for main, n in ((True, row["main"]), (False, row["io0"] + row["other"]))
        if n
    }
    script = f"usdt:{DEMO}:qemu:* {{ @[probe, pid == tid] = count(); }}"
    command = " ".join(str(word) for word in FIVE)
    done = subprocess.run(
        [installed("bpftrace"), "-f", "json", "-e", script, "-c", command],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=2 * HANG_S,
        check=False,
    )
    rows = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
    maps_printed = [row["data"]["@"] for row in rows if row["type"] == "map"]
    assert len(maps_printed) == 1, done.stdout + done.stderr
    counted = {
        (key.rsplit(":", 1)[1].split(",")[0], key.rsplit(",", 1)[1]): n
        for key, n in maps_printed[0].items()
    }
    assert counted == expected


def test_five_sources_attached_to_while_it_runs(tmp_path: Path) -> None:
    """All of its 23 iterations, and nothing of its set-up."""
    with Held("five-sources", 23) as target:
        target.wait_polling(1)  # io0; the main thread writes
        with Recorder(target.pid, tmp_path / "r") as recorder:
            assert summary(target.result())["iterations"] == "23"
            ended = recorder.ended()
        assert ended.lost == 0
    whole = five_sources_counts()
    counts = Counter(
        (event.name, event.tid == target.pid) for event in events(tmp_path / "r")
    )
    in_iterations = """iteration_begin iteration_end prepare query timeout_chosen poll_enter
        poll_exit fd_ready check dispatch_begin dispatch_end source_prepare source_check
        source_dispatch_begin source_dispatch_end handler_begin handler_end signal_dispatch
        bh_begin bh_end timer_begin timer_end""".split()
    for name in in_iterations:
        assert counts[name, True] == whole[name]["main"], name
    # io0 sleeps in its third iteration; two calls and its end are still to come.
    assert counts["iteration_begin", False] == counts["poll_enter", False] == 2
    assert counts["iteration_end", False] == counts["poll_exit", False] == 3
    main = report(tmp_path / "r").of_type("loop")[0]
    assert (main["thread"], main["iterations"]) == (target.pid, 23)


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", ["4096", "64K"])
@pytest.mark.parametrize(
    "scenario", [signals(20000), (DEMO, "--scenario", "many-fds", "--iterations", 3000)]
)
def test_a_ring_that_is_too_small(
    tmp_path: Path, scenario: Sequence[object], ring: str
) -> None:
    """What the recorder says is lost is what report and babeltrace2 say, and what is missing."""
    assert said(record_command(tmp_path / "whole", *scenario)).lost == 0
    produced = sum(report_counts(report(tmp_path / "whole")).values())
    out = tmp_path / "r"
    ended = said(record_command(out, *scenario, options=("--ring", ring)))
    result = report(out)
    assert ended.lost > 0
    assert sum(report_counts(result).values()) + ended.lost == produced
    assert (result.total["events"], result.total["lost"]) == (ended.events, ended.lost)
    assert babeltrace(out) == (result.total["events"], [ended.lost])
    assert (
        sum([*recordings.packets(path)][-1][1] for path in streams(out)) == ended.lost
    )


# --- recordings that were cut ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of some packets in each of several streams."""
    out: Path = tmp_path_factory.mktemp("whole") / "r"
    said(record_command(out, DEMO, "--scenario", "five-sources", "--iterations", 115))
    assert len(streams(out)) == 4 and len(list(recordings.packets(streams(out)[1]))) > 3
    return out


def test_a_stream_cut_anywhere_is_read_to_its_last_whole_packet(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    shutil.copytree(whole, out)
    events_of = {p.name: [n for n, _ in recordings.packets(p)] for p in streams(whole)}
    in_all = sum(sum(counts) for counts in events_of.values())
    for name, counts in events_of.items():
        data = (whole / name).read_bytes()
        # Around the borders, within headers and events, and in steps that no size divides.
        edges = {
            at + d for at in range(0, len(data), PACKET) for d in (-1, 0, 1, 79, 80)
        }
        for size in sorted(edges | set(range(0, len(data), 1013))):
            if not 0 <= size < len(data):
                continue
            (out / name).write_bytes(data[:size])
            row = report(out).of_type("recording")[0]
            left = in_all - sum(counts[size // PACKET :])
            assert (row["events"], row["cut_bytes"]) == (left, size % PACKET), size
            assert not row["damaged"]
        (out / name).write_bytes(data)


def test_babeltrace2_reads_what_is_left_of_whole_packets(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    shutil.copytree(whole, out)
    for stream in streams(out):
        size = stream.stat().st_size
        os.truncate(stream, max(PACKET, (size - 1) // PACKET * PACKET))
    printed, losses = babeltrace(out)
    assert printed == report(out).total["events"] == events_in_packets(out)
    assert not losses


def test_metadata_cut_anywhere(whole: Path, tmp_path: Path) -> None:
    """It is refused in a line, or what report needs of it is there."""
    out = tmp_path / "r"
    shutil.copytree(whole, out)
    data = (whole / "metadata").read_bytes()
    rows = report(whole).rows
    refused = 0
    for size in [*range(0, 2000, 37), *range(2000, len(data), 1009)]:
        (out / "metadata").write_bytes(data[:size])
        result = run("report", out, "--json")
        if result.rc:
            assert str(out) in result.refused()
            refused += 1
        else:
            assert result.fine().rows[1:] == rows[1:]
    assert refused > 10
    (out / "metadata").unlink()
    assert str(out) in run("report", out).refused()


def test_a_recorder_that_is_killed_leaves_whole_packets(tmp_path: Path) -> None:
    with Demo("signal", "--iterations", 10**9) as target:
        with Recorder(target.pid, tmp_path / "r") as recorder:
            wait_until(
                lambda: sum(p.stat().st_size for p in streams(tmp_path / "r"))
                > 10**6,
                "a megabyte is recorded",
            )
            recorder.kill()
    row = report(tmp_path / "r").of_type("recording")[0]
    assert row["events"] == events_in_packets(tmp_path / "r") > 10000
    assert babeltrace(tmp_path / "r")[0] == row["events"]


# --- a disk that is full --------------------------------------------------------------------------


@pytest.fixture(params=["48k", "256k"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", place]
    done = subprocess.run(mount, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up(small_disk: Path) -> None:
    """The recording ends, one line says why; the target does not notice; what is there is read."""
    out = small_disk / "r"
    with Held("signal", 20000) as target:
        process = start("record", "-p", target.pid, "-o", out)
        assert process.stderr and process.stderr.readline().startswith(
            b"loopscope: attached"
        )
        result_of_target = target.result()
    result = finish(process)
    assert result.rc == FAILED
    ended, failure = result.err.splitlines()
    assert failure == (
        f"loopscope: {out}: No space left on device; what is there can be read"
    )
    assert summary(result_of_target) == {"iterations": "20000", "signals": "20000"}

    read = report(out)
    assert read.total["events"] == events_in_packets(out) > 100
    assert read.of_type("recording")[0]["cut_bytes"] == 0
    assert babeltrace(out) == (read.total["events"], [read.total["lost"]])
    assert read.total["lost"] == said_line(ended).lost > 0
    assert read.total["events"] == said_line(ended).events


def test_a_disk_that_is_full_from_the_beginning(small_disk: Path) -> None:
    with open(small_disk / "filler", "wb", buffering=0) as file:
        with pytest.raises(OSError):
            while True:
                file.write(bytes(4096))
    result = record_command(small_disk / "r", *signals(20))
    assert "No space left on device" in result.refused()
    assert not (small_disk / "r").exists() and result.out == ""


# --- a recorder changes nothing -------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_text_and_semaphores_are_as_before_after_a_recording(
    demo: Demo, tmp_path: Path, number: int
) -> None:
    assert untouched(demo.pid)
    with Recorder(demo.pid, tmp_path / "r") as recorder:
        assert text_differs(demo.pid) == [exe(demo.pid)]
        assert set(semaphores(demo.pid)) == {1}
        if number == signal.SIGKILL:
            recorder.kill()
        else:
            recorder.end(number)
    wait_until(lambda: untouched(demo.pid), "the probes are out of the target")


def test_a_program_without_probes_is_as_before_after_a_recording(
    qemu: Target, tmp_path: Path
) -> None:
    assert not text_differs(qemu.pid)
    for kill in (False, True):
        with Recorder(qemu.pid, tmp_path / str(kill)) as recorder:
            programs = {
                Path(path).name.split(".")[0] for path in text_differs(qemu.pid)
            }
            assert programs == {"qemu-system-x86_64", "libc", "libglib-2", "liburing"}
            if kill:
                recorder.kill()
            else:
                recorder.end()
        wait_until(lambda: not text_differs(qemu.pid), "the probes are gone")


@pytest.mark.parametrize(
    "scenario, iterations",
    [
        ("five-sources", 2300),
        ("many-fds", 2000),
        ("signal", 20000),
        ("deleted-handler", 500),
    ],
)
def test_a_recorded_run_computes_what_an_unrecorded_one_does(
    scenario: str, iterations: int, tmp_path: Path
) -> None:
    with Demo(scenario, "--iterations", iterations) as target:
        unrecorded = target.result()
    assert summary(unrecorded)["iterations"] == str(iterations)
    command = (DEMO, "--scenario", scenario, "--iterations", iterations)
    result = record_command(tmp_path / "all", *command)
    assert said(result).lost == 0 and result.out.endswith(f"ready\n{unrecorded}")
    # Most of the time the ring is full; and recorders come and go.
    result = record_command(tmp_path / "some", *command, options=("--ring", "4096"))
    assert result.out.endswith(f"ready\n{unrecorded}")
    with Held(scenario, iterations) as held:
        with Recorder(held.pid, tmp_path / "p1"), Recorder(held.pid, tmp_path / "p2"):
            pass  # killed
        with Recorder(held.pid, tmp_path / "p3") as recorder:
            assert held.result().endswith(f"ready\n{unrecorded}")
            assert recorder.ended().lost == 0


# --- several recorders, targets that end ----------------------------------------------------------


def wakes(recording: Path, pid: int) -> List[str]:
    names = ("poll_exit", "signal_dispatch", "iteration_end", "poll_enter")
    return [event.name for event in events(recording, *names) if event.tid == pid]


ONE_WAKE = ["poll_exit", "signal_dispatch", "iteration_end", "poll_enter"]


def alarm(target: Demo, count: int) -> None:
    """@count signals, each of which the loop has slept after."""
    for _ in range(count):
        before = sleeps(target.pid)
        os.kill(target.pid, signal.SIGALRM)
        wait_until(lambda: sleeps(target.pid) > before, "the loop wakes and sleeps")
        target.wait_asleep()


def test_two_recorders_at_once(tmp_path: Path) -> None:
    """Each gets every event of its time."""
    with Demo("signal") as target:
        target.wait_asleep()
        with Recorder(target.pid, tmp_path / "1") as first:
            alarm(target, 2)
            with Recorder(target.pid, tmp_path / "2") as second:
                assert set(semaphores(target.pid)) == {1}  # the kernel counts listeners
                alarm(target, 3)
                assert first.end().lost == 0
                assert text_differs(target.pid) and set(semaphores(target.pid)) == {1}
                alarm(target, 4)
                assert second.end().lost == 0
        assert untouched(target.pid)
        assert wakes(tmp_path / "1", target.pid) == 5 * ONE_WAKE
        assert wakes(tmp_path / "2", target.pid) == 7 * ONE_WAKE


def test_the_same_process_again_and_again(tmp_path: Path) -> None:
    with Demo("signal") as target:
        target.wait_asleep()
        for number in range(1, 6):
            with Recorder(target.pid, tmp_path / str(number)) as recorder:
                alarm(target, number)
                assert recorder.end().lost == 0
            assert wakes(tmp_path / str(number), target.pid) == number * ONE_WAKE


def test_processes_that_end_while_they_are_attached_to(tmp_path: Path) -> None:
    """Before, while or after: it is recorded to its end, or one line says that it is gone."""
    number = iterations = recorded = 0
    # Longer and longer until it can be attached to, then around the length that takes.
    while recorded < 4:
        number += 1
        with Demo("five-sources", "--iterations", iterations) as target:
            result = run("record", "-p", target.pid, "-o", tmp_path / str(number))
        if result.rc == FINE:
            assert said(result).lost == 0
            report(tmp_path / str(number))
            recorded += 1
            iterations -= iterations // 4
        else:
            result.refused()
            iterations += 300 + iterations // 2


def test_a_target_that_is_killed_ends_the_recording(tmp_path: Path) -> None:
    with Demo("signal") as target:
        target.wait_asleep()
        with Recorder(target.pid, tmp_path / "r") as recorder:
            alarm(target, 2)
            target.kill()
            assert recorder.ended().lost == 0
    assert wakes(tmp_path / "r", target.pid) == 2 * ONE_WAKE


def test_a_duration_ends_the_recording_and_the_command(tmp_path: Path) -> None:
    command = (DEMO, "--scenario", "signal")
    result = run("record", "-o", tmp_path / "r", "-d", "0.3", "--", *command)
    said(result)
    pid = int(report(tmp_path / "r").of_type("recording")[0]["pid"])
    assert not Path(f"/proc/{pid}").exists()
    assert "iterations" in summary(
        result.out
    )  # it ended as by a SIGTERM, not by a SIGKILL


def test_a_qemu_as_a_command(tmp_path: Path) -> None:
    """It has no probes: it is attached to as soon as it has a loop."""
    qemu = installed("qemu-system-x86_64")
    options = "-accel tcg,tb-size=1 -S -m 64 -nodefaults -display none".split()
    result = run("record", "-o", tmp_path / "r", "-d", "1", "--", qemu, *options)
    assert result.rc == FINE and said_line(result.err).lost == 0
    main = report(tmp_path / "r").of_type("recording")[0]
    assert main["exe"] == os.path.realpath(qemu)
    assert not Path(f"/proc/{main['pid']}").exists()


# --- refusals -------------------------------------------------------------------------------------


def test_a_recording_is_not_overwritten(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path, tmp_path / "file", tmp_path / "missing" / "r"):
        line = run("record", "-p", demo.pid, "-o", out).refused()
        assert str(out) in line
        result = record_command(out, *FIVE)
        assert str(out) in result.refused() and result.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "precious"
    assert untouched(demo.pid)


def test_an_empty_directory_is_taken(demo: Demo, tmp_path: Path) -> None:
    said(run("record", "-p", demo.pid, "-o", tmp_path, "-d", "0.1"))
    assert report(tmp_path).total["lost"] == 0
    assert str(tmp_path) in run("record", "-p", demo.pid, "-o", tmp_path).refused()


def test_commands_that_cannot_be_recorded(tmp_path: Path) -> None:
    out = tmp_path / "r"
    for command in (tmp_path / "missing", "/etc/passwd", tmp_path):
        assert f"no command {command}" in record_command(out, command).refused()
    for words in (["true"], ["sh", "-c", "exit 3"]):
        assert "ended before it had a loop" in record_command(out, *words).refused()
    assert not out.exists()


def test_processes_that_cannot_be_recorded(tmp_path: Path) -> None:
    out = tmp_path / "r"
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert str(gone.pid) in run("record", "-p", gone.pid, "-o", out).refused()
    with stranger() as pid:
        line = run("record", "-p", pid, "-o", out).refused()
    assert "sleep is not a QEMU" in line


@pytest.mark.parametrize(
    "args",
    [
        ["record"],
        ["record", "-p", "1"],
        ["record", "-o", "out"],
        ["record", "-o", "out", "--"],
        ["record", "-o"],
        ["record", "-p", "1", "-o", "out", "--", "true"],
        ["record", "-p", "x", "-o", "out"],
        ["record", "-p", "1", "-o", "out", "extra"],
        ["record", "-p", "1", "-o", "out", "-d", "0"],
        ["record", "-p", "1", "-o", "out", "-d", "soon"],
        ["record", "-p", "1", "-o", "out", "--ring", "0"],
        ["record", "-p", "1", "-o", "out", "--ring", "-1"],
        ["record", "-p", "1", "-o", "out", "--ring", "64X"],
        ["record", "-p", "1", "-o", "out", "--ring", "99999999G"],
        ["record", "-p", "1", "-o", "out", "--ring", ""],
        ["report"],
        ["report", "a", "b"],
        ["list"],
        ["list", "-p", "x"],
    ],
)
def test_wrong_usage(args: Sequence[str]) -> None:
    assert "loopscope --help" in run(*args).refused(USAGE)


def test_recording_another_users_process_needs_privilege(
    demo: Demo, tmp_path: Path
) -> None:
    args = ("record", "-p", demo.pid, "-o", tmp_path / "r")
    line = run(*args, user=NOBODY).refused(PRIVILEGE)
    assert "CAP_SYS_PTRACE" in line
    assert " ".join(["sudo", str(LOOPSCOPE), *map(str, args)]) in line
    assert not (tmp_path / "r").exists()


def test_recording_the_own_process_needs_privilege(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    out = tmp_path / "r"
    with Demo("five-sources", wrapper=NOBODY) as theirs:
        running = run("record", "-p", theirs.pid, "-o", out, user=NOBODY)
    command = run("record", "-o", out, "--", *FIVE, user=NOBODY)
    for result in (running, command):
        line = result.refused(PRIVILEGE)
        assert "CAP_BPF and CAP_PERFMON" in line and f"sudo {LOOPSCOPE} record" in line
        assert result.out == "" and not out.exists()


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "metadata").write_bytes(bytes(range(256)) * 16)
    for path in (
        tmp_path,
        tmp_path / "missing",
        DEMO,
        tmp_path / "r",
        Path("/dev/null"),
    ):
        assert str(path) in run("report", path).refused()


# --- the ring of the kernel -----------------------------------------------------------------------


def test_ring_sizes_are_rounded_to_what_the_kernel_takes(tmp_path: Path) -> None:
    """Any size will do: a power of two of pages is made of it."""
    for ring in ("1", "4097", "100K", "3M", "256M"):
        out = tmp_path / ring
        said(record_command(out, *FIVE, options=("--ring", ring)))
