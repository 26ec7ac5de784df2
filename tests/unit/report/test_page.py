# SPDX-License-Identifier: MIT
"""loopscope report --html from outside: the page has what the report has, and loads nothing.

How it looks in a browser is tested in tests/browser.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# pylint: disable=wrong-import-position
import exports
from exports import BUILD, loopscope

FINE, USAGE, FAILED = 0, 2, 4
WORKLOADS = ["known", "queues", "hostile", "gaps", "markup"]
SCENARIOS = {"nested-drain": 20, "aio-wait": 5, "iothread": 5}
CALLBACKS = 5  # kinds below are callbacks


class Slice(NamedTuple):
    begin: int
    end: int
    name: str
    kind: int
    ending: int
    count: int
    busy: int


class Page:
    """A page, read as its scripts read it."""

    def __init__(self, text: str) -> None:
        found = re.search(
            r'<script type="application/x-ndjson" id="rows">\n(.*?)</script>\n'
            r'<script type="text/plain" id="packed">(.*?)</script>',
            text,
            re.DOTALL,
        )
        assert found
        self.rows: List[Dict[str, Any]] = [
            json.loads(line) for line in found[1].splitlines()
        ]
        self.bytes = base64.b64decode(found[2], validate=True)
        self.names = next(self.of("names"))

    def of(self, kind: str) -> Iterator[Dict[str, Any]]:
        return (row for row in self.rows if row["type"] == kind)

    def numbers(self, row: Dict[str, Any]) -> Iterator[int]:
        value = shift = 0
        for byte in self.bytes[row["at"] : row["at"] + row["bytes"]]:
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                yield value
                value = shift = 0
        assert shift == 0

    def slices(self, lane: Dict[str, Any]) -> Iterator[Slice]:
        numbers, last = self.numbers(lane), 0
        for head in numbers:
            begin, length, what = last + (head >> 3), next(numbers), next(numbers)
            last = begin + length
            count, busy = 1, length
            if head & 1:
                count, busy, _longest = next(numbers), next(numbers), next(numbers)
            name = self.names["texts"][what >> 4]
            yield Slice(begin, last, name, what & 15, head >> 1 & 3, count, busy)


def page_of(path: Path) -> Page:
    done = loopscope("report", path, "--html")
    assert done.returncode == FINE, done.stderr
    return Page(done.stdout.decode())


@pytest.fixture(scope="module", name="paths")
def fixture_paths(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    top = tmp_path_factory.mktemp("r")
    tool = BUILD / "tests" / "unit" / "report" / "workload-tool"
    for name in WORKLOADS:
        subprocess.run([tool, name, top / name], check=True)
    for name, iterations in SCENARIOS.items():
        command = [BUILD / "demo-qemu-loop", "--record", top / name, "--scenario", name]
        command += ["--iterations", str(iterations)]
        subprocess.run(command, check=True, capture_output=True)
    stream = shutil.copytree(top / "known", top / "damaged") / "thread-100"
    stream.write_bytes(stream.read_bytes()[:4096] + b"\xff" * 4096)
    return {name: top / name for name in [*WORKLOADS, *SCENARIOS, "damaged"]}


RECORDINGS = [*WORKLOADS, *SCENARIOS, "damaged"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_callbacks_over_time_are_those_of_the_table(
    paths: Dict[str, Path], name: str
) -> None:
    page = page_of(paths[name])
    table: "Counter[Tuple[int, str, int]]" = Counter()
    for row in page.of("callback"):
        kind = page.names["kinds"].index(row["kind"])
        called = row["callback"] or row["callback_addr"] or "unknown"
        table[row["thread"], called.split(" (")[0], kind] += (
            row["count"] + row["unfinished"]
        )
    drawn: "Counter[Tuple[int, str, int]]" = Counter()
    for lane in page.of("lane"):
        for part in page.slices(lane):
            if part.kind < CALLBACKS:
                drawn[lane["thread"], part.name.split(" (")[0], part.kind] += part.count
    assert drawn == table and (table or name == "damaged")


@pytest.mark.parametrize("name", RECORDINGS)
def test_slices_are_nested(paths: Dict[str, Path], name: str) -> None:
    page = page_of(paths[name])
    lanes = {(row["thread"], row["depth"]): row for row in page.of("lane")}
    for (thread, depth), row in lanes.items():
        inner = list(page.slices(row))
        assert len(inner) == row["slices"]
        if depth:
            outer = iter(list(page.slices(lanes[thread, depth - 1])))
            around = next(outer)
            for part in inner:
                while around.end < part.begin or (around.end == part.begin < part.end):
                    around = next(outer)
                assert around.begin <= part.begin and part.end <= around.end


def test_rows_are_those_of_the_json(paths: Dict[str, Path]) -> None:
    for path in paths.values():
        page = page_of(path)
        rows = loopscope("report", path, "--json").stdout.decode().splitlines()
        assert page.rows[: len(rows)] == [json.loads(row) for row in rows]


def test_verdicts_are_those_of_the_doctor(
    paths: Dict[str, Path], tmp_path: Path
) -> None:
    sick = tmp_path / "r"
    command = [
        BUILD / "demo-qemu-loop",
        "--record",
        sick,
        "--scenario",
        "blocked-sleep",
    ]
    subprocess.run([*command, "--iterations", "3"], check=True, capture_output=True)
    for path in (sick, paths["known"]):
        done = loopscope("doctor", path, "--json")
        said = [json.loads(line) for line in done.stdout.decode().splitlines()]
        found = {
            (row["verdict"], row["thread"], row["culprit"])
            for row in said
            if row["type"] == "verdict"
        }
        page = page_of(path)
        assert found == {
            (row["verdict"], row["thread"], row["culprit"])
            for row in page.of("verdict")
        }
        assert next(page.of("doctor"))["findings"] == len(found)
        assert bool(found) == (path == sick)


def test_known_slices(paths: Dict[str, Path]) -> None:
    page = page_of(paths["known"])
    kinds = page.names["kinds"]
    lanes = {
        row["depth"]: [(s.name, s.end - s.begin) for s in page.slices(row)]
        for row in page.of("lane")
    }
    assert set(name for name, _ in lanes[0]) == {"iteration"} and len(lanes[0]) == 23
    assert lanes[1][0] == ("poll, timeout by timer gui_update", 5000000)
    assert lanes[2].count(("virtio_queue_host_notifier_read", 1000000)) == 11
    assert lanes[3] == [("bdrv_co_drain_bh_cb", 400000)] * 11
    assert kinds.index("BH") == 1


def test_a_wake_up_says_who_and_where(paths: Dict[str, Path]) -> None:
    page = page_of(paths["aio-wait"])
    row = next(page.of("wakes"))
    numbers = list(page.numbers(row))
    assert row["count"] and len(numbers) == 5 * row["count"]
    loops = {loop["thread"] for loop in page.of("loop")}
    threads = {thread["thread"] for thread in page.of("thread")}
    wakeups: "Counter[Tuple[int, int]]" = Counter()
    for wakeup in page.of("wakeup"):
        if wakeup["cause"] == "notify":
            wakeups[wakeup["by_thread"], wakeup["thread"]] += wakeup["count"]
    found = Counter(zip(numbers[2::5], numbers[3::5]))
    assert found == wakeups and set(numbers[3::5]) <= loops <= threads
    assert all("notify" in page.names["texts"][n] for n in numbers[4::5])


def test_losses_have_their_place(paths: Dict[str, Path]) -> None:
    page = page_of(paths["gaps"])
    assert [row["count"] for row in page.of("loss")] == [5] * 8
    assert sum(row["lost"] for row in page.of("recording")) == 40


def test_it_loads_nothing_and_obeys_no_name(paths: Dict[str, Path]) -> None:
    for name in ("known", "markup", "hostile"):
        text = loopscope("report", paths[name], "--html").stdout.decode()
        assert "default-src 'none'" in text[:400]
        assert not re.search(r"https?:|//[a-z]|<[^>]*\ssrc=|url\(|@import|<link", text)
        # Ours: what the page is, the packed recording, four scripts.
        assert len(re.findall(r"<script[ >]", text)) == 6 == text.count("</script>")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028]", text)


def test_a_file_gets_its_name_when_it_is_complete(
    paths: Dict[str, Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert loopscope("report", paths["known"], "--html", "-o", page).returncode == FINE
    assert page.read_text().endswith("</html>\n")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    for refused in (["--json"], ["--diff", paths["known"]], ["--all"], ["--events"]):
        done = loopscope("report", paths["known"], "--html", *refused)
        assert done.returncode == USAGE and b"--html shows all there is" in done.stderr
    done = loopscope("report", paths["known"], "-o", page)
    assert done.returncode == USAGE and b"-o goes with --html" in done.stderr
    done = loopscope("report", paths["known"], "--html", "-o", tmp_path / "no/page")
    assert done.returncode == FAILED and b"No such file" in done.stderr
