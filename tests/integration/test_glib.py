"""Any GLib program: its GMainContexts, threads and sources, found in the running process."""

import time
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest
from glib_programs import (
    GDB_TESTS,
    Bus,
    BusMonitor,
    Example,
    GLibProgram,
    Monitor,
    OddSources,
    build,
)
from process_memory import exe, poll_sets, wait_until
from tracer_run import FAILED, Result, Row, run
from tracer_targets import Qemu, Target

# A GLib after 2.84, as far as finding its contexts goes.
WORLDS = [{}, {"LOOPSCOPE_GLIB": "opaque"}]


@pytest.fixture(scope="module", params=["symbols", "stripped"])
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("gloop") / "gloop"
    words = ["-rdynamic"] if request.param == "symbols" else ["-s", "-rdynamic"]
    return build(GDB_TESTS / "gloop.c", path, *words)


@pytest.fixture(scope="module")
def gloop(program: Path) -> Iterator[GLibProgram]:
    with GLibProgram(program) as target:
        target.wait_polling(GLibProgram.THREADS)
        yield target


@pytest.fixture(scope="module")
def bus() -> Iterator[Bus]:
    with Bus() as target:
        yield target


def by_context(result: Result) -> Dict[str, List[Row]]:
    return {
        context["gcontext"]: [
            row
            for row in result.of_type("source")
            if row["gcontext"] == context["gcontext"]
        ]
        for context in result.of_type("gcontext")
    }


def assert_all_explained(target: Target, *args: str) -> Result:
    """Every descriptor that any thread polls is shown, and is somebody's."""
    result = run("fds", "-p", target.pid, "--json", *args).fine()
    shown: Dict[int, List[int]] = {}
    for row in result.of_type("fd"):
        shown.setdefault(row["thread"], []).append(row["fd"])
    assert shown == {
        tid: [fd for fd, _ in fds] for tid, fds in poll_sets(target.pid).items()
    }
    assert result.total["unknown"] == 0, result.out
    return result


@pytest.mark.parametrize("world", WORLDS, ids=["list", "stacks"])
def test_every_context_is_found_with_its_thread_and_sources(
    gloop: GLibProgram, world: Dict[str, str]
) -> None:
    before = time.monotonic_ns()
    result = run("handlers", "-p", gloop.pid, "--json", "--all", env=world).fine()
    contexts = {row["gcontext"]: row for row in result.of_type("gcontext")}
    assert len(contexts) == 3  # and GLib's own, for signals
    default, other = contexts[gloop.default], contexts[gloop.other]
    assert default["thread"] == gloop.pid
    assert other["thread"] == gloop.thread("other loop")
    assert all(row["owned"] and row["damaged_at"] is None for row in contexts.values())
    sources = by_context(result)
    (hourly,) = sources[gloop.other]
    assert (hourly["name"], hourly["kind"]) == ("hourly", "timeout")
    assert hourly["callback"] == "time_is_up"
    # In whole seconds, and GLib lets all such timeouts of a process be due at one moment of one.
    assert 0 < hourly["ready_ns"] - before < 3601 * 10**9
    fd, *timeouts, signals = sources[gloop.default]
    assert (fd["priority"], fd["kind"], fd["callback"]) == (-5, "fd", "is_readable")
    assert (len(fd["fds"]), fd["events"], fd["ready_ns"]) == (1, ["in"], -1)
    assert (signals["kind"], signals["callback"]) == ("signal", "time_is_up")
    assert [row["kind"] for row in timeouts] == ["timeout"] * 10
    due = [row["ready_ns"] for row in timeouts]
    assert due == sorted(due) and len(set(due)) == 10
    for row in result.of_type("source"):
        assert (row["state"], row["flags"], row["ctx"]) == ("waits", ["active"], None)
        assert row["ref_count"] >= 1 and row["dispatch"] and row["id"] >= 1
    assert result.total["sources"] == len(result.of_type("source")) == 13


def test_all_that_is_polled_is_explained(gloop: GLibProgram, way: str) -> None:
    result = assert_all_explained(gloop, "--via", way)
    (row, *_) = [r for r in result.of_type("fd") if r["callback"] == "is_readable"]
    assert (row["role"], row["owner_kind"]) == ("GLib loop", "GSource")
    assert {r["role"] for r in result.of_type("fd")} == {
        "GLib loop",
        'GLib loop "other loop"',
        'GLib loop "gmain"',
    }


def test_equal_sources_are_one_row(gloop: GLibProgram) -> None:
    lines = run("handlers", "-p", gloop.pid).fine().out.splitlines()
    (row,) = [line for line in lines if " x10 " in line]
    assert row.split() == ["0", "x10", "timeout", "-", "time_is_up", "waits"]
    assert lines[0].endswith("its GMainContexts")
    assert lines[-1] == "13 sources in 3 GMainContexts."
    assert max(map(len, lines)) <= 100


def test_a_context_is_chosen_by_its_address(gloop: GLibProgram) -> None:
    result = run("handlers", "-p", gloop.pid, gloop.other, "--json").fine()
    assert list(by_context(result)) == [gloop.other]
    line = run("handlers", "-p", gloop.pid, "0x1234").refused(FAILED)
    assert gloop.default in line and gloop.other in line


def test_a_loop_that_stays_in_a_callback_is_owned_and_polled_by_nobody(
    program: Path,
) -> None:
    with GLibProgram(program, "busy") as target:
        target.wait_polling(GLibProgram.THREADS - 1)
        result = run("handlers", "-p", target.pid, "--json").fine()
        contexts = {row["gcontext"]: row for row in result.of_type("gcontext")}
        default = contexts[target.default]
        assert (default["thread"], default["owned"]) == (None, True)
        (stays,) = [r for r in result.of_type("source") if r["callback"] == "stays"]
        assert stays["state"] == "is being dispatched"
        assert {"in-call", "blocked"} <= set(stays["flags"])
        assert "a thread owns it that does not poll it now" in default["doing"]
        polled = run("fds", "-p", target.pid, "--json").fine()
        (awake,) = polled.of_type("awake")
        assert awake["ctx"] == f"GMainContext {target.default}, the default one"
        assert (polled.total["awake"], polled.total["loops"]) == (1, 2)


def test_a_source_of_no_descriptor_and_one_with_a_child(
    tmp_path: Path, way: str
) -> None:
    """poll() passes over -1, which is the source's; parent and children are no descriptors."""
    with OddSources(tmp_path) as target:
        result = assert_all_explained(target, "--via", way)
        sources = run("handlers", "-p", target.pid, "--json", "--via", way).fine()
        text = run("fds", "-p", target.pid, "--via", way).fine().out
    found = {row["name"]: row["fds"] for row in sources.of_type("source")}
    assert found == {"no descriptor": [-1], "parent": [target.polled], "child": []}
    (row,) = [row for row in result.of_type("fd") if row["fd"] == -1]
    assert row["owner"] == 'GSource "no descriptor"'
    assert (row["fd_kind"], row["ready"]) == ("none", False)
    assert "no descriptor: poll() passes over it" in text


def test_examples(way: str) -> None:
    with Example("glib-io-watch") as target:
        args = ("-p", target.pid, "--via", way, "--json")
        result = run("handlers", *args).fine()
        ((watch, timeout),) = by_context(result).values()
        assert (watch["kind"], watch["callback"]) == (
            "channel watch",
            "something_to_read",
        )
        assert (timeout["kind"], timeout["callback"]) == ("timeout", "write_a_line")
        assert run("layout", "-p", target.pid, "--json").fine().rows[0]["globals"] == {
            "qemu_aio_context": None,
            "iohandler_ctx": None,
            "aio_source_funcs": None,
        }


@pytest.mark.parametrize("world", WORLDS, ids=["list", "stacks"])
def test_a_program_of_debians_that_watches_files(world: Dict[str, str]) -> None:
    with Monitor() as target:
        assert_all_explained(target)
        result = run("handlers", "-p", target.pid, "--json", env=world).fine()
        names = [[s["name"] for s in found] for found in by_context(result).values()]
        assert sorted(names) == [["GFileMonitorSource"], ["inotify kernel source"]]
        (inotify,) = [r for r in result.of_type("source") if r["fds"]]
        assert inotify["thread"] == target.thread("gmain")


def test_a_program_of_debians_that_listens_to_the_bus(bus: Bus) -> None:
    with BusMonitor(bus) as target:
        result = assert_all_explained(target)
        (row,) = [r for r in result.of_type("fd") if r["owner_kind"] == "GSource"]
        assert row["owner"] == 'GSource "[gio] D-Bus read"'
        assert row["role"] == 'GLib loop "gdbus"' and row["thread"] != target.pid
        assert row["callback"].startswith("libgio-2.0.so")


def test_qemus_glib_sources_are_shown_too(qemu: Qemu) -> None:
    result = run("handlers", "-p", qemu.pid, "--json").fine()
    contexts = {row["ctx"]: row for row in result.of_type("context")}
    by_ctx = {row["ctx"]: row for row in result.of_type("source") if row["ctx"]}
    assert set(by_ctx) == set(contexts)
    for name, row in by_ctx.items():
        assert row["addr"] == contexts[name]["ctx_addr"]
        assert row["kind"] == "AioContext"
    assert result.total["gcontexts"] == len(result.of_type("gcontext")) == 3


def test_what_is_neither_is_refused_by_name() -> None:
    with Target("sleep") as target:
        target.start(["sleep", "1000"])
        wait_until(lambda: exe(target.pid).endswith("sleep"), "it runs")
        line = run("fds", "-p", target.pid).refused(FAILED)
    assert "sleep is not a QEMU" in line and "libglib-2.0" in line
