"""Three ways to read, one truth: memory, the task iterator and a probe on the poll agree."""

import os
import signal
from typing import Dict, List

import pytest
from process_memory import poll_sets
from tracer_run import Row, probe_while, run
from tracer_targets import Demo, Qemu

pytestmark = pytest.mark.usefixtures("root")


def same(rows: List[Row], *but: str) -> List[Row]:
    return [{k: v for k, v in row.items() if k not in ("via", *but)} for row in rows]


def rows_by(kind: str, way: str, pid: int, *args: str) -> List[Row]:
    result = run(kind, "-p", pid, "--via", way, "--json", *args).fine()
    rows = result.of_type(kind.rstrip("s"))
    assert result.total["lost"] == 0 and {row["via"] for row in rows} == {way}
    return rows


@pytest.mark.parametrize("name", ["demo", "qemu", "many"])
@pytest.mark.parametrize("kind", ["fds", "handlers"])
def test_memory_and_iterator_agree(
    kind: str, name: str, request: pytest.FixtureRequest
) -> None:
    target = request.getfixturevalue(name)
    by_mem, by_iter = (same(rows_by(kind, way, target.pid)) for way in ("mem", "iter"))
    assert by_mem == by_iter and by_mem


def test_all_rows_unfolded_agree(many: Demo) -> None:
    by_mem, by_iter = (
        same(rows_by("handlers", w, many.pid, "--all")) for w in ("mem", "iter")
    )
    assert by_mem == by_iter and len(by_mem) == 1003


def test_tables_too_long_for_the_small_ring_agree(root: None) -> None:
    """The iterator's ring is 4 MiB, some 13,000 records; then it is a larger one."""
    with Demo("crowd", "--fds", 5000) as demo:
        totals = [
            run("handlers", "-p", demo.pid, "--json", "--via", way).fine().total
            for way in ("iter", "mem")
        ]
    assert totals[0] == totals[1]
    assert totals[0]["bhs"] == totals[0]["timers"] == 5000 <= totals[0]["handlers"]
    assert totals[0]["lost"] == 0


def test_other_rows_of_memory_and_iterator_agree(demo: Demo, qemu: Qemu) -> None:
    for target in (demo, qemu):
        results = [
            run("handlers", "-p", target.pid, "--via", way, "--json")
            for way in ("mem", "iter")
        ]
        contexts = [same(r.fine().of_type("context"), "doing") for r in results]
        assert contexts[0] == contexts[1]
        timers = [
            {(t["addr"], t["clock"], t["callback"]) for t in r.of_type("timer")}
            for r in results
        ]
        assert timers[0] == timers[1]


@pytest.mark.parametrize("scenario, fds", [("signal", 4), ("many-fds", 1004)])
def test_a_probe_sees_the_set_that_memory_shows(scenario: str, fds: int) -> None:
    with Demo(scenario) as target:
        by_mem = same(rows_by("fds", "mem", target.wait_asleep().pid), "ready")
        result = probe_while(
            target.pid, 60, lambda: os.kill(target.pid, signal.SIGALRM)
        ).fine()
        assert same(result.of_type("fd"), "ready") == by_mem
        assert len(by_mem) == fds and result.total["lost"] == 0


def test_a_probe_sees_each_loop_of_a_qemu() -> None:
    """A QMP command wakes the monitor and the main loop, a new property the IOThread io0."""
    with Qemu() as target, target.qmp() as monitor:

        def stimulate() -> None:
            monitor.command(
                "qom-set", path="/objects/io0", property="poll-max-ns", value=0
            )

        stimulate()
        target.wait_polling(Qemu.LOOPS)
        by_mem = same(rows_by("fds", "mem", target.pid), "ready")
        result = probe_while(target.pid, 60, stimulate).fine()
        assert same(result.of_type("fd"), "ready") == by_mem
        assert len({row["thread"] for row in by_mem}) == Qemu.LOOPS


def test_a_thread_that_does_not_poll_meanwhile_is_not_there() -> None:
    """Nothing wakes io0: a probe knows the main loop only, and says nothing of what it missed."""
    with Demo("five-sources") as target:
        target.wait_asleep()
        result = probe_while(
            target.pid, 2, lambda: os.kill(target.pid, signal.SIGALRM)
        ).fine()
        assert {row["thread"] for row in result.of_type("fd")} == {target.pid}
        assert [row["fd"] for row in result.of_type("fd")] == [
            fd for fd, _ in poll_sets(target.pid)[target.pid]
        ]


def test_without_a_poll_a_probe_says_so_and_fails(demo: Demo) -> None:
    line = run("fds", "-p", demo.pid, "--via", "probe", "-d", "0.2").refused()
    assert str(demo.pid) in line and "--via iter" in line


def test_a_loop_that_never_sleeps_is_still_seen() -> None:
    """Without --via: a loop that hardly ever waits is caught by a probe on its next poll."""
    with Demo("many-fds", "--fds", "23", "--iterations", "100000000") as target:
        result = run("fds", "-p", target.pid, "--json").fine()
        callbacks: Dict[str, int] = {}
        for row in result.of_type("fd"):
            callbacks[row["callback"]] = callbacks.get(row["callback"], 0) + 1
        assert callbacks["many_fds_read"] == 23
        assert result.total["fds"] == 27 and result.total["unknown"] == 0


def test_handlers_of_a_loop_that_never_sleeps() -> None:
    with Demo("many-fds", "--fds", "23", "--iterations", "100000000") as target:
        for way in ("mem", "iter", "probe"):
            result = run("handlers", "-p", target.pid, "--via", way, "--json").fine()
            # One row for those that are ready just now, one for the others.
            counts = [
                row["count"]
                for row in result.of_type("handler")
                if row["io_read"] == "many_fds_read"
            ]
            assert sum(counts) == 23
            assert result.total["damaged"] == 0
