# SPDX-License-Identifier: MIT
"""Chromium without a screen: what a page has become, as text or as a picture."""

import os
import struct
import subprocess
import zlib
from pathlib import Path
from typing import List, Tuple

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", ROOT / "build"))

Pixel = Tuple[int, ...]


def run(url: str, user: Path, size: Tuple[int, int], *options: str) -> str:
    """What it prints: with --dump-dom the page as it is after its scripts have run."""
    return subprocess.run(
        [
            "chromium",
            *("--headless", "--no-sandbox", f"--user-data-dir={user}"),
            *("--use-gl=angle", "--use-angle=swiftshader", "--hide-scrollbars"),
            *("--enable-unsafe-swiftshader", f"--window-size={size[0]},{size[1]}"),
            *("--virtual-time-budget=10000", *options),
            url,
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


def read_png(path: Path, size: Tuple[int, int]) -> List[List[Pixel]]:
    """Lines of pixels, of 8 bits a colour and no palette."""
    data, at, packed = path.read_bytes(), 8, b""
    step = 0
    while at < len(data):
        n, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IHDR":
            width, _, depth, colours = struct.unpack_from(">IIBB", data, at + 8)
            step = {2: 3, 6: 4}[colours]
            assert (width, depth) == (size[0], 8)
        elif kind == b"IDAT":
            packed += data[at + 8 : at + 8 + n]
        at += n + 12
    raw, length = zlib.decompress(packed), size[0] * step
    above, lines = bytearray(length), []
    for start in range(0, len(raw), length + 1):
        line = bytearray(raw[start + 1 : start + 1 + length])
        unfilter(raw[start], line, above, step)
        lines.append([tuple(line[i : i + 3]) for i in range(0, length, step)])
        above = line
    return lines
