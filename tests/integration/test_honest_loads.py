"""loopscope doctor on loops that do all they can (honest_loads.py): it says nothing, live or after."""

from pathlib import Path
from typing import Iterator, List, Optional

import pytest
from honest_loads import ALONE, LIVE_ONLY, OF_GUEST, BusyGuest
from tracer_run import FAILED, FINE, Result, finish, run, start
from tracer_targets import Qemu

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def guest() -> Iterator[BusyGuest]:
    with BusyGuest() as target:
        yield target


def nothing_said(result: Result) -> None:
    """Perhaps that it is not sure: these loads are not alone on the machine."""
    assert not result.of_type("verdict"), result.out
    assert result.rc == (FINE if result.total["sure"] else FAILED), result.err


def looked_at(pid: int, path: Optional[Path]) -> None:
    """By two doctors and a recorder at once; and then the recording."""
    doctors = [start("doctor", "-p", pid, "-d", 4, "--json") for _ in range(2)]
    if path:
        recorded = run("record", "-p", pid, "-o", path, "-d", 3)
        assert recorded.rc == FINE, recorded.err
    for doctor in doctors:
        nothing_said(finish(doctor))
    if path:
        nothing_said(run("doctor", path, "--json"))


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
        looked_at(pid, None if name in LIVE_ONLY else tmp_path / "r")


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
