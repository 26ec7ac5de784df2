# SPDX-License-Identifier: MIT
"""loopscope report --html in a browser: what is drawn is what was recorded, at two window sizes.

A click or a turn of the wheel is made by a script that a copy of the page has at its end; what has
become of the page is read from its text, or from the picture.
"""

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# pylint: disable=wrong-import-position
import chromium
from chromium import BUILD, Pixel

WIDE, NARROW = (1280, 800), (480, 800)
SIZES = [WIDE, NARROW]
HANDLER, BH, TIMER = (0x7F, 0xB2, 0xF0), (0xF2, 0xB2, 0x63), (0x86, 0xCF, 0x98)
DISPATCH = (0xC4, 0xCC, 0xD6)
BAD = (0xB3, 0x16, 0x0B)


def write(name: str, path: Path, *args: object) -> Path:
    tool = BUILD / "tests/unit/report/workload-tool"
    subprocess.run([tool, name, path, *map(str, args)], check=True)
    return path


def write_page(recording: Path, path: Path) -> Path:
    command = [BUILD / "loopscope", "report", recording, "--html", "-o", path]
    subprocess.run(command, check=True)
    return path


def rows(recording: Path, kind: str) -> List[Dict[str, Any]]:
    out = subprocess.run(
        [BUILD / "loopscope", "report", recording, "--json"],
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    return [row for row in map(json.loads, out) if row["type"] == kind]


class Reports:
    """Pages of known recordings, made once."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def recording(self, name: str, *args: object) -> Path:
        path = self.top / name
        kind = "many" if name.startswith("many") else name
        return path if path.exists() else write(kind, path, *args)

    def page(self, name: str, *args: object) -> Path:
        path = self.top / f"{name}.html"
        recording = self.recording(name, *args)
        return path if path.exists() else write_page(recording, path)

    def dom(
        self,
        page: Path,
        size: Tuple[int, int] = WIDE,
        script: str = "",
        place: str = "",
    ) -> str:
        """The page after @script; an error in any script is its title."""
        copy = self.top / "copy.html"
        text = page.read_text().replace(
            "<script>",
            "<script>addEventListener('error', (e) => document.title = e.message);"
            "</script><script>",
            1,
        )
        copy.write_text(text.replace("</html>", f"<script>{script}</script></html>"))
        dom = chromium.run(
            f"file://{copy}{place}", self.top / "user", size, "--dump-dom"
        )
        assert 'data-ready="yes"' in dom
        assert re.search(r"<title>(.*?)</title>", dom)[1].endswith(": loopscope report")  # type: ignore[index]
        return dom

    def picture(
        self, page: Path, size: Tuple[int, int], *options: str, place: str = ""
    ) -> List[List[Pixel]]:
        shot = self.top / "shot.png"
        shot.unlink(missing_ok=True)
        chromium.run(
            f"file://{page}{place}",
            self.top / "user",
            size,
            f"--screenshot={shot}",
            *options,
        )
        return chromium.read_png(shot, size)


@pytest.fixture(scope="module", name="reports")
def fixture_reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    return Reports(tmp_path_factory.mktemp("pages"))


def text_of(dom: str, ident: str) -> str:
    """The text in the element with that id, its children's too, up to the next with an id."""
    part = dom.split(f'id="{ident}"', 1)[1].split(">", 1)[1]
    part = re.split(r'<[a-z]+ [^>]*id="', part)[0]
    return html.unescape(re.sub(r"<[^>]*>", " ", part))


def first_cells(dom: str, ident: str) -> List[str]:
    table = dom.split(f'id="{ident}"', 1)[1].split("</table>")[0]
    return [
        html.unescape(re.sub(r"<[^>]*>", "", cell))
        for cell in re.findall(r"<tr><td[^>]*>(.*?)</td>", table)
    ]


def has(line: List[Pixel], colour: Pixel) -> int:
    return sum(max(abs(a - b) for a, b in zip(p, colour)) <= 3 for p in line)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off_at_the_side(
    reports: Reports, size: Tuple[int, int]
) -> None:
    script = (
        "const page = document.documentElement;"
        "document.body.dataset.beyond = page.scrollWidth - page.clientWidth"
    )
    for name in ("known", "markup", "gaps"):
        dom = reports.dom(reports.page(name), size, script)
        assert 'data-beyond="0"' in dom, name


@pytest.mark.parametrize("size", SIZES)
def test_slices_are_seen(reports: Reports, size: Tuple[int, int]) -> None:
    """Handlers of 1 ms, BHs of 400 us in them, timers of 100 us: in four of 23 iterations."""
    place = "#view=0,40000000"
    high = (size[0], size[1] + 600)  # what lies above takes more lines in a narrow one
    lines = reports.picture(reports.page("known"), high, place=place)
    handlers = max(has(line, HANDLER) for line in lines)
    most_bh = max(has(line, BH) for line in lines)
    assert 0.035 * size[0] < handlers < 0.065 * size[0]  # 2 of 20 ms
    assert 0.012 * size[0] < most_bh < 0.027 * size[0]
    assert any(has(line, TIMER) for line in lines)


def test_what_begins_behind_something_small_is_seen(reports: Reports) -> None:
    """A wait for the lock of 10 us and the dispatch of 1 ms after it begin in the same pixel."""
    lines = reports.picture(reports.page("known"), WIDE)
    assert 80 < max(has(line, DISPATCH) for line in lines) < 160  # 23 of 226 ms


def test_light_and_dark(reports: Reports) -> None:
    for scheme, back in ((1, (255, 255, 255)), (0, (0x14, 0x17, 0x1A))):
        option = f"--blink-settings=preferredColorScheme={scheme}"
        lines = reports.picture(reports.page("known"), WIDE, option)
        assert lines[2][2] == back
        assert has([pixel for line in lines for pixel in line], back) > 100000


def test_a_million_events(reports: Reports) -> None:
    """A page of some megabytes opens, and its tables are exact."""
    page = reports.page("many", 1000000)
    assert page.stat().st_size < 4000000
    dom = reports.dom(page)
    assert "1,000,000 events of 4 threads, 125,000 iterations" in text_of(dom, "facts")
    assert len(first_cells(dom, "callbacks")) == 64
    assert "drawn as one" not in text_of(dom, "missing")  # each call has its slice
    lines = reports.picture(page, (1280, 1600))
    assert max(has(line, HANDLER) for line in lines) > 40


def test_more_calls_than_can_be_drawn(reports: Reports) -> None:
    """4,000,000 events of 1,500,000 calls: the page stays small, and says what it has done."""
    page = reports.page("many-more", 4000000)
    assert page.stat().st_size < 12000000
    dom = reports.dom(page)
    assert "are drawn as one. The tables are exact." in text_of(dom, "missing")
    assert "4,000,000 events of 4 threads, 500,000 iterations" in text_of(dom, "facts")


def test_a_click_sorts(reports: Reports) -> None:
    recording = reports.recording("known")
    for title, key in (("count", "count"), ("max", "max_ns"), ("p50", "p50_ns")):
        script = (
            "[...document.querySelectorAll('#callbacks th button')]"
            f".find((b) => b.textContent === '{title}').click()"
        )
        table = sorted(rows(recording, "callback"), key=lambda row: -row[key])
        names = first_cells(
            reports.dom(reports.page("known"), script=script), "callbacks"
        )
        keys = {row["callback"]: row[key] for row in table}
        assert [keys[name] for name in names] == [row[key] for row in table]
    twice = script + ";" + script
    names = first_cells(reports.dom(reports.page("known"), script=twice), "callbacks")
    assert [keys[name] for name in names] == sorted(keys.values())


def test_words_filter(reports: Reports) -> None:
    script = "const f = document.getElementById('find'); f.value = 'bh drain'; f.dispatchEvent(new Event('input'))"
    dom = reports.dom(reports.page("known"), script=script)
    assert first_cells(dom, "callbacks") == ["bdrv_co_drain_bh_cb"]
    assert text_of(dom, "found").strip() == "1 of 3"
    dom = reports.dom(reports.page("known"), place="#find=gui&sort=count")
    assert first_cells(dom, "callbacks") == ["gui_update"]


def wheel(times: int, delta: int) -> str:
    event = (
        f"new WheelEvent('wheel', {{ctrlKey: true, deltaY: {delta}, cancelable: true}})"
    )
    return f"for (let i = 0; i < {times}; i++) timeline.canvas.dispatchEvent({event});"


def test_the_wheel_zooms_and_keys_move(reports: Reports) -> None:
    page = reports.page("known")
    whole = text_of(reports.dom(page), "range")
    assert whole.startswith("226 ms from 0 ns on")
    near = text_of(
        reports.dom(page, script=wheel(10, -100) + "timeline.draw()"), "range"
    )
    assert near.split(" from ")[0].split()[1] == "ms" and float(near.split()[0]) < 60
    key = "timeline.canvas.dispatchEvent(new KeyboardEvent('keydown', {key: '%s'}));"
    back = wheel(10, -100) + key % "0" + "timeline.draw()"
    assert text_of(reports.dom(page, script=back), "range") == whole
    moved = key % "+" + key % "ArrowRight" + "timeline.draw()"
    assert text_of(reports.dom(page, script=moved), "range").startswith(
        "113 ms from 79.1 ms"
    )


def test_the_longest_call_is_found(reports: Reports) -> None:
    """The button in the table leads to it, and a click there says what it is."""
    script = (
        "document.querySelector('#callbacks td button').click(); timeline.draw();"
        "const s = timeline.selected(), l = s.thread.lanes[s.depth];"
        "const x = ((l.begin[s.i] + l.end[s.i]) / 2 - timeline.view.from) /"
        "  (timeline.view.to - timeline.view.from) * timeline.canvas.clientWidth;"
        "document.getElementById('selected').textContent = "
        "  timeline.wordsAt(x, s.thread.top + 20 + s.depth * 17 + 8)"
    )
    words = text_of(reports.dom(reports.page("known"), script=script), "selected")
    assert "handler virtio_queue_host_notifier_read" in words
    assert "1.00 ms" in words and "thread" not in words.split("\n")[0]


def test_losses_are_plain(reports: Reports) -> None:
    dom = reports.dom(reports.page("gaps"), place="#view=0,60000000")
    assert "40 events were lost." in text_of(dom, "missing")
    lines = reports.picture(
        reports.page("gaps"), (1280, 1000), place="#view=0,60000000"
    )
    # Two red lines, each over the height of the thread's rows.
    marks = [sum(line[x] == BAD for line in lines) for x in range(100, 1280)]
    assert sum(height > 60 for height in marks) == 4


def test_names_are_text(reports: Reports) -> None:
    """None of them ends a script, makes an element or runs."""
    dom = reports.dom(reports.page("markup"))
    body = dom.split('<script type="application/x-ndjson"')[0]
    assert "<img" not in body and "<b>&lt;" not in body
    assert "<img src=x onerror=" in text_of(dom, "callbacks")
    assert dom.count("<script") == 8  # the page's six, and the two of this test


def test_all_parts_of_a_real_recording(reports: Reports) -> None:
    recording = reports.top / "aio-wait"
    command = [
        BUILD / "demo-qemu-loop",
        "--record",
        recording,
        "--scenario",
        "aio-wait",
    ]
    subprocess.run([*command, "--iterations", "5"], check=True, capture_output=True)
    page = write_page(recording, reports.top / "aio-wait.html")
    dom = reports.dom(page)
    for part in ("timeouts", "wakeups", "nested", "bql"):
        assert first_cells(dom, part), part
        assert re.search(f'id="{part}-part" *>|id="{part}-part">', dom)
    words = {row["words"] for row in rows(recording, "wakeup")}
    assert set(first_cells(dom, "wakeups")) == words
    assert len(first_cells(dom, "nested")) == len(rows(recording, "nested_call"))
