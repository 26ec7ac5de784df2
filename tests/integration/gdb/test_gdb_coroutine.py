# SPDX-License-Identifier: MIT
"""qemu coroutine and qemu bt: by types, and on a stripped QEMU by its code; live and in cores."""
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from gdb_run import HERE, Core, Gdb, MakeCore, What, gdb_rows
from tracer_run import DEMO
from tracer_targets import Demo, Qemu, Target, installed

INNER = ["pause", "inner", "coroutine_trampoline", "__start_context"]
OUTER = ["qemu_coroutine_switch", "coroutine_trampoline", "__start_context"]
OWN = ["qemu_coroutine_switch", "main"]
ASLEEP = ["qemu_coroutine_switch", "waits_inside", "waits_inside", "waits_inside"]
ASLEEP += ["waits_inside", "coroutine_trampoline", "__start_context"]
DISPATCHER = "*(void **)&qmp_dispatcher_co"


class Coroutines(Target):
    """The fixture, waiting; addresses by name."""

    def __init__(self, directory: Path) -> None:
        super().__init__("co")
        program = directory / "coroutines"
        subprocess.run(
            [installed("gcc"), "-g", "-O2", str(HERE / "coroutines.c")]
            + ["-o", str(program)],
            check=True,
        )
        self.start([program])
        assert self.process and self.process.stdout
        self.addresses: Dict[str, str] = {}
        for line in iter(self.process.stdout.readline, b"ready\n"):
            name, addr = line.decode().split()
            self.addresses[name] = addr


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coroutines]:
    with Coroutines(tmp_path_factory.mktemp("co")) as target:
        yield target


def functions(gdb: Gdb, what: What, *commands: str) -> List[str]:
    return [str(r["function"]) for r in gdb_rows(gdb.out(what, *commands), "frame")]


def test_a_sleeping_coroutine_has_its_chain_of_calls(
    fixture: Coroutines, gdb: Gdb, make_core: MakeCore
) -> None:
    for what in (fixture, make_core(fixture)):
        assert functions(gdb, what, "qemu coroutine sleeping --json") == ASLEEP
        addr = fixture.addresses["sleeping"]
        text = gdb.out(what, f"qemu coroutine {addr}")
        assert f"coroutine {addr} sleeps\n  it began in sleeper\n" in text
        assert "gdb/coroutines.c:" in text


def test_a_backtrace_goes_on_through_all_coroutines(
    fixture: Coroutines, gdb: Gdb, make_core: MakeCore
) -> None:
    for what in (fixture, make_core(fixture)):
        rows = gdb_rows(gdb.out(what, "qemu bt --json"), "frame")
        assert [row["function"] for row in rows] == INNER + OUTER + OWN
        addresses = fixture.addresses
        assert [row["coroutine"] for row in rows] == (
            [addresses["running"]] * 4 + [addresses["entered"]] * 3 + [None] * 2
        )
        text = gdb.out(what, "qemu bt")
        assert f"in coroutine {addresses['running']}:\n#0 " in text
        assert f"entered by coroutine {addresses['entered']}:\n#4 " in text
        assert f"entered by thread {fixture.pid} on its own stack:\n#7 " in text
        assert text.endswith("2 coroutines.\n")


def test_one_that_runs_or_has_entered_another_is_told_so(
    fixture: Coroutines, gdb: Gdb
) -> None:
    runs = gdb.out(fixture, "qemu coroutine running")
    assert f"runs in thread {fixture.pid}: qemu bt {fixture.pid} shows who" in runs
    entered = gdb.out(fixture, "qemu coroutine entered")
    assert f"has entered another, which runs in thread {fixture.pid}" in entered
    assert functions(gdb, fixture, "qemu coroutine entered --json") == OUTER


def test_gdbs_own_backtrace_and_registers_are_as_before(
    fixture: Coroutines, gdb: Gdb
) -> None:
    looks = ["info registers", "bt", "info unwinder", "frame"]
    answers = gdb.answers(fixture, *looks, "qemu coroutine sleeping", "qemu bt", *looks)
    outs = [answer["out"] for answer in answers]
    assert outs[:4] == outs[-4:]


def test_a_stripped_qemus_coroutine_is_found_by_code(
    qemu: Qemu, qemu_core: Core, gdb: Gdb
) -> None:
    """The monitor's dispatcher, which is always there and sleeps."""
    for what in (qemu, qemu_core):
        rows = functions(gdb, what, f"qemu coroutine {DISPATCHER} --json")
        assert rows[:2] == ["qemu_coroutine_switch", "monitor_qmp_dispatcher_co"]
        assert rows[-1] == "__start_context"
        text = gdb.out(what, f"qemu coroutine {DISPATCHER}")
        assert "sleeps\n  it began in monitor_qmp_dispatcher_co\n" in text


def test_a_stripped_qemu_stopped_inside_a_coroutine(gdb: Gdb) -> None:
    """Its thread's chain of calls goes on with the loop that entered the coroutine."""
    with Qemu() as qemu:
        poke = (
            "python import threading, sys, time; "
            f"sys.path.insert(0, {str(HERE.parent)!r}); "
            "from tracer_targets import Qmp; from pathlib import Path; "
            "threading.Thread(target=lambda: "
            f"Qmp(Path({str(qemu.qmp_path)!r})), daemon=True).start()"
        )
        rows = gdb_rows(
            gdb.out(
                qemu,
                "handle all nostop noprint pass",
                "break qemu_coroutine_yield",
                poke,
                "continue",
                "qemu bt --json",
            ),
            "frame",
        )
    names = [str(row["function"]) for row in rows]
    assert names[0] == "qemu_coroutine_yield"
    inside = [row for row in rows if row["coroutine"]]
    own = names[len(inside) :]
    assert names[len(inside) - 1] == "__start_context"
    assert own[0] == "qemu_coroutine_switch" and "main_loop_wait" in own


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "which coroutine? type qemu coroutine ADDRESS"),
        ("0", '"0" is 0: there is no coroutine'),
        ("0x10", "no coroutine at 0x10: the memory at 0x"),
        ("0xffffffffffffffff", "no coroutine at 0xffffffffffffffff: "),
        ("&sleeping", "no sleeping coroutine at 0x"),
        ("nonsense", 'No symbol "nonsense" in current context'),
        ("yield()", "may-call-functions is off"),
    ],
)
def test_what_is_no_coroutine_is_said_in_one_line(
    fixture: Coroutines, gdb: Gdb, text: str, said: str
) -> None:
    assert said in gdb.error(fixture, f"qemu coroutine {text}")


def test_a_broken_jump_buffer_is_said_in_one_line(gdb: Gdb, tmp_path: Path) -> None:
    with Coroutines(tmp_path) as target:
        spoil = "set var sleeping->env[0].__jmpbuf[7] = 0x1234567"
        said = gdb.error(target, spoil, "qemu coroutine sleeping")
        assert "its jump buffer leads to 0x" in said and "in no function" in said
        spoil = "set var entered->env[0].__jmpbuf[6] = 0x1234567"
        assert "the chain is broken here: no sleeping coroutine at" in gdb.out(
            target, spoil, "qemu bt"
        )
        # One that is said to have been entered by itself.
        spoil = "set var running->base.caller = &running->base"
        assert "pause" in gdb.out(target, spoil, "qemu bt")


def test_the_demos_coroutine_asleep(gdb: Gdb, make_core: MakeCore) -> None:
    """Before it has begun, and where it has yielded: it is in no thread."""
    with Demo("coroutines") as demo:
        demo.wait_polling(2)
        for what in (demo, make_core(demo)):
            text = gdb.out(what, "qemu coroutine traveller.co")
            assert " sleeps and has not begun\n  it begins in travels_co\n" in text
    start = [
        f"file {DEMO}",
        "set args --scenario coroutines --iterations 9 > /dev/null",
    ]
    start += ["starti", "break aio_co_schedule", "continue"]
    look = ["continue", "qemu coroutine traveller.co --json"]
    answers = gdb.answers(None, *start, *look * 4)
    assert [a for a in answers if a["error"] is not None] == []
    stacks = [
        [row["function"] for row in gdb_rows(answer["out"], "frame")]
        for answer in answers[len(start) + 1 :: 2]
    ]
    asleep = [stack for stack in stacks if stack[0] == "qemu_coroutine_switch"]
    assert asleep and all("travels_co" in stack for stack in asleep)


def test_the_demos_coroutine_running(gdb: Gdb) -> None:
    """Its thread's chain of calls goes on with the loop that entered it."""
    start = [
        f"file {DEMO}",
        "set args --scenario coroutines --iterations 9 > /dev/null",
    ]
    start += ["starti", "break note_thread", "continue"]
    answers = gdb.answers(
        None, *start, "qemu bt --json", "qemu bt", "qemu where --json"
    )
    assert [a for a in answers if a["error"] is not None] == []
    rows = gdb_rows(answers[-3]["out"], "frame")
    inside = [row["function"] for row in rows if row["coroutine"]]
    own = [row["function"] for row in rows if not row["coroutine"]]
    assert "travels_co" in inside and "aio_poll" not in inside
    assert own[0] == "qemu_coroutine_switch" and "aio_poll" in own
    assert "entered by thread " in answers[-2]["out"]
    assert answers[-2]["out"].endswith("\n1 coroutine.\n")
    # The loop is found behind the coroutine, and what it called.
    rows = gdb_rows(answers[-1]["out"], "where")
    (row,) = [row for row in rows if row["loop"] == "aio_poll"]
    assert row["phase"] == "dispatching"
    (callback,) = row["callbacks"]
    assert str(callback).startswith("BH co_schedule_bh_cb of ")


def test_a_program_without_coroutines_says_so(gdb: Gdb, tmp_path: Path) -> None:
    source = tmp_path / "none.c"
    source.write_text("int main(void) { __builtin_trap(); }\n")
    program = tmp_path / "none"
    subprocess.run(
        [installed("gcc"), "-g", str(source), "-o", str(program)], check=True
    )
    answers = gdb.answers(
        None, f"file {program}", "run", "qemu coroutine 0x1234", "qemu bt"
    )
    said = str(answers[-2]["error"])
    assert said.startswith("no coroutines here: the program has neither the type")
    assert answers[-1]["error"] is None and " main " in answers[-1]["out"]
