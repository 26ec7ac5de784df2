# SPDX-License-Identifier: MIT
"""GLib's two basic examples: what the healthy forms count, and what each bug does."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Dict

import pytest

BUILD = Path(os.environ["BUILD"])
WATCH = BUILD / "glib-io-watch"
SOURCE = BUILD / "glib-custom-source"
FAULTS = BUILD / "glib-faults"
HANG_S = 60


def run(
    program: Path, *args: object, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(program), *(str(arg) for arg in args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=HANG_S,
        env={**os.environ, **environment},
        check=False,
    )


def counts(program: Path, *args: object) -> Dict[str, int]:
    done = run(program, *args)
    assert (done.returncode, done.stderr) == (0, "")
    ready, *lines = done.stdout.splitlines()
    assert ready.startswith(f"{program.name}: ") and ready.endswith(", ready")
    return {key: int(value) for key, value in (line.split("=") for line in lines)}


# --- an io watch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 23])
def test_a_watch_is_called_for_each_line_and_for_the_end(n):
    assert counts(WATCH, "--iterations", n) == {
        "iterations": n,
        "callbacks": n,
        "bytes": 7 * max(n - 1, 0),
        "ends": min(n, 1),
    }


def test_a_watch_on_a_regular_file_spins_at_its_end():
    """Three lines are read at once; every further iteration is a read of nothing, without sleep."""
    assert counts(WATCH, "--bug", "regular-file", "--iterations", 5000) == {
        "iterations": 5000,
        "callbacks": 5000,
        "bytes": 21,
        "ends": 4999,
    }


# --- a custom source ------------------------------------------------------------------------------


def test_a_source_is_ready_by_prepare_or_by_check():
    """A connection is three iterations: a line found by the poll, one by prepare, the hang-up."""
    assert counts(SOURCE, "--iterations", 30) == {
        "iterations": 30,
        "prepared": 10,
        "checked": 20,
        "lines": 20,
        "hangups": 10,
        "finalized": 10,
        "missed": 0,
    }


def test_a_check_that_compares_revents_with_events_misses_a_hang_up():
    """From the hang-up on every poll finds it, and nobody is called."""
    assert counts(SOURCE, "--bug", "revents-not-equal", "--iterations", 5000) == {
        "iterations": 5000,
        "prepared": 1,
        "checked": 1,
        "lines": 2,
        "hangups": 0,
        "finalized": 0,
        "missed": 4998,
    }


@pytest.mark.skipif(
    bool(os.environ.get("SAN")), reason="a sanitizer's heap shows another crash"
)
def test_a_context_unreferenced_twice_is_said_to_be_a_bug_by_glib():
    """The freed context still says 0 references, as nothing has taken its memory yet."""
    args = (SOURCE, "--bug", "unref-twice", "--iterations", 3)
    done = run(*args)
    critical = "g_main_context_unref: assertion 'g_atomic_int_get (&context->ref_count) > 0' failed"
    assert done.returncode == 0 and "lines=3\n" in done.stdout
    assert done.stderr.count(critical) == done.stderr.count("CRITICAL") == 3
    done = run(*args, G_DEBUG="fatal-criticals")
    assert done.returncode == -signal.SIGTRAP and "lines=" not in done.stdout


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize("program", [WATCH, SOURCE], ids=lambda path: path.name)
def test_list_says_what_to_expect(program):
    rows = [
        json.loads(line)
        for line in run(program, "--list", "--json").stdout.splitlines()
    ]
    found = {row["name"]: row["verdict"] for row in rows}
    assert found == (
        {"healthy": None, "regular-file": "SPIN"}
        if program == WATCH
        else {"healthy": None, "revents-not-equal": "SPIN", "unref-twice": None}
    )
    text = run(program, "--list").stdout.splitlines()
    assert text[0].split() == ["NAME", "VERDICT", "SUMMARY"]
    assert [line.split()[0] for line in text[1:]] == list(found)
    assert all(len(line) <= 100 for line in text)


@pytest.mark.parametrize(
    "args, says",
    [
        (["--bug", "none"], "no bug 'none'; --list shows what there is"),
        (["--iterations", "x"], "--iterations"),
        (["--what"], "--what"),
        (["more"], "unexpected more"),
    ],
)
def test_wrong_usage_is_one_line(args, says):
    done = run(WATCH, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", [WATCH, SOURCE], ids=lambda path: path.name)
def test_without_an_end_it_sleeps_between_events_until_a_signal(program):
    with subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline().endswith(", ready\n")
        while "S" not in Path(f"/proc/{child.pid}/stat").read_text().rsplit(")")[1][:3]:
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait(HANG_S) == -signal.SIGTERM


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bug",
    ["zero-timeout", "idle-for-ever", "prepare-ready", "ready-time-past", "starved"],
)
def test_a_source_that_is_always_ready_is_called_in_each_iteration(bug):
    expected = {"iterations": 1000, "callbacks": 1000}
    assert counts(FAULTS, "--bug", bug, "--iterations", 1000) == expected


@pytest.mark.parametrize("bug", ["leak", "late"])
def test_each_of_many_is_called(bug):
    assert counts(FAULTS, "--bug", bug, "--iterations", 5)["callbacks"] > 0
