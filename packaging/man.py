#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Make the man pages:  man.py --build build --out build/man

loopscope(1), a page for each command, demo-qemu-loop(1), loopscope-events(7), loopscope-gdb(7).

What a program, the table of events or a gdb command says of itself is asked of it (--help,
--help-table, --list --json, loop.probes, the docstrings), so a page has every command and option
there is. What only a page tells (a description, examples, the overhead) is in docs/man/NAME.md, where
there is one.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import roff

ROOT = Path(__file__).resolve().parent.parent
PROSE = ROOT / "docs" / "man"


class Option(NamedTuple):
    forms: str  # "-p, --pid PID", as the help shows it
    name: str
    text: str


class Command(NamedTuple):
    name: str
    takes: str
    options: List[str]
    usage: str  # what follows the name: "-p PID [CTX]"
    brief: str


def output_of(*words: object) -> str:
    words = tuple(str(word) for word in words)
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def parse_options(text: str) -> List[Option]:
    """Of a help's lines: the forms, the long name, and the text with the lines that go on."""
    found: List[Option] = []
    for line in text.splitlines():
        match = re.match(
            r" {2,6}((?:-\w, )?--([a-z-]+)(?:, --[a-z-]+)*(?: [^ ]+)*?)(?: {2,}(.*))?$",
            line,
        )
        if match:
            found.append(Option(match[1], match[2], match[3] or ""))
        elif found and re.match(r" {12,}\S", line):
            last = found[-1]
            found[-1] = last._replace(text=f"{last.text} {line.strip()}".strip())
        else:
            found.append(Option("", "", ""))  # what follows belongs to no option
    return [option for option in found if option.name]


class Loopscope:
    """What the program says of itself."""

    def __init__(self, program: Path) -> None:
        self.help = output_of(program, "--help")
        self.version = output_of(program, "--version").split()[-1]
        self.options = parse_options(self.help)
        self.commands: List[Command] = []
        usages: Dict[str, Tuple[str, str]] = {}
        for line in self.help.splitlines():
            match = re.match(r"  loopscope (\S+) (.*?)  +(\S.*)$", line)
            if match:
                usages[match[1]] = (match[2], match[3])
        for line in output_of(program, "--help-table").splitlines():
            kind, name, *rest = line.split("\t")
            if kind == "command":
                if name not in usages:
                    sys.exit(f"man.py: loopscope --help does not show {name}")
                self.commands.append(
                    Command(name, rest[0], rest[1].split(), *usages[name])
                )
        exits = re.search(r"^Exit: (.*?)\.?\s*\Z", self.help, re.M | re.S)
        self.exits = re.findall(r"(\d+) ([^,]+)", " ".join(exits[1].split()))

    def taken_by(self, command: Command) -> List[Option]:
        names = {*command.options, "verbose", "help"}
        return [option for option in self.options if option.name in names]


class Page:
    """One man page, section by section."""

    def __init__(self, name: str, section: int, brief: str, version: str) -> None:
        self.name, self.section = name, section
        self.body = (
            f'.TH {name.upper()} {section} "" "loopscope {version}" "Event loops"\n'
            f".ad l\n.nh\n.SH NAME\n{roff.escape(name)} \\- {roff.escape(brief)}\n"
        )

    def add(self, heading: str, text: str) -> None:
        self.body += f'.SH "{heading}"\n{text}'

    def add_prose(self, name: str, *headings: str) -> None:
        """The sections of docs/man/NAME.md: the given ones, or, given none, all others."""
        path = PROSE / f"{name}.md"
        parts = path.read_text().split("\n# ") if path.exists() else []
        parts = [part for part in parts if not part.startswith("<!--")]
        early = ("DESCRIPTION", "COLUMNS")
        for part in parts:
            heading = part.lstrip("# ").split("\n")[0]
            if heading in headings or (not headings and heading not in early):
                self.body += roff.convert("# " + part.lstrip("# "))

    def add_options(self, options: List[Option]) -> None:
        text = "".join(
            f".TP\n.B {roff.escape(o.forms)}\n{roff.escape(o.text) or 'Say so, and end.'}\n"
            for o in options
        )
        self.add("OPTIONS", text)

    def add_exits(self, exits: List[Tuple[str, str]]) -> None:
        rows = (f".TP\n.B {code}\n{roff.escape(text)}\n" for code, text in exits)
        self.add("EXIT STATUS", "".join(rows))

    def add_see_also(self, *pages: str) -> None:
        names = (re.sub(r"(.*)\((\d)\)", r".BR \1 (\2)", page) for page in pages)
        text = " ,\n".join(names).replace("-", "\\-")
        self.add("SEE ALSO", text + "\n")

    def write(self, out: Path) -> None:
        made = (
            ".\\\" Made by packaging/man.py: edit docs/man, or the program's --help.\n"
        )
        file = out / f"{self.name}.{self.section}"
        file.write_text(made + self.body, encoding="utf-8")


def synopsis(command: Command, options: List[Option]) -> str:
    shown = [
        option.forms.split(", ")[0].split(" ")[0]
        + "".join(re.findall(r" [A-Z]\S*$", option.forms))
        for option in options
        if option.name not in ("help", "verbose", "pid")
        and f"{option.forms[:2]} " not in command.usage + " "
    ]
    usages = [command.usage]
    if command.takes == "target":
        usages.append(command.usage.replace("-p PID", "CORE"))
    elif command.takes == "run":
        usages.append("-o DIR -- COMMAND [ARGUMENT...]")
    lines = []
    for usage in usages:
        rest = " ".join(f"[{option}]" for option in shown)
        lines.append(
            f".HP\n.B loopscope {command.name}\n{roff.escape(f'{usage} {rest}')}\n"
        )
    return "".join(lines)


def loopscope_page(loopscope: Loopscope, out: Path) -> None:
    brief = "look into the event loops of a running QEMU or GLib program"
    page = Page("loopscope", 1, brief, loopscope.version)
    page.add(
        "SYNOPSIS",
        ".B loopscope\n.I COMMAND\n[OPTION...]\n.br\n.B loopscope\n[\\fICOMMAND\\fP] "
        "\\fB\\-\\-help\\fP | \\fB\\-\\-version\\fP\n",
    )
    page.add_prose("loopscope", "DESCRIPTION")
    rows = (
        f".TP\n.BR loopscope\\-{roff.escape(c.name)} (1)\n{roff.escape(c.brief)}\n"
        for c in loopscope.commands
    )
    page.add("COMMANDS", "".join(rows))
    page.add_options(loopscope.options)
    page.add_exits(loopscope.exits)
    page.add_prose("loopscope")
    page.add_see_also(
        *(f"loopscope-{c.name}(1)" for c in loopscope.commands),
        *("loopscope-events(7)", "loopscope-gdb(7)", "demo-qemu-loop(1)"),
        *("bpftrace(8)", "babeltrace2(1)", "gdb(1)", "perf(1)"),
    )
    page.write(out)


def command_page(loopscope: Loopscope, command: Command, out: Path) -> None:
    options = loopscope.taken_by(command)
    brief = command.brief.rstrip(".")
    page = Page(f"loopscope-{command.name}", 1, brief, loopscope.version)
    page.add("SYNOPSIS", synopsis(command, options))
    page.add_prose(command.name, "DESCRIPTION", "COLUMNS")
    page.add_options(options)
    page.add_exits(loopscope.exits)
    page.add_prose(command.name)
    others = [c.name for c in loopscope.commands if c.name != command.name]
    page.add_see_also("loopscope(1)", *(f"loopscope-{name}(1)" for name in others))
    page.write(out)


def demo_page(demo: Path, version: str, out: Path) -> None:
    text = output_of(demo, "--help")
    usage, rest = text.split("\n\n", 1)
    page = Page("demo-qemu-loop", 1, "a main loop made as QEMU's, to look at", version)
    lines = [line.split("demo-qemu-loop", 1)[1].strip() for line in usage.splitlines()]
    page.add(
        "SYNOPSIS",
        "".join(f".HP\n.B demo\\-qemu\\-loop\n{roff.escape(line)}\n" for line in lines),
    )
    page.add_prose("demo-qemu-loop", "DESCRIPTION")
    page.add_options(parse_options(rest))
    eras = re.findall(r"^  (\d\S*) +(.*)$", rest.split("Eras:")[1], re.MULTILINE)
    page.add(
        "ERAS", "".join(f".TP\n.B {era}\n{roff.escape(what)}\n" for era, what in eras)
    )
    rows = map(json.loads, output_of(demo, "--list", "--json").splitlines())
    scenarios = "".join(
        f".TP\n.B {roff.escape(row['name'])}\n{roff.escape(row['summary'])}"
        + (f"\n.br\nVerdict: {roff.escape(row['verdict'])}" if row["verdict"] else "")
        + "\n"
        for row in rows
        if "name" in row
    )
    page.add("SCENARIOS", scenarios)
    page.add_prose("demo-qemu-loop")
    page.add_see_also("loopscope(1)", "loopscope-gdb(7)", "loopscope-events(7)")
    page.write(out)


def events_page(probes: Path, version: str, out: Path) -> None:
    brief = "events of an event loop, as loopscope records and exports them"
    page = Page("loopscope-events", 7, brief, version)
    page.add_prose("events", "DESCRIPTION")
    page.add("EVENTS", probes.read_text())
    page.add_prose("events")
    page.add_see_also("loopscope-record(1)", "loopscope-export(1)", "bpftrace(8)")
    page.write(out)


def gdb_documentation() -> List[Tuple[str, str]]:
    """Of each command and $-function: the line that shows it, and the rest of its docstring."""
    found = []
    for path in sorted((ROOT / "gdb-scripts" / "qemu_gdb").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                continue
            first, _, rest = (ast.get_docstring(node) or "").partition("\n")
            shown = re.match(r"(.*): (qemu [a-z-]+.*)$", first)
            function = re.match(r"(\$qemu_\w+\([^:]*\)): (.*)$", first)
            if shown:
                found.append((shown[2], f"{shown[1]}.\n\n{rest.strip()}"))
            elif function:
                found.append((function[1], f"{function[2]}\n\n{rest.strip()}"))
    return sorted(found, key=lambda row: (row[0][0] == "$", row[0]))


def gdb_page(version: str, out: Path) -> None:
    page = Page("loopscope-gdb", 7, "gdb commands for event loops", version)
    page.add_prose("gdb", "DESCRIPTION")
    rows = gdb_documentation()
    for heading, dollar in (("COMMANDS", False), ("FUNCTIONS", True)):
        text = ""
        for shown, what in rows:
            if (shown[0] == "$") == dollar:
                paragraphs = [" ".join(p.split()) for p in what.split("\n\n") if p]
                text += f".TP\n.B {roff.escape(shown)}\n"
                text += "\n.sp\n".join(map(roff.escape, paragraphs)) + "\n"
        page.add(heading, text)
    page.add_prose("gdb")
    page.add_see_also("gdb(1)", "loopscope(1)", "loopscope-layout(1)")
    page.write(out)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, required=True, help="where programs are")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pages")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    for old in args.out.glob("*.[17]"):
        old.unlink()
    loopscope = Loopscope(args.build / "loopscope")
    loopscope_page(loopscope, args.out)
    for command in loopscope.commands:
        command_page(loopscope, command, args.out)
    demo_page(args.build / "demo-qemu-loop", loopscope.version, args.out)
    events_page(args.build / "trace" / "probes.roff", loopscope.version, args.out)
    gdb_page(loopscope.version, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
