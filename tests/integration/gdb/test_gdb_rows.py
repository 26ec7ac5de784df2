# SPDX-License-Identifier: MIT
"""The rows of the gdb commands are loopscope's: the demo and a stripped QEMU, live and core."""
import resource
import signal
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from gdb_run import (
    Core,
    Gdb,
    What,
    at_one_stop,
    gdb_rows,
    loopscope_rows,
    program_of,
    refuse_huge_core,
)
from process_memory import wait_until
from tracer_run import COLUMNS
from tracer_targets import Demo, Qemu, Target, nbd_server, storage_daemon


@pytest.fixture(params=["demo", "demo_core", "qemu", "qemu_core"])
def target(request: pytest.FixtureRequest) -> What:
    found: What = request.getfixturevalue(request.param)
    return found


def test_handlers_are_those_of_loopscope(target: What, gdb: Gdb) -> None:
    kinds = ("context", "handler", "bh", "total")
    theirs = loopscope_rows("handlers", target, *kinds)
    ours = gdb_rows(gdb.out(target, "qemu handlers --json --all"), *kinds)
    assert len(theirs) >= 8 and ours == theirs


def test_polled_fds_are_those_of_loopscope(target: What, gdb: Gdb) -> None:
    theirs = loopscope_rows("fds", target, "fd", "total")
    ours = gdb_rows(gdb.out(target, "qemu gpollfds --json"), "fd", "total")
    assert len(theirs) >= 7 and ours == theirs


def test_contexts_are_those_of_loopscope(target: What, gdb: Gdb) -> None:
    theirs = loopscope_rows("handlers", target, "context")
    ours = gdb_rows(gdb.out(target, "qemu contexts --json"), "context")
    assert len(theirs) >= 3 and ours == theirs


@pytest.mark.parametrize("live", [True, False], ids=["live", "core"])
def test_timers_are_those_of_loopscope(
    qemu: Qemu, qemu_core: Core, gdb: Gdb, live: bool
) -> None:
    for command in ("handlers --all", "timers all"):
        what = (
            qemu if live else qemu_core
        )  # its display has a timer that is armed again
        ours, theirs = at_one_stop(gdb, what, command, "timer")
        assert theirs and ours == theirs


def test_the_layout_is_that_of_loopscope(target: What, gdb: Gdb) -> None:
    (theirs,) = loopscope_rows("layout", target, "layout")
    (ours,) = gdb_rows(gdb.out(target, "qemu layout --json"), "layout")
    for document in (theirs, ours):
        del document["notes"]
        for field in document["fields"]:
            field.pop("proof", None)
        document["fields"].sort(key=lambda field: (field["struct"], field["field"]))
    assert ours == theirs


def test_every_polled_fd_of_a_qemu_is_explained(qemu: Qemu, gdb: Gdb) -> None:
    fds = gdb_rows(gdb.out(qemu, "qemu gpollfds --json"), "fd")
    kinds = {row["owner_kind"] for row in fds}
    assert kinds == {"notifier", "handler", "GSource", "GLib"}
    roles = {row["role"] for row in fds}
    assert roles == {"main loop", "IOThread io0", "IOThread mon_iothread"}
    assert [row for row in fds if row["fd_kind"] == "unknown"] == []
    (signals,) = [row for row in fds if row["fd_kind"] == "signalfd"]
    assert signals["callback"].startswith("qemu-system-x86_64+0x")
    assert "sigaction" in signals["calls"]


@pytest.mark.parametrize("start", [storage_daemon, nbd_server])
def test_other_programs_of_qemu_are_read_as_well(
    start: Callable[[], Target], gdb: Gdb
) -> None:
    with start() as target:
        handlers = loopscope_rows("handlers", target, "context", "handler")
        fds = loopscope_rows("fds", target, "fd")
        text = gdb.out(target, "qemu handlers --json --all")
        assert gdb_rows(text, "context", "handler") == handlers
        assert gdb_rows(gdb.out(target, "qemu gpollfds --json"), "fd") == fds


def test_a_core_knows_no_kinds_of_fds(demo_core: Core, gdb: Gdb) -> None:
    fds = gdb_rows(gdb.out(demo_core, "qemu gpollfds --json"), "fd")
    assert {(row["fd_kind"], row["ready"]) for row in fds} == {("unknown", None)}
    title = f"core of demo-qemu-loop (pid {demo_core.pid}): 3 AioContexts"
    assert gdb.out(demo_core, "qemu contexts").startswith(title)


def test_a_core_without_its_program_still_has_its_contexts(
    demo_core: Core, gdb: Gdb
) -> None:
    """gdb -c CORE loads no symbols: loopscope's layout takes the place of the types."""
    core = Core(demo_core.path, "-c", demo_core.pid)
    theirs = loopscope_rows("handlers", core, "context")
    ours = gdb_rows(gdb.out(core, "qemu contexts --json"), "context")
    known = ("ctx", "ctx_addr", "thread", "notifier_fd", "handlers")
    assert [[row[key] for key in known] for row in ours] == [
        [row[key] for key in known] for row in theirs
    ]


@pytest.fixture
def cores_allowed() -> Iterator[None]:
    """The kernel writes a core into the directory of a process that crashes."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or pattern.startswith("|"):
        pytest.skip(f"this kernel puts cores elsewhere: {pattern}")
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != resource.RLIM_INFINITY:
        pytest.skip("cores are forbidden here (ulimit -Hc)")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.mark.usefixtures("cores_allowed")
def test_a_core_that_the_kernel_wrote(gdb: Gdb) -> None:
    with Demo("five-sources") as demo:
        demo.wait_asleep()
        refuse_huge_core(demo)
        before = loopscope_rows("handlers", demo, "handler")
        program = program_of(demo)
        assert demo.process
        demo.process.send_signal(signal.SIGSEGV)
        demo.process.wait()
        (path,) = demo.dir.glob("core*")
        core = Core(path, program, demo.pid)
        handlers = gdb_rows(gdb.out(core, "qemu handlers --json --all"), "handler")
        fds = gdb_rows(gdb.out(core, "qemu gpollfds --json"), "fd")
    unknown = {"fd_kind": "unknown", "fd_detail": None, "ready": None}
    assert handlers == [{**row, **unknown} for row in before]
    assert [row["fd"] for row in fds] == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("kind", ["io_uring", "epoll"])
def test_a_fd_monitor_is_explained_and_what_it_watches_is_shown(
    gdb: Gdb, kind: str
) -> None:
    """Its IOThread waits in a call that names no fds, and that a stop ends."""
    with Demo("io-uring", "--fds", "23", "--fdmon", kind) as demo:
        found: List[Dict[str, Any]] = []

        # Each works for some microseconds every 20 ms.
        def both_sleep() -> bool:
            answer = gdb.answers(demo, "qemu gpollfds --json --all")[-1]
            found[:] = [] if answer["error"] else gdb_rows(answer["out"], "fd")
            return len({row["role"] for row in found}) == 2

        wait_until(both_sleep, "both loops sleep")
    main = [row for row in found if row["role"] == "main loop"]
    io0 = [row for row in found if row["role"] == "IOThread io0"]
    assert sorted((r["fd_kind"], r["owner_kind"], r["owner"]) for r in main) == sorted(
        [
            ("eventfd", "GLib", "GLib"),
            (kind, "fd monitor", "iohandler_ctx"),
            (kind, "fd monitor", "qemu_aio_context"),
        ]
    )
    assert [row["callback"] for row in io0].count("fdmon_read") == 23
    assert len(io0) == 24 and len(found) == 27


def test_equal_handlers_are_one_row_with_a_count(gdb: Gdb) -> None:
    with Demo("many-fds", "--fds", "23") as many:
        many.wait_asleep()
        handlers = gdb_rows(gdb.out(many, "qemu handlers --json"), "handler")
        (folded,) = [row for row in handlers if row["count"] > 1]
        assert (folded["count"], len(folded["fds"])) == (23, 23)
        assert "x23" in gdb.out(many, "qemu handlers")
        assert "x23" in gdb.out(many, "qemu gpollfds")
        theirs = loopscope_rows("handlers", many, "handler")
        ours = gdb_rows(gdb.out(many, "qemu handlers --json --all"), "handler")
        assert len(ours) >= 23 and ours == theirs
        assert gdb.out(many, "qemu handlers --all").count("\n") >= 23


@pytest.mark.parametrize(
    "command",
    ["contexts", "handlers", "bh", "timers", "timers all", "iothreads", "sources"]
    + ["gpollfds", "layout"],
)
def test_text_fits_in_100_columns(target: What, gdb: Gdb, command: str) -> None:
    lines = gdb.out(target, f"qemu {command}").splitlines()
    # gdb gives notes, which go to stderr, to a script as well.
    too_long = [line for line in lines if len(line) > COLUMNS]
    assert [line for line in too_long if not line.startswith("qemu: ")] == []
