"""On a kernel older than 6.6: tables, verdicts, and recordings with the few probes it allows.

Such a kernel has no link for many probes. Each has one of libbpf's own, at most 20 of them: what is
chosen then and what is left out is told, and what is recorded is as exact as anywhere.
"""

import json

from machine import Vm
from process_memory import wait_until
from recordings import five_sources_counts

FEW = """iteration_begin iteration_end timeout_chosen poll_enter poll_exit dispatch_begin
    dispatch_end handler_begin handler_end bh_begin bh_end timer_begin timer_end
    source_dispatch_begin source_dispatch_end notify bql_wait bql_acquired""".split()
FIVE = "demo-qemu-loop --scenario five-sources --iterations 23"


def test_the_kernel_is_an_old_one_with_types(vm: Vm) -> None:
    assert vm.run("uname -r").startswith("6.1.")
    vm.run("test -s /sys/kernel/btf/vmlinux")


def test_tables_by_iterator_and_from_memory(vm: Vm) -> None:
    pid = vm.demo("five-sources", "--vnc /tmp/vnc")
    for way in ("iter", "mem"):
        rows = vm.rows(f"loopscope fds -p {pid} --via {way}")
        total = rows[-1]
        assert (total["loops"], total["fds"], total["unknown"]) == (2, 6, 0)
        contexts = [
            row["ctx"]
            for row in vm.rows(f"loopscope handlers -p {pid} --via {way}")
            if row["type"] == "context"
        ]
        assert contexts == ["qemu_aio_context", "iohandler_ctx", "io0"]
    vm.end(pid)


def test_a_poll_set_by_probes(vm: Vm) -> None:
    """Two probes, on poll and ppoll, while a signal makes the main loop poll anew."""
    pid = vm.demo("signal")
    vm.run(f"(while kill -ALRM {pid}; do usleep 20000; done) 2>/dev/null & echo $!")
    rows = vm.rows(f"loopscope fds -p {pid} --via probe -d 20")
    vm.end(pid)
    fds = [row for row in rows if row["type"] == "fd"]
    assert {row["via"] for row in fds} == {"probe"}
    assert "signalfd" in {row["fd_kind"] for row in fds}
    assert rows[-1]["unknown"] == 0


def test_a_recording_has_the_few_events_that_fit_and_each_is_exact(vm: Vm) -> None:
    said = vm.run(f"loopscope record -o /tmp/few -- {FIVE} 2>&1")
    assert "attached to process" in said and f"{len(FEW)} USDT probes" in said
    assert "older than 6.6 and has 20 at most: 0 left out" in said
    rows = vm.rows("loopscope report /tmp/few")
    counted = {
        row["event"]: row["count"] for row in rows if row["type"] == "event_count"
    }
    expected = five_sources_counts()
    for name in FEW:
        assert counted[name] == sum(expected[name].values()), name
    assert rows[-1]["lost"] == 0
    others = [name for name in expected if name not in FEW]
    assert not any(counted[name] for name in others)


def test_what_does_not_fit_is_counted(vm: Vm) -> None:
    """Whoever asks for all the events of BHs, timers and handlers gets 20 probes, and is told."""
    chosen = "--events 'bh_*,timer_*,handler_*,poll_*,source_*,notify*'"
    said = vm.run(f"loopscope record {chosen} -o /tmp/many -- {FIVE} 2>&1")
    left = int(said.split("20 at most: ")[1].split()[0])
    probes = int(said.split(" USDT probes")[0].rsplit(maxsplit=1)[1])
    assert left == probes - 20 > 0


def test_top_counts_what_a_signal_runs(vm: Vm) -> None:
    pid = vm.demo("signal")
    vm.run(f"(while kill -ALRM {pid}; do usleep 20000; done) 2>/dev/null & echo $!")
    rows = vm.rows(f"loopscope top -p {pid} -d 4 --overhead none")
    vm.end(pid)
    loops = {row["loop"]: row["iterations"] for row in rows if row["type"] == "loop"}
    assert loops["main loop"] > 0, rows
    called = [row for row in rows if row["type"] == "callback" and row["calls"]]
    assert "main loop" in {row["loop"] for row in called}, rows
    assert rows[-1]["type"] == "total"


def test_verdicts(vm: Vm) -> None:
    expected = {"spin-bh": "SPIN", "blocked-sleep": "BLOCKED CALLBACK", "signal": None}
    for scenario, verdict in expected.items():
        pid = vm.demo(scenario)
        said = vm.run(f"loopscope doctor -p {pid} --json 2>/dev/null || test $? = 1")
        rows = [json.loads(line) for line in said.splitlines()]
        found = [row["verdict"] for row in rows if row["type"] == "verdict"]
        assert found == ([verdict] if verdict else []), said
        vm.end(pid)


def test_a_killed_recorder_leaves_nothing(vm: Vm) -> None:
    """Its programs go from the kernel's symbols, and the demo ends as it would have."""
    out = "/tmp/killed.out"
    pid = vm.demo("five-sources", "--vnc /tmp/killed")
    vm.run(
        f"loopscope record -p {pid} -o /tmp/killed.r 2>{out} & echo $! >/tmp/recorder"
    )
    wait_until(lambda: "attached" in vm.run(f"cat {out}"), "the recorder attaches")
    programs = "grep -c 'on_usdt.*\\[bpf' /proc/kallsyms; true"
    assert int(vm.run(programs)) > 0
    vm.run("kill -KILL $(cat /tmp/recorder)")
    wait_until(lambda: int(vm.run(programs)) == 0, "the probes are gone")
    assert vm.rows(f"loopscope fds -p {pid}")[-1]["fds"] == 6
    vm.end(pid)
