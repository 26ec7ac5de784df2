# SPDX-License-Identifier: MIT
"""Structures that are corrupt: one clear line that names the address, at once, and no traceback.

The test breaks them in a demo of its own through gdb, then runs every command. What lies before the
break is still shown; damage to one list leaves the others readable.
"""
from typing import List, NamedTuple

import pytest
from gdb_run import LOOKS, Gdb, MakeCore, What, gdb_rows
from tracer_targets import Demo

COMMANDS = [f"qemu {look}" for look in LOOKS]
COMMANDS += [f"qemu {look} --json" for look in LOOKS]
COMMANDS += ["qemu handlers --all", "qemu handlers iohandler_ctx", "qemu where --all"]
# How long none of them may take.
SECONDS = 1.0
HANDLERS, BHS, TIMERS = "qemu handlers --all", "qemu bh", "qemu timers all"
SOURCES = "qemu sources"


class Case(NamedTuple):
    name: str
    damage: List[str]  # gdb commands; $first and $second are handlers of iohandler_ctx
    address: str  # an expression: what has to be named
    why: str
    named_by: List[str] = [HANDLERS]  # the commands that have to name it


FIRST = "iohandler_ctx->aio_handlers.lh_first"
SETUP = [f"set var $first = {FIRST}", "set var $second = $first->node.le_next"]
CLOCK = "qemu_aio_context->tlg.tl[0]"
SOURCE = "(&qemu_aio_context->source)"
CASES = [
    Case(
        "cycle",
        ["set var $second->node.le_next = $first"],
        "$first",
        "the list breaks at {}, which the list has passed already",
    ),
    Case(
        "cycle that points back",
        [
            "set var $second->node.le_next = $second",
            "set var $second->node.le_prev = &$second->node.le_next",
            "set var $first->node.le_next = $second",
        ],
        "$second",
        "the list breaks at {}, which does not point back",
    ),
    Case(
        "dangling",
        ["set var $first->node.le_next = (AioHandler *) qemu_aio_context"],
        "qemu_aio_context",
        "the list breaks at {}, which does not point back",
    ),
    Case(
        "unmapped",
        ["set var $first->node.le_next = (AioHandler *) 0x10"],
        "0x10",
        "the list breaks at {}, which cannot be read",
    ),
    Case(
        "no address",
        ["set var $first->node.le_next = (AioHandler *) 0xdeadbeefdeadbeef"],
        "0xdeadbeefdeadbeef",
        "the list breaks at {}, which cannot be read",
    ),
    Case(
        "top of memory",
        ["set var $first->node.le_next = (AioHandler *) 0xffffffffffffffff"],
        "0xffffffffffffffff",
        "the list breaks at {}, which cannot be read",
    ),
    Case(
        "head",
        [f"set var {FIRST} = (AioHandler *) 0x7f0000000123"],
        "0x7f0000000123",
        "the list breaks at {}, which cannot be read",
    ),
    Case(
        "half a handler",
        ["set var $second->node.le_prev = 0"],
        "$second",
        "the list breaks at {}, which does not point back",
    ),
    Case(
        "bottom halves in a cycle",
        [
            "set var qemu_notify_bh->ctx = qemu_aio_context",
            "set var qemu_notify_bh->next.sle_next = qemu_notify_bh",
            "set var qemu_aio_context->bh_list.slh_first = qemu_notify_bh",
        ],
        "qemu_notify_bh",
        "the list of BHs breaks at {}, which the list has passed already",
        [HANDLERS, BHS],
    ),
    Case(
        "a bottom half of another context",
        [
            "set var qemu_notify_bh->ctx = iohandler_ctx",
            "set var qemu_aio_context->bh_list.slh_first = qemu_notify_bh",
        ],
        "qemu_notify_bh",
        "the list of BHs breaks at {}, which is not of this context but of 0x",
        [HANDLERS, BHS],
    ),
    Case(
        "half a bottom half",
        [
            "set var qemu_notify_bh->ctx = qemu_aio_context",
            "set var qemu_notify_bh->cb = 0",
            "set var qemu_aio_context->bh_list.slh_first = qemu_notify_bh",
        ],
        "qemu_notify_bh",
        "the list of BHs breaks at {}, which calls nothing",
        [HANDLERS, BHS],
    ),
    Case(
        "bottom halves in unmapped memory",
        ["set var qemu_aio_context->bh_list.slh_first = (QEMUBH *) 0x10"],
        "0x10",
        "the list of BHs breaks at {}, which cannot be read",
        [HANDLERS, BHS],
    ),
    Case(
        "bottom halves that were taken",
        ["set var qemu_aio_context->bh_slice_list.sqh_first = (BHListSlice *) 0x70"],
        "0x70",
        "the list of BHs taken breaks at {}, which cannot be read",
        [HANDLERS, BHS],
    ),
    Case(
        "half a handler that calls nothing",
        ["set var $second->io_read = 0", "set var $second->io_poll = 0"],
        "$second",
        "the list breaks at {}, which calls nothing",
    ),
    Case(
        "a handler that calls what is no function",
        ["set var $second->io_read = (IOHandler *) 0x50"],
        "$second",
        "the list breaks at {}, which calls 0x50, where no function is",
    ),
    Case(
        "sources in unmapped memory",
        [f"set var {SOURCE}->next = (GSource *) 0x60"],
        "0x60",
        "the list of sources breaks at {}, which cannot be read",
        [SOURCES],
    ),
    Case(
        "sources in a cycle",
        [f"set var {SOURCE}->next = {SOURCE}"],
        SOURCE,
        "the list of sources breaks at {}, which the list has passed already",
        [SOURCES],
    ),
    Case(
        "a source of another context",
        [f"set var {SOURCE}->next = &((AioContext *) iothreads.lh_first->ctx)->source"],
        "iothreads.lh_first->ctx",
        "the list of sources breaks at {}, which is of another GMainContext, 0x",
        [SOURCES],
    ),
    Case(
        "timers",
        [f"set var {CLOCK}->active_timers = (QEMUTimer *) 0x20"],
        "0x20",
        "the list of timers breaks at {}, which cannot be read",
        [HANDLERS, TIMERS],
    ),
    Case(
        "timer that is none",
        [f"set var {CLOCK}->active_timers = (QEMUTimer *) qemu_aio_context"],
        "qemu_aio_context",
        "the list of timers breaks at {}, which is not of this list but of 0x",
        [HANDLERS, TIMERS],
    ),
    Case(
        "timer lists of a clock",
        [f"set var {CLOCK}->list.le_next = (QEMUTimerList *) 0x30"],
        "0x30",
        "the list of timer lists of clock 0 breaks at {}, which cannot be read",
        [HANDLERS, TIMERS],
    ),
    Case(
        "variable",
        ["set var iohandler_ctx = (AioContext *) 0x40"],
        "0x40",
        "iohandler_ctx is {}, which is no AioContext",
    ),
]


def look(what: What, gdb: Gdb, commands: List[str]) -> List[List[str]]:
    """Runs every command; what @commands printed, line by line."""
    answers = {answer["command"]: answer for answer in gdb.answers(what, *COMMANDS)}
    for answer in answers.values():
        assert answer["seconds"] < SECONDS, answer["command"]
        assert answer["error"] is None or "\n" not in answer["error"]
        assert "failed: " not in (answer["error"] or "")
    assert [answers[command]["error"] for command in commands] == [None] * len(commands)
    return [str(answers[command]["out"]).splitlines() for command in commands]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_damage_is_one_line_with_its_address(
    case: Case, gdb: Gdb, make_core: MakeCore
) -> None:
    with Demo("five-sources") as demo:
        demo.wait_asleep()
        ask = f"python print(hex(int(gdb.parse_and_eval('(unsigned long) {case.address}'))))"
        address = gdb.out(demo, *SETUP, ask).strip()
        core = make_core(demo, *SETUP, *case.damage)
        shown = look(demo, gdb, case.named_by) + look(core, gdb, case.named_by)
    for lines in shown:
        (named,) = [line.strip() for line in lines if "DAMAGED" in line]
        assert named.startswith("DAMAGED: " + case.why.format(address))
        # The others are shown as ever.
        assert [
            line
            for line in lines
            if line.startswith("io0: ") or ", that of io0" in line
        ]


def test_what_lies_before_the_break_is_shown(gdb: Gdb) -> None:
    with Demo("many-fds", "--fds", "23") as many:
        many.wait_asleep()
        to_seventh = FIRST + "->node.le_next" * 6
        before = [f"set var {to_seventh}->node.le_next = (AioHandler *) 0x10"]
        text = gdb.out(many, *before, "qemu handlers iohandler_ctx --json --all")
    assert len(gdb_rows(text, "handler")) == 7
    assert gdb_rows(text, "damage") == [
        {
            "type": "damage",
            "ctx": "iohandler_ctx",
            "list": "handlers",
            "addr": "0x10",
            "why": "cannot be read",
        }
    ]
    assert gdb_rows(text, "total")[0]["damaged"] == 1


def test_a_list_that_is_just_being_changed_is_not_damaged(gdb: Gdb) -> None:
    """Stopped between the two stores of an insertion: the second handler points to the head."""
    with Demo("five-sources") as demo:
        demo.wait_asleep()
        head = "&iohandler_ctx->aio_handlers.lh_first"
        changing = [*SETUP, f"set var $second->node.le_prev = {head}"]
        text = gdb.out(demo, *changing, "qemu handlers iohandler_ctx --json")
    assert len(gdb_rows(text, "handler")) == 2
    assert gdb_rows(text, "damage") == []


def test_no_loop_at_all_is_one_line(gdb: Gdb) -> None:
    with Demo("five-sources") as demo:
        demo.wait_asleep()
        nothing = ["set var qemu_aio_context = 0", "set var iohandler_ctx = 0"]
        said = gdb.error(demo, *nothing, "qemu handlers")
        assert said.startswith("no main loop yet: qemu_aio_context is not set up; let")
        wrong = ["set var qemu_aio_context = (AioContext *) 0x10"]
        said = gdb.error(demo, *nothing, *wrong, "qemu contexts")
        wanted = "qemu_aio_context is 0x10, which is no AioContext; look at it: print "
        assert said == wanted + "qemu_aio_context"


def test_a_poll_set_that_is_gone_does_not_hurt(gdb: Gdb, make_core: MakeCore) -> None:
    """The registers lead into nothing: the context is there, only nobody is seen to poll it."""
    with Demo("five-sources") as demo:
        demo.wait_asleep()
        core = make_core(demo, "set var $rdi = 0x10", "set var $rsi = -1")
    contexts = gdb_rows(gdb.out(core, "qemu contexts --json"), "context")
    assert [row["thread"] for row in contexts[:2]] == [None, None]
