"""loopscope handlers: each context with its handlers, bottom halves and timers."""

import re
from typing import Dict, List, Tuple

import pytest
from process_memory import wait_until
from tracer_run import Result, Row, finish, run, start
from tracer_targets import Demo, Qemu

NO_CALLBACK = None


def by_context(result: Result) -> Dict[str, List[Row]]:
    contexts: Dict[str, List[Row]] = {
        row["ctx"]: [] for row in result.of_type("context")
    }
    for row in result.of_type("handler"):
        contexts[row["ctx"]].append(row)
    return contexts


def brief(rows: List[Row]) -> List[Tuple[object, ...]]:
    keys = ("fd_kind", "events", "io_read", "io_write", "state", "count")
    return [tuple(row[k] for k in keys) for row in rows]


def timeless(result: Result) -> List[Row]:
    """Without what time changes: how long a poll or a timer has left."""
    return [
        {k: v for k, v in row.items() if k not in ("doing", "left_ns")}
        for row in result.rows
    ]


def test_contexts_and_handlers_of_the_demo(demo: Demo) -> None:
    result = run("handlers", "-p", demo.pid, "--json").fine()
    cb = "aio_context_notifier_cb"
    notifier = ("eventfd", "in", cb, None, "active", 1)
    contexts = by_context(result)
    assert set(contexts) == {"qemu_aio_context", "iohandler_ctx", "io0"}
    assert brief(contexts["qemu_aio_context"]) == [notifier]
    assert brief(contexts["io0"]) == [notifier]
    assert sorted(brief(contexts["iohandler_ctx"])) == sorted(
        [("signalfd", "in", "sigfd_handler", None, "active", 1), notifier]
    )
    handlers = result.of_type("handler")
    assert all(row["source"] == "dwarf" for row in handlers)
    counts = {
        "contexts": 3,
        "handlers": 4,
        "bhs": 0,
        "timers": 0,
        "damaged": 0,
        "lost": 0,
    }
    assert {key: result.total[key] for key in counts} == counts


def test_each_notifier_is_where_its_context_says(demo: Demo, qemu: Qemu) -> None:
    for target in (demo, qemu):
        result = run("handlers", "-p", target.pid, "--json").fine()
        handlers = by_context(result)
        for context in result.of_type("context"):
            own = [
                h for h in handlers[context["ctx"]] if h["fd"] == context["notifier_fd"]
            ]
            assert (
                len(own) == 1 and own[0]["fd_kind"] == "eventfd" and own[0]["io_poll"]
            )
            assert re.fullmatch(
                re.escape(context["ctx"]) + r"\+0x[0-9a-f]+", own[0]["opaque"]
            )
            assert own[0]["ctx_addr"] == context["ctx_addr"]
            assert context["handlers"] == len(handlers[context["ctx"]])


def test_contexts_of_a_stripped_qemu_and_their_threads(qemu: Qemu) -> None:
    result = run("handlers", "-p", qemu.pid, "--json").fine()
    contexts = {row["ctx"]: row for row in result.of_type("context")}
    assert set(contexts) == {"qemu_aio_context", "iohandler_ctx", "io0", "mon_iothread"}
    threads = [row["thread"] for row in contexts.values()]
    assert contexts["qemu_aio_context"]["thread"] == qemu.pid
    assert contexts["iohandler_ctx"]["thread"] == qemu.pid
    assert None not in threads and len(set(threads)) == 3
    assert all(
        row["fdmon"] == "poll" and row["source"] == "inferred"
        for row in contexts.values()
    )
    handlers = result.of_type("handler")
    kinds = sorted((row["ctx"], row["fd_kind"]) for row in handlers)
    assert kinds == [
        ("io0", "eventfd"),
        ("iohandler_ctx", "eventfd"),
        ("iohandler_ctx", "signalfd"),
        ("mon_iothread", "eventfd"),
        ("qemu_aio_context", "eventfd"),
    ]


def test_text_says_what_each_context_is_for(qemu: Qemu) -> None:
    text = run("handlers", "-p", qemu.pid).fine().out
    for words in (
        "qemu_aio_context: block layer;",
        "iohandler_ctx: devices, monitors, signals;",
        "io0: what was given to this IOThread;",
        "mon_iothread: what was given to this IOThread;",
        "IOThread io0, thread ",
        "4 contexts, 5 handlers, 0 BHs,",
        "layout inferred",
    ):
        assert words in text


def test_one_context_by_name_and_by_address(demo: Demo) -> None:
    everything = run("handlers", "-p", demo.pid, "--json").fine()
    for context in everything.of_type("context"):
        for wanted in (context["ctx"], context["ctx_addr"]):
            result = run("handlers", "-p", demo.pid, wanted, "--json").fine()
            assert result.of_type("context") == [context]
            assert result.total["contexts"] == 1


def test_a_context_that_does_not_exist_is_refused_with_those_that_do(
    demo: Demo,
) -> None:
    line = run("handlers", "-p", demo.pid, "nonsense", "--json").refused()
    for name in ("nonsense", "qemu_aio_context", "iohandler_ctx", "io0"):
        assert name in line


def test_a_thousand_equal_handlers_are_one_row(many: Demo) -> None:
    result = run("handlers", "-p", many.pid, "--json").fine()
    folded = [
        row for row in result.of_type("handler") if row["io_read"] == "many_fds_read"
    ]
    assert [row["count"] for row in folded] == [1000]
    assert len(set(folded[0]["fds"])) == 1000
    assert result.total["handlers"] == 1003
    text = run("handlers", "-p", many.pid, "iohandler_ctx").fine().out
    assert len(re.findall(r"^ +x1000 +eventfd +in +many_fds_read ", text, re.M)) == 1
    assert text.count("many_fds_read") == 1


def test_all_shows_each_of_a_thousand_handlers(many: Demo) -> None:
    result = run("handlers", "-p", many.pid, "--all", "--json").fine()
    rows = [
        row for row in result.of_type("handler") if row["io_read"] == "many_fds_read"
    ]
    assert len(rows) == len({row["fd"] for row in rows}) == 1000
    assert len({row["opaque"] for row in rows}) == 1000
    assert all(row["count"] == 1 and row["fds"] == [] for row in rows)
    text = run("handlers", "-p", many.pid, "--all").fine().out
    assert text.count("many_fds_read") == 1000


def test_removed_handlers_that_are_still_listed_are_called_deleted() -> None:
    """The demo sleeps in aio_poll() inside a callback, after it has removed three handlers."""
    with Demo("deleted-handler") as target:
        target.wait_asleep()

        def states() -> List[str]:
            result = run(
                "handlers", "-p", target.pid, "qemu_aio_context", "--json"
            ).fine()
            return sorted(row["state"] for row in result.of_type("handler"))

        wait_until(lambda: "deleted" in states(), "the handlers are removed")
        assert states() == ["active", "active", "deleted", "deleted", "deleted"]


@pytest.mark.parametrize("name", ["demo", "qemu", "many"])
def test_twice_and_two_at_once_say_the_same(
    name: str, request: pytest.FixtureRequest
) -> None:
    target = request.getfixturevalue(name)
    args = ("handlers", "-p", target.pid, "--json", "--via", "mem")
    once = timeless(run(*args).fine())
    pair = [start(*args), start(*args)]
    others = [timeless(finish(p).fine()) for p in pair] + [timeless(run(*args).fine())]
    if name == "qemu":  # its display refreshes now and then: a timer moves on
        static = ("handler", "context", "total")
        once, *others = (
            [row for row in rows if row["type"] in static] for rows in [once, *others]
        )
    assert others == [once, once, once]
