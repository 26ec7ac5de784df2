# SPDX-License-Identifier: MIT
"""Names in a recording reach neither the terminal nor a format's structure: every report, every export.

A recording may come from anybody. Here it is one of the demo's own, in which each text (symbols,
names of threads, contexts, bottom halves, the program) is replaced by a hostile one of its length.
"""

import csv
import html.parser
import io
import json
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from test_text import HOSTILE, HOSTILE_TARGETS, assert_harmless, assert_narrow
from tracer_run import DEMO, Result, run
from tracer_targets import Target

# What a name may be made of, over and over: for a terminal, a reader, and each format's syntax.
KINDS = {
    "terminal": HOSTILE,
    "direction": "\u202ea\u2066\u2028b\u2029".encode(),
    "page": b"</script><img src=x onerror=alert(1)><!--",
    "quotes": b'\\"},{"type":"total"} \'`$(id)',
    "lines": b"x\n# EOF\r\nforged_total 1\n\t",
    "formats": b"%s%n%-9999d{{}}${x}",
}
FORMATS = "text ndjson csv pftrace speedscope openmetrics prometheus".split()
REPORTS: Tuple[Tuple[str, ...], ...] = ((), ("--all", "--events", "--histograms"))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("honest") / "five"
    words = [DEMO, "--scenario", "five-sources", "--iterations", "23", "--record"]
    subprocess.run([*words, where], check=True, capture_output=True)
    return where


def replaced(match: "re.Match[bytes]", pattern: bytes) -> bytes:
    """As long as the name was, as its place in the file; the NUL behind it stays."""
    length = len(match[0]) - 1
    return (pattern * (length // len(pattern) + 1))[:length] + b"\0"


@pytest.fixture(scope="module", params=list(KINDS), ids=list(KINDS))
def spoilt(
    request: pytest.FixtureRequest,
    honest: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    where = tmp_path_factory.mktemp("spoilt") / "five"
    where.mkdir()
    pattern = KINDS[request.param]
    names = 0
    for path in honest.iterdir():
        data = path.read_bytes()
        if path.name == "metadata":
            data = data.replace(b"/demo-qemu-loop", b"/\x1b[2J\xc2\x9b31m\x07\x7fabc")
        else:
            data, count = re.subn(
                rb"[A-Za-z][A-Za-z0-9_ /.-]{4,}\0",
                lambda match: replaced(match, pattern),
                data,
            )
            names += count
        (where / path.name).write_bytes(data)
    assert names > 30
    return where


def exported(recording: Path, format_name: str, place: Path) -> bytes:
    """Through a file, as some formats are nothing for a terminal."""
    out = place / f"out.{format_name}"
    result = run("export", recording, "--to", format_name, "-o", out)
    assert result.rc == 0, result.err
    assert_harmless(result.out + result.err)
    return out.read_bytes()


def texts_of(value: Any) -> List[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for text in texts_of(list(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []


def assert_clean(text: str) -> None:
    """For a reader: no control character, and none that turns or breaks a line."""
    assert_harmless(text)
    kinds = {unicodedata.category(c) for c in text}
    assert not kinds & {"Cf", "Zl", "Zp", "Cs"}, sorted(kinds)


def kinds_of_rows(rows: List[Dict[str, Any]]) -> Dict[str, int]:
    counts: Dict[str, int] = {}
    for row in rows:
        counts[row["type"]] = counts.get(row["type"], 0) + 1
    return counts


def test_reports(spoilt: Path, honest: Path) -> None:
    for options in (*REPORTS, ("--diff", str(honest)), ("--diff", str(spoilt))):
        text = run("report", spoilt, *options).fine().out
        assert_clean(text)
        assert_narrow(text)


def test_reports_as_json(spoilt: Path, honest: Path) -> None:
    for options in ((), ("--diff", str(honest))):
        result: Result = run("report", spoilt, "--json", *options).fine()
        assert_clean("".join(texts_of(result.rows)))
        assert [row["type"] for row in result.rows].count("total") <= 1


class Tags(html.parser.HTMLParser):
    """The elements of a page and their attributes' names, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: List[Tuple[str, Tuple[str, ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))


def test_page_has_no_element_more(spoilt: Path, honest: Path, tmp_path: Path) -> None:
    """Names are data in it: no element begins or ends because of one."""
    pages = []
    for number, recording in enumerate((honest, spoilt)):
        page = tmp_path / f"{number}.html"
        run("report", recording, "--html", "-o", page).fine()
        pages.append(page.read_text("utf-8"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066]", pages[1])
    assert "<img" not in pages[1] and "onerror=alert(1)>" not in pages[1]
    honest_tags, spoilt_tags = ({tag for tag, _ in Tags(p).found} for p in pages)
    assert spoilt_tags <= honest_tags


def test_exports(spoilt: Path, honest: Path, tmp_path: Path) -> None:
    for name in FORMATS:
        data = exported(spoilt, name, tmp_path)
        if name == "pftrace":
            assert b"\x1b[2J" not in data and "\u202e".encode() not in data
            continue
        text = data.decode("utf-8")
        if name == "speedscope":
            assert_clean("".join(texts_of(json.loads(text))))
        elif name == "ndjson":
            rows = [json.loads(line) for line in text.splitlines()]
            assert_clean("".join(texts_of(rows)))
            whole = exported(honest, name, tmp_path).decode("utf-8")
            assert kinds_of_rows(rows) == kinds_of_rows(
                [json.loads(line) for line in whole.splitlines()]
            )
        elif name == "csv":
            table = list(csv.reader(io.StringIO(text)))
            assert len({len(row) for row in table}) == 1
            assert_clean("".join(field for row in table for field in row))
        else:
            assert_clean(text)
            assert not any(line.startswith("forged") for line in text.splitlines())
            if name == "openmetrics":
                assert text.splitlines().index("# EOF") == len(text.splitlines()) - 1


# --- while it is traced ---------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("make", HOSTILE_TARGETS, ids=["socket", "program", "qemu"])
def test_what_watches_a_target_with_hostile_names(make: Any, tmp_path: Path) -> None:
    """record and all that is made of it, doctor, stalls, list, top."""
    target: Target
    with make(tmp_path) as target:
        recording = tmp_path / "recording"
        results = [
            run("list", "-p", target.pid),
            run("doctor", "-p", target.pid, "-d", "1"),
            run("stalls", "-p", target.pid, "-d", "1"),
            run("top", "-p", target.pid, "-d", "1"),
            run("record", "-p", target.pid, "-d", "1", "-o", recording),
        ]
        results += [run("report", recording, *options) for options in REPORTS]
        results += [
            run("export", recording, "--to", name)
            for name in ("text", "csv", "openmetrics", "prometheus")
        ]
        for command in ("list", "doctor", "stalls", "top"):
            words = ["-d", "1"] if command != "list" else []
            result = run(command, "-p", target.pid, *words, "--json")
            assert_clean("".join(texts_of(result.rows)))
            results.append(result)
    for result in results:
        assert result.rc in (0, 1), f"{result.args}: {result.err}"
        assert_clean(result.out + result.err)
