"""loopscope fds: every polled descriptor, of every loop, with its owner; nothing else."""

import os
import re
import signal
import socket
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
from process_memory import fd_link, poll_sets, wait_until
from tracer_run import Result, Row, finish, run, start
from tracer_targets import Demo, Qemu

NOTIFIER = "its own notifier"
EVENTS = {"in": 0x1, "pri": 0x2, "out": 0x4}


def brief(rows: List[Row]) -> List[Tuple[object, ...]]:
    keys = ("fd_kind", "events", "owner_kind", "owner", "ctx", "callback")
    return [tuple(row[k] for k in keys) for row in rows]


def by_thread(rows: List[Row]) -> Dict[int, List[Row]]:
    threads: Dict[int, List[Row]] = {}
    for row in rows:
        threads.setdefault(row["thread"], []).append(row)
    return threads


def polled(result: Result) -> Dict[int, List[Tuple[int, int]]]:
    """As poll_sets() says it: all that poll() can be asked for is in, pri and out."""
    return {
        tid: [
            (r["fd"], sum(EVENTS[e] for e in r["events"].split("+") if e != "-"))
            for r in rows
        ]
        for tid, rows in by_thread(result.of_type("fd")).items()
    }


def asked(pid: int) -> Dict[int, List[Tuple[int, int]]]:
    sets = poll_sets(pid)
    return {tid: [(fd, events & 7) for fd, events in fds] for tid, fds in sets.items()}


def test_demo_polls_exactly_its_five_sources_and_io0_its_notifier(demo: Demo) -> None:
    result = run("fds", "-p", demo.pid, "--json").fine()
    main, *others = by_thread(result.of_type("fd")).values()
    cb = "aio_context_notifier_cb"
    main_ctx, iohandler = "qemu_aio_context", "iohandler_ctx"
    assert sorted(brief(main), key=str) == sorted(
        [
            ("signalfd", "in", "handler", iohandler, iohandler, "sigfd_handler"),
            ("eventfd", "in", "notifier", iohandler, iohandler, cb),
            ("eventfd", "in", "notifier", main_ctx, main_ctx, cb),
            ("eventfd", "in", "GLib", "GLib", None, None),
            ("unix", "in", "GSource", 'GSource "vnc-listener"', None, "vnc_listen_io"),
        ],
        key=str,
    )
    assert [brief(rows) for rows in others] == [
        [("eventfd", "in", "notifier", "io0", "io0", cb)],
    ]
    assert all(row["thread"] == demo.pid and row["role"] == "main loop" for row in main)
    assert others[0][0]["role"] == "IOThread io0"
    counts = {
        "loops": 2,
        "fds": 6,
        "notifiers": 3,
        "sources": 1,
        "wakeups": 1,
        "lost": 0,
    }
    counts.update(unknown=0, ready=0)
    assert {key: result.total[key] for key in counts} == counts


def test_text_names_the_same_owners_and_callbacks(demo: Demo) -> None:
    text = run("fds", "-p", demo.pid).fine().out
    rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    fds = [row[1:] for row in rows if row[0].isdigit()]
    wake = "wake-up of this thread's GMainContext"
    assert sorted(fds) == sorted(
        [
            ["signalfd", "in", "iohandler_ctx", "sigfd_handler", "-"],
            ["eventfd", "in", "iohandler_ctx", NOTIFIER, "-"],
            ["eventfd", "in", "qemu_aio_context", NOTIFIER, "-"],
            ["eventfd", "in", "GLib", wake, "-"],
            ["unix", "in", 'GSource "vnc-listener"', "vnc_listen_io", "-"],
            ["eventfd", "in", "io0", NOTIFIER, "-"],
        ]
    )
    assert f"listens on {demo.vnc}" in text
    assert f"main loop, thread {demo.pid}, sleeping in ppoll, timeout for ever" in text
    assert "6 fds in 2 loops" in text and "NOT explained" not in text


def test_what_is_shown_is_what_the_threads_poll(
    demo: Demo, qemu: Qemu, many: Demo
) -> None:
    for target in (demo, qemu, many):
        assert polled(run("fds", "-p", target.pid, "--json").fine()) == asked(
            target.pid
        )


def test_every_fd_of_a_stripped_qemu_is_explained(qemu: Qemu) -> None:
    result = run("fds", "-p", qemu.pid, "--json").fine()
    rows = result.of_type("fd")
    assert [row for row in rows if row["owner_kind"] == "unknown"] == []
    assert result.total["unknown"] == 0
    threads = {owners[0]["role"]: owners for owners in by_thread(rows).values()}
    assert set(threads) == {"main loop", "IOThread io0", "IOThread mon_iothread"}
    found = {
        role: sorted((r["fd_kind"], r["owner_kind"], r["owner"]) for r in owners)
        for role, owners in threads.items()
    }
    assert found == {
        "main loop": [
            ("eventfd", "GLib", "GLib"),
            ("eventfd", "notifier", "iohandler_ctx"),
            ("eventfd", "notifier", "qemu_aio_context"),
            ("signalfd", "handler", "iohandler_ctx"),
            ("unix", "GSource", 'GSource "vnc-listen-listen"'),
        ],
        "IOThread io0": [("eventfd", "notifier", "io0")],
        "IOThread mon_iothread": [
            ("eventfd", "GLib", "GLib"),
            ("eventfd", "notifier", "mon_iothread"),
            (
                "unix",
                "GSource",
                'GSource "chardev-tcp-listener-compat_monitor0-listen"',
            ),
        ],
    }
    details = {row["fd_detail"] for row in rows}
    assert details == {None, f"listens on {qemu.vnc}", f"listens on {qemu.qmp_path}"}


def test_kinds_are_those_of_proc(qemu: Qemu) -> None:
    links = {"eventfd": "anon_inode:[eventfd]", "signalfd": "anon_inode:[signalfd]"}
    for row in run("fds", "-p", qemu.pid, "--json").fine().of_type("fd"):
        link = fd_link(qemu.pid, row["fd"])
        assert link == links.get(row["fd_kind"]) or (
            row["fd_kind"] == "unix" and link.startswith("socket:")
        )


def test_tid_asks_for_one_thread_only(qemu: Qemu) -> None:
    for tid, fds in asked(qemu.pid).items():
        result = run("fds", "-p", qemu.pid, "-t", tid, "--json").fine()
        assert polled(result) == {tid: fds}
        assert result.total["loops"] == 1 and result.total["fds"] == len(fds)


def test_a_thread_that_does_not_poll_is_refused(qemu: Qemu) -> None:
    tids = {int(t) for t in os.listdir(f"/proc/{qemu.pid}/task")}
    idle = sorted(tids - set(poll_sets(qemu.pid)))[0]
    run("fds", "-p", qemu.pid, "-t", idle).refused()


def ready_callbacks(target: Demo) -> List[Tuple[object, ...]]:
    result = run("fds", "-p", target.pid, "--json").fine()
    ready: List[Tuple[object, ...]] = [
        (r["fd_kind"], r["callback"]) for r in result.of_type("fd") if r["ready"]
    ]
    assert result.total["ready"] == len(ready)
    return ready


def test_a_ready_descriptor_is_seen_and_left_as_it_is() -> None:
    """A stopped demo accepts nobody: its listener stays ready, however often it is asked."""
    with Demo("five-sources") as target, socket.socket(socket.AF_UNIX) as client:
        target.wait_asleep()
        target.stop()
        client.connect(str(target.vnc))
        for _ in range(3):
            assert ready_callbacks(target) == [("unix", "vnc_listen_io")]


def test_a_signalfd_is_ready_when_a_signal_of_the_target_is_pending() -> None:
    """Which signals a signalfd sees depends on who asks: here it has to be the target."""
    with Demo("five-sources") as target:
        target.wait_asleep()
        target.stop()
        assert ready_callbacks(target) == []
        os.kill(target.pid, signal.SIGALRM)
        for _ in range(3):
            assert ready_callbacks(target) == [("signalfd", "sigfd_handler")]


def test_asking_leaves_no_descriptor_behind(demo: Demo) -> None:
    before = sorted(
        (fd.name, os.readlink(fd)) for fd in Path(f"/proc/{demo.pid}/fd").iterdir()
    )
    run("fds", "-p", demo.pid).fine()
    after = sorted(
        (fd.name, os.readlink(fd)) for fd in Path(f"/proc/{demo.pid}/fd").iterdir()
    )
    assert after == before


def test_equal_descriptors_are_one_row_with_a_count(many: Demo) -> None:
    text = run("fds", "-p", many.pid).fine().out
    rows = [line.split() for line in text.splitlines()]
    folded = [row for row in rows if row and re.fullmatch(r"x\d+", row[0])]
    assert folded == [["x1000", "eventfd", "in", "iohandler_ctx", "many_fds_read", "-"]]
    assert "1004 fds in 1 loop" in text
    text = run("fds", "-p", many.pid, "--all").fine().out
    assert text.count("many_fds_read") == 1000


def test_twice_and_two_at_once_say_the_same(demo: Demo) -> None:
    args = ("fds", "-p", demo.pid, "--json")
    once = run(*args).fine().rows
    pair = [start(*args), start(*args)]
    assert [finish(p).fine().rows for p in pair] == [once, once]
    assert run(*args).fine().rows == once


@pytest.mark.parametrize("kind", ["io_uring", "epoll"])
@pytest.mark.parametrize("via", ["mem", "iter"])
def test_fd_monitors_are_explained_and_what_they_watch_is_shown(
    kind: str, via: str
) -> None:
    """GLib polls one fd for a whole context; an IOThread waits in a call that names no fds."""
    with Demo("io-uring", "--fds", "70", "--fdmon", kind) as target:
        found: Dict[str, List[Row]] = {}

        # Each works for some microseconds every 20 ms.
        def both_sleep() -> bool:
            found.clear()
            rows = run("fds", "-p", target.pid, "--json", "--via", via)
            for row in rows.of_type("fd"):
                found.setdefault(row["role"], []).append(row)
            return len(found) == 2

        wait_until(both_sleep, "both loops sleep")
    main, io0 = found["main loop"], found["IOThread io0"]
    assert sorted((r["fd_kind"], r["owner_kind"], r["owner"]) for r in main) == sorted(
        [
            ("eventfd", "GLib", "GLib"),
            (kind, "fd monitor", "iohandler_ctx"),
            (kind, "fd monitor", "qemu_aio_context"),
        ]
    )
    assert len(io0) == 71
    assert [r["callback"] for r in io0].count("fdmon_read") == 70
    assert {r["owner"] for r in io0} == {"io0"}
