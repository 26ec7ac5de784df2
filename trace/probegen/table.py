# SPDX-License-Identifier: MIT
"""The table of events: reading loop.probes and refusing what is wrong in it.

    table = parse(path)

gives a Table of enums, sections and events with the layout of each event settled.  Whatever is
wrong raises TableError, whose text begins with FILE:LINE as a compiler's does.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, NoReturn, Optional

HEADER_BYTES = 16  # struct loop_event
MAX_PROBE_ARGS = 6  # the ABI's registers
MAX_ID = 255
FIRST_RECORD_ID = 128

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
EVENT = re.compile(r'(\d+) (\w+)\((.*)\) "([^"]*)"\Z')
NAMES = re.compile(r"(\w+) \{ (.*) \}\Z")
BIT = re.compile(r"([A-Z][A-Z0-9_]*)=(0x[0-9a-f]+|\d+)\Z")
# What would not compile as the name of an argument or an event, or would hide something needed.
RESERVED = frozenset(
    "auto break bool case char const continue default do double else enum event extern float for "
    "goto h if inline int long register restrict return short signed sizeof static struct switch "
    "typedef union unsigned void volatile while".split()
)


class TableError(Exception):
    """Something wrong in the table; the text begins with FILE:LINE."""


@dataclass(frozen=True)
class Type:
    """A type an argument can have.  bits is 0 for text."""

    name: str
    bits: int
    signed: bool = False
    base: int = 10


BASIC = {
    t.name: t
    for t in (
        Type("u32", 32),
        Type("s32", 32, signed=True),
        Type("u64", 64),
        Type("s64", 64, signed=True),
        Type("ptr", 64, base=16),
        Type("str", 0),
    )
}


@dataclass
class Names:
    """An enum or flags: what the values or the bits of a u32 are called."""

    name: str
    is_flags: bool
    values: Dict[str, int]

    @property
    def type(self) -> Type:
        return Type(self.name, 32, base=16 if self.is_flags else 10)


@dataclass
class Field:
    """An argument: its type, where it lies in the event, the gap that natural alignment leaves."""

    name: str
    type: Type
    names: Optional[Names]
    offset: int = 0
    gap: int = 0

    @property
    def is_text(self) -> bool:
        return self.type.bits == 0


@dataclass
class Event:
    """An event.  content is its size without, size with the padding to a multiple of 8."""

    id: int
    name: str
    is_probe: bool
    fields: List[Field]
    sentence: str
    content: int = HEADER_BYTES
    size: int = HEADER_BYTES

    @property
    def text(self) -> Optional[Field]:
        last = self.fields[-1] if self.fields else None
        return last if last and last.is_text else None

    def lay_out(self) -> None:
        """Natural alignment, as C and CTF both have it; a text begins where the struct ends."""
        at = HEADER_BYTES
        for member in self.fields:
            width = member.type.bits // 8 or 1
            member.gap = -at % width
            member.offset = at + member.gap
            at = member.offset + (0 if member.is_text else width)
        self.content = at
        self.size = at + -at % 8


@dataclass
class Section:
    title: str
    events: List[Event] = field(default_factory=list)


@dataclass
class Table:
    path: Path
    format: int = 0
    names: Dict[str, Names] = field(default_factory=dict)
    sections: List[Section] = field(default_factory=list)

    @property
    def events(self) -> List[Event]:
        return sorted((e for s in self.sections for e in s.events), key=lambda e: e.id)

    @property
    def probes(self) -> List[Event]:
        return [e for e in self.events if e.is_probe]


class _Parser:
    def __init__(self, path: Path) -> None:
        self.table = Table(path)
        self.line = 0
        self.taken: Dict[
            str, int
        ] = {}  # a struct's and an enum's tag share one name space
        self.ids: Dict[int, int] = {}

    def refuse(self, why: str) -> NoReturn:
        raise TableError(f"{self.table.path}:{self.line}: {why}")

    def claim(self, name: str) -> None:
        if not NAME.match(name) or name in RESERVED:
            self.refuse(
                f"'{name}' is not a usable name: small letters, digits and _, no C keyword"
            )
        if name in BASIC or name in self.taken:
            where = f"line {self.taken[name]}" if name in self.taken else "a basic type"
            self.refuse(f"'{name}' is taken already ({where})")
        self.taken[name] = self.line

    def parse_names(self, rest: str, is_flags: bool) -> None:
        match = NAMES.match(rest)
        if not match:
            self.refuse("expected: NAME { VALUE ... }")
        name, words = match[1], match[2].split()
        self.claim(name)
        values: Dict[str, int] = {}
        for number, word in enumerate(words):
            if is_flags:
                bit = BIT.match(word)
                if not bit:
                    self.refuse(f"'{word}' is not BIT=NUMBER")
                word, number = bit[1], int(bit[2], 0)
                if number == 0 or number & (number - 1) or number >= 1 << 32:
                    self.refuse(f"{word}={number} is not one bit of 32")
            elif not NAME.match(word):
                self.refuse(f"'{word}' is not a name in small letters")
            if word in values or number in values.values():
                self.refuse(f"'{word}' or its value occurs twice")
            values[word] = number
        self.table.names[name] = Names(name, is_flags, values)

    def parse_field(self, text: str, event: Event) -> Field:
        words = text.split()
        if len(words) != 2:
            self.refuse(f"'{text.strip()}' is not TYPE NAME")
        kind, name = words
        names = self.table.names.get(kind)
        if kind not in BASIC and not names:
            self.refuse(f"unknown type '{kind}'")
        if not NAME.match(name) or name in RESERVED or name.startswith("pad"):
            self.refuse(f"'{name}' cannot be an argument's name")
        if any(name == other.name for other in event.fields):
            self.refuse(f"argument '{name}' occurs twice")
        if name.endswith("_ns") and kind != "s64":
            self.refuse(f"'{kind} {name}': a time is an s64")
        return Field(name, names.type if names else BASIC[kind], names)

    def parse_event(self, rest: str, is_probe: bool) -> None:
        match = EVENT.match(rest)
        if not match:
            self.refuse('expected: ID NAME(TYPE ARG, ...) "sentence"')
        number, name, arguments, sentence = int(match[1]), match[2], match[3], match[4]
        self.claim(name)
        if number in self.ids:
            self.refuse(f"id {number} is taken already (line {self.ids[number]})")
        self.ids[number] = self.line
        low, high = (1, FIRST_RECORD_ID - 1) if is_probe else (FIRST_RECORD_ID, MAX_ID)
        if not low <= number <= high:
            self.refuse(f"id {number} is not in {low}..{high}")
        if not sentence.endswith(".") or "\\" in sentence:
            self.refuse("the sentence ends with a full stop and has no backslash")
        event = Event(number, name, is_probe, [], sentence)
        for text in arguments.split(",") if arguments.strip() else []:
            if event.text:
                self.refuse("a str is the last argument")
            event.fields.append(self.parse_field(text, event))
        if not event.fields:
            self.refuse("an event has at least one argument")
        if is_probe and len(event.fields) > MAX_PROBE_ARGS:
            self.refuse(f"a probe has at most {MAX_PROBE_ARGS} arguments")
        if is_probe and event.text:
            self.refuse("a probe passes addresses, not text")
        event.lay_out()
        if event.text and event.content % 8:
            self.refuse(
                f"'{event.text.name}' would begin at {event.content}, not a multiple of 8"
            )
        if not self.table.sections:
            self.refuse("an event before the first section")
        self.table.sections[-1].events.append(event)

    def parse_line(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "format":
            if self.table.format or not rest.isdigit() or int(rest) == 0:
                self.refuse("expected once: format NUMBER")
            self.table.format = int(rest)
        elif word in ("enum", "flags"):
            self.parse_names(rest, word == "flags")
        elif word == "section":
            self.table.sections.append(Section(rest))
        elif word in ("probe", "record"):
            self.parse_event(rest, word == "probe")
        else:
            self.refuse(f"unknown word '{word}'")

    def parse(self) -> Table:
        try:
            text = self.table.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TableError(f"{self.table.path}:0: {error}") from error
        for self.line, line in enumerate(text.splitlines(), 1):
            line = line.rstrip()
            if line and not line.startswith("#"):
                self.parse_line(line)
        if not self.table.format:
            self.refuse("no 'format NUMBER' in this table")
        if not self.table.probes:
            self.refuse("no probe in this table")
        return self.table


def parse(path: Path) -> Table:
    """Read and check the table."""
    return _Parser(path).parse()
