# SPDX-License-Identifier: MIT
"""loopscope report from outside: the text, the rows, what babeltrace2 counts, what is refused."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("BUILD", ROOT / "build"))
FINE, USAGE, PRIVILEGE, FAILED = 0, 2, 3, 4
COLUMNS = 100
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def write(name, path, *args):
    tool = BUILD / "tests" / "unit" / "report" / "workload-tool"
    subprocess.run([tool, name, path, *map(str, args)], check=True)
    return path


def report(*args, rc=FINE):
    done = subprocess.run(
        [BUILD / "loopscope", "report", *map(str, args)], capture_output=True, text=True
    )
    assert done.returncode == rc, done.stderr
    if rc == FINE:
        assert done.stderr == ""
        return done.stdout
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def rows(path):
    return [json.loads(line) for line in report(path, "--json").splitlines()]


def of_type(all_rows, kind):
    return [row for row in all_rows if row["type"] == kind]


@pytest.fixture(scope="module", name="known")
def fixture_known(tmp_path_factory):
    return write("known", tmp_path_factory.mktemp("known") / "r")


@pytest.fixture(scope="module", name="hostile")
def fixture_hostile(tmp_path_factory):
    return write("hostile", tmp_path_factory.mktemp("hostile") / "r")


def test_rows_of_a_known_workload(known):
    all_rows = rows(known)
    types = [row["type"] for row in all_rows]
    assert types[0] == "recording" and types[-1] == "total"
    assert set(types) == {
        *(
            "recording",
            "loop",
            "callback",
            "timeout",
            "wakeup",
            "bql",
            "event_count",
            "total",
        )
    }

    recording, total = all_rows[0], all_rows[-1]
    assert (
        recording["exe"] == "/usr/bin/qemu-system-x86_64" and recording["pid"] == "100"
    )
    assert (recording["lost"], recording["threads"], recording["damaged"]) == (0, 1, [])
    assert (total["iterations"], total["lost"], total["loops"]) == (23, 0, 1)
    assert (total["unfinished"], total["unbegun"]) == (0, 0)

    (loop,) = of_type(all_rows, "loop")
    assert (loop["loop"], loop["thread"], loop["iterations"]) == ("main loop", 100, 23)
    assert loop["timeouts"]["<10 ms"] == 23
    shares = [
        key
        for key in loop
        if key.endswith("_ns") and key not in ("span_ns", "at_end_for_ns")
    ]
    assert sum(loop[key] for key in shares) == loop["span_ns"]

    handler, bh, timer = of_type(all_rows, "callback")
    assert (handler["callback"], handler["fd"], handler["op"], handler["count"]) == (
        *("virtio_queue_host_notifier_read", 14, "read", 11),
    )
    assert (handler["total_ns"], handler["own_ns"], handler["max_ns"]) == (
        *(11_000_000, 6_600_000, 1_000_000),
    )
    assert handler["histogram"] == [{"from_ns": 1 << 19, "count": 11}]
    assert handler["ctx"] == "qemu_aio_context" and handler["ctx_addr"] == "0xc100"
    assert (bh["kind"], bh["callback"], bh["fd"]) == ("BH", "bdrv_co_drain_bh_cb", None)
    assert (timer["count"], timer["late"]["max_ns"]) == (12, 20_000)

    causes = {row["cause"]: row["count"] for row in of_type(all_rows, "wakeup")}
    assert causes == {"fd": 11, "timeout": 12}
    (bql,) = of_type(all_rows, "bql")
    assert (bql["wait"]["count"], bql["hold"]["max_ns"]) == (23, 1_018_000)


def test_the_text_says_the_same(known):
    text = report(known)
    assert "317 events of 1 thread, none lost" in text
    assert re.search(
        r"^main loop +100 +23 +102 +50\.9 % +10\.2 % +0\.1 % +38\.8 %$", text, re.M
    )
    assert "Waits: 11 found fds ready, 12 timed out" in text
    assert re.search(
        r"^ +11  fd 14 \(eventfd\): virtio_queue_host_notifier_read$", text, re.M
    )
    assert re.search(r"^ +12  timeout of timer gui_update$", text, re.M)
    assert re.search(
        r"^100 +virtio_queue_host_notifier_read +fd 14 eventfd +11 +11\.0 ms",
        text,
        re.M,
    )
    assert "own 6.60 ms, the rest in what it called" in text
    assert re.search(r"^  from  524 us +11  #{50}$", text, re.M)
    assert "Without a single event: io0 (thread 101)" in text
    assert "unfinished" not in text and "LOST" not in text


def test_equal_callbacks_and_causes_are_one_row(tmp_path):
    path = write("queues", tmp_path / "r")
    text, every = report(path), report(path, "--all")
    queue = "virtio_queue_host_notifier_read"
    assert re.search(rf"^ +71  71 fds: {queue}$", text, re.M)
    assert re.search(rf"^100 +{queue} +71 fds +71 +6\.39 ms ", text, re.M)
    assert len(re.findall(rf"^ +1  fd \d+: {queue}$", every, re.M)) == 71
    assert len(re.findall(rf"^100 +{queue} +fd \d+ +1 +90\.0 us", every, re.M)) == 71
    all_rows = rows(path)
    assert len(of_type(all_rows, "callback")) == len(of_type(all_rows, "wakeup")) == 71


@pytest.mark.parametrize("name", ["known", "hostile"])
def test_no_line_is_wider_than_a_screen(name, request):
    path = request.getfixturevalue(name)
    for options in ([], ["--events"], ["--histograms"], ["--all"]):
        for line in report(path, *options).splitlines():
            assert len(line) <= COLUMNS, line


def test_names_cannot_drive_a_terminal(hostile):
    assert not CONTROL.search(report(hostile, "--events", "--all", "--histograms"))
    for line in report(hostile, "--json").splitlines():
        assert not CONTROL.search(json.dumps(json.loads(line), ensure_ascii=False))


@pytest.mark.parametrize("name", ["known", "hostile"])
def test_babeltrace2_counts_the_same_events(name, request):
    path = request.getfixturevalue(name)
    if not shutil.which("babeltrace2"):
        pytest.skip("babeltrace2 is not installed")
    done = subprocess.run(["babeltrace2", path], capture_output=True, check=True)
    lines = done.stdout.decode(errors="replace")
    theirs = Counter(re.findall(r"^\[[\d:.]+\] \(\S+\) (\w+): ", lines, re.M))
    all_rows = rows(path)
    ours = {row["event"]: row["count"] for row in of_type(all_rows, "event_count")}
    assert {event: count for event, count in ours.items() if count} == dict(theirs)
    assert sum(theirs.values()) == all_rows[-1]["events"]


def test_every_kind_of_event_is_listed(known):
    table = (ROOT / "trace" / "loop.probes").read_text()
    kinds = re.findall(r"^(?:probe|record) \d+ (\w+)\(", table, re.M)
    assert [row["event"] for row in of_type(rows(known), "event_count")] == kinds
    text = report(known, "--events")
    for kind in kinds:
        assert re.search(rf"^{kind} ", text, re.M)


def test_lost_events_are_the_first_thing_said(tmp_path):
    tool = BUILD / "tests" / "unit" / "trace" / "recording-tool"
    subprocess.run([tool, "write", tmp_path / "r", "5"], check=True)
    text = report(tmp_path / "r")
    assert "LOST 15 events, 5 of thread 1, 5 of thread 2" in "\n".join(
        text.splitlines()[:5]
    )
    assert rows(tmp_path / "r")[-1]["lost"] == 15


def test_a_cut_recording_says_what_is_missing(known, tmp_path):
    path = shutil.copytree(known, tmp_path / "r")
    stream = path / "thread-100"
    stream.write_bytes(stream.read_bytes()[: 2 * 4096 + 17])
    text = report(path)
    assert "CUT: 17 bytes after a last whole packet" in text
    recording = rows(path)[0]
    assert recording["cut_bytes"] == 17 and 0 < recording["events"] < 317


def test_a_damaged_stream_ends_there(known, tmp_path):
    path = shutil.copytree(known, tmp_path / "r")
    stream = path / "thread-100"
    stream.write_bytes(stream.read_bytes()[:4096] + b"\xff" * 4096)
    assert "DAMAGED thread-100: packet 1: not a packet" in report(path)
    assert rows(path)[0]["damaged"] == ["thread-100: packet 1: not a packet"]


def refused_paths(known, tmp_path):
    """(path, what has to be said)"""
    empty = tmp_path / "empty"
    empty.mkdir()
    newer = shutil.copytree(known, tmp_path / "newer")
    text = (newer / "metadata").read_text()
    (newer / "metadata").write_text(
        re.sub(r"trace_format = \d+", "trace_format = 99", text)
    )
    no_event = tmp_path / "no-event"
    no_event.mkdir()
    shutil.copy(known / "metadata", no_event)
    stub = shutil.copytree(known, tmp_path / "stub")
    for stream in stub.glob("thread-*"):
        stream.write_bytes(stream.read_bytes()[:4095])
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "metadata").write_text("hello")
    return [
        (tmp_path / "absent", "No such file or directory"),
        (known / "metadata", "Not a directory"),
        (empty, "no metadata"),
        (newer, "format 99, this program reads format 1"),
        (no_event, "no event in it"),
        (stub, "cut before its first packet was whole"),
        (foreign, "not understood"),
    ]


def test_what_cannot_be_read_is_one_line(known, tmp_path):
    for path, said in refused_paths(known, tmp_path):
        line = report(path, rc=FAILED)
        assert said in line and str(path) in line, line
        assert report(path, "--json", rc=FAILED) == line


def test_wrong_usage():
    assert "directory of a recording" in report(rc=USAGE)
    assert "directory of a recording" in report("-p", "1", rc=USAGE)
    assert "too much" in report("a", "b", rc=USAGE)


def test_a_full_pipe_is_no_crash(known):
    done = subprocess.run(
        f"'{BUILD}/loopscope' report '{known}' --json | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.returncode == FINE and json.loads(done.stdout)["type"] == "recording"


def test_nested_waits_are_a_tree(tmp_path):
    """The demo's nested-drain: a handler waits, and what ends its wait runs inside of it."""
    path = tmp_path / "r"
    command = [BUILD / "demo-qemu-loop", "--record", path, "--scenario", "nested-drain"]
    subprocess.run([*command, "--iterations", "5"], check=True, capture_output=True)
    tree = of_type(rows(path), "nested_call")
    by_number = {row["number"]: row for row in tree}
    wait = [row for row in tree if row["kind"] == "AIO_WAIT_WHILE"]
    assert [(row["count"], row["unfinished"]) for row in wait] == [(5, 0)]
    assert by_number[wait[0]["inside"]]["what"] == "monitor_read"
    poll = [row for row in tree if row["kind"] == "aio_poll"][0]
    assert poll["inside"] == wait[0]["number"]
    inside = {row["what"] for row in tree if row["inside"] == poll["number"]}
    assert {"request_bh", "request_read", "request_timer_cb"} <= inside
    for row in tree:
        children = [r["total_ns"] for r in tree if r["inside"] == row["number"]]
        assert sum(children) <= row["total_ns"]
    text = report(path)
    assert re.search(r"^\d+ +AIO_WAIT_WHILE at monitor_read\S* +5 ", text, re.M)
    assert all(len(line) <= COLUMNS for line in text.splitlines())


def test_two_recordings_side_by_side(known, tmp_path):
    """Once more, and a recording that has other callbacks."""
    other = write("queues", tmp_path / "r")
    diff = [
        json.loads(x) for x in report(known, "--diff", other, "--json").splitlines()
    ]
    assert [r["side"] for r in of_type(diff, "recording")] == ["a", "b"]
    only = {
        (r["loop"], r["callback"]): r["only"] for r in of_type(diff, "diff_callback")
    }
    handler = "virtio_queue_host_notifier_read"
    # "queues" has no name for its loop.
    assert only == {
        ("main loop", handler): "gone",
        ("main loop", "bdrv_co_drain_bh_cb"): "gone",
        ("main loop", "gui_update"): "gone",
        ("loop", handler): "new",
    }
    assert (diff[-1]["new"], diff[-1]["gone"], diff[-1]["lost"]) == (1, 3, 0)
    new = [r for r in of_type(diff, "diff_callback") if r["only"] == "new"][0]
    assert new["a"] is None
    assert (new["b"]["count"], new["b"]["p50_ns"]) == (71, 90_000)

    same = [
        json.loads(x) for x in report(known, "--diff", known, "--json").splitlines()
    ]
    for row in same:
        if row["type"].startswith("diff_"):
            assert row["a"] == row["b"] and row["only"] is None
    loop = of_type(same, "diff_loop")[0]
    assert loop["a"]["count"] == 23 and loop["a"]["asleep_ns"] == 23 * 5_000_000
    timeouts = {r["chooser"]: r["a"]["count"] for r in of_type(same, "diff_timeout")}
    assert timeouts == {"timer gui_update": 23}
    causes = {r["words"]: r["a"]["count"] for r in of_type(same, "diff_wakeup")}
    handler_fd = "fd (eventfd): virtio_queue_host_notifier_read"
    assert causes == {"timeout of timer gui_update": 12, handler_fd: 11}
    (lock,) = of_type(same, "diff_bql")
    assert lock["site"] == "os_host_main_loop_wait" and lock["b"]["count"] == 23
    assert lock["b"]["wait"]["max_ns"] == 10_000
    assert lock["b"]["hold"]["count"] == 23


def test_a_difference_as_text(known, hostile, tmp_path):
    other = write("gaps", tmp_path / "gaps")
    for path in (known, hostile, other):
        text = report(known, "--diff", path)
        assert not CONTROL.search(text)
        assert all(len(line) <= COLUMNS for line in text.splitlines())
        assert text.startswith(f"A: {known}: qemu-system-x86_64, ")
    text = report(known, "--diff", other)
    assert re.search(r"^B: .*, 40 lost$", text, re.M | re.S)
    assert re.search(r"^BH 0x\w+ +- +\S+ +new ", text, re.M)
    assert re.search(
        r"^timer gui_update .* \+0 % ", report(known, "--diff", known), re.M
    )
    same = report(known, "--diff", known)
    assert re.search(r"^timeout of timer gui_update .* \+0 %  main loop$", same, re.M)
    assert re.search(r"^os_host_main_loop_wait .* 10.0 us +10.0 us ", same, re.M)
    assert "No such file" in report(known, "--diff", tmp_path / "none", rc=FAILED)
    assert "--diff goes with" in report(known, "--diff", known, "--events", rc=USAGE)
