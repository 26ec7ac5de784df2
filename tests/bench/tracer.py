"""What tracing costs, beside other tracers: printed by "make bench-tracer".

Everything is measured in one run, in turns, and said as a ratio: a machine that is busy with other
things makes all of them slower. An event is one of the demo's USDT probes; its cost is what the
target's thread needs for it beyond what it needs untraced, by the middle one of many bursts, and of
several rounds the middle one again. The other side reads and writes meanwhile, on the other CPU.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

EVENTS = [
    "iteration_begin",
    "timeout_chosen",
    "poll_enter",
    "poll_exit",
    "fd_ready",
    "handler_begin",
    "handler_end",
    "iteration_end",
]
ARGUMENTS = dict(zip(EVENTS, (3, 5, 6, 2, 4, 6, 5, 3)))
BURST = 8000
GOALS = {"the ring write": 1.25, "perf record": 0.6, "bpftrace": 0.1}


class Target:
    """A process that fires the events when told to."""

    def __init__(self, command: List[str], cwd: Optional[Path] = None) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdin and self.process.stdout
        while self.process.stdout.readline().strip() != "ready":
            if self.process.poll() is not None:
                raise SystemExit(f"{command[0]} did not start")

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, line: str) -> List[float]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return [float(word) for word in self.process.stdout.readline().split()]

    def wait_for(self, armed: bool, tracer: "subprocess.Popen[str]") -> None:
        while bool(self.ask("armed")[0]) != armed:
            if armed and tracer.poll() is not None:
                raise SystemExit(f"a tracer ended: {tracer.args!r}")
            time.sleep(0.02)

    def burst(self, bursts: int) -> float:
        return self.ask(f"burst {bursts} {BURST} 1000")[1]

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


class Bench:
    def __init__(self, build: Path, top: Path) -> None:
        self.build, self.top = build, top
        self.program = str(build / "bench/tracer-target")
        self.target = Target([self.program])
        self.number = 0
        self.said: Dict[int, str] = {}  # by tracers, at their ends
        self.lost: "Counter[str]" = Counter()

    def new_path(self) -> Path:
        self.number += 1
        return self.top / str(self.number)

    @contextlib.contextmanager
    def tracing(
        self,
        command: List[str],
        end: Callable[["subprocess.Popen[str]"], object],
    ) -> Iterator["subprocess.Popen[str]"]:
        """The tracer at its work, attached to the target."""
        tracer = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.target.wait_for(True, tracer)
        try:
            yield tracer
        finally:
            end(tracer)
            tracer.wait()
            self.target.wait_for(False, tracer)

    def interrupt(self, tracer: "subprocess.Popen[str]") -> None:
        tracer.send_signal(signal.SIGINT)
        self.said[tracer.pid] = "".join(tracer.communicate())

    def count_lost(
        self, way: str, tracer: "subprocess.Popen[str]", pattern: str
    ) -> None:
        for found in re.finditer(pattern, self.said[tracer.pid]):
            self.lost[way] += int(found[1])

    # --- one tracer each: ns an event ---

    def nobody(self) -> float:
        return self.target.burst(40)

    def floor(self, what: str) -> float:
        command = [str(self.build / "bench/floor"), str(self.target.pid), what]
        with self.tracing(command, lambda tracer: tracer.communicate()):
            return self.target.burst(40)

    def loopscope(self) -> float:
        path = self.new_path()
        command = [str(self.build / "loopscope"), "record", "-p", str(self.target.pid)]
        with self.tracing([*command, "-o", str(path)], self.interrupt) as tracer:
            cost = self.target.burst(40)
        self.count_lost("loopscope record", tracer, r"(\d+) lost")
        shutil.rmtree(path)
        return cost

    def perf(self) -> float:
        path = self.new_path()
        events = [word for event in EVENTS for word in ("-e", f"sdt_qemu:{event}")]
        # With its own buffer of half a megabyte it would lose most of a burst, which is cheap.
        command = [
            "perf",
            "record",
            "-m",
            "16M",
            "-o",
            str(path),
            "-p",
            str(self.target.pid),
        ]
        with self.tracing(command + events, self.interrupt) as tracer:
            cost = self.target.burst(40)
        self.count_lost("perf record", tracer, r"lost (\d+) (?:events|chunks)")
        path.unlink()
        return cost

    def bpftrace(self) -> float:
        path = self.new_path()
        probes = []
        for event in EVENTS:
            args = [f"arg{i}" for i in range(ARGUMENTS[event])]
            form = " ".join(["%lld", "%d", event] + ["%llx"] * len(args))
            probes.append(
                f'usdt:{self.program}:qemu:{event} {{ printf("{form}\\n", nsecs, tid, '
                f"{', '.join(args)}); }}"
            )
        command = ["bpftrace", "-p", str(self.target.pid), "-o", str(path)]
        with self.tracing(
            [*command, "-e", "\n".join(probes)], self.interrupt
        ) as tracer:
            cost = self.target.burst(5)
        self.count_lost("bpftrace", tracer, r"Lost (\d+) events")
        path.unlink()
        return cost

    def uftrace(self) -> float:
        """Not USDT: it traces calls, so the target calls a function for each event.

        Built with -pg, the target leaves a gmon.out where it runs.
        """
        path, program = self.new_path(), str(self.build / "bench/uftrace-target")
        plain = Target([program], path.parent)
        before = plain.burst(40)
        plain.end()
        command = ["uftrace", "record", "--no-libcall", "-d", str(path), "-A"]
        command += ["probe_.*@arg1/x64,arg2,arg3", program]
        traced = Target(command, path.parent)
        cost = traced.burst(40)
        traced.end()
        shutil.rmtree(path)
        return cost - before


def installed(program: str) -> bool:
    return shutil.which(program) is not None


def middle(values: List[float]) -> float:
    return statistics.median(values)


# --- what an event adds to the target ------------------------------------------------------------


def set_up_perf(program: str) -> bool:
    """perf's name for USDT probes, which it keeps in the kernel until they are deleted."""
    subprocess.run(["perf", "buildid-cache", "--add", program], check=False)
    names = [f"sdt_qemu:{event}" for event in EVENTS]
    done = [
        subprocess.run(["perf", "probe", "-q", name], capture_output=True, check=False)
        for name in names
    ]
    return not any(result.returncode for result in done)


def bench_events(bench: Bench, rounds: int) -> Dict[str, float]:
    ways: Dict[str, Callable[[], float]] = {
        "an empty bpf program": lambda: bench.floor("nothing"),
        "the ring write": lambda: bench.floor("zeros"),
        "loopscope record": bench.loopscope,
    }
    if installed("perf") and set_up_perf(bench.program):
        ways["perf record"] = bench.perf
    if installed("bpftrace"):
        ways["bpftrace"] = bench.bpftrace
    if installed("uftrace"):
        ways["uftrace"] = bench.uftrace
    costs: Dict[str, List[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        idle = bench.nobody()
        order = list(ways)
        for way in order[turn % len(order) :] + order[: turn % len(order)]:
            added = ways[way]()
            costs[way].append(added if way == "uftrace" else added - idle)
    if "perf record" in ways:
        subprocess.run(["perf", "probe", "-q", "-d", "sdt_qemu:*"], check=False)
    return {way: middle(cost) for way, cost in costs.items()}


def in_process(command: List[str], pattern: str) -> Optional[float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout, re.MULTILINE)
    return float(found[1]) if found else None


def bench_in_process(bench: Bench) -> Dict[str, Optional[float]]:
    """Tracers that are part of the program, which make no trap."""
    programs = [str(bench.build / "bench/selfrec")]
    lttng = bench.build / "bench/selfrec-lttng"
    if lttng.exists():
        programs.append(str(lttng))
    done = subprocess.run(
        ["tests/bench/selfrec.sh", *programs],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    own = re.search(r"^added .*burst, ([\d.]+) in", done, re.MULTILINE)
    other = re.search(r"^LTTng .*burst, ([\d.]+) in", done, re.MULTILINE)
    return {
        "the demo records itself": float(own[1]) if own else None,
        "LTTng-UST": float(other[1]) if other else None,
    }


def print_events(
    bench: Bench, costs: Dict[str, float], inside: Dict[str, Optional[float]]
) -> None:
    ours = costs["loopscope record"]
    print("what an event adds to the target              ns      loopscope is")
    for way, cost in costs.items():
        ratio = "" if way == "loopscope record" else f"{ours / cost:.2f} x that"
        goal = ""
        if way in GOALS:
            met = ours / cost <= GOALS[way]
            goal = f", goal {GOALS[way]}: {'met' if met else 'NOT MET'}"
        if bench.lost[way]:
            goal += f" ({bench.lost[way]:,} lost)"
        print(f"  {way:36} {cost:10,.0f}      {ratio}{goal}")
    for way, cost in inside.items():
        if cost is not None:
            print(f"  {way:36} {cost:10,.0f}      {ours / cost:.2f} x that (no trap)")
    missing = {
        "perf record": "linux-perf",
        "bpftrace": "bpftrace",
        "uftrace": "uftrace",
    }
    for way, package in missing.items():
        if way not in costs:
            print(f"  {way}: not measured; its package is {package}")
    if inside["LTTng-UST"] is None:
        print("  LTTng-UST: not measured; apt-get install lttng-tools liblttng-ust-dev")


# --- polls ---------------------------------------------------------------------------------------


def bench_polls(bench: Bench, rounds: int) -> None:
    """A ppoll that does not wait, as strace, perf trace and we see it."""
    trace = str(bench.new_path())
    own = str(bench.build / "loopscope")
    commands: Dict[str, List[str]] = {"": []}
    commands["loopscope record"] = [own, "record", "-o", "DIR", "--"]
    if installed("strace"):
        commands["strace"] = ["strace", "-f", "-e", "trace=ppoll", "-o", trace]
    if installed("perf"):
        commands["perf trace"] = ["perf", "trace", "-e", "ppoll", "-o", trace]
    costs: Dict[str, List[float]] = {way: [] for way in commands}
    for _ in range(rounds):
        for way, command in commands.items():
            path = str(bench.new_path())
            target = Target([w.replace("DIR", path) for w in command] + [bench.program])
            costs[way].append(target.ask("poll 20000")[0])
            target.end()
    idle = middle(costs.pop(""))
    ours = middle(costs["loopscope record"]) - idle
    print("what a ppoll with its events costs more       ns      loopscope is")
    for way, cost in costs.items():
        added = middle(cost) - idle
        ratio = "" if way == "loopscope record" else f"{ours / added:.2f} x that"
        print(f"  {way:36} {added:10,.0f}      {ratio}")


# --- losses --------------------------------------------------------------------------------------


def record_paced(
    bench: Bench, rate: int, seconds: int, threads: int, keep: Optional[Path] = None
) -> Tuple[float, int]:
    """Events a second that came about, and how many were lost."""
    path = keep or bench.new_path()
    command = [str(bench.build / "loopscope"), "record", "-p", str(bench.target.pid)]
    out = ""

    def end(tracer: "subprocess.Popen[str]") -> None:
        nonlocal out
        tracer.send_signal(signal.SIGINT)
        out = tracer.communicate()[0]

    with bench.tracing([*command, "-o", str(path), "--json"], end):
        fired, ns = bench.target.ask(f"pace {rate} {seconds} {threads}")
    lost = json.loads(out.splitlines()[-1])["lost"]
    if not keep:
        shutil.rmtree(path)
    return fired / ns * 1e9, lost


def bench_losses(bench: Bench, keep: Path) -> None:
    rate, lost = record_paced(bench, 1000000, 10, 1, keep)
    verdict = "NOT MET" if lost else "met" if rate > 950000 else "not shown"
    print(
        f"1,000,000 events a second for 10 s            lost {lost:,} of {10000000:,}; "
        f"{rate:,.0f} a second came about, goal: {verdict}"
    )
    for threads in (1, 2):
        best = 0.0
        for wanted in range(250000, 4000001, 250000):
            rate, lost = record_paced(bench, wanted, 2, threads)
            if lost:
                break
            best = max(best, rate)
            if rate < wanted * 0.95:
                break  # the target cannot do more
        ended = f"lost {lost:,} at {rate:,.0f}" if lost else "the target can do no more"
        print(
            f"  most without a loss, for 2 s, {threads} thread{'s' if threads > 1 else ' '}"
            f"     {best:,.0f} a second ({ended})"
        )


# --- reading -------------------------------------------------------------------------------------


def processor_time(command: List[str]) -> Tuple[float, float]:
    """Seconds and MiB."""
    pid = os.spawnvp(
        os.P_NOWAIT, "sh", ["sh", "-c", 'exec "$@" >/dev/null', "sh", *command]
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"failed: {command}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def bench_reading(bench: Bench, recording: Path, rounds: int) -> None:
    events = json.loads(
        subprocess.run(
            [str(bench.build / "loopscope"), "report", str(recording), "--json"],
            capture_output=True,
            check=True,
        ).stdout.splitlines()[-1]
    )["events"]
    short = bench.new_path()
    record_paced(bench, 1000000, 1, 1, short)
    ours: List[float] = []
    theirs: List[float] = []
    memory = 0.0
    report = [str(bench.build / "loopscope"), "report"]
    for _ in range(rounds):
        seconds, memory = processor_time([*report, str(recording)])
        ours.append(seconds)
        if installed("babeltrace2"):
            counter = ["-c", "sink.utils.counter", "-p", "step=+0"]
            theirs.append(processor_time(["babeltrace2", str(recording), *counter])[0])
    _, memory_short = processor_time([*report, str(short)])
    print(
        f"reading {events:,} events                  million a second of processor time"
    )
    print(f"  loopscope report                     {events / middle(ours) / 1e6:10.1f}")
    if theirs:
        ratio = middle(theirs) / middle(ours)
        met = "met" if ratio >= 5 else "NOT MET"
        print(
            f"  babeltrace2 -c sink.utils.counter    {events / middle(theirs) / 1e6:10.1f}"
            f"      loopscope is {ratio:.1f} x as fast, goal 5: {met}"
        )
    print(
        f"  memory of the report                 {memory:10.1f} MiB; of a tenth {memory_short:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", type=Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--only", default="events polls losses reading")
    args = parser.parse_args()
    # uftrace and others write much: not to a temporary file system in memory.
    with tempfile.TemporaryDirectory(dir=args.build / "bench") as top:
        bench = Bench(args.build, Path(top))
        recording = Path(top) / "recording"
        if "events" in args.only:
            print_events(
                bench, bench_events(bench, args.rounds), bench_in_process(bench)
            )
        if "polls" in args.only:
            bench_polls(bench, args.rounds)
        if "losses" in args.only:
            bench_losses(bench, recording)
        if "reading" in args.only:
            if not recording.exists():
                record_paced(bench, 1000000, 10, 1, recording)
            bench_reading(bench, recording, args.rounds)
        bench.target.end()


if __name__ == "__main__":
    main()
