"""loopscope doctor on loops that do all they can (honest_loads.py): it says nothing, live or after."""

from pathlib import Path
from typing import Iterator, List

import pytest
from honest_loads import ALONE, OF_GUEST, BusyGuest, ImageBench
from process_memory import wait_until
from tracer_run import FINE, finish, run, start

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def guest() -> Iterator[BusyGuest]:
    with BusyGuest() as target:
        yield target


def looked_at(pid: int, path: Path) -> None:
    """By two doctors and a recorder at once; and then the recording."""
    doctors = [start("doctor", "-p", pid, "-d", 4, "--json") for _ in range(2)]
    recorded = run("record", "-p", pid, "-o", path, "-d", 3)
    for doctor in doctors:
        result = finish(doctor)
        assert not result.of_type("verdict") and result.rc == FINE, result.out
    assert recorded.rc == FINE, recorded.err
    result = run("doctor", path, "--json")
    assert not result.of_type("verdict") and result.rc == FINE, result.out


@pytest.mark.full
@pytest.mark.parametrize("name", OF_GUEST)
def test_nothing_is_said_of_a_busy_guest(
    guest: BusyGuest, name: str, tmp_path: Path
) -> None:
    with OF_GUEST[name](guest) as pid:
        looked_at(pid, tmp_path / "r")


@pytest.mark.full
@pytest.mark.parametrize("name", ALONE)
def test_nothing_is_said_of_a_busy_loop(name: str, tmp_path: Path) -> None:
    with ALONE[name]() as pid:
        looked_at(pid, tmp_path / "r")


def kernel_workers(pid: int) -> List[int]:
    comms = Path(f"/proc/{pid}/task").glob("*/comm")
    return [int(c.parent.name) for c in comms if c.read_text().startswith("iou-wrk")]


@pytest.mark.parametrize("way", ["mem", "iter"])
def test_a_worker_of_the_kernel_is_no_loop(way: str) -> None:
    """Its registers are a copy of the main loop's, which slept in ppoll when it was made."""
    flushing = ("-w", "-d", 1, "--flush-interval", 1)  # an fsync is a worker's
    with ImageBench("-i", "io_uring", "-t", "none", *flushing) as target:
        wait_until(lambda: kernel_workers(target.pid), "io_uring has a worker")
        for _ in range(10):
            looked = run("fds", "-p", target.pid, "--via", way, "--json")
            threads = {row["thread"] for row in looked.of_type("fd")}
            assert threads <= {target.pid}, looked.out
