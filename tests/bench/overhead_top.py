"""What top costs a loop that runs 500,000 callbacks a second: printed by "make bench-top".

The loop's thread says how much of a processor it needed and how many callbacks it ran. Everything is
measured in turns, and the middle one of the rounds is said beside that of nothing attached: a busy
machine makes all of them slower. What top printed of the rate is checked against what was run.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, List, Tuple

BUILD = Path(os.environ["BUILD"])
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = 3.0


class Target:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [BUILD / "bench" / "top-target"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def run(self, seconds: float) -> Tuple[float, float]:
        """Callbacks a second, and the share of a processor."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"run {seconds}\n")
        self.process.stdin.flush()
        calls, took, cpu = (float(x) for x in self.process.stdout.readline().split())
        return calls / took, cpu / took


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


@contextmanager
def nothing(_target: Target) -> Iterator[None]:
    yield


def top(*options: str) -> Callable[[Target], ContextManager[None]]:
    @contextmanager
    def attach(target: Target) -> Iterator[None]:
        process = subprocess.Popen(
            [BUILD / "loopscope", "top", "-p", str(target.pid), "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr and "attached" in process.stderr.readline()
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate()
            total = json.loads(out.splitlines()[-1])
            said.setdefault(" ".join(options), []).append(total)

    return attach


said: Dict[str, List[Dict[str, float]]] = {}


@contextmanager
def bpftrace(target: Target) -> Iterator[None]:
    """The same by a script: a histogram for each bottom half's callback."""
    demo = f"usdt:{BUILD}/bench/top-target:qemu:"
    script = f"{demo}bh_begin {{ @b[tid] = nsecs; }} "
    script += f"{demo}bh_end /@b[tid]/ {{ @ns[arg2] = hist(nsecs - @b[tid]); }}"
    process = subprocess.Popen(
        ["bpftrace", "-p", str(target.pid), "-e", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout and "Attach" in process.stdout.readline()
    with ended(process):
        yield


@contextmanager
def perf(target: Target) -> Iterator[None]:
    """A profile: it knows no callback, no count and no duration."""
    with tempfile.TemporaryDirectory() as where:
        process = subprocess.Popen(
            ["perf", "record", "-q", "-F", "999", "-g", "-p", str(target.pid)]
            + ["-o", f"{where}/perf.data"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        time.sleep(1)
        with ended(process):
            yield


def main() -> None:
    ways: Dict[str, Callable[[Target], ContextManager[None]]] = {
        "nothing attached": nothing,
        "top (3 % of a processor)": top(),
        "top --overhead none": top("--overhead", "none"),
    }
    if shutil.which("bpftrace"):
        ways["bpftrace, hist() of bh_begin to bh_end"] = bpftrace
    if shutil.which("perf"):
        ways["perf record -F 999 -g, a profile only"] = perf
    found: Dict[str, List[Tuple[float, float]]] = {name: [] for name in ways}
    target = Target()
    try:
        for _ in range(ROUNDS):
            for name, attach in ways.items():
                with attach(target):
                    target.run(0.5)
                    found[name].append(target.run(SECONDS))
    finally:
        target.process.kill()
        target.process.wait()
    cost = {
        name: statistics.median(cpu / rate for rate, cpu in runs) * 1e9
        for name, runs in found.items()
    }
    rates = {n: statistics.median(r for r, _ in runs) for n, runs in found.items()}
    base = cost["nothing attached"]
    print(
        f"a loop of 500 bottom halves a millisecond, medians of {ROUNDS} rounds in turns"
    )
    print(f"{'':42}{'callbacks/s':>12}{'ns each':>9}{'ratio':>7}{'of a CPU':>10}")
    for name in ways:
        added = (cost[name] - base) * rates[name] / 1e7
        print(
            f"{name:42}{rates[name]:12,.0f}{cost[name]:9.0f}{cost[name] / base:7.2f}"
            f"{added:+9.1f} %"
        )
    for options, totals in said.items():
        seen = [t["calls"] / t["seen_seconds"] for t in totals]
        modes = {str(t["mode"]) for t in totals}
        print(
            f"top {options}: {'/'.join(sorted(modes))}; said {statistics.median(seen):,.0f} calls/s, "
            f"saw {statistics.median(t['seen_seconds'] / t['seconds'] for t in totals):.1%} of the time, "
            f"lost {sum(t['lost'] for t in totals):.0f}"
        )
    for tool in ("bpftrace", "perf"):
        if not shutil.which(tool):
            print(f"{tool}: not installed, not measured")


if __name__ == "__main__":
    main()
