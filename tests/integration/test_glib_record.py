"""Recordings of GLib programs that are no QEMU: iterations, their phases, each source's dispatches.

In both worlds: a GLib whose loop calls its exported functions, and (LOOPSCOPE_GLIB=opaque) one that
calls none of them, where an iteration is what lies between two waits.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from glib_programs import GDB_TESTS, Bus, BusMonitor, Driven, build
from process_memory import wait_until
from recordings import Event, Recorder, events, report
from tracer_run import ROOT, run

pytestmark = pytest.mark.usefixtures("root")

PHASES = "prepare query check dispatch_begin dispatch_end".split()
IN_LOOP = [
    *PHASES,
    *("iteration_begin", "iteration_end", "poll_enter", "poll_exit"),
    *("source_dispatch_begin", "source_dispatch_end"),
]
DISPATCHES = r"( source_dispatch_begin source_dispatch_end)"


@pytest.fixture(scope="module")
def gdrive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("gdrive") / "gdrive"
    return build(
        ROOT / "tests" / "integration" / "gdrive.c", program, "-s", "-rdynamic"
    )


@pytest.fixture
def driven(gdrive: Path) -> Iterator[Driven]:
    with Driven(gdrive) as target:
        target.wait_polling(1)
        yield target


def names(recording: Path) -> Dict[int, str]:
    """Address -> name, of the functions that a recording mentions."""
    return {e["addr"]: e["name"] for e in events(recording, "symbol")}


def iterations(found: List[Event]) -> List[str]:
    """The events of each whole iteration, as one line."""
    lines = " ".join(event.name for event in found).split("iteration_begin ")
    return [
        line.split(" iteration_end")[0] for line in lines[1:] if "iteration_end" in line
    ]


def dispatches(recording: Path) -> "Counter[str]":
    called = names(recording)
    return Counter(called[e["cb"]] for e in events(recording, "source_dispatch_begin"))


def warm_up(target: Driven, recording: Path, wanted: List[str]) -> int:
    """Until ends of calls are seen where the program goes on after them; returns the commands."""
    told = 0

    def seen() -> bool:
        nonlocal told
        for _ in range(20):
            assert target.tell("n") == "nothing"
            told += 1
        last = run("export", recording, "--only", ",".join(wanted)).out.splitlines()
        return all(any(f" {name} " in line for line in last) for name in wanted)

    wait_until(seen, f"{wanted} are recorded")
    return told


def test_each_dispatch_and_each_phase(driven: Driven, tmp_path: Path) -> None:
    out = tmp_path / "r"
    with Recorder(driven.pid, out) as recorder:
        told = warm_up(driven, out, PHASES)
        begun = len(events(out, "iteration_end"))
        for command in "nitir":
            driven.tell(command)
        assert recorder.end().lost == 0
    assert dispatches(out) == {"on_command": told + 5, "on_idle": 2, "on_timeout": 1}
    found = [e for e in events(out, *IN_LOOP) if e.tid == driven.pid]
    assert {e["ctx"] for e in found} == {found[0]["ctx"]}
    lines = iterations(found)
    polled = r"prepare query poll_enter poll_exit check dispatch_begin"
    for line in lines[begun:]:
        nested = rf"{polled}( source_dispatch_begin {polled} dispatch_end source_dispatch_end)"
        assert re.fullmatch(rf"({polled}{DISPATCHES}?|{nested}) dispatch_end", line)
    turns = {
        row["callback"]: row["after_wait"]["count"]
        for row in report(out).of_type("callback")
        if "after_wait" in row
    }
    assert 1 <= turns["on_idle"] <= 2 and turns["on_timeout"] == 1
    assert turns["on_command"] <= told + 5
    assert "dispatched after the wait's end: p50 " in run("report", out).fine().out
    # The iteration that was under way when we attached is no whole one.
    assert sum("source_dispatch_begin" in line for line in lines) == told + 5 + 3 - 1


def test_a_kind_of_source_that_is_new_is_learned(
    driven: Driven, tmp_path: Path
) -> None:
    out = tmp_path / "r"

    def seen() -> bool:
        assert driven.tell("c") == "custom"
        for _ in range(10):
            driven.tell("n")
        # Names come in a stream of their own, of which nothing is written yet.
        said = run("export", out, "--only", "source_dispatch_begin").out
        return len(set(re.findall(r" dispatch=(\S+)", said))) == 2

    with Recorder(driven.pid, out) as recorder:
        wait_until(seen, "its dispatches are recorded")
        recorder.end()
    assert dispatches(out)["on_custom"] > 0


def test_nothing_is_told_twice_of_an_iteration_inside_of_a_callback(
    driven: Driven, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    with Recorder(driven.pid, out) as recorder:
        warm_up(driven, out, PHASES)
        assert driven.tell("r") == "nested"
        assert driven.tell("n") == "nothing"
        recorder.end()
    count = Counter(e.name for e in events(out, *IN_LOOP) if e.tid == driven.pid)
    # The one that sleeps at the end has begun; the nested one is none of them.
    assert count["iteration_begin"] in (
        count["iteration_end"],
        count["iteration_end"] + 1,
    )
    assert count["poll_enter"] == count["iteration_begin"] + 1


def test_a_glib_whose_loop_shows_nothing(
    driven: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPSCOPE_GLIB", "opaque")
    out = tmp_path / "r"
    with Recorder(driven.pid, out) as recorder:
        for command in "nnnnitn":
            driven.tell(command)
        assert recorder.end().lost == 0
    assert dispatches(out) == {"on_command": 7, "on_idle": 1, "on_timeout": 1}
    count = Counter(e.name for e in events(out) if e.tid == driven.pid)
    assert not any(count[name] for name in PHASES)
    assert count["iteration_begin"] == count["iteration_end"] + 1 == count["poll_enter"]
    lines = iterations([e for e in events(out, *IN_LOOP) if e.tid == driven.pid])
    assert sum("source_dispatch_begin" in line for line in lines) == 7 + 2 - 1
    (loop,) = report(out).of_type("loop")
    assert loop["iterations"] == count["poll_enter"]


def test_sources_are_named_and_their_fds_are_theirs(
    driven: Driven, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    with Recorder(driven.pid, out) as recorder:
        driven.tell("c")
        driven.tell("n")
        recorder.end()
    (context,) = events(out, "context")
    assert (context["name"], context["home_tid"]) == (
        "default GMainContext",
        driven.pid,
    )
    (commands,) = events(out, "source_state")
    assert names(out)[commands["cb"]] == "on_command"
    (name,) = [e for e in events(out, "source_name") if e["name"] == "commands"]
    assert name["source"] == commands["source"]
    (fd,) = events(out, "fd_state")
    assert (fd["fd"], fd["owner"], fd["of_tid"]) == (0, commands["source"], driven.pid)
    (attach,) = events(out, "source_attach")
    assert names(out)[attach["site"]] == "on_command"
    assert attach["ctx"] == context["ctx"]


def test_list_says_where_events_come_from(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given() -> Dict[str, str]:
        rows = run("list", "-p", driven.pid, "--json").fine().of_type("event")
        return {row["event"]: row["from"] for row in rows if row["from"] != "-"}

    told = given()
    assert set(PHASES) <= set(told)
    assert told["source_dispatch_begin"] == "tables"
    assert "handler_begin" not in told and "bh_begin" not in told
    monkeypatch.setenv("LOOPSCOPE_GLIB", "opaque")
    assert set(told) - set(given()) == set(PHASES)


def test_a_command_is_recorded_as_soon_as_it_has_a_loop(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    gloop = build(GDB_TESTS / "gloop.c", tmp_path_factory.mktemp("gloop") / "gloop")
    out = tmp_path / "r"
    result = run("record", "-o", out, "-d", 0.2, "--", gloop)
    assert result.rc == 0, result.err
    addresses = result.out.split()[:2]
    found = {f"{e['ctx']:#x}" for e in events(out, "context")}
    assert addresses[0] in found


def test_a_program_of_debians(tmp_path: Path) -> None:
    """Its worker thread reads the bus; the name it watches comes and goes."""
    with Bus() as bus, BusMonitor(bus) as target:
        out = tmp_path / "r"
        with Recorder(target.pid, out) as recorder:
            recorder.end()
        contexts = {e["name"]: e["home_tid"] for e in events(out, "context")}
        assert contexts["default GMainContext"] == target.pid
        assert len(contexts) == 3
        sources = {e["name"] for e in events(out, "source_name")}
        assert "[gio] D-Bus read" in sources
