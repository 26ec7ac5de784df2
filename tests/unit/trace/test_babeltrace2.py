# SPDX-License-Identifier: MIT
"""babeltrace2 reads what we write, and sees in it what our reader sees."""

import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from conftest import ROOT

EACH = 23
THREADS = 3
FIRST_NS = 1000000000
ODD = '/usr/bin/"odd"\\name\n\x01\u00e9'


def command(build, *args):
    return [str(build / "tests" / "unit" / "trace" / "recording-tool"), *map(str, args)]


def tool(build, *args, **options):
    options = {"capture_output": True, "text": True, "check": True, **options}
    return subprocess.run(command(build, *args), **options)


def babeltrace2(path):
    """The number of events it sees, and the counts of its warnings of lost ones."""
    done = subprocess.run(
        ["babeltrace2", str(path)], capture_output=True, text=True, check=True
    )
    warnings = done.stderr.splitlines()
    lost = [
        int(re.match(r"WARNING: Tracer discarded (\d+) events", w)[1]) for w in warnings
    ]
    return len(done.stdout.splitlines()), lost


@pytest.fixture(scope="module")
def bt2():
    return pytest.importorskip("bt2", reason="python3-bt2 is not installed")


@pytest.fixture(scope="module")
def recording(build, tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "r"
    tool(build, "write", path)
    return path


def value(field, number, n):
    """The rule of tests/unit/trace/recording.c."""
    if field.is_text:
        return f"text {number} \u00e9\n"
    if field.names and not field.names.is_flags:
        return n % len(field.names.values)
    number += (1 << 40) if field.type.bits == 64 else 0
    return -number if field.type.signed else number


def expected_events(table):
    time_ns = FIRST_NS
    for n in range(EACH):
        for event in table.events:
            fields = {
                field.name: value(field, event.id * 1000 + i * 100 + n, n)
                for i, field in enumerate(event.fields)
            }
            yield time_ns, time_ns // 10 % THREADS, event.name, fields
            time_ns += 10


def test_it_sees_every_event_with_every_value(bt2, table, recording):
    seen = []
    for message in bt2.TraceCollectionMessageIterator(str(recording)):
        if type(message) is not bt2._EventMessageConst:
            continue
        event = message.event
        fields = {name: field for name, field in event.payload_field.items()}
        for name, field in fields.items():
            fields[name] = (
                str(field) if isinstance(field, bt2._StringFieldConst) else int(field)
            )
        clock = message.default_clock_snapshot.value
        seen.append((clock, int(event.common_context_field["tid"]), event.name, fields))
    assert seen == list(expected_events(table))
    assert set(Counter(name for _, _, name, _ in seen).values()) == {EACH}


def test_our_reader_sees_the_same(build, table, recording):
    lines = tool(build, "read", recording).stdout.splitlines()
    expected = [
        f"{time_ns} {tid} {name} "
        + " ".join(str(v).rstrip("\n") for v in fields.values())
        for time_ns, tid, name, fields in expected_events(table)
    ]
    assert lines[:-1] == expected
    assert lines[-1] == f"total {len(expected)} 0"


def test_it_names_values_and_environment(bt2, recording):
    for message in bt2.TraceCollectionMessageIterator(str(recording)):
        if type(message) is bt2._StreamBeginningMessageConst:
            environment = dict(message.stream.trace.environment)
            assert environment["target_exe"] == ODD
            assert environment["target_build_id"] == "0123abcd"
            assert environment["trace_format"] == 1
            assert {"tracer_name", "tracer_version", "host_kernel"} < set(environment)
    text = subprocess.run(
        ["babeltrace2", str(recording)], capture_output=True, text=True
    )
    assert re.search(r'by = \( "timer" : container = 4 \)', text.stdout)
    assert re.search(
        r"fd_ready: \{ tid = \d \}, \{ ctx = 0x\w+, fd = -\d+, events = 0x", text.stdout
    )


def test_the_documented_script_counts_events(bt2, table, recording):
    pages = [ROOT / "docs" / "trace-format.md"]
    page = next(page for page in pages if page.exists()).read_text()
    script = page.split("```python\n")[1].split("```")[0]
    shown = subprocess.run(
        [sys.executable, "-c", script, str(recording)],
        capture_output=True,
        text=True,
        check=True,
    )
    counts = [int(line.split()[0]) for line in shown.stdout.splitlines()]
    assert sum(counts) == len(table.events) * EACH


def test_it_has_nothing_to_warn_of(bt2, recording):
    done = subprocess.run(
        ["babeltrace2", str(recording)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        ["babeltrace2", "-o", "ctf", "-w", str(recording) + "-copy", str(recording)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_lost_events_are_counted_alike(build, table, tmp_path):
    tool(build, "write", tmp_path / "r", 1234)
    total = len(table.events) * EACH
    assert babeltrace2(tmp_path / "r") == (total, [1234] * THREADS)
    ours = tool(build, "read", tmp_path / "r").stdout.splitlines()[-1]
    assert ours == f"total {total} {1234 * THREADS}"


def test_a_full_disk_ends_the_recording_but_not_its_use(build, tmp_path):
    def small_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (50 * 1024 + 1000, resource.RLIM_INFINITY)
        )

    flood = tool(build, "flood", tmp_path / "r", 20000, preexec_fn=small_disk)
    written, discarded, errors = map(int, flood.stdout.split())
    assert (written + discarded, errors) == (20000, 1)
    assert written > 0
    assert babeltrace2(tmp_path / "r") == (written, [discarded])
    ours = tool(build, "read", tmp_path / "r").stdout.splitlines()[-1]
    assert ours == f"total {written} {discarded}"


def test_a_killed_writer_leaves_whole_packets(build, tmp_path):
    stream = tmp_path / "r" / "thread-0"
    with subprocess.Popen(command(build, "flood", tmp_path / "r", 1 << 60)) as writer:
        while not stream.exists() or stream.stat().st_size < 64 * 4096:
            time.sleep(0.001)
        writer.kill()
    assert stream.stat().st_size % 4096 == 0
    for file in (tmp_path / "r").glob("thread-*"):  # it may have written for long
        with open(file, "r+b") as whole:
            whole.truncate(64 * 4096)
    events, lost = babeltrace2(tmp_path / "r")
    ours = tool(build, "read", tmp_path / "r").stdout.splitlines()[-1]
    assert (ours, lost) == (f"total {events} 0", [])
