# SPDX-License-Identifier: MIT
"""gdb-scripts/README.md keeps its word: its sessions are played again, and print what it shows.

A session is a block that begins with a demo ("$ demo-qemu-loop --scenario ..."), which gdb attaches
to or ("$ gdb --args demo-qemu-loop ...") starts. Numbers, addresses and how lines are cut may
differ, nothing else.
"""
import re
import shlex
from pathlib import Path
from typing import List, NamedTuple

import pytest
from gdb_run import SCRIPTS, Gdb
from tracer_run import DEMO
from tracer_targets import Demo

README = SCRIPTS / "README.md"
BLOCK = re.compile(r"```\n(\$ (?:gdb --args )?demo-qemu-loop .*?)```", re.S)
PROMPT = "(gdb) "
# gdb's own, of threads and files.
CHATTER = re.compile(r"^(?:\[|Using host |\d+\t|warning: ).*\n", re.M)


class Block(NamedTuple):
    text: str
    shell: str  # the first line, without "$ "
    commands: List[str]


def blocks(text: str) -> List[Block]:
    found = []
    for match in BLOCK.finditer(text):
        lines = match[1].splitlines()
        commands = [x[len(PROMPT) :] for x in lines if x.startswith(PROMPT)]
        found.append(Block(match[1], lines[0][2:], commands))
    return found


def demo_words(shell: str) -> List[str]:
    words = shlex.split(shell)
    return words[words.index("demo-qemu-loop") + 1 :]


def play(block: Block, directory: Path) -> str:
    """The block as it comes out now."""
    gdb, words = Gdb(directory), demo_words(block.shell)
    if block.shell.startswith("gdb --args"):
        if "five-sources" in words:
            words += ["--vnc", f"{directory}/v"]
        arguments = f"set args {shlex.join(words)} > /dev/null"
        start = [f"file {DEMO}", arguments]
        answers = gdb.answers(None, *start, *block.commands)[len(start) :]
    else:
        assert words[0] == "--scenario"
        with Demo(words[1], *words[2:]) as demo:
            demo.wait_polling(demo.THREADS.get(words[1], 1))
            answers = gdb.answers(demo, *block.commands)
    out = [f"$ {block.shell}\n"]
    for answer in answers:
        assert answer["error"] is None, answer
        out.append(f"{PROMPT}{answer['command']}\n{CHATTER.sub('', answer['out'])}")
    return "".join(out)


def comparable(text: str) -> List[str]:
    """The words, without what two runs do not share; where lines are folded does not count."""
    words: List[str] = []
    for line in text.splitlines():
        if line.startswith("Breakpoint "):
            continue  # where a function's code begins is the compiler's choice
        line = re.sub(r"0x[0-9a-f]+", "H", line.strip())
        line = re.sub(r"\d+(\.\d+)?", "N", line)
        line = re.sub(r"\bN (ns|us|ms|s)\b", "N s", line)
        words += (line[:60] if line.endswith("...") else line).split()
    return words


@pytest.mark.parametrize("block", blocks(README.read_text()), ids=lambda b: b.shell)
def test_a_session_of_the_readme_is_what_happens(block: Block, tmp_path: Path) -> None:
    assert comparable(play(block, tmp_path)) == comparable(block.text)


def test_every_command_is_in_the_readme(gdb: Gdb) -> None:
    done = gdb.start("-ex", f"source {SCRIPTS}/qemu-gdb.py", "-ex", "help qemu")
    names = re.findall(r"^qemu ([a-z-]+) -- ", done.stdout.decode(), re.M)
    text = README.read_text()
    assert len(names) > 10
    for name in names:
        assert f"| `qemu {name}" in text, name
    shown = {word for b in blocks(text) for c in b.commands for word in c.split()[1:2]}
    assert {"where", "bql", "bt", "coroutine", "doctor", "diff"} <= shown
    assert {"break-callback", "break-register"} <= shown
