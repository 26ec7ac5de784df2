# SPDX-License-Identifier: MIT
"""Four ways to the same answer: loopscope and gdb, each on a living process and on a core of it.

Every faulty scenario of the demo. What one look cannot prove is not said, and why stands here. The
living doctor comes first: once it has found the fault, the fault is there for the others to see.
"""
import json
from typing import Dict, List, Tuple

import pytest
from gdb_run import Core, Gdb, gdb_rows, program_of, refuse_huge_core
from test_doctor import CULPRITS, FINDING, IN_IO0, only, scenarios, those
from test_gdb_where import STAYS, in_call
from tracer_run import Row, run
from tracer_targets import Demo

FAULTY = sorted(name for name, verdict in scenarios().items() if verdict)

# What a look at a stop does not prove.
TURNS = "that it turns all the time takes two looks: at each it is busy, as a loop at work is"
SILENT: Dict[str, str] = {
    **{name: TURNS for name in FAULTY if scenarios()[name] == "SPIN"},
    "blocked-cpu": "a stack shows that it computes, not for how long",
    "spin-idle-bh": "one idle bottom half that is scheduled is normal: it is how often",
    "handler-leak": "many equal handlers are normal (many-fds): that they grow takes two looks",
    "starved-source": "that one source never has a turn takes two looks",
    "timer-late": "a core holds no clock; the short callback that is seen is not long",
}
# ... and a core neither: the kernel's part is not in it.
NOT_IN_A_CORE = {
    "epoll-upgrade-race": "what an epoll instance watches, and which fd is ready, knows the kernel",
}
# A callback of these is asleep as often as not: a look says so, and that it was one look.
MAY_SLEEP = {"timer-late": "BLOCKED CALLBACK"}

# Kept where it is: the thread sleeps in that call.
KEPT: Dict[str, Tuple[str, ...]] = {
    "blocked-sleep": ("clock_nanosleep",),
    "blocked-lock": ("futex",),
    "bql-hold": ("futex",),
    "blocked-cpu": (),
}

# By which words all call the culprit.
WORDS: Dict[str, Tuple[str, ...]] = {
    "bql-hold": ("slow_device_write",),
    "bh-wrong-context": ("BH job_exit_bh_cb scheduled in iohandler_ctx", "BH cancels_"),
    "context-without-thread": ("BH orphan_bh_cb waits in ", ", which no thread runs"),
    "crowd": ("BH crowd_bh waits in context 0x", ", which no thread runs"),
    "coroutine-wrong-context": ("a coroutine scheduled in iohandler_ctx", "BH drains_"),
    "epoll-upgrade-race": ("fd ", " (eventfd) of io0"),
    "dead-fd": ("handler closed_client_read of iohandler_ctx is registered for fd ",),
    "lost-wakeup": ("BH lost_bh_cb of qemu_aio_context",),
    "stolen-accept": ("timer late_timer_cb of io0",),
    "iothread-stop-race": ("a notification of io0",),
    "timer-late": ("BH one_of_many_bh_cb",),
}

Says = Dict[str, List[Row]]


def role_of(name: str) -> str:
    if name == "bql-hold":
        return "thread"
    return "IOThread io0" if name in IN_IO0 else "main loop"


def words_of(name: str) -> Tuple[str, ...]:
    """The kind and the name of the callback: "handler never_drains_cb"."""
    return WORDS.get(name, (" ".join(CULPRITS[name].split()[:2]),))


def found_alive(demo: Demo) -> Row:
    """By a doctor who stays longer each time: on a busy machine a fault takes its time."""
    for seconds in (1, 2, 4, 8):
        result = run("doctor", "-p", demo.pid, "--json", "-d", seconds)
        if result.rc == FINDING:
            break
    return only(result)


def ask_all(gdb: Gdb, name: str) -> Tuple[Row, Says]:
    """What the living doctor says; and what the three others do that look at one moment."""
    path = gdb.directory / "core"
    with Demo(name, *(STAYS if name in KEPT else ())) as demo:
        refuse_huge_core(demo)
        for call in KEPT.get(name, ()):
            in_call(demo, call)
        live = found_alive(demo)
        look, dump = "qemu doctor --json", f"generate-core-file {path}"
        answers = gdb.answers(demo, look, dump)
        assert [a["error"] for a in answers] == [None, None]
        core = Core(path, program_of(demo), demo.pid)
    said = {"gdb": gdb_rows(answers[0]["out"], "verdict")}
    said["a core"] = run("doctor", path, "--json").of_type("verdict")
    said["gdb on a core"] = gdb_rows(gdb.out(core, look), "verdict")
    path.unlink()
    return live, said


QUICK = ["bh-wrong-context", "context-without-thread"]


@pytest.mark.parametrize("name", those(FAULTY, QUICK))
@pytest.mark.usefixtures("root")
def test_the_same_answer_four_ways(gdb: Gdb, name: str) -> None:
    live, said = ask_all(gdb, name)
    assert live["verdict"] == scenarios()[name]
    for way, rows in said.items():
        told = f"{way} says {json.dumps(rows)}"
        verdict = scenarios()[name]
        if name in SILENT or (name in NOT_IN_A_CORE and way != "gdb"):
            if not rows:
                continue
            assert name in MAY_SLEEP, f"{SILENT.get(name)}: {told}"
            verdict = MAY_SLEEP[name]
        assert [row["verdict"] for row in rows] == [verdict], told
        assert str(rows[0]["role"]).startswith(role_of(name)), told
        for word in words_of(name):
            assert word in str(rows[0]["culprit"]), told
        assert rows[0]["evidence"] and rows[0]["advice"], told


def test_each_faulty_scenario_has_its_row() -> None:
    """Nothing in the tables that there is no scenario of."""
    for table in (SILENT, NOT_IN_A_CORE, MAY_SLEEP, KEPT, WORDS):
        assert set(table) <= set(FAULTY)
