# SPDX-License-Identifier: MIT
"""Convenience functions for scripts, and pretty printers."""
from typing import Iterator

import pytest
from gdb_run import Gdb, MakeCore, What, gdb_rows
from tracer_targets import Demo, Qemu


@pytest.fixture(scope="module")
def crowd() -> Iterator[Demo]:
    with Demo("crowd", "--fds", "7") as target:
        yield target.wait_asleep()


@pytest.fixture(params=["live", "core"])
def target(request: pytest.FixtureRequest, crowd: Demo, make_core: MakeCore) -> What:
    return crowd if request.param == "live" else make_core(crowd)


def value(gdb: Gdb, what: What, expression: str) -> str:
    return gdb.out(what, f"output {expression}").strip()


def test_functions_return_what_is_there(target: What, gdb: Gdb) -> None:
    for expression, said in [
        ('$qemu_ctx("iohandler_ctx") == iohandler_ctx', "1"),
        ('$qemu_ctx("qemu_aio_context")->notifier.rfd', "5"),
        ('$qemu_bh("crowd_bh") == crowd.ctx->bh_list.slh_first', "1"),
        ('$qemu_bh("crowd_bh", iohandler_ctx)', "0"),
        ('$qemu_bh("nothing")', "0"),
        ('$qemu_timer("crowd_timer") == crowd.timers[6]', "1"),
        ("$qemu_handler(3)->pfd.fd", "3"),
        ('$qemu_handler(3, "iohandler_ctx") == $qemu_handler(3)', "1"),
        ('$qemu_handler(3, "qemu_aio_context")', "0"),
        ("$qemu_handler(4711)", "0"),
        ('$qemu_count("contexts")', "3"),
        ('$qemu_count("bhs", crowd.ctx)', "7"),
        ('$qemu_count("timers")', "7"),
        ('$qemu_count("handlers", "iohandler_ctx")', "2"),
        ('$qemu_thread("iohandler_ctx")', str(target.pid)),
        ("$qemu_thread(crowd.ctx)", "0"),
    ]:
        assert value(gdb, target, expression) == said, expression


def test_functions_without_types_return_addresses(qemu: Qemu, gdb: Gdb) -> None:
    for row in gdb_rows(gdb.out(qemu, "qemu contexts --json"), "context"):
        name = row["ctx"]
        found = gdb.out(qemu, f'output/x $qemu_ctx("{name}")').splitlines()[-1]
        assert found == row["ctx_addr"]
        number = gdb.out(qemu, f'output $qemu_thread("{name}")').splitlines()[-1]
        assert number == str(row["thread"])


@pytest.mark.parametrize(
    "expression, said",
    [
        ('$qemu_ctx("nix")', '$qemu_ctx: no context is called "nix"'),
        ("$qemu_ctx(3)", '$qemu_ctx: a context is text in quotes, such as "io0"'),
        ("$qemu_ctx()", "$qemu_ctx: wrong arguments; see: help function"),
        (
            '$qemu_count("x")',
            'no "x" to count; there are contexts, handlers, bhs, timers',
        ),
        (
            '$qemu_iothread("iohandler_ctx")',
            "$qemu_iothread: iohandler_ctx is not an IOThread's: see qemu iothreads",
        ),
    ],
)
def test_functions_say_what_is_wrong(
    demo: Demo, gdb: Gdb, expression: str, said: str
) -> None:
    assert said in gdb.error(demo, f"output {expression}")


def test_an_iothread_by_name(demo: Demo, gdb: Gdb) -> None:
    found = '$qemu_iothread("io0")'
    assert value(gdb, demo, f"{found} == iothreads.lh_first") == "1"
    assert value(gdb, demo, f'{found}->ctx == $qemu_ctx("io0")') == "1"


def test_printers_say_it_in_words(target: What, gdb: Gdb) -> None:
    notifier = value(gdb, target, "/x crowd.notifiers")
    ctx = value(gdb, target, "/x crowd.ctx")
    last = value(gdb, target, "/x &crowd.notifiers[6]")
    due = value(gdb, target, "crowd.timers[6].expire_time")
    for expression, said in [
        (
            "*$qemu_handler(3)",
            "{fd 3, waits for in, io_read sigfd_handler, opaque 0x3}",
        ),
        (
            "*crowd.bhs[0]",
            f'{{"crowd_bh", calls crowd_bh({notifier}), scheduled, of context {ctx}}}',
        ),
        (
            "*crowd.timers[6]",
            f"{{due at {due} ns, on REALTIME, calls crowd_timer({last})}}",
        ),
        ("$qemu_handler(3)->pfd", "{fd 3, waits for in}"),
    ]:
        assert value(gdb, target, expression) == said
    source = value(gdb, target, "iohandler_ctx->source")
    assert source.startswith('{"io-handler", id ') and "priority 0, waits, " in source
    assert "aio_source_funcs, of GMainContext 0x" in source
    context = value(gdb, target, "*crowd.ctx")
    assert ", notified, notify_me 0, handlers from 0x" in context
    assert context.endswith(f", fd monitor poll, see qemu handlers {ctx}}}")
    raw = gdb.out(target, "output/r *crowd.bhs[0]")
    assert "flags = " in raw and "next = {" in raw


def test_printers_of_what_is_not_there(gdb: Gdb) -> None:
    """gdb itself says so of a whole structure; what only leads nowhere is left out."""
    with Demo("crowd", "--fds", "1") as demo:
        demo.wait_asleep()
        said = gdb.error(demo, "output *(struct AioContext *) 0x10")
        assert said == "Cannot access memory at address 0x10"
        broken = [
            "set var crowd.timers[0].timer_list = (QEMUTimerList *) 0x10",
            "set var crowd.bhs[0].name = (char *) 0x10",
            "set var crowd.bhs[0].cb = (QEMUBHFunc *) 0x20",
        ]
        timer = gdb.out(demo, *broken, "output *crowd.timers[0]")
        assert "}, calls" not in timer and " ns, calls crowd_timer(" in timer
        bh = gdb.out(demo, "output *crowd.bhs[0]")
        assert bh.startswith("{calls 0x20(0x") and "scheduled" in bh


def test_no_type_is_looked_up_to_choose_a_printer(demo: Demo, gdb: Gdb) -> None:
    spy = [
        "python import gdb; calls = []; real = gdb.lookup_type",
        "python gdb.lookup_type = lambda *w: (calls.append(w), real(*w))[1]",
    ]
    looked = [*spy, "output *iohandler_ctx", "output iohandler_ctx->aio_handlers"]
    assert gdb.out(demo, *looked, "python print(calls)").strip() == "[]"
