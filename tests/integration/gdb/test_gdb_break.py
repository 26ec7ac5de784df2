# SPDX-License-Identifier: MIT
"""qemu break-callback and break-register: they stop where they should, say why, and are gone."""
from pathlib import Path
from typing import List

import pytest
from gdb_run import HERE, Core, Gdb
from tracer_run import DEMO
from tracer_targets import Demo, Qemu, installed, summary

WORDS = ["five-sources", "--iterations", "23", "--seed", "7"]


def run_demo(gdb: Gdb, vnc: Path, *commands: str) -> List[str]:
    """Outputs of commands in a demo started under gdb; none of them may fail."""
    start = [
        f"file {DEMO}",
        f"set args --scenario {' '.join(WORDS)} --vnc {vnc} > /dev/null",
    ]
    start += ["starti", "break main_loop_wait", "continue", "delete"]
    answers = gdb.answers(None, *start, *commands)
    assert [a for a in answers if a["error"] is not None] == []
    return [str(a["out"]) for a in answers[len(start) :]]


def poke(qemu: Qemu) -> str:
    """A gdb command after which somebody connects to the monitor, while the program runs."""
    return (
        "python import threading, sys, pathlib; "
        f"sys.path.insert(0, {str(HERE.parent)!r}); import tracer_targets; "
        "threading.Thread(target=lambda: tracer_targets.Qmp("
        f"pathlib.Path({str(qemu.qmp_path)!r})), daemon=True).start()"
    )


def test_it_stops_before_a_bh_by_name(gdb: Gdb, tmp_path: Path) -> None:
    said, hit, left = run_demo(
        gdb,
        tmp_path / "v",
        *("qemu break-callback five_bh_cb", "continue", "info breakpoints"),
    )
    assert "Will stop before BH five_bh_cb of qemu_aio_context.\nType continue." in said
    assert "break-callback five_bh_cb: about to run BH five_bh_cb of qemu_aio" in hit
    assert ", dispatching; BQL held\n  called by aio_bh_poll < aio_dispatch < " in hit
    assert left == "No breakpoints or watchpoints.\n"


def test_it_stops_before_a_handler_by_function_and_by_fd(
    gdb: Gdb, tmp_path: Path
) -> None:
    outs = run_demo(
        gdb,
        tmp_path / "v",
        *("qemu break-callback sigfd_handler", "continue"),
        *("qemu break-callback 7", "continue", "info breakpoints"),
    )
    assert "about to run handler sigfd_handler of fd 3 (signalfd) in iohandl" in outs[1]
    assert "  for read (in), fd 3 in iohandler_ctx: signalfd\n" in outs[1]
    assert 'of GSource "vnc-listener", fd 7 (unix)' in outs[2]
    assert "about to run vnc_listen_io" in outs[3] and "vnc_listener_disp" in outs[3]
    assert outs[4] == "No breakpoints or watchpoints.\n"


def test_it_stops_where_a_descriptor_is_made_and_registered(
    gdb: Gdb, tmp_path: Path
) -> None:
    start = [
        f"file {DEMO}",
        f"set args --scenario {' '.join(WORDS)} --vnc {tmp_path}/v",
    ]
    commands = ["starti"]
    commands += ["qemu break-register 5", "continue"] * 2 + ["info breakpoints"]
    answers = gdb.answers(None, *start, *commands)
    assert [a for a in answers if a["error"] is not None] == []
    outs = [a["out"] for a in answers[3:]]
    assert "Will stop where fd 5 is created or registered" in outs[0]
    assert "break-register 5: eventfd2 made fd 5 (eventfd)\n" in outs[1]
    assert "called by event_notifier_init < aio_context_new < " in outs[1]
    assert "aio_set_fd_handler() of fd 5 (eventfd) in context 0x" in outs[3]
    assert "\n  callback aio_context_notifier_cb\n" in outs[3]
    assert "called by aio_set_event_notifier < aio_context_new < " in outs[3]
    assert outs[4] == "No breakpoints or watchpoints.\n"


def test_a_pair_of_descriptors_and_any_descriptor(gdb: Gdb, tmp_path: Path) -> None:
    outs = run_demo(
        gdb, tmp_path / "v", "qemu break-register", "continue", "info breakpoints"
    )
    assert "Will stop where any descriptor is created or registered." in outs[0]
    assert "break-register: " in outs[1] and " made fd" in outs[1]
    assert outs[2] == "No breakpoints or watchpoints.\n"


def test_with_keep_it_stops_each_time(gdb: Gdb, tmp_path: Path) -> None:
    outs = run_demo(
        gdb,
        tmp_path / "v",
        *("qemu break-callback five_bh_cb --keep", "continue", "continue"),
    )
    assert outs[1].count("about to run") == outs[2].count("about to run") == 1


def test_a_program_that_ends_first_takes_the_breakpoints_along(
    gdb: Gdb, tmp_path: Path
) -> None:
    outs = run_demo(
        gdb,
        tmp_path / "v",
        *("qemu break-callback no_such_bh_cb", "continue", "info breakpoints"),
    )
    assert "a BH called no_such_bh_cb; none is scheduled now" in outs[0]
    assert "it never came to that, and the program has ended" in outs[1]
    assert outs[2] == "No breakpoints or watchpoints.\n"


def test_the_program_computes_what_it_would_have(gdb: Gdb, tmp_path: Path) -> None:
    with Demo(*WORDS) as demo:
        truth = summary(demo.result())
    result = tmp_path / "result"
    args = f"set args --scenario {' '.join(WORDS)} --vnc {tmp_path}/v > {result}"
    stops = ["qemu break-callback five_bh_cb", "continue"] * 2
    stops += ["qemu break-register", "continue", "qemu break-callback 3", "continue"]
    answers = gdb.answers(
        None,
        *(f"file {DEMO}", args, "starti", "break main_loop_wait", "continue"),
        *("delete", *stops, "delete", "continue"),
    )
    assert [a for a in answers if a["error"] is not None] == []
    assert summary(result.read_text()) == truth


def test_on_a_stripped_qemu_by_bh_name_and_by_fd(gdb: Gdb) -> None:
    with Qemu() as qemu:
        answers = gdb.answers(
            qemu,
            "handle all nostop noprint pass",
            *("qemu break-callback co_schedule_bh_cb", poke(qemu), "continue"),
            "info breakpoints",
            *("qemu break-register", "continue", "info breakpoints"),
        )
    assert [a for a in answers if a["error"] is not None] == []
    outs = [str(a["out"]) for a in answers]
    assert "about to run BH co_schedule_bh_cb of " in outs[3]
    assert "called by aio_bh_poll < " in outs[3]
    assert "break-register: " in outs[6] and "called by " in outs[6]
    assert outs[4] == outs[7] == "No breakpoints or watchpoints.\n"


def test_a_stripped_qemu_that_has_no_main_loop_yet(gdb: Gdb) -> None:
    """gdb starts it: what makes and registers its first descriptors is told all the same."""
    program = installed("qemu-system-x86_64")
    answers = gdb.answers(
        None,
        *(f"file {program}", "set args -M none -display none -monitor none", "starti"),
        *("qemu break-register --keep", *["continue"] * 6, "kill"),
    )
    assert [a for a in answers if a["error"] is not None] == []
    *stops, end = [str(a["out"]) for a in answers[4:]]
    said = "".join(stops)
    assert said.count("before there is a main loop\n  called by ") == 6
    assert "eventfd2 made fd " in said and "aio_set_fd_handler() of fd " in said
    assert "g_source_add_poll() of fd " in said and "no layout" not in said
    assert "it came to that 6 times, and the program has ended" in end


@pytest.mark.parametrize(
    "command, said",
    [
        (
            "break-callback",
            "which callback? type qemu break-callback 7 for what serves",
        ),
        (
            "break-callback 999",
            "nothing waits for fd 999: qemu gpollfds shows what does",
        ),
        ("break-callback 0x10", '"0x10" is 0x10, where no function starts'),
        ("break-callback a b", "A syntax error in expression, near `b"),
        ("break-register x", '"x" is no descriptor: type qemu break-register 7'),
    ],
)
def test_errors_say_what_to_type(demo: Demo, gdb: Gdb, command: str, said: str) -> None:
    assert said in gdb.error(demo, f"qemu {command}")
    assert (
        "No breakpoints"
        in gdb.answers(demo, f"qemu {command}", "info breakpoints")[1]["out"]
    )


def test_a_core_has_nothing_to_stop(demo_core: Core, gdb: Gdb) -> None:
    for command in ("break-callback 7", "break-register"):
        said = gdb.error(demo_core, f"qemu {command}")
        assert "waits for something to happen, and here nothing runs: attach" in said
