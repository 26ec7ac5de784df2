# SPDX-License-Identifier: MIT
"""The pages keep their word: links lead somewhere, commands are ones that there are.

A command that a page shows is given to the program itself with --help behind it, which refuses an
option that its command does not take. What needs running to be believed is run elsewhere (the
tutorial, the one-liners, the gdb sessions, the tour).
"""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

import pytest
from tracer_run import DEMO, LOOPSCOPE, ROOT, run

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(ROOT / folder / "README.md" for folder in ("demo-qemu-loop", "gdb-scripts")),
        *ROOT.glob("notebooks/*.md"),
        *ROOT.glob("tests/**/*.md"),
    ]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

QUESTIONS = """
what are the sources of this loop
where did each fd come from
what is on a context's list
which callback ran, and for how long
who chose the timeout
who woke the loop
which context is this `ctx`
when is the BQL dropped
why is the loop stuck
what does each backend register with GLib
""".strip().splitlines()


def prose(text: str) -> str:
    """Without what is shown as it is."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors(page: Path) -> Set[str]:
    """As GitHub makes them of headings."""
    found = set()
    for title in re.findall(r"^#+ (.*)$", prose(page.read_text()), re.M):
        title = re.sub(r"[^\w\- ]", "", title.lower())
        found.add(title.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{name}: {target}"
        assert place.is_relative_to(ROOT), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(place), f"{name}: {target}"


# --- commands -------------------------------------------------------------------------------------

PLACES = {"PID": "1", "$PID": "1", "$!": "1", "TID": "1", "S": "1", "SECONDS": "1"}
PLACES.update({"PERCENT": "5", "FORMAT": "text", "...": "x", "TIME": "10ms"})


def commands(text: str) -> Iterator[str]:
    """Of a page: what is in backticks, and the lines of shown blocks that are typed."""
    for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S):
        yield from re.findall(
            r"^(?:[$#] )?((?:build/)?(?:loopscope|demo-qemu-loop) .*)$", block, re.M
        )
    yield from re.findall(r"^    ((?:loopscope|demo-qemu-loop) .*)$", text, re.M)
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        yield from re.findall(r"^((?:build/)?(?:loopscope|demo-qemu-loop) .*)$", code)


def words_of(command: str) -> List[str]:
    """As a shell would have them, up to what is not the program's: a pipe, a comment, a list."""
    command = re.sub(r"\$\([^)]*\)", "1", command)
    command = re.split(r" [|&;>#]|\s{3,}|; |[;&|>] ?$| \|", command)[0]
    words = shlex.split(command.replace("[", "").replace("]", ""))
    return [PLACES.get(word, word) for word in words]


def page_commands(name: str) -> List[List[str]]:
    found = (words_of(command) for command in commands((ROOT / name).read_text()))
    return [words for words in found if words[1:2] and words[1][:1] not in "/:"]


def test_there_are_commands_to_look_at() -> None:
    assert sum(len(page_commands(name)) for name in NAMES) > 100


@pytest.mark.parametrize("name", [name for name in NAMES if page_commands(name)])
def test_commands_are_ones_that_there_are(name: str) -> None:
    table = run("--help-table").fine().out.splitlines()
    known = {row.split("\t")[1] for row in table if row.startswith("command\t")}
    text = subprocess.run(
        [DEMO, "--help"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    demo_options = set(re.findall(r"--[a-z-]+", text))
    for words in page_commands(name):
        if words[0].endswith("demo-qemu-loop"):
            given = {word.split("=")[0] for word in words if word.startswith("--")}
            assert given <= demo_options, words
            continue
        assert words[1] in known or words[1].startswith("-"), words
        end = words.index("--") if "--" in words else len(words)
        done = subprocess.run(
            [LOOPSCOPE, *words[1:end], "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, f"{name}: {' '.join(words)}: {done.stderr}"


def targets() -> Set[str]:
    files = [ROOT / "Makefile", *ROOT.rglob("*.mk")]
    found: Set[str] = set()
    for file in files:
        for names in re.findall(r"^([a-z][a-z -]*):(?!=)", file.read_text(), re.M):
            found.update(names.split())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_make_makes_what_is_said(name: str) -> None:
    text = (ROOT / name).read_text()
    known = targets() | {"fuzz-recording"}
    typed = re.findall(
        r"`make ([a-z][a-z-]+)(?![a-z/-])|^(?:\$ )?make ([a-z][a-z-]+)(?![a-z/-])",
        text,
        re.M,
    )
    for word in (a or b for a, b in typed):
        assert word in known, f"{name}: make {word}"


# --- the README -----------------------------------------------------------------------------------


def test_the_readme_answers_the_ten_questions() -> None:
    text = (ROOT / "README.md").read_text()
    rows: Dict[str, Tuple[str, str]] = {}
    for question, command, lab in re.findall(
        r"^\| ([^|]+\?) \| (.*?) \|([^|]*)\|$", text, re.M
    ):
        rows[question] = (command, lab.strip())
    assert len(QUESTIONS) == 10
    for question in QUESTIONS:
        (found,) = [row for asked, row in rows.items() if asked.startswith(question)]
        assert re.search(r"`loopscope [a-z]+ ", found[0])
        labs = found[1].split(", ")
        assert all(
            (ROOT / f"notebooks/lab{int(lab):02}.ipynb").exists() for lab in labs
        )
    assert len(text.splitlines()) < 90


def test_every_command_answers_some_question() -> None:
    text = (ROOT / "docs" / "questions.md").read_text()
    for row in run("--help-table").fine().out.splitlines():
        if row.startswith("command\t"):
            assert f"`loopscope {row.split(chr(9))[1]}" in text


def test_every_page_is_linked() -> None:
    """From the README, or from a page that is."""
    seen: Set[Path] = set()
    wanted = [ROOT / "README.md"]
    while wanted:
        page = wanted.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                wanted.append((page.parent / target).resolve())
    pages = {path for path in ROOT.glob("docs/*.md")}
    assert pages <= seen, sorted(str(path) for path in pages - seen)
