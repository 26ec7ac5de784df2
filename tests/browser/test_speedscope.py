# SPDX-License-Identifier: MIT
"""speedscope's own importer opens an export, and what it draws is what was recorded.

A file is handed to the page as speedscope's own command does it: by a script that the page loads.
The slices are on a canvas, so the screenshot is what tells of them.
"""

import base64
import json
import os
import struct
import subprocess
import zlib
from pathlib import Path
from typing import List, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", ROOT / "build"))
PAGE = BUILD / "browser/node_modules/speedscope/dist/release/index.html"
WIDTH, HEIGHT = 1200, 800
FIRST_ROW, ROW = 142, 20  # of the flame graph below the overview, in pixels

Pixel = Tuple[int, ...]


def exported(path: Path) -> bytes:
    return subprocess.run(
        [BUILD / "loopscope", "export", path, "--to", "speedscope"],
        capture_output=True,
        check=True,
    ).stdout


def open_in_speedscope(path: Path, top: Path, *options: str) -> str:
    script = top / "profile.js"
    text = base64.b64encode(exported(path)).decode()
    script.write_text(f"speedscope.loadFileFromBase64('profile.json', '{text}')")
    return subprocess.run(
        [
            "chromium",
            *("--headless", "--no-sandbox", f"--user-data-dir={top / 'user'}"),
            *("--use-gl=angle", "--use-angle=swiftshader"),
            *("--enable-unsafe-swiftshader", f"--window-size={WIDTH},{HEIGHT}"),
            *("--virtual-time-budget=10000", *options),
            f"file://{PAGE}#localProfilePath={script}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


def unfilter(kind: int, line: bytearray, above: bytearray, step: int) -> None:
    """A line of a PNG, in place: each byte is the difference to a guess of it."""
    for i, byte in enumerate(line):
        left = line[i - step] if i >= step else 0
        up, corner = above[i], above[i - step] if i >= step else 0
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda x: abs(guess - x))
        line[i] = (byte + (0, left, up, (left + up) // 2, nearest)[kind]) & 255


def read_png(path: Path) -> List[List[Pixel]]:
    """Lines of pixels, of 8 bits a colour and no palette."""
    data, at, packed = path.read_bytes(), 8, b""
    step = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IHDR":
            width, _, depth, colours = struct.unpack_from(">IIBB", data, at + 8)
            step = {2: 3, 6: 4}[colours]
            assert (width, depth) == (WIDTH, 8)
        elif kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += size + 12
    raw, length = zlib.decompress(packed), WIDTH * step
    above, lines = bytearray(length), []
    for start in range(0, len(raw), length + 1):
        line = bytearray(raw[start + 1 : start + 1 + length])
        unfilter(raw[start], line, above, step)
        lines.append([tuple(line[i : i + 3]) for i in range(0, length, step)])
        above = line
    return lines


def coloured(lines: List[List[Pixel]], row: int) -> int:
    """Pixels of a row of slices that are neither white nor of a grid line."""
    line = lines[FIRST_ROW + row * ROW + ROW // 2]
    return sum(max(pixel) - min(pixel) > 8 for pixel in line)


@pytest.fixture(scope="module", name="known")
def fixture_known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 iterations: iteration > dispatch > handler > BH, or iteration > dispatch > timer."""
    path = tmp_path_factory.mktemp("known") / "r"
    tool = BUILD / "tests/unit/report/workload-tool"
    subprocess.run([tool, "known", path], check=True)
    return path


def test_it_is_valid_by_speedscopes_own_schema(known: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((PAGE.parent / "file-format-schema.json").read_text())
    jsonschema.validate(json.loads(exported(known)), schema)


def test_the_profile_is_named(known: Path, tmp_path: Path) -> None:
    page = open_in_speedscope(known, tmp_path, "--dump-dom")
    assert "main loop (qemu-system-x86) 100" in page
    assert "Something went wrong" not in page


def test_slices_are_seen(known: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    open_in_speedscope(known, tmp_path, f"--screenshot={shot}")
    lines = read_png(shot)
    widths = [coloured(lines, row) for row in range(6)]
    # Iterations of 6 ms out of each 10; what is deeper is shorter; nothing below the BHs.
    assert 0.5 * WIDTH < widths[0] < 0.7 * WIDTH
    assert widths[0] > widths[1] > widths[2] > 0 and widths[3] > 0
    assert widths[4] == widths[5] == 0
