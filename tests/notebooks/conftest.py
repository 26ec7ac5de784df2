"""What the tests of the labs share: the package's place, and a recording."""

from pathlib import Path

import pytest

from looplabs import Lab
from looplabs.recording import Recording

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"


@pytest.fixture(scope="session")
def rec() -> Recording:
    """five-sources with 23 iterations, whose events are the same in every run."""
    return Lab(1, keep=False).record("five-sources", iterations=23)
