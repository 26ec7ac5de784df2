# SPDX-License-Identifier: MIT
"""make bench-loop: every row is run, by each contestant that the row has.  Figures are not looked at."""

import os
import re
import subprocess
from pathlib import Path

BENCH = Path(os.environ["BUILD"]) / "bench" / "bench-loop"


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BENCH, *args], capture_output=True, text=True, check=False)


def rows(out: str) -> dict[str, list[str]]:
    """Name to columns: loop, GLib, system calls, and the two ratios."""
    found = {}
    for line in out.splitlines():
        row = re.fullmatch(r"(\S.*?) +((?:[\d.]+|-)(?: +(?:[\d.]+|-)){4})", line)
        if row:
            found[row[1]] = row[2].split()
    return found


def test_every_row_has_its_figures() -> None:
    done = run("--rounds", "1", "--batch-ms", "0")
    assert (done.returncode, done.stderr) == (0, "")
    table = rows(done.stdout)
    skipped = done.stdout.count("not run: ")
    assert len(table) + skipped == 13
    for name, columns in table.items():
        assert columns[0] != "-" and columns[1] != "-" and columns[3] != "-", name
        needs_none = name.startswith(("BH,", "timers,")) or "busy polling" in name
        assert (columns[2] == "-") == (columns[4] == "-") == needs_none, name
    assert re.search(r"^\d+ goals missed$", done.stdout, re.M)


def test_rows_by_a_word_of_their_name() -> None:
    assert list(rows(run("--rounds", "1", "--batch-ms", "0", "timers").stdout)) == [
        "timers, 1,000"
    ]


def test_bad_arguments() -> None:
    for args in (["--rounds", "0"], ["--rounds", "x"], ["--no-such"]):
        done = run(*args)
        assert done.returncode == 2
        assert done.stderr.startswith("bench-loop: ") and done.stderr.count("\n") == 1
