"""record --overhead: what a budget leaves out is said, noted in the recording, and not there."""

import re
from pathlib import Path
from typing import Set, Tuple

import pytest
from recordings import babeltrace_counts, events
from tracer_run import DEMO, FINE, USAGE, Result, run
from tracer_targets import Demo

pytestmark = pytest.mark.usefixtures("root")


def record(out: Path, percent: float) -> Tuple[Result, str]:
    """The busy demo for half a second; what was said of the budget."""
    with Demo("busy") as demo:
        options = ("-o", out, "-d", 0.5, "--overhead", percent)
        result = run("record", "-p", demo.pid, *options)
    assert result.rc == FINE, result.err
    words, attached, ended = result.err.splitlines()
    assert words.startswith(f"loopscope: --overhead {percent:g}: all events")
    assert "attached to process" in attached and ended.endswith(" 0 lost")
    assert [e["text"] for e in events(out, "note")] == [words[len("loopscope: ") :]]
    return result, words


ABSENT = 1  # of the table's provenance


def absent(out: Path) -> Set[str]:
    table = {e.name for e in events(out)}
    assert table
    found = [e for e in events(out, "event_source") if e["from"] == ABSENT]
    assert all(e["where"] == "left out by --overhead" for e in found)
    return {str(e["of_id"]) for e in found}


def test_a_budget_with_room_leaves_nothing_out(tmp_path: Path) -> None:
    _, words = record(tmp_path / "r", 100)
    assert words.endswith("nothing is left out")
    assert not absent(tmp_path / "r")
    counts = babeltrace_counts(tmp_path / "r")
    assert {"prepare", "notify", "bql_wait", "handler_begin", "poll_enter"} <= set(
        counts
    )


def test_a_small_budget_leaves_the_waits(tmp_path: Path) -> None:
    """However small it is, they stay; what only explains goes first."""
    _, words = record(tmp_path / "r", 0.1)
    match = re.search(r"left out are (.*?)( \(|$)", words)
    assert match, words
    left_out = match[1].split(", ")
    assert {"prepare", "query", "handler", "bql", "notify"} <= set(left_out)
    assert absent(tmp_path / "r")
    counts = babeltrace_counts(tmp_path / "r")
    assert (
        counts["poll_enter"] > 100
        and abs(counts["poll_enter"] - counts["poll_exit"]) <= 1
    )
    gone = {
        "prepare",
        "query",
        "handler_begin",
        "handler_end",
        "bql_wait",
        "bql_acquired",
    }
    assert not gone & set(counts)


def test_a_command_has_no_rates_yet(tmp_path: Path) -> None:
    command = (DEMO, "--scenario", "signal", "--iterations", 3)
    out = tmp_path / "r"
    line = run("record", "-o", out, "--overhead", 5, "--", *command).refused(USAGE)
    assert "--overhead needs -p PID" in line and not out.exists()


@pytest.mark.parametrize("percent", ["0", "-1", "101", "3x", "much", "nan"])
def test_a_budget_is_a_percentage(percent: str) -> None:
    line = run("top", "-p", 1, "--overhead", percent).refused(USAGE)
    assert "--overhead takes a percentage" in line and percent in line
