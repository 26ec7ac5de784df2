# SPDX-License-Identifier: MIT
"""qemu bh, qemu timers, and what the table of handlers explains: by expected text, live and core."""
from typing import Dict, Iterator, List

import pytest
from gdb_run import Core, Gdb, MakeCore, What, at_one_stop, gdb_rows, loopscope_rows
from process_memory import wait_until
from tracer_run import run
from tracer_targets import Demo, Qemu

EACH = 50  # of handlers, bottom halves and timers of the crowd


@pytest.fixture(scope="module")
def crowd() -> Iterator[Demo]:
    with Demo("crowd", "--fds", str(EACH)) as target:
        yield target.wait_asleep()


@pytest.fixture(params=["live", "core"])
def target(request: pytest.FixtureRequest, crowd: Demo, make_core: MakeCore) -> What:
    return crowd if request.param == "live" else make_core(crowd)


def table_of(text: str, context: str) -> List[str]:
    """The lines about one context."""
    (part,) = [x for x in text.split("\n\n") if x.startswith(context)]
    return part.splitlines()


def test_each_bottom_half_is_a_row_as_loopscope_has_it(target: What, gdb: Gdb) -> None:
    theirs = loopscope_rows("handlers", target, "bh")
    rows = gdb_rows(gdb.out(target, "qemu bh --json"), "bh", "total")
    assert rows[:-1] == theirs and len(theirs) == EACH
    assert (rows[-1]["bhs"], rows[-1]["damaged"]) == (EACH, 0)


def test_equal_bottom_halves_are_one_row_with_a_count(target: What, gdb: Gdb) -> None:
    text = gdb.out(target, "qemu bh")
    lines = table_of(text, "context 0x")
    assert lines[1].startswith("  no thread waits in it now: see qemu where")
    assert lines[2].split() == ["COUNT", "BOTTOM", "HALF", "STATE", "ARGUMENT"]
    assert lines[3].split() == [f"x{EACH}", "crowd_bh", "scheduled", "several"]
    assert "  BHs       none scheduled" in table_of(text, "qemu_aio_context")
    assert f"\n{EACH} BHs; layout from debug information." in text
    assert gdb.out(target, "qemu bh --all").count(" crowd_bh ") == EACH
    addr = lines[0].partition(":")[0].split()[1]
    assert gdb.out(target, f"qemu bh {addr}").count("crowd_bh") == 1
    assert "crowd_bh" not in gdb.out(target, "qemu bh iohandler_ctx")


def test_timers_of_the_main_loop_and_of_all(target: What, gdb: Gdb) -> None:
    theirs = loopscope_rows("handlers", target, "timer")
    rows = gdb_rows(gdb.out(target, "qemu timers all --json"), "timer", "total")
    assert rows[:-1] == theirs and len(theirs) == rows[-1]["timers"] == EACH
    assert [row["expire_ns"] for row in theirs] == sorted(
        row["expire_ns"] for row in theirs
    )
    text = gdb.out(target, "qemu timers")
    assert text.startswith(("demo-qemu-loop", "core of demo-qemu-loop"))
    assert text.endswith("\n0 timers; those of IOThreads as well: qemu timers all.\n")
    assert "crowd_timer" not in text
    lines = table_of(gdb.out(target, "qemu timers all"), "context 0x")
    words = lines[3].split()
    assert words[:3] == [f"x{EACH}", "REALTIME", "first"]
    assert words[3] == ("at" if isinstance(target, Core) else "in")
    assert words[-2:] == ["crowd_timer", "several"]
    assert gdb.out(target, "qemu timers all --all").count(" crowd_timer ") == EACH


def test_a_stopped_clock_is_said(crowd: Demo, gdb: Gdb) -> None:
    """The guest's clock stands still with the guest."""
    clock = "crowd.ctx->tlg.tl[0]->clock->enabled"
    stopped = gdb.out(crowd, f"set var {clock} = 0", "qemu timers all")
    assert "REALTIME is stopped: none of its timers runs before it goes on" in stopped
    assert "is stopped" not in gdb.out(crowd, f"set var {clock} = 1", "qemu timers all")


def test_bottom_halves_that_were_taken_are_shown(gdb: Gdb) -> None:
    """As in the midst of an aio_bh_poll(): some in its slice, one scheduled since."""
    with Demo("crowd", "--fds", "5") as demo:
        demo.wait_asleep()
        at = "crowd.ctx->bh_list.slh_first"
        slice_ = [
            "set var $slice = (BHListSlice *) crowd.notifiers",
            f"set var $slice->bh_list.slh_first = {at}->next.sle_next",
            "set var $slice->next.sqe_next = 0",
            f"set var {at}->next.sle_next = 0",
            "set var crowd.ctx->bh_slice_list.sqh_first = $slice",
        ]
        text = gdb.out(demo, *slice_, "qemu bh")
        rows = gdb_rows(gdb.out(demo, "qemu bh --json"), "bh")
        assert rows == loopscope_rows("handlers", demo, "bh")
    assert [row["taken"] for row in rows] == [True] * 4 + [False]
    lines = table_of(text, "context 0x")
    assert lines[3].split() == ["x4", "crowd_bh", "scheduled", "several"]
    said = "taken by an aio_bh_poll() that has not called it yet"
    assert lines[4].strip() == said and lines[5].split()[0] == "crowd_bh"


def test_ready_deleted_and_poll_list_are_flags(gdb: Gdb) -> None:
    """Removed in a nested poll; the nodes stay while the outer loop walks the list."""
    with Demo("deleted-handler") as demo:
        demo.wait_asleep()
        ours = gdb_rows(gdb.out(demo, "qemu handlers --json --all"), "handler")
        assert ours == loopscope_rows("handlers", demo, "handler")
        text = gdb.out(demo, "qemu handlers qemu_aio_context")
    deleted = [row for row in ours if row["state"] == "deleted"]
    assert [(row["ready"], row["io_read"]) for row in deleted] == [
        (True, "remover_read")
    ] * 3
    assert sum("deleted, ready" in line for line in text.splitlines()) == 3


def test_what_waits_in_a_signalfd_is_the_targets(gdb: Gdb) -> None:
    """A duplicate of a signalfd tells of the signals of whoever holds it."""
    with Demo("five-sources") as demo:
        demo.wait_asleep()
        rows = gdb_rows(gdb.out(demo, "qemu gpollfds --json"), "fd")
        (signals,) = [row for row in rows if row["fd_kind"] == "signalfd"]
        assert signals["ready"] is False


@pytest.mark.parametrize("fdmon", ["poll", "epoll", "io_uring"])
def test_rows_with_each_fd_monitor(gdb: Gdb, fdmon: str) -> None:
    with Demo("five-sources", "--fdmon", fdmon) as demo:
        # One that waits in epoll_wait or io_uring_enter is not counted.
        demo.wait_polling(2 if fdmon == "poll" else 1)
        kinds = ("context", "handler", "bh", "timer", "total")
        ours, theirs = at_one_stop(gdb, demo, "handlers --all", *kinds)
    assert len(theirs) > 4 and ours == theirs


# --- a guest that uses its disks ----------------------------------------------------------------


class Booted(Qemu):
    """SeaBIOS has started the disks' queues, of one device with and one without an IOThread."""

    def default_args(self) -> List[object]:
        return [
            *("-blockdev", "null-co,node-name=disk,size=1048576"),
            *("-device", "virtio-blk-pci,drive=disk,iothread=io0,bootindex=0"),
            *("-blockdev", "null-co,node-name=more,size=1048576"),
            *("-device", "virtio-blk-pci,drive=more,bootindex=1"),
            *("-device", "virtio-rng-pci"),
        ]

    def queues(self) -> Dict[str, List[str]]:
        """Contexts that a queue's notifier is in, with the reason."""
        found: Dict[str, List[str]] = {}
        for row in run("handlers", "-p", self.pid, "--json", "--all").rows:
            if row["type"] == "handler" and row["why_here"]:
                found.setdefault(row["ctx"], []).append(row["why_here"])
        return found

    def boot(self) -> "Booted":
        with self.qmp() as qmp:
            qmp.command("cont")
        wait_until(lambda: len(self.queues()) == 2, "SeaBIOS starts both disks")
        return self


@pytest.fixture(scope="module")
def booted() -> Iterator[Booted]:
    with Booted() as qemu:
        yield qemu.boot()


def test_why_a_virtio_notifier_is_where_it_is(booted: Booted, gdb: Gdb) -> None:
    reasons = {
        "io0": "its device was given this IOThread (iothread=)",
        "qemu_aio_context": "its device serves the block layer without an iothread=: "
        "drains poll it too",
    }
    for context, reason in reasons.items():
        text = gdb.out(booted, f"qemu handlers {context}")
        lines = text.splitlines()
        (at,) = [i for i, line in enumerate(lines) if "virtio_queue_host" in line]
        assert lines[at + 1].strip() == reason


def test_rows_of_a_running_guest_at_one_stop(booted: Booted, gdb: Gdb) -> None:
    kinds = ("context", "handler", "bh", "timer", "total")
    ours, theirs = at_one_stop(gdb, booted, "handlers --all", *kinds)
    assert len(theirs) > 10 and ours == theirs
