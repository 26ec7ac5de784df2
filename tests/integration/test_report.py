"""Recordings of real runs, reported: what the target says it did is what the report says."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Dict, List

import pytest
from tracer_run import COLUMNS, DEMO, HANG_S, LOOPSCOPE, Result, Row, run
from tracer_targets import Qemu, summary

ITERATIONS = 23
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def babeltrace2(path: Path) -> Dict[str, int]:
    """Its count of every kind of event; it must have nothing to complain of."""
    if not shutil.which("babeltrace2"):
        pytest.skip("babeltrace2 is not installed")
    done = subprocess.run(
        ["babeltrace2", path], capture_output=True, check=True, timeout=HANG_S
    )
    assert done.stderr == b""
    lines = done.stdout.decode(errors="replace")
    return dict(Counter(re.findall(r"^\[[\d:.]+\] \(\S+\) (\w+): ", lines, re.M)))


def counts(report: Result) -> Dict[str, int]:
    return {row["event"]: row["count"] for row in report.of_type("event_count")}


def calls(report: Result, name: str) -> int:
    return sum(
        row["count"] for row in report.of_type("callback") if row["callback"] == name
    )


def check_text(path: Path) -> str:
    for options in ([], ["--events", "--all", "--histograms"]):
        text = run("report", path, *options).fine().out
        assert not CONTROL.search(text)
        assert all(len(line) <= COLUMNS for line in text.splitlines())
    return run("report", path).out


def check_sums(report: Result) -> None:
    """What adds up in every recording that has lost nothing."""
    for loop in report.of_type("loop"):
        parts = [
            k
            for k in loop
            if k.endswith("_ns") and k not in ("span_ns", "at_end_for_ns")
        ]
        assert sum(loop[key] for key in parts) == loop["span_ns"], loop
        assert sum(loop["timeouts"].values()) == loop["iterations"]
        chosen = [
            row for row in report.of_type("timeout") if row["thread"] == loop["thread"]
        ]
        assert sum(row["count"] for row in chosen) == loop["iterations"]
    ours = counts(report)
    assert sum(ours.values()) == report.total["events"]
    assert report.total["iterations"] == ours["poll_enter"]
    assert report.total["lost"] == 0


@pytest.fixture(scope="module", name="five")
def fixture_five(
    root: None, tmp_path_factory: pytest.TempPathFactory
) -> Dict[str, object]:
    """five-sources, 23 iterations, recorded: what it said of itself, and the recording."""
    path = tmp_path_factory.mktemp("five") / "r"
    command = [
        LOOPSCOPE,
        "record",
        "-o",
        path,
        "--",
        DEMO,
        "--scenario",
        "five-sources",
    ]
    done = subprocess.run(
        [*command, "--iterations", str(ITERATIONS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
    )
    return {"path": path, "said": {k: int(v) for k, v in summary(done.stdout).items()}}


def test_the_demos_own_counts(five: Dict[str, object]) -> None:
    report = run("report", five["path"], "--json").fine()
    said: Dict[str, int] = five["said"]  # type: ignore[assignment]
    main = report.of_type("loop")[0]
    assert (main["loop"], main["iterations"]) == ("main loop", ITERATIONS)
    assert (
        main["iteration_begins"]
        == main["iteration_ends"]
        == ITERATIONS
        == said["iterations"]
    )
    assert calls(report, "five_bh_cb") == said["bh_calls"]
    assert calls(report, "five_device_timer_cb") == said["device_timers"]
    assert calls(report, "five_context_timer_cb") == said["context_timers"]
    assert calls(report, "vnc_listen_io") == said["vnc_connections"]
    assert calls(report, "sigfd_handler") == said["signals"]
    assert calls(report, "five_io0_bh") == said["io0_bh_calls"]
    assert calls(report, "five_reply_bh") == said["io0_replies"]
    check_sums(report)


def test_what_ended_the_demos_waits(five: Dict[str, object]) -> None:
    report = run("report", five["path"], "--json").fine()
    said: Dict[str, int] = five["said"]  # type: ignore[assignment]
    main = report.of_type("loop")[0]["thread"]
    rows: List[Row] = [row for row in report.of_type("wakeup") if row["thread"] == main]

    def by(cause: str, **fields: object) -> int:
        chosen = [
            r for r in rows if r["cause"] == cause and fields.items() <= r.items()
        ]
        return sum(row["count"] for row in chosen)

    assert by("fd", callback="sigfd_handler") == said["signals"]
    timer = {"chooser": "timer five_context_timer_cb"}
    # It may be due before the wait begins: then there is none.
    timer_chose = by("timeout", **timer) + by("no_sleep", **timer)
    assert timer_chose == said["context_timers"]
    assert by("unknown_fd") == by("error") == 0
    # io0's BH replies by scheduling one here: a notify from another thread.
    replies = [
        r
        for r in rows
        if r["cause"] == "notify" and r["site"].startswith("five_io0_bh")
    ]
    assert sum(row["count"] for row in replies) == said["io0_replies"]
    assert all(row["by_thread"] != main for row in replies)


def test_babeltrace2_counts_the_demos_events(five: Dict[str, object]) -> None:
    path = Path(str(five["path"]))
    ours = counts(run("report", path, "--json").fine())
    assert {event: n for event, n in ours.items() if n} == babeltrace2(path)


def test_the_demos_text(five: Dict[str, object]) -> None:
    text = check_text(Path(str(five["path"])))
    assert re.search(rf"^main loop +\d+ +{ITERATIONS} ", text, re.M)
    assert re.search(r"^IOThread( io0)? +\d+ ", text, re.M)
    assert ", none lost" in text


def test_a_real_qemu(root: None, tmp_path: Path) -> None:
    """Its monitor is spoken to: the main loop runs the commands, the monitor's IOThread reads."""
    path = tmp_path / "r"
    with Qemu() as qemu:
        words = [LOOPSCOPE, "record", "-p", qemu.pid, "-o", path]
        recorder = subprocess.Popen(
            [str(w) for w in words], stderr=subprocess.PIPE, text=True
        )
        assert recorder.stderr and "attached" in recorder.stderr.readline()
        with qemu.qmp() as qmp:
            for _ in range(ITERATIONS):
                qmp.command("query-status")
        recorder.terminate()
        assert recorder.wait(HANG_S) == 0
        recorder.stderr.close()
    report = run("report", path, "--json").fine()
    check_sums(report)
    assert report.of_type("loop")[0]["loop"] == "main loop"
    assert "IOThread mon_iothread" in [row["loop"] for row in report.of_type("loop")]
    assert calls(report, "do_qmp_dispatch_bh") >= ITERATIONS
    ours = counts(report)
    assert {event: n for event, n in ours.items() if n} == babeltrace2(path)
    check_text(path)
