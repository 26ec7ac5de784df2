# SPDX-License-Identifier: MIT
"""qemu doctor: the verdict of each faulty scenario that one look can prove, and no other."""
from typing import List

import pytest
from gdb_run import Core, Gdb, MakeCore, What, gdb_rows
from test_gdb_where import STAYS, in_call
from tracer_run import DEMO, Row
from tracer_targets import Demo, Qemu

KEYS = {"type", "verdict", "thread", "role", "span", "culprit", "evidence", "stack"}


def findings(gdb: Gdb, what: What, *commands: str) -> List[Row]:
    return gdb_rows(gdb.out(what, *commands, "qemu doctor --json"), "verdict")


def the_finding(gdb: Gdb, what: What, *commands: str) -> Row:
    (found,) = findings(gdb, what, *commands)
    assert set(found) == KEYS | {"advice"}
    return found


def evidence(found: Row) -> str:
    lines = found["evidence"]
    assert isinstance(lines, list)
    return "\n".join(map(str, lines))


def test_a_healthy_loop_gives_none(
    demo: Demo, demo_core: Core, qemu: Qemu, qemu_core: Core, gdb: Gdb
) -> None:
    for what in (demo, demo_core, qemu, qemu_core):
        assert findings(gdb, what) == []
        text = gdb.out(what, "qemu doctor")
        assert "\nno finding: " in "\n" + text and "one look.\n" in text
        assert "Not told by one look: SPIN" in text


@pytest.mark.parametrize(
    "scenario, verdict, culprit, proof",
    [
        (
            "lost-wakeup",
            "LOST WAKEUP",
            "BH lost_bh_cb of qemu_aio_context",
            "qemu_aio_context is scheduled and not called",
        ),
        (
            "nested-bql",
            "BQL HOLD",
            "BH drains_with_bql_bh_cb of qemu_aio_context, with 2 waiters",
            " waits for it at demo-qemu-loop/demo-scenario-drain.c:",
        ),
        (
            "bql-hold",
            "BQL HOLD",
            "slow_device_write, with 1 waiter",
            " waits for it at demo-qemu-loop/main-loop.c:",
        ),
        (
            "missing-kick",
            "NESTED WAIT",
            "BH waits_for_kick_bh_cb of qemu_aio_context: aio_poll() called by "
            "wait_for_requests < ",
            "it holds the BQL meanwhile",
        ),
        (
            "aio-wait-kick-barrier",
            "NESTED WAIT",
            "aio_poll() called by",
            "depth 2, asleep in ppoll, timeout for ever",
        ),
    ],
)
def test_a_loop_that_hangs_has_its_verdict(
    gdb: Gdb,
    make_core: MakeCore,
    scenario: str,
    verdict: str,
    culprit: str,
    proof: str,
) -> None:
    with Demo(scenario, *(STAYS if scenario == "bql-hold" else ())) as demo:
        if scenario == "bql-hold":  # 5 ms from now on, and then for as long as we look
            in_call(demo, "futex")
        live = the_finding(gdb, demo)
        core = make_core(demo)
        text = gdb.out(demo, "qemu doctor")
    for found in (live, the_finding(gdb, core)):
        assert found["verdict"] == verdict and culprit in str(found["culprit"])
        if scenario != "bql-hold":
            assert found["role"] == "main loop" and found["thread"] == demo.pid
        assert proof in evidence(found), evidence(found)
    assert text.startswith(f"{verdict}   ")
    assert "\n  - " in text and "\n  => " in text and "\n1 finding: " in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "scenario, call, culprit, proof",
    [
        (
            "blocked-sleep",
            "clock_nanosleep",
            "BH slow_bh_cb",
            "asleep in clock_nanosleep",
        ),
        (
            "blocked-lock",
            "futex",
            "handler waits_for_lock_cb",
            "asleep in clock_nanosleep: clock_nanosleep <",
        ),
    ],
)
def test_a_callback_that_sleeps_is_blocked(
    gdb: Gdb,
    make_core: MakeCore,
    scenario: str,
    call: str,
    culprit: str,
    proof: str,
) -> None:
    with Demo(scenario, *STAYS) as demo:
        live = the_finding(gdb, in_call(demo, call))
    with Demo(scenario, *STAYS) as demo:
        core = make_core(in_call(demo, call))
    for found in (live, the_finding(gdb, core)):
        assert found["verdict"] == "BLOCKED CALLBACK"
        assert str(found["culprit"]).startswith(culprit)
        assert proof in evidence(found)


def spoilt(gdb: Gdb, *commands: str) -> Row:
    """The only verdict on an idle demo in which something was broken."""
    with Demo("five-sources") as demo:
        return the_finding(gdb, demo.wait_asleep(), *commands)


def test_a_sleeper_that_asks_for_no_wake_up_loses_it(gdb: Gdb) -> None:
    found = spoilt(gdb, "set var iothreads.lh_first->ctx->notify_me = 0")
    assert (found["verdict"], found["role"]) == ("LOST WAKEUP", "IOThread io0")
    assert found["culprit"] == "io0 sleeps with notify_me == 0"


def test_an_armed_timer_needs_no_clock_to_be_lost(
    gdb: Gdb, make_core: MakeCore
) -> None:
    """The IOThread sleeps for ever, and a timer is put on its list of REALTIME timers."""
    arm = [
        "set var $list = iothreads.lh_first->ctx->tlg.tl[0]",
        "set var $timer = (QEMUTimer *) ($rsp - 4096)",
        "set var *$timer = *(QEMUTimer *) $timer",
        "set var $timer->timer_list = $list",
        "set var $timer->expire_time = 1",
        "set var $timer->cb = (QEMUTimerCB *) notify_event_cb",
        "set var $timer->next = 0",
        "set var $list->active_timers = $timer",
    ]
    with Demo("five-sources") as demo:
        core = make_core(demo.wait_asleep(), *arm)
        live = the_finding(gdb, demo, *arm)
    for found in (live, the_finding(gdb, core)):
        assert found["verdict"] == "LOST WAKEUP"
        assert found["culprit"] == "timer notify_event_cb of io0"
        assert "is armed, and the thread sleeps for ever" in evidence(found)


def test_removed_handlers_that_nobody_frees_leak(gdb: Gdb) -> None:
    first = "iohandler_ctx->aio_handlers.lh_first"
    mark = [
        f"set var {first}->node_deleted.le_prev = "
        "&iohandler_ctx->deleted_aio_handlers.lh_first",
    ]
    found = spoilt(gdb, *mark)
    assert found["verdict"] == "HANDLER LEAK"
    assert "1 removed handler (fd " in evidence(found)


def test_a_handler_of_a_closed_descriptor_is_dead(gdb: Gdb) -> None:
    found = spoilt(gdb, "set var iohandler_ctx->aio_handlers.lh_first->pfd.fd = 777")
    assert found["verdict"] == "DEAD FD" and found["role"] == "main loop"
    assert str(found["culprit"]).endswith(" for fd 777, which is closed")
    assert "which is not open" in evidence(found)


LATE = [
    "set var blocked.again->expire_time = 1",
    "set var qemu_aio_context->tlg.tl[0]->active_timers = blocked.again",
]


def test_a_blocked_callback_makes_timers_late(gdb: Gdb) -> None:
    """A timer of its loop was due long before gdb began."""
    with Demo("blocked-sleep", *STAYS) as demo:
        found = the_finding(gdb, in_call(demo, "clock_nanosleep"), *LATE)
    assert found["verdict"] == "BLOCKED CALLBACK"
    assert "meanwhile timer again_timer_cb" in evidence(found)


def test_a_callback_that_computes_makes_timers_late(gdb: Gdb) -> None:
    """It computes for 400 ms of each 405: an attempt that comes in between is repeated."""
    with Demo("blocked-cpu") as demo:
        found: List[Row] = []
        while not found:
            undo = "set var qemu_aio_context->tlg.tl[0]->active_timers = 0"
            answers = gdb.answers(demo, *LATE, "qemu doctor --json", undo)
            assert [a for a in answers if a["error"]] == []
            found = gdb_rows(answers[-2]["out"], "verdict")
    assert found[0]["verdict"] == "TIMER LATE"
    assert str(found[0]["culprit"]).startswith("handler computes_long_cb of fd ")
    assert "overdue by" in evidence(found[0]) and "and computes" in evidence(found[0])


def test_damage_is_told_beside_the_verdicts(gdb: Gdb) -> None:
    spoil = (
        "set var iohandler_ctx->aio_handlers.lh_first->node.le_next = (AioHandler *) 16"
    )
    with Demo("lost-wakeup") as demo:
        text = gdb.out(demo, spoil, "qemu doctor")
        assert text.startswith("LOST WAKEUP") and "DAMAGED: iohandler_ctx: the" in text
        rows = gdb.out(demo, spoil, "qemu doctor --json")
    assert [row["addr"] for row in gdb_rows(rows, "damage")] == ["0x10"]


def test_a_busy_healthy_loop_gives_none_at_any_stop(gdb: Gdb) -> None:
    start = [f"file {DEMO}", "set args --scenario busy --iterations 400 > /dev/null"]
    start += ["starti", "break main_loop_wait", "continue", "delete"]
    start += [f"break {at}" for at in ("aio_notify", "aio_ctx_check", "aio_bh_poll")]
    stop = ["continue", "stepi 11", "qemu doctor --json"]
    answers = gdb.answers(None, *start, *stop * 20)
    for answer in answers[len(start) :]:
        assert answer["error"] is None
        if answer["command"] == stop[-1]:
            assert gdb_rows(answer["out"], "verdict") == []
