"""loopscope doctor on loops that do all they can (honest_loads.py): it says nothing, live or after."""

from pathlib import Path
from typing import Iterator, List

import pytest
from honest_loads import ALONE, OF_GUEST, BusyGuest
from tracer_run import FINE, finish, run, start
from tracer_targets import Qemu

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


class RingQemu(Qemu):
    """Its disk's requests go to io_uring."""

    def default_args(self) -> List[object]:
        disk = self.dir / "disk"
        disk.write_bytes(bytes(1 << 20))
        options = f"driver=file,filename={disk},node-name=disk"
        return ["-blockdev", f"{options},aio=io_uring,cache.direct=on"]

    def make_worker(self) -> None:
        """The kernel does an fsync in a thread that it makes in the process, and keeps for 5 s."""
        with self.qmp() as qmp:
            for what in ("write 0 4k", "flush"):
                line = {"command-line": f'qemu-io disk "{what}"'}
                assert not qmp.command("human-monitor-command", **line).strip()


def test_a_worker_of_the_kernel_is_none_of_the_threads() -> None:
    """Its registers are a copy of those of who made it, in whatever wait that was."""
    with RingQemu() as qemu:
        own = len(qemu.threads())
        qemu.make_worker()
        assert any(name.startswith("iou-wrk-") for name in qemu.threads())
        result = run("doctor", "-p", qemu.pid, "-d", 0.2, "--json").fine()
    assert not result.of_type("verdict")
    assert result.total["threads"] == own
