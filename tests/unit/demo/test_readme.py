# SPDX-License-Identifier: MIT
"""demo-qemu-loop/README.md against the sources and the program: what it lists is all there is."""

import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import List, Set

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEMO_DIR = ROOT / "demo-qemu-loop"
DEMO = Path(os.environ["BUILD"]) / "demo-qemu-loop"
README = (DEMO_DIR / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    assert found, f"README.md has no section '{title}'"
    return found[1]


def table_rows(text: str) -> List[List[str]]:
    """The cells of every row of every table, headings left out."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [
        row
        for row, after in zip(rows, rows[1:] + [[""]])
        if not is_rule(row) and not is_rule(after)
    ]


def is_rule(row: List[str]) -> bool:
    return all(re.fullmatch(r":?-+:?", cell) for cell in row)


def code(text: str) -> List[str]:
    return re.findall(r"`([^`]+)`", text)


def raised() -> Set[str]:
    """The probes that the loop's sources have."""
    names: Set[str] = set()
    for path in DEMO_DIR.glob("*.[ch]"):
        text = path.read_text(encoding="utf-8")
        names |= set(re.findall(r"\bprobe_(\w+)\(", text))
    return names & table_of_events()


def table_of_events() -> Set[str]:
    text = (ROOT / "trace" / "loop.probes").read_text(encoding="utf-8")
    return set(re.findall(r"^probe \d+ (\w+)\(", text, re.M))


def on_the_chart() -> Set[str]:
    """Names in the last column: the other ones are the steps."""
    return {
        name
        for row in table_rows(section("The probes on it"))
        for name in code(row[-1])
    }


def test_every_probe_of_the_loop_is_on_the_chart() -> None:
    assert len(raised()) > 50
    assert raised() - on_the_chart() == set()


def test_the_chart_has_no_probe_that_is_not_in_the_table_of_events() -> None:
    assert on_the_chart() - table_of_events() == set()


def files_told() -> List[str]:
    return [
        name
        for row in table_rows(section("Which file is what"))
        for name in code(row[0])
    ]


@pytest.mark.parametrize(
    "name", sorted(path.name for path in DEMO_DIR.glob("*.c")), ids=str
)
def test_every_file_is_in_the_table_of_files(name: str) -> None:
    assert [told for told in files_told() if fnmatch(name, told)]


def test_every_file_of_the_table_exists() -> None:
    for told in files_told():
        assert list(DEMO_DIR.glob(told)), told


def test_the_list_of_scenarios_is_the_programs() -> None:
    listed = subprocess.run(
        [DEMO, "--list"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"```\n(NAME .*?)```", README, re.S)
    assert found and found[1] == listed


def test_each_era_has_a_row() -> None:
    text = subprocess.run(
        [DEMO, "--help"], capture_output=True, text=True, check=True
    ).stdout
    eras = re.findall(r"^  (\d[\d.]*) ", text.split("Eras:")[1], re.M)
    rows = [row[0] for row in table_rows(section("Which QEMU"))]
    assert len(eras) >= 4 and rows == eras


def test_every_command_of_the_monitor_is_told() -> None:
    source = (DEMO_DIR / "monitor-commands.c").read_text(encoding="utf-8")
    commands = re.findall(r'^\t\{ "([a-z -]+)", "', source, re.M)
    settings = re.findall(
        r'^\t\{ "([a-z-]+)", "',
        (DEMO_DIR / "monitor-set.c").read_text(encoding="utf-8"),
        re.M,
    )
    told = " ".join(code(section("The monitor")))
    assert len(commands) >= 13 and len(settings) >= 9
    for name in commands + settings:
        assert re.search(rf"\b{name}\b", told), name


def test_what_older_notes_became_is_here() -> None:
    """Right column: each function, and each file."""
    rows = table_rows(section("Older notes and books"))
    assert len(rows) >= 15
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in DEMO_DIR.glob("*.[ch]")
    )
    for row in rows:
        assert len(row) == 3
        for word in code(row[2]):
            for name in re.findall(r"(\w+)\(", word):
                assert re.search(rf"\b{name}\(", sources), name
            if word.endswith(".c"):
                assert (DEMO_DIR / word).exists(), word
