# SPDX-License-Identifier: MIT
"""qemu where and qemu bql: phases, callbacks, nesting and the big lock, on all kinds of targets."""
import re
from pathlib import Path
from typing import Dict, List

import pytest
from gdb_run import Core, Gdb, MakeCore, What, gdb_rows
from process_memory import wait_until
from tracer_run import DEMO, ROOT, Row
from tracer_targets import Demo, Qemu, Target


def where(gdb: Gdb, what: What, *commands: str) -> Dict[str, Row]:
    """Rows of qemu where, by role."""
    rows = gdb_rows(gdb.out(what, *commands, "qemu where --json"), "where")
    return {str(row["role"]): row for row in rows}


# A callback that is blocked is so for as long as anybody looks.  A look of gdb's makes another system
# call of its sleep, restart_syscall: each look has a program of its own.
STAYS = ("--hold", 600000)


def in_call(target: Target, name: str) -> Demo:
    """Its main thread sleeps in that system call; in futex(), for a mutex: no hand-over before it."""
    begin = {"clock_nanosleep": ["230"], "futex": ["202", "0x80", "0x2"]}[name]

    def sleeps() -> bool:
        nr, *args = Path(f"/proc/{target.pid}/syscall").read_text().split()
        return [nr, *args[1:3]][: len(begin)] == begin

    wait_until(sleeps, f"{target.pid} sleeps in {name}")
    assert isinstance(target, Demo)
    return target


def test_a_sleeping_demo_polls(demo: Demo, demo_core: Core, gdb: Gdb) -> None:
    for what in (demo, demo_core):
        rows = where(gdb, what)
        for role, loop in [
            ("main loop", "main_loop_wait"),
            ("IOThread io0", "aio_poll"),
        ]:
            row = rows[role]
            assert (row["loop"], row["phase"], row["depth"]) == (loop, "polling", 1)
            assert (row["callbacks"], row["bql"]) == ([], "not held")
            assert row["wait"] == "asleep in ppoll"
    text = gdb.out(demo, "qemu where")
    assert f"main loop, thread {demo.pid}: polling\n  sleeps in ppoll, timeout" in text
    assert "  by main_loop_wait()\n  BQL not held\n" in text


def test_a_stripped_qemu_polls(qemu: Qemu, qemu_core: Core, gdb: Gdb) -> None:
    for what in (qemu, qemu_core):
        rows = where(gdb, what)
        assert rows["main loop"]["stack"][:3] == [
            "ppoll",
            "qemu_poll_ns",
            "main_loop_wait",
        ]
        for role, loop in [
            ("main loop", "main_loop_wait"),
            ("IOThread io0", "aio_poll"),
            ("IOThread mon_iothread", "g_main_loop_run"),
        ]:
            row = rows[role]
            assert (row["loop"], row["phase"], row["depth"]) == (loop, "polling", 1)
            assert (row["callbacks"], row["bql"]) == ([], "not held")
        # The vCPU stands still, having given up the BQL to wait for its condition.
        states = [
            row["bql"] for row in gdb_rows(gdb.out(what, "qemu where --json"), "where")
        ]
        assert states.count("given up meanwhile") == 1


@pytest.mark.parametrize(
    "scenario, call, callback",
    [
        ("blocked-sleep", "clock_nanosleep", "BH slow_bh_cb of qemu_aio_context"),
        (
            "blocked-lock",
            "futex",
            "handler waits_for_lock_cb of fd N (eventfd) in iohandler_ctx",
        ),
    ],
)
def test_a_callback_is_named(
    gdb: Gdb, make_core: MakeCore, scenario: str, call: str, callback: str
) -> None:
    with Demo(scenario, *STAYS) as demo:
        seen = where(gdb, in_call(demo, call))["main loop"]
    with Demo(scenario, *STAYS) as demo:
        core = make_core(in_call(demo, call))
    dead = where(gdb, core)["main loop"]
    for row in (seen, dead):
        assert (row["phase"], row["bql"], row["ctx"]) == (
            "dispatching",
            "held",
            callback.rpartition(" ")[2],
        )
        named = [
            re.sub(r"fd \d+ \(\w+\)", "fd N (eventfd)", c) for c in row["callbacks"]
        ]
        assert named == [callback]
    if scenario == "blocked-lock":
        assert re.fullmatch(
            r"waiting for the mutex at 0x[0-9a-f]+, which thread \d+ \"lock-holder\" holds",
            str(seen["wait"]),
        )


def stops(gdb: Gdb, scenario: str, *commands: str) -> str:
    """The demo run under gdb up to a stop; what the last command says there."""
    start = [
        f"file {DEMO}",
        f"set args --scenario {scenario} --iterations 9 > /dev/null",
    ]
    answers = gdb.answers(None, *start, *commands)
    failed = [a for a in answers if a["error"]]
    assert not failed, failed
    return str(answers[-1]["out"])


@pytest.mark.parametrize(
    "stop, phase",
    [
        ("aio_ctx_prepare", "preparing"),
        ("aio_ctx_check", "checking"),
        ("aio_bh_poll", "dispatching"),
        ("qemu_poll_ns", "polling"),
    ],
)
def test_the_phases(gdb: Gdb, stop: str, phase: str) -> None:
    text = stops(
        gdb, "signal", "starti", "break main_loop_wait", "continue", "delete",
        f"break {stop}", "continue", "qemu where --json",
    )  # fmt: skip
    (row,) = [row for row in gdb_rows(text, "where") if row["loop"]]
    assert (row["role"], row["phase"], row["depth"]) == ("main loop", phase, 1)


def test_a_nested_poll_has_depth_site_and_both_callbacks(gdb: Gdb) -> None:
    commands = ["starti", "break main_loop_wait", "continue", "delete"]
    commands += ["break aio_poll", "continue", "delete"]
    row = stops(gdb, "deleted-handler", *commands, "qemu where --json")
    (nested,) = [r for r in gdb_rows(row, "where") if r["loop"]]
    assert (nested["phase"], nested["depth"], nested["bql"]) == (
        "between its steps",
        2,
        "held",
    )
    (callback,) = nested["callbacks"]
    assert str(callback).startswith("handler ") and "qemu_aio_context" in str(callback)
    assert nested["nested_site"]
    text = stops(gdb, "deleted-handler", *commands, "qemu where")
    assert "aio_poll() inside of that, depth 2: " in text
    assert "2 loops within each other." in stops(
        gdb, "deleted-handler", *commands, "qemu bt"
    )


# --- the BQL ------------------------------------------------------------------------------------


def test_the_bql_is_free_while_all_sleep(demo: Demo, qemu: Qemu, gdb: Gdb) -> None:
    for target, name in ((demo, "bql"), (qemu, "qemu_global_mutex")):
        (row,) = gdb_rows(gdb.out(target, "qemu bql --json"), "bql")
        assert (row["name"], row["locked"], row["owner"]) == (name, False, None)
    text = gdb.out(qemu, "qemu bql")
    assert "the BQL is free" in text and "both load it" in text


def test_the_bqls_owner_is_the_one_in_a_callback(gdb: Gdb, make_core: MakeCore) -> None:
    with Demo("blocked-sleep", *STAYS) as demo:
        live = (demo.pid, gdb.out(in_call(demo, "clock_nanosleep"), "qemu bql"))
    with Demo("blocked-sleep", *STAYS) as demo:
        core = make_core(in_call(demo, "clock_nanosleep"))
    for pid, text in (live, (demo.pid, gdb.out(core, "qemu bql"))):
        assert f"owner: main loop, thread {pid}\n  in BH slow_bh_cb of" in text
        assert text.endswith("0 waiters.\n")


def test_waiters_for_the_bql_have_the_line_that_asks(
    gdb: Gdb, make_core: MakeCore
) -> None:
    """Two vCPUs ask for it while a nested aio_poll() keeps it."""
    with Demo("nested-bql") as demo:
        live = demo_rows(gdb, demo)
        core = make_core(demo)
    source = (ROOT / "demo-qemu-loop/demo-scenario-drain.c").read_text().splitlines()
    for rows in (live, demo_rows(gdb, core)):
        lock, first, second = rows
        assert (lock["owner"], lock["waiters"]) == (demo.pid, 2)
        for waiter in (first, second):
            file, _, line = str(waiter["site"]).rpartition(":")
            assert file.endswith("demo-scenario-drain.c")
            assert "bql_lock()" in source[int(line) - 1]
            assert waiter["stack"][0] == "vcpu_thread"
    nested = where(gdb, core)["main loop"]
    assert (nested["phase"], nested["depth"], nested["bql"]) == ("polling", 2, "held")
    assert nested["callbacks"] == ["BH drains_with_bql_bh_cb of qemu_aio_context"]


def demo_rows(gdb: Gdb, what: What) -> List[Row]:
    return gdb_rows(gdb.out(what, "qemu bql --json"), "bql", "waiter")


def test_in_intels_syntax_the_same_is_found(qemu: Qemu, gdb: Gdb) -> None:
    """What is decoded by gdb's disassembler does not depend on the user's taste."""
    looks = ["qemu bql --json", "qemu where --json"]
    usual = gdb.answers(qemu, *looks)
    intel = gdb.answers(qemu, "set disassembly-flavor intel", *looks)
    assert [a["out"] for a in usual] == [a["out"] for a in intel[1:]]


@pytest.mark.parametrize(
    "command, said",
    [
        ("where nonsense", 'no thread "nonsense"; there are '),
        ("where 999999999", "(and gdb's: info threads)"),
        ("bql now", '"now" is too much: type qemu bql'),
    ],
)
def test_errors_say_what_to_type(demo: Demo, gdb: Gdb, command: str, said: str) -> None:
    assert said in gdb.error(demo, f"qemu {command}")


def test_a_mutex_that_is_none_is_said_in_one_line(gdb: Gdb) -> None:
    with Demo("nested-bql") as demo:
        spoil = "set var *(int *) $bql = 77"
        at = gdb_rows(gdb.out(demo, "qemu bql --json"), "bql")[0]["addr"]
        spoilt = [f"set var $bql = {at}", spoil]
        said = gdb.error(demo, *spoilt, "qemu bql")
        assert said.startswith(f"the BQL is not known: what lies at {at}, where bql")
        assert said.endswith("who waits for whom: qemu where --all")
        assert "BQL unknown" in gdb.out(demo, *spoilt, "qemu where")
