# SPDX-License-Identifier: MIT
"""Tables of at most 100 columns, JSON lines, and the words for events, times and ranges.

The same ones as loopscope's. Text of the target goes through printable() before it is shown.
"""
import json
from collections.abc import Hashable, Sequence
from typing import Any, Optional, TypeVar

import gdb

Item = TypeVar("Item")

COLUMNS = 100
GAP = 2
MAX_RANGES = 8
FOLD_AT = 4  # so many equal rows become one with a count


def printable(text: str) -> str:
    """No control character, C1's included, reaches the terminal; nor a stray surrogate."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


def _charset() -> str:
    if hasattr(gdb, "host_charset"):
        return gdb.host_charset()
    name = str(gdb.parameter("host-charset"))
    return "ascii" if name == "auto" else name


def write(text: str) -> None:
    """To gdb's output, with what its character set lacks as "?"."""
    try:
        charset = _charset()
        text = text.encode(charset, "replace").decode(charset)
    except LookupError:
        text = text.encode("ascii", "replace").decode("ascii")
    gdb.write(text)


_encode = json.JSONEncoder(separators=(",", ":")).encode


def json_line(row: dict[str, Any]) -> str:
    return _encode(row) + "\n"


def show_note(text: str, as_json: bool) -> None:
    """A remark beside the output. gdb gives scripts both streams as one: JSON has to stay JSON."""
    if as_json:
        write(json_line({"type": "note", "text": text}))
    else:
        gdb.write(f"qemu: {printable(text)}\n", gdb.STDERR)


def address(addr: int) -> Optional[str]:
    return f"{addr:#x}" if addr else None


def events(bits: int) -> str:
    words = [word for bit, word in ((1, "in"), (2, "pri"), (4, "out")) if bits & bit]
    return "+".join(words) or "-"


def duration(ns: int) -> str:
    if ns < 0:
        return "for ever"
    for below, unit, per in (
        (1000, "ns", 1),
        (10**6, "us", 10**3),
        (10**9, "ms", 10**6),
    ):
        if ns < below:
            return f"{ns / per:.3g} {unit}"
    return f"{ns / 1e9:.3g} s" if ns < 120 * 10**9 else f"{ns // (60 * 10**9)} min"


def plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def ranges(numbers: list[int]) -> str:
    """ "20-84 90", at most a few of them."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    text = " ".join(str(a) if a == b else f"{a}-{b}" for a, b in found[:MAX_RANGES])
    rest = sum(b - a + 1 for a, b in found[MAX_RANGES:])
    return f"{text} ... ({rest} more)" if rest else text


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


class Table:
    """Rows under heads; the widest columns give way until a line fits."""

    def __init__(self, *heads: str) -> None:
        self._heads = heads
        self._lines: list[
            Any
        ] = []  # tuple: a row; (column, text) in a list: a line under one

    def row(self, *cells: str) -> None:
        self._lines.append(cells)

    def under(self, column: int, text: Optional[str]) -> None:
        if text:
            self._lines.append([column, text])

    def _widths(self, room: int) -> tuple[list[int], list[int]]:
        """Of the columns, and which of them had to give way."""
        rows = [self._heads, *(line for line in self._lines if isinstance(line, tuple))]
        wanted = [max(map(len, column)) for column in zip(*rows)]
        widths = wanted.copy()
        while sum(widths) + GAP * (len(widths) - 1) > room and max(widths) > 8:
            widths[widths.index(max(widths))] -= 1
        return widths, [i for i, width in enumerate(widths) if width < wanted[i]]

    def text(self, indent: str = "") -> str:
        widths, narrow = self._widths(COLUMNS - len(indent))
        form = indent + (" " * GAP).join(f"%-{width}s" for width in widths)
        out = []
        for line in (self._heads, *self._lines):
            if isinstance(line, tuple):
                if narrow:
                    cells = list(line)
                    for i in narrow:
                        cells[i] = cut(cells[i], widths[i])
                    line = tuple(cells)
                out.append((form % line).rstrip())
            else:
                at = len(indent) + sum(widths[: line[0]]) + GAP * line[0]
                out.append(" " * at + cut(line[1], COLUMNS - at))
        return "\n".join(out) + "\n"


def fold(
    items: Sequence[Item], keys: Sequence[Hashable], unfolded: bool
) -> list[tuple[Item, list[Item]]]:
    """The rows: each item with [], or the first of many whose keys are equal with all of them."""
    if unfolded:
        return [(item, []) for item in items]
    groups: dict[Hashable, list[Item]] = {}
    for item, key in zip(items, keys):
        groups.setdefault(key, []).append(item)
    rows = []
    for item, key in zip(items, keys):
        group = groups[key]
        if len(group) < FOLD_AT:
            rows.append((item, []))
        elif group[0] is item:
            rows.append((item, group))
    return rows
