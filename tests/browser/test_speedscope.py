# SPDX-License-Identifier: MIT
"""speedscope's own importer opens an export, and what it draws is what was recorded.

A file is handed to the page as speedscope's own command does it: by a script that the page loads.
The slices are on a canvas, so the screenshot is what tells of them.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# pylint: disable=wrong-import-position
import chromium
from chromium import BUILD, Pixel

PAGE = BUILD / "browser/node_modules/speedscope/dist/release/index.html"
WIDTH, HEIGHT = 1200, 800
FIRST_ROW, ROW = 142, 20  # of the flame graph below the overview, in pixels


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
    return chromium.run(
        f"file://{PAGE}#localProfilePath={script}",
        top / "user",
        (WIDTH, HEIGHT),
        *options,
    )


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
    lines = chromium.read_png(shot, (WIDTH, HEIGHT))
    widths = [coloured(lines, row) for row in range(6)]
    # Iterations of 6 ms out of each 10; what is deeper is shorter; nothing below the BHs.
    assert 0.5 * WIDTH < widths[0] < 0.7 * WIDTH
    assert widths[0] > widths[1] > widths[2] > 0 and widths[3] > 0
    assert widths[4] == widths[5] == 0
