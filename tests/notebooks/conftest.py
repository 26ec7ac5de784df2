"""What the tests of the labs share: the package's place, a recording, tests that take long.

A test marked `full` runs when FULL is in the environment (make check-labs FULL=1, make check-full).
"""

import os
from pathlib import Path
from typing import List

import pytest

from looplabs import Lab
from looplabs.recording import Recording

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"


@pytest.fixture(scope="session")
def rec() -> Recording:
    """five-sources with 23 iterations, whose events are the same in every run."""
    return Lab(1, keep=False).record("five-sources", iterations=23)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: takes long, runs in make check-full")


def pytest_collection_modifyitems(
    config: pytest.Config, items: List[pytest.Item]
) -> None:
    if os.environ.get("FULL"):
        return
    later = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if not item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=later)
