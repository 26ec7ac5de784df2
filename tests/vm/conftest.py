"""One machine for all tests: it takes long to boot."""

from typing import Iterator

import pytest
from machine import Vm


@pytest.fixture(scope="session")
def vm() -> Iterator[Vm]:
    with Vm() as machine:
        yield machine
