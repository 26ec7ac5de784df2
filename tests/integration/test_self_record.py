"""The demo records itself (--record): without a privilege, and the same as loopscope records.

Two recorders that share only the table of events see one run: each is the other's oracle.
"""

import contextlib
import os
import re
import resource
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import pytest
from process_memory import fd_link, wait_until
from recordings import (
    Recorder,
    babeltrace,
    babeltrace_counts,
    events,
    events_in_packets,
    five_sources_counts,
    packets,
    probe_names,
    record_command,
    report,
    report_counts,
    said,
    streams,
    sums,
)
from scripted import settle
from tracer_run import DEMO, HANG_S, NOBODY
from tracer_targets import Demo

ENDED = re.compile(
    r"^demo-qemu-loop: (?P<path>.*): (?P<events>\d+) events of (?P<threads>\d+) threads"
    r", (?P<lost>\d+) lost\n",
    re.MULTILINE,
)
Done = "subprocess.CompletedProcess[str]"


def demo_run(*args: object, user: Sequence[str] = (), **more: Any) -> Done:
    return subprocess.run(
        [*user, str(DEMO), *(str(arg) for arg in args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=HANG_S,
        check=False,
        **more,
    )


def record(out: Path, scenario: str, iterations: int, *args: object) -> Done:
    words = ("--record", out, "--scenario", scenario, "--iterations", iterations)
    done = demo_run(*words, *args)
    assert done.returncode == 0, done.stderr
    return done


def ended(text: str) -> Dict[str, int]:
    match = ENDED.fullmatch(text)
    assert match, text
    return {key: int(match[key]) for key in ("events", "threads", "lost")}


# --- the same as loopscope ------------------------------------------------------------------------

Sequences = Dict[int, List[Tuple[str, Tuple[Tuple[str, int], ...]]]]


def sequences(recording: Path) -> Sequences:
    """Of each thread, its events in their order: name and arguments."""
    found: Sequences = {}
    for event in events(recording, *probe_names()):
        arguments = tuple(sorted(event.fields.items()))
        found.setdefault(event.tid, []).append((event.name, arguments))
    return found


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    "scenario, iterations, threads",
    [
        ("five-sources", 115, 3),
        ("many-fds", 60, 1),
        ("deleted-handler", 40, 1),
        ("busy", 200, 1),
        ("spin-bh", 50, 1),
        ("thread-pool", 20, 2),
        ("coroutines", 20, 2),
        ("busy-polling", 20, 2),
        ("virtio", 20, 3),
    ],
)
def test_both_recorders_at_once_record_the_same(
    tmp_path: Path, scenario: str, iterations: int, threads: int
) -> None:
    """Every event of every thread, its arguments and its place among the thread's others."""
    command = ("--scenario", scenario, "--iterations", iterations)
    done = record_command(
        tmp_path / "theirs", DEMO, "--record", tmp_path / "own", *command
    )
    own_line, done.err = split_own_line(done.err)
    assert said(done).lost == ended(own_line)["lost"] == 0
    own, theirs = sequences(tmp_path / "own"), sequences(tmp_path / "theirs")
    assert set(own) == set(theirs) and len(own) >= threads
    for tid, sequence in own.items():
        assert sequence == theirs[tid]
    assert sum(map(len, own.values())) > 10 * iterations
    own_names, their_names = symbols(tmp_path / "own"), symbols(tmp_path / "theirs")
    # A recorder that came before the libraries does not know their functions.
    assert their_names.items() <= own_names.items() and len(their_names) > 10


@pytest.mark.usefixtures("root")
def test_a_tracer_that_comes_and_goes_leaves_the_own_recording_alone(
    tmp_path: Path,
) -> None:
    """A semaphore is a count: while one listener is left, it is raised."""
    with Demo("signal", "--record", tmp_path / "own") as target:
        target.wait_asleep()
        for part in ("before", "traced", "after"):
            with contextlib.ExitStack() as stack:
                if part == "traced":
                    theirs = tmp_path / "theirs"
                    recorder = stack.enter_context(Recorder(target.pid, theirs))
                for _ in range(5):
                    os.kill(target.pid, signal.SIGALRM)
                    settle(target.pid)
                if part == "traced":
                    assert recorder.end().lost == 0
        os.kill(target.pid, signal.SIGTERM)
        target.result()
        assert ended(target.said())["lost"] == 0
    dispatches = ("signal_dispatch", "handler_begin", "handler_end")
    own, their = (events(tmp_path / name, *dispatches) for name in ("own", "theirs"))
    assert [e.name for e in own].count("signal_dispatch") == 15
    assert [e.name for e in their].count("signal_dispatch") == 5
    in_between = [(e.name, e.fields) for e in own][15:30]
    assert in_between == [(e.name, e.fields) for e in their]


def split_own_line(err: str) -> Tuple[str, str]:
    """The demo and loopscope write to one stderr."""
    lines = err.splitlines(keepends=True)
    own = [line for line in lines if line.startswith("demo-qemu-loop: ")]
    return "".join(own), "".join(line for line in lines if line not in own)


def symbols(recording: Path) -> Dict[int, Tuple[str, int]]:
    return {e["addr"]: (e["name"], e["offset"]) for e in events(recording, "symbol")}


# --- without a privilege --------------------------------------------------------------------------


@pytest.fixture
def place_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    path.chmod(0o777)
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.mark.usefixtures("root")
def test_an_ordinary_user_records(place_of_nobody: Path) -> None:
    """As nobody, without one capability: every event of five-sources, counted by three readers."""
    out = place_of_nobody / "r"
    user = (*NOBODY, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")
    words = ("--scenario", "five-sources", "--iterations", 115, "--vnc", f"{out}.vnc")
    done = demo_run("--record", out, *words, user=user)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_uid == 65534
    expected = sums(five_sources_counts(115))
    assert report_counts(report(out)) == expected
    assert babeltrace_counts(out) == expected
    summary = ended(done.stderr)
    assert (summary["threads"], summary["lost"]) == (3, 0)
    assert summary["events"] == events_in_packets(out) == babeltrace(out)[0]
    assert babeltrace(out)[1] == []


def test_events_by_thread(tmp_path: Path) -> None:
    """Main loop, io0 and the vCPU have theirs, however soon they end."""
    record(tmp_path / "r", "five-sources", 115)
    tids = {e["name"]: e["of_tid"] for e in events(tmp_path / "r", "thread")}
    names = {"demo-qemu-loop": "main", "IO io0": "io0", "CPU 0/DEMO": "other"}
    assert set(tids) == set(names)
    found = Counter((e.name, e.tid) for e in events(tmp_path / "r", *probe_names()))
    for name, per_thread in five_sources_counts(115).items():
        for comm, thread in names.items():
            assert found[name, tids[comm]] == per_thread[thread], (name, comm)


def test_report_has_names_for_everything(tmp_path: Path) -> None:
    """Threads, contexts, sources, callbacks: no address is left to the reader."""
    record(tmp_path / "r", "five-sources", 90)
    text = report(tmp_path / "r").out
    for name in (
        *("demo-qemu-loop", "IO io0"),
        *("qemu_aio_context", "iohandler_ctx", "io0"),
        *("five_bh_cb", "sigfd_handler", "five_io0_bh", "aio-context"),
    ):
        assert f'"{name}"' in text, name
    callbacks = report(tmp_path / "r").of_type("callback")
    assert len(callbacks) > 10
    assert not [row for row in callbacks if re.match("0x", str(row["callback"]))]
    metadata = (tmp_path / "r" / "metadata").read_text()
    assert f'target_exe = "{DEMO}"' in metadata
    notes = subprocess.check_output(["readelf", "-n", str(DEMO)], text=True)
    build_id = re.search(r"Build ID: (\w+)", notes)
    assert build_id and f'target_build_id = "{build_id[1]}"' in metadata


def test_it_changes_nothing_that_is_computed_or_numbered(tmp_path: Path) -> None:
    """The counts are those of a run that is not recorded, and so are the descriptors."""
    plain = demo_run("--scenario", "five-sources", "--iterations", 94)
    done = record(tmp_path / "r", "five-sources", 94)
    assert done.stdout.split("\n")[1:] == plain.stdout.split("\n")[1:]
    links = []
    for args in ((), ("--record", tmp_path / "live")):
        with Demo("five-sources", *args) as target:
            target.wait_asleep()
            fds = sorted(int(fd) for fd in os.listdir(f"/proc/{target.pid}/fd"))
            links.append([(fd, kind(fd_link(target.pid, fd))) for fd in fds if fd > 2])
    assert links[0] == links[1] and len(links[0]) >= 5


def kind(link: str) -> str:
    return re.sub(r"\d+", "N", link)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_program_and_recording(tmp_path: Path, number: int) -> None:
    with Demo("five-sources", "--record", tmp_path / "r") as target:
        target.wait_asleep()
        os.kill(target.pid, number)
        target.result()
        summary = ended(target.said())
    assert summary["lost"] == 0
    assert summary["events"] == events_in_packets(tmp_path / "r")
    phases = [e["phase"] for e in events(tmp_path / "r", "iothread_state")]
    assert phases == [1, 2, 4, 5]  # created, polling, stopping, stopped
    begun, done = (
        len(events(tmp_path / "r", name))
        for name in ("iteration_begin", "iteration_end")
    )
    assert begun == done > 0


def test_a_killed_program_leaves_all_but_the_last_moment(tmp_path: Path) -> None:
    """It sleeps when SIGKILL comes: everything it did was written, its sleep is the last event."""
    with Demo("five-sources", "--record", tmp_path / "r") as target:
        target.wait_asleep()
        main = tmp_path / "r" / f"thread-{target.pid}"
        wait_until(
            lambda: main.exists()
            and last_of(tmp_path / "r", target.pid) == "poll_enter",
            "its sleep is written",
        )
        pid = target.pid
    assert last_of(tmp_path / "r", pid) == "poll_enter"
    assert report(tmp_path / "r").total["lost"] == 0
    assert babeltrace(tmp_path / "r") == (events_in_packets(tmp_path / "r"), [])


def last_of(recording: Path, tid: int) -> str:
    return [e for e in events(recording, *probe_names()) if e.tid == tid][-1].name


def test_a_program_killed_at_full_speed_leaves_whole_packets(tmp_path: Path) -> None:
    with Demo("spin-bh", "--record", tmp_path / "r") as target:
        main = tmp_path / "r" / f"thread-{target.pid}"
        wait_until(
            lambda: main.exists() and main.stat().st_size > 1 << 20, "1 MiB is written"
        )
    count = events_in_packets(tmp_path / "r")
    printed, losses = babeltrace(tmp_path / "r")
    assert printed == count > 10000
    assert report(tmp_path / "r").total["lost"] == sum(losses)


# --- losses ---------------------------------------------------------------------------------------


def test_losses_are_counted_and_shown(tmp_path: Path) -> None:
    """A buffer for some 80 events: what was lost and what was not are all there were."""
    all_events = sum(sums(five_sources_counts(115)).values())
    done = record(tmp_path / "r", "five-sources", 115, "--record-buffer", 4)
    lost = ended(done.stderr)["lost"]
    kept = sum(babeltrace_counts(tmp_path / "r").values())
    assert lost > 0 and kept + lost == all_events
    assert report(tmp_path / "r").total["lost"] == lost
    assert sum(babeltrace(tmp_path / "r")[1]) == lost
    of_streams = [list(packets(path))[-1][1] for path in streams(tmp_path / "r")]
    assert sum(of_streams) == lost


# --- what cannot be written -----------------------------------------------------------------------


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))


def test_what_cannot_be_written_does_not_stop_the_program(tmp_path: Path) -> None:
    """A file that may not grow: one line says so, all counts are right, whole packets are there."""
    words = ("--record", tmp_path / "r", "--scenario", "five-sources")
    done = demo_run(*words, "--iterations", 900, preexec_fn=limit_files)
    assert done.returncode == 0
    assert "iterations=900\nbh_calls=200\n" in done.stdout
    failure, summary = done.stderr.splitlines(keepends=True)
    expected = f"{tmp_path / 'r'}: File too large; what is there can be read\n"
    assert failure == f"demo-qemu-loop: {expected}"
    assert ended(summary)["lost"] > 0
    assert all(path.stat().st_size <= 16384 for path in streams(tmp_path / "r"))
    count = events_in_packets(tmp_path / "r")
    assert babeltrace(tmp_path / "r") == (count, [ended(summary)["lost"]])
    assert ended(summary)["events"] == count


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("cannot mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_does_not_stop_the_program(small_disk: Path) -> None:
    words = ("--record", small_disk / "r", "--scenario", "five-sources")
    done = demo_run(*words, "--iterations", 900)
    assert done.returncode == 0
    assert "iterations=900\nbh_calls=200\n" in done.stdout
    failure, summary = done.stderr.splitlines(keepends=True)
    assert "No space left on device; what is there can be read" in failure
    lost = ended(summary)["lost"]
    assert report(small_disk / "r").total["lost"] == lost > 0
    assert babeltrace(small_disk / "r")[0] == events_in_packets(small_disk / "r")


def test_a_recording_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "something").touch()
    for path, why in (
        (tmp_path / "r", "is not an empty directory: a recording is not overwritten"),
        (tmp_path / "no" / "r", "No such file or directory"),
    ):
        done = demo_run("--record", path, "--scenario", "signal", "--iterations", 1)
        assert (done.returncode, done.stdout) == (1, "")
        assert str(path) in done.stderr and why in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_program_without_probes_says_so(tmp_path: Path) -> None:
    bare = DEMO.with_name("demo-qemu-loop-noprobes")
    if not bare.exists():
        pytest.skip("demo-qemu-loop-noprobes is not built: make check-unit-demo does")
    words = ["--record", str(tmp_path / "r"), "--scenario", "signal"]
    done = subprocess.run(
        [str(bare), *words], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode == 1
    assert "built without probes" in done.stderr
    assert not (tmp_path / "r").exists()
