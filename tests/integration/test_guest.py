"""loopscope on a QEMU at work: a guest of Debian's kernel that reads and writes its disks.

What loopscope says is held against what others know: /proc, QMP, the guest's own sums.
"""

from typing import Iterator

import pytest
from guest import Guest, pattern_sum
from process_memory import fd_link
from tracer_run import run


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """At work whenever a test says so. For looking at, and for clients."""
    with Guest() as target:
        yield target


def test_the_guest_does_what_it_is_told(guest: Guest) -> None:
    assert guest.run("uname -s") == "Linux"
    assert guest.work(100).wait() == pattern_sum(100)
    assert guest.copy(50).wait() == pattern_sum(50)
    assert (guest.dir / "disk2").read_bytes()[: 50 * 4096] == (
        guest.dir / "disk0"
    ).read_bytes()[: 50 * 4096]


def test_fds_of_a_guest_at_work_are_those_in_proc(guest: Guest) -> None:
    work = guest.work(500)
    seen = run("fds", "-p", guest.pid, "--json").fine()
    for row in seen.of_type("fd"):
        kind = fd_link(guest.pid, row["fd"])
        assert row["fd_kind"] in ("unix", "inet") or f"[{row['fd_kind']}]" in kind
    assert work.wait() == pattern_sum(500)
def test_iothreads_are_those_that_qmp_lists(guest: Guest) -> None:
    with guest.qmp() as qmp:
        known = {row["id"]: row["thread-id"] for row in qmp.command("query-iothreads")}
    work = guest.work(500)
    seen = run("handlers", "-p", guest.pid, "--json").fine()
    assert work.wait() == pattern_sum(500)
    found = {row["ctx"]: row["thread"] for row in seen.of_type("context")}
    assert known.items() <= found.items()


