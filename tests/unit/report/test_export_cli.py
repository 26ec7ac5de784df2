# SPDX-License-Identifier: MIT
"""loopscope export from outside: every format, of known recordings and of broken ones."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# pylint: disable=wrong-import-position
import exports
from exports import BUILD, export, loopscope

FINE, USAGE, FAILED = 0, 2, 4
FORMATS = [
    "text",
    "ndjson",
    "csv",
    "pftrace",
    "speedscope",
    "openmetrics",
    "prometheus",
]
SCENARIOS = {"five-sources": 23, "nested-drain": 20, "aio-wait": 5, "signal": 5}


def need(program):
    """Present, or the test is skipped; on CI that is a failure."""
    if not exports.installed(program):
        assert not os.environ.get("CI"), f"{program} is not installed"
        pytest.skip(f"{program} is not installed")


def write(name, path, *args):
    tool = BUILD / "tests" / "unit" / "report" / "workload-tool"
    subprocess.run([tool, name, path, *map(str, args)], check=True)
    return path


def write_every_kind(path, lost):
    """EACH events of every kind in three threads, no begin with its end; and LOST of each lost."""
    tool = BUILD / "tests" / "unit" / "trace" / "recording-tool"
    subprocess.run([tool, "write", path, str(lost)], check=True)
    return path


def record(scenario, path):
    """The demo records itself."""
    command = [BUILD / "demo-qemu-loop", "--record", path, "--scenario", scenario]
    command += ["--iterations", str(SCENARIOS[scenario])]
    if scenario == "five-sources":
        command += ["--vnc", path.parent / "vnc"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module", name="paths")
def fixture_paths(tmp_path_factory):
    """Recordings by name."""
    top = tmp_path_factory.mktemp("r")
    found = {n: write(n, top / n) for n in ("known", "queues", "hostile", "gaps")}
    found["lossy"] = write_every_kind(top / "lossy", 17)
    found["every"] = write_every_kind(top / "every", 0)
    found["cut"] = shutil.copytree(found["known"], top / "cut")
    stream = found["cut"] / "thread-100"
    stream.write_bytes(stream.read_bytes()[: 2 * 4096 + 17])
    found["damaged"] = shutil.copytree(found["known"], top / "damaged")
    stream = found["damaged"] / "thread-100"
    stream.write_bytes(stream.read_bytes()[:4096] + b"\xff" * 4096)
    for scenario in SCENARIOS:
        found[scenario] = record(scenario, top / scenario)
    return found


ALL = [
    "known",
    "queues",
    "hostile",
    "gaps",
    "lossy",
    "every",
    "cut",
    "damaged",
    *SCENARIOS,
]


@pytest.mark.parametrize("name", ALL)
def test_pftrace_is_what_the_report_says(paths, name):
    need("protoc")
    exports.check_pftrace(paths[name])


@pytest.mark.parametrize("name", ALL)
def test_speedscope_is_what_the_report_says(paths, name):
    exports.check_speedscope(paths[name])


@pytest.mark.parametrize("name", ALL)
def test_csv_is_what_the_report_says(paths, name):
    exports.check_csv(paths[name])


@pytest.mark.parametrize("name", ALL)
def test_metrics_are_what_the_report_says(paths, name):
    exports.check_metrics(paths[name])


@pytest.mark.parametrize("name", ALL)
def test_promtool_has_nothing_to_say(paths, name):
    need("promtool")
    assert exports.lint_metrics(paths[name]) == "0"


@pytest.mark.parametrize("name", ALL)
def test_the_reference_parser_takes_the_metrics(paths, name):
    pytest.importorskip("prometheus_client")
    assert "loopscope_polls" in exports.families(paths[name])


def test_histograms_of_a_known_workload(paths):
    pytest.importorskip("prometheus_client")
    samples = exports.families(paths["known"])["loopscope_callback_seconds"].samples
    timer = [s for s in samples if s.labels["callback"] == "gui_update"]
    buckets = {s.labels["le"]: s.value for s in timer if s.name.endswith("_bucket")}
    # 12 calls of 100 us each.
    assert buckets["0.000065535"] == 0 and buckets["0.000262143"] == 12
    assert buckets["+Inf"] == 12
    assert [s.value for s in timer if s.name.endswith("_sum")] == [0.0012]


def test_tracks_of_a_known_workload(paths):
    need("protoc")
    trace = exports.check_pftrace(paths["known"])
    threads = [t["thread"][0] for t in trace.tracks.values() if t["thread"]]
    assert [(t["pid"], t["tid"], t["name"]) for t in threads] == [
        (["100"], ["100"], ["main loop (qemu-system-x86)"])
    ]
    process = [t["process"][0] for t in trace.tracks.values() if t["process"]]
    assert [(p["pid"], p["name"]) for p in process] == [
        (["100"], ["qemu-system-x86_64"])
    ]
    # iteration > dispatch > handler > BH
    assert trace.depth == 4 and trace.unfinished == 0
    assert trace.begun[100, "iteration", "iteration"] == 23
    assert trace.begun[100, "poll", "asleep in poll"] == 23
    assert trace.counters["fds ready"] == [i % 2 for i in range(23)]
    assert trace.ns["BH", "bdrv_co_drain_bh_cb"] == 11 * 400_000


def test_nested_polls_are_nested_slices(paths):
    need("protoc")
    trace = exports.check_pftrace(paths["nested-drain"])
    nested = {c for _, c, _ in trace.begun if c in ("aio_poll", "AIO_WAIT_WHILE")}
    assert nested == {"aio_poll", "AIO_WAIT_WHILE"}
    # iteration > dispatch > source > handler > AIO_WAIT_WHILE > aio_poll > dispatch > callback
    assert trace.depth >= 8


def test_flows_lead_from_thread_to_thread(paths):
    need("protoc")
    trace = exports.check_pftrace(paths["five-sources"])
    assert trace.flows_to
    assert any(name.startswith("BHs queued in ") for name in trace.counters)
    assert all(min(values) >= 0 for values in trace.counters.values())


def test_calls_of_a_known_workload(paths):
    table = exports.check_csv(paths["known"])
    assert table[0] == {
        "begin_s": "0.005022000",
        "duration_us": "100.000",
        "own_us": "100.000",
        "thread": "100",
        "thread_name": "main loop (qemu-system-x86)",
        "context": "",
        "kind": "timer",
        "callback": "gui_update",
        "fd": "",
        "end": "",
    }
    handlers = [row for row in table if row["kind"] == "handler"]
    assert {(row["duration_us"], row["own_us"]) for row in handlers} == {
        ("1000.000", "600.000")
    }


def test_csv_of_events(paths):
    text = export(paths["known"], "csv", "--only", "fd_ready,timer_begin").decode()
    table = list(csv.DictReader(text.splitlines()))
    assert len(table) == 23
    assert list(table[0])[:3] == ["time_s", "thread", "event"]
    timer, ready = table[0], table[1]
    assert (timer["event"], timer["cb"], timer["fd"]) == (
        "timer_begin",
        "gui_update",
        "",
    )
    assert (ready["event"], ready["fd"], ready["cb"]) == ("fd_ready", "14", "")


def test_a_name_that_is_a_formula(tmp_path):
    path = write("formula", tmp_path / "r")
    text = export(path, "csv").decode()
    assert '''"'=cmd|""x"", 1"''' in text
    exports.check_all(path)


def test_output_is_complete_or_not_there(paths, tmp_path):
    out = tmp_path / "out"
    assert export(paths["known"], "csv", "-o", out) == b""
    assert out.read_bytes() == export(paths["known"], "csv")
    done = loopscope(
        "export", paths["known"], "--to", "csv", "-o", tmp_path / "no" / "x"
    )
    assert done.returncode == FAILED and done.stderr.count(b"\n") == 1
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [BUILD / "loopscope", "export", paths["known"], "--to", "speedscope"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == FAILED
    assert done.stderr == b"loopscope: standard output: No space left on device\n"
    assert list(tmp_path.iterdir()) == [out]


def peak_kib(*args):
    """The most memory that loopscope had."""
    with subprocess.Popen(
        [BUILD / "loopscope", *map(str, args)], stdout=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == FINE
    return usage.ru_maxrss


def test_memory_does_not_depend_on_length(tmp_path):
    if b"__asan_init" in (BUILD / "loopscope").read_bytes():
        pytest.skip("AddressSanitizer keeps what was freed")
    short = write("many", tmp_path / "short", 80_000)
    long = write("many", tmp_path / "long", 800_000)
    for to in FORMATS:
        peaks = [peak_kib("export", path, "--to", to) for path in (short, long)]
        assert peaks[1] < peaks[0] + 2048, (to, peaks)


def test_what_is_missing_is_said(paths):
    lossy = loopscope("export", paths["lossy"], "--to", "csv")
    assert b"INCOMPLETE: 51 events were lost" in lossy.stderr
    damaged = loopscope("export", paths["damaged"], "--to", "csv")
    assert b"DAMAGED thread-100: packet 1: not a packet" in damaged.stderr
    rows = export(paths["damaged"], "ndjson").decode().splitlines()
    assert json.loads(rows[-1])["damaged"] == 1
    assert b"DAMAGED thread-100" in export(paths["damaged"], "text")


def test_wrong_usage(paths):
    known = paths["known"]
    for args, said in (
        (["--to", "xml"], "--to takes text, ndjson, csv, pftrace"),
        (["--to", "csv", "--json"], "--json is --to ndjson"),
        (["--to", "pftrace", "--only", "notify"], "--only goes with"),
        (["--to", "csv", "--watch", "1"], "--watch needs -o"),
        (["--to", "csv", "--watch", "x"], "--watch takes seconds"),
        (["--only", "nonsense"], '"nonsense" is no event'),
    ):
        done = loopscope("export", known, *args)
        assert done.returncode == USAGE and done.stdout == b"", args
        assert said in done.stderr.decode()


def test_mutated_recordings(paths, tmp_path):
    """Bytes changed anywhere: refused with a line, or exported well nested."""
    rng = random.Random(6)
    original = paths["nested-drain"]
    streams = sorted(p.name for p in original.glob("thread-*"))
    exported = 0
    for n in range(12):
        path = shutil.copytree(original, tmp_path / str(n))
        stream = path / rng.choice(streams)
        data = bytearray(stream.read_bytes())
        for _ in range(rng.randint(1, 20)):
            # Behind the head of a packet mostly: a bad head ends the stream at once.
            data[rng.randrange(len(data))] = rng.randrange(256)
        stream.write_bytes(data)
        for to in FORMATS:
            done = loopscope("export", path, "--to", to)
            assert done.returncode in (FINE, FAILED), (n, to, done.stderr)
        if loopscope("report", path).returncode == FINE:
            exports.check_speedscope(path)
            exported += 1
    assert exported


def test_a_watch_finds_the_first_event_soon(paths, tmp_path):
    """It has looked when there was none, and its interval is long."""
    path, out = tmp_path / "r", tmp_path / "metrics"
    path.mkdir()
    shutil.copy(paths["known"] / "metadata", path)
    command = [BUILD / "loopscope", "export", path, "--to", "prometheus"]
    command += ["--watch", "86400", "-o", out]
    with subprocess.Popen(command) as watcher:
        try:
            syscall = Path(f"/proc/{watcher.pid}/syscall")
            wait_until(lambda: syscall.read_text().startswith("128 "))  # sigtimedwait
            for stream in paths["known"].glob("thread-*"):
                shutil.copy(stream, path)
            wait_until(out.exists)
            watcher.send_signal(signal.SIGINT)
            assert watcher.wait() == FINE
        finally:
            watcher.kill()
    assert "loopscope_polls_total" in out.read_text()


def wait_until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
