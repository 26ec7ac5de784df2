"""What all tests under pytest have in common: which wait for make check-full, and that nothing stays.

A test marked `full` takes long: it runs when FULL is in the environment (make check-full, or
FULL=1 make check-labs).
"""

import os
from typing import List

import leftovers
import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: takes long, runs in make check-full")
    leftovers.watch()


def pytest_collection_modifyitems(
    config: pytest.Config, items: List[pytest.Item]
) -> None:
    if os.environ.get("FULL"):
        return
    later = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if not item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=later)
