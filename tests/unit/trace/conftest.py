# SPDX-License-Identifier: MIT
"""Paths and tools that the tests of trace/ share; "make check-trace" sets BUILD, CC and SAN."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("BUILD", ROOT / "build"))
sys.path.insert(0, str(ROOT / "trace"))


@pytest.fixture(scope="session")
def build():
    return BUILD


@pytest.fixture(scope="session")
def table():
    from probegen.table import parse

    return parse(ROOT / "trace" / "loop.probes")


@pytest.fixture
def compile_c(tmp_path):
    """compile_c(sources, *flags) -> path of the object, or of the program with "-o"."""

    def compile_c(source, *flags, name="out.o", link=False):
        output = tmp_path / name
        text = tmp_path / (name + ".c")
        if not isinstance(source, Path):
            text.write_text(source)
            source = text
        command = os.environ.get("CC", "gcc").split() + [
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Werror",
        ]
        command += ["-D_GNU_SOURCE", f"-I{ROOT}", f"-I{BUILD}", *flags]
        command += [str(source), "-o", str(output)] + ([] if link else ["-c"])
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return output

    return compile_c
