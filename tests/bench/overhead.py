"""What watching costs a guest: printed by "make bench-overhead".

Debian's QEMU boots Debian's kernel; the guest reads its disk past its cache, from a device whose
queue the IOThread io0 serves. Each tracer is attached while it does so, and then its throughput is
measured, and the processor time that QEMU needs for a request. Both are said as a ratio of what they
are with nothing attached in the same round; the middle one of the rounds. On a busy machine processor
time is the steadier one; but of a tracer that stops its target for each event, what it costs is
mostly waiting. Nothing is asserted: how fast a guest is here is not ours to promise.

The floor is what a hit of a probe with an empty bpf program costs, on this machine, now.
"""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Set, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from guest import Guest  # noqa: E402  pylint: disable=wrong-import-position

BUILD = Path(os.environ["BUILD"])
ROUNDS = int(os.environ.get("ROUNDS", "3"))
REQUESTS = 4096
NOTHING, FULL = "nothing attached", "record, the full set"
Attach = Callable[[Guest], ContextManager[Any]]

# The functions that loopscope record probes in a QEMU without probes, entries only: a return probe
# on one that a coroutine runs in ends QEMU.
FUNCTIONS = """main_loop_wait aio_poll aio_bh_call qemu_bh_schedule aio_bh_schedule_oneshot_full
qemu_bh_cancel qemu_bh_delete timer_mod_ns timer_mod_anticipate_ns timer_del aio_notify
aio_notify_accept aio_set_fd_handler qemu_mutex_lock_iothread_impl qemu_mutex_unlock_iothread
aio_context_new aio_co_schedule aio_wait_kick""".split()


def wait_for(process: "subprocess.Popen[bytes]", word: str, out: Path) -> None:
    while word not in out.read_text(errors="replace"):
        if process.poll() is not None:
            raise SystemExit(f"{process.args} did not attach: {out.read_text()}")
        time.sleep(0.05)


@contextmanager
def nothing(_guest: Guest) -> Iterator[None]:
    yield


def answer(*words: object) -> str:
    done = subprocess.run(
        [BUILD / "loopscope", *(str(w) for w in words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def loopscope(command: str, *options: str) -> Attach:
    @contextmanager
    def attach(guest: Guest) -> Iterator[Dict[str, str]]:
        with tempfile.TemporaryDirectory() as where:
            words = [BUILD / "loopscope", command, "-p", str(guest.pid), *options]
            if command == "record":
                words += ["-o", f"{where}/recording"]
            notes: Dict[str, str] = {}
            with open(f"{where}/out", "w+", encoding="utf-8") as out:
                process = subprocess.Popen(
                    words, stdout=out, stderr=subprocess.PIPE, text=True
                )
                assert process.stderr
                line = process.stderr.readline()
                while "attached" not in line:
                    assert line, "loopscope did not attach"
                    notes["said"] = line.strip()
                    line = process.stderr.readline()
                try:
                    yield notes
                finally:
                    process.send_signal(signal.SIGINT)
                    notes["end"] = process.communicate()[1].strip()
                    if command == "record":
                        notes["events"] = answer(
                            "report", f"{where}/recording", "--events", "--json"
                        )
                    out.seek(0)
                    notes["out"] = out.read()

    return attach


def other(words: List[str], ready: str = "") -> Attach:
    """Another tracer; @ready: what it says when it has attached. What it prints goes to a file."""

    @contextmanager
    def attach(guest: Guest) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as where:
            said = Path(where) / "said"
            with open(said, "wb") as out:
                process = subprocess.Popen(
                    [
                        w.replace("{pid}", str(guest.pid)).replace("{where}", where)
                        for w in words
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            try:
                wait_for(process, ready, said)
                time.sleep(2)
                yield
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    return attach


def bpftrace_script() -> str:
    """Prints the same events, each with its arguments."""
    qemu = shutil.which("qemu-system-x86_64")
    probes = [
        f'uprobe:{qemu}:{name} {{ printf("%d %s %x %x %x\\n", nsecs, func, arg0, arg1, arg2); }}'
        for name in FUNCTIONS
    ]
    libc = 'printf("%d %d %x %d\\n", nsecs, tid, arg0, arg1);'
    probes.append(f"uprobe:libc:ppoll,uprobe:libc:poll {{ {libc} }}")
    probes.append(
        'uretprobe:libc:ppoll,uretprobe:libc:poll { printf("%d %d\\n", nsecs, retval); }'
    )
    return "\n".join(probes)


def gdb_words() -> List[str]:
    words = ["gdb", "-nx", "-batch", "-p", "{pid}", "-ex", "set pagination off"]
    words += ["-ex", "handle SIGUSR1 SIGUSR2 SIG34 SIGALRM nostop noprint pass"]
    for name in ("aio_bh_call", "aio_notify", "aio_poll"):
        words += ["-ex", f"break {name}", "-ex", "commands\nsilent\ncontinue\nend"]
    return words + ["-ex", "echo attached\\n", "-ex", "continue"]


def ways() -> Tuple[Dict[str, Tuple[Attach, int]], List[str]]:
    """Of each way to watch: how it is attached, and how many requests are measured."""
    found: Dict[str, Tuple[Attach, int]] = {
        NOTHING: (nothing, REQUESTS),
        "top": (loopscope("top"), REQUESTS),
        "top --overhead none": (loopscope("top", "--overhead", "none"), REQUESTS),
        "record --overhead 10": (loopscope("record", "--overhead", "10"), REQUESTS),
        FULL: (loopscope("record"), REQUESTS),
    }
    others = {
        "strace -f -e ppoll": (
            other(
                ["strace", "-f", "-e", "ppoll", "-o", "{where}/s", "-p", "{pid}"],
                "attached",
            ),
            REQUESTS,
        ),
        "perf trace -e ppoll": (
            other(["perf", "trace", "-e", "ppoll", "-o", "{where}/p", "-p", "{pid}"]),
            REQUESTS,
        ),
        "bpftrace, entries of the same events": (
            other(
                ["bpftrace", "-p", "{pid}", "-e", bpftrace_script()],
                "Attach",
            ),
            REQUESTS,
        ),
        "gdb, breakpoints on 3 of the functions": (
            other(gdb_words(), "attached"),
            64,
        ),
    }
    missing = []
    for name, way in others.items():
        tool = name.split(",")[0].split()[0]
        if shutil.which(tool):
            found[name] = way
        else:
            missing.append(tool)
    return found, missing


def floor_ns() -> float:
    """Of an empty program on a nop: from the bench of its own, which prints it."""
    target = subprocess.Popen(
        [BUILD / "bench" / "tracer-target"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert target.stdin and target.stdout

    def burst() -> float:
        assert target.stdin and target.stdout
        target.stdin.write("burst 50 8000 0\n")
        target.stdin.flush()
        return float(target.stdout.readline().split()[1])

    try:
        while target.stdout.readline().strip() != "ready":
            pass
        before = burst()
        with subprocess.Popen(
            [BUILD / "bench" / "floor", str(target.pid), "nothing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as floor:
            assert floor.stdin
            target.stdin.write("armed\n")
            target.stdin.flush()
            while target.stdout.readline().strip() != "1":
                time.sleep(0.05)
                target.stdin.write("armed\n")
                target.stdin.flush()
            with_it = burst()
            floor.stdin.close()
        return with_it - before
    finally:
        target.kill()
        target.wait()


TICK = os.sysconf("SC_CLK_TCK")


def processor_time(pid: int) -> float:
    """Of all its threads, in seconds, also of those that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@dataclass
class Run:
    per_second: float
    cpu: float  # seconds of a processor for a request


def measure(guest: Guest, attach: Attach, requests: int) -> Tuple[Run, Dict[str, str]]:
    with ExitStack() as stack:
        with guest.kept_working():
            notes = stack.enter_context(attach(guest))
            time.sleep(2)
        before = processor_time(guest.pid)
        per_second = guest.throughput(requests)
        cpu = (processor_time(guest.pid) - before) / requests
    return Run(per_second, cpu), notes or {}


def main() -> None:
    found, missing = ways()
    runs: Dict[str, List[Run]] = {name: [] for name in found}
    hits: List[List[float]] = []
    said: Dict[str, str] = {}
    floors = []
    with Guest() as guest:
        stepped = stepped_events(guest.pid)
        stepped_ns = stepped_floor(guest.pid)
        for number in range(ROUNDS):
            floors.append(floor_ns())
            for name, (attach, requests) in found.items():
                if requests < REQUESTS and number:
                    continue  # it takes long, and nobody needs it exact
                begin = time.monotonic()
                run, notes = measure(guest, attach, requests)
                runs[name].append(run)
                if "out" in notes:
                    said[name] = notes.get("said") or notes["out"].split("In all:")[-1]
                if name == FULL:
                    assert " 0 lost" in notes["end"], notes["end"]
                    seconds = float(re.search(r" in ([\d.]+) s", notes["end"])[1])
                    # All requests are alike, and those before the measured ones took as long.
                    share = min(REQUESTS / run.per_second / seconds, 1) / REQUESTS
                    hits.append(
                        [n * share for n in count_hits(notes["events"], stepped)]
                    )
                print(f"  {name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    report(runs, said, missing)
    added = [f.cpu - b.cpu for f, b in zip(runs[FULL], runs[NOTHING])]
    floor = statistics.median(floors)
    fast, slow = (statistics.median(h[i] for h in hits) for i in (0, 1))
    least = fast * floor + slow * stepped_ns
    print(
        f"\n{FULL}: a request has {fast:.1f} hits of {floor:.0f} ns (a hit of an empty program) and "
        f"{slow:.1f} single-stepped ones of {stepped_ns:.0f} ns: {least / 1000:.1f} us; "
        f"it takes {statistics.median(added) * 1e6:.1f} us more: "
        f"{statistics.median(added) * 1e9 / least:.2f} x hits x floor (goal 1.3)"
    )


def stepped_events(pid: int) -> Set[str]:
    rows = [
        json.loads(line) for line in answer("list", "-p", pid, "--json").splitlines()
    ]
    return {r["event"] for r in rows if r.get("cost") == "single-stepped"}


def stepped_floor(pid: int) -> float:
    """What a single-stepped hit costs here, as top measures it with a program that does nothing."""
    done = subprocess.run(
        [BUILD / "loopscope", "top", "-v", "-p", str(pid), "-d", "0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    match = re.search(r"single-stepped one (\d+) ns", done.stderr)
    assert match, done.stderr
    return float(match[1])


def count_hits(report_json: str, stepped: Set[str]) -> List[int]:
    """Hits of the kernel's emulation, and single-stepped ones, of a recording's events."""
    counts = [0, 0]
    for line in report_json.splitlines():
        row = json.loads(line)
        if row["type"] == "event_count":
            counts[row["event"] in stepped] += row["count"]
    return counts


def report(
    runs: Dict[str, List[Run]], said: Dict[str, str], missing: List[str]
) -> None:
    print(f"the guest reads 4 KiB blocks; medians of {ROUNDS} rounds in turns")
    print(f"{'':40}{'requests/s':>11}{'ratio':>7}{'CPU us':>9}{'ratio':>7}")
    for name, found in runs.items():
        base = runs[NOTHING]
        print(
            f"{name:40}{statistics.median(r.per_second for r in found):11,.0f}"
            f"{statistics.median(r.per_second / b.per_second for r, b in zip(found, base)):7.3f}"
            f"{statistics.median(r.cpu for r in found) * 1e6:9.1f}"
            f"{statistics.median(r.cpu / b.cpu for r, b in zip(found, base)):7.3f}"
        )
    for name in ("top", "record --overhead 10"):
        words = [
            line
            for line in said.get(name, "").splitlines()
            if "overhead" in line or "every call" in line
        ]
        text = words[-1].replace("loopscope: ", "") if words else "said nothing"
        print(f"{name}: {text}")
    for tool in missing:
        print(f"{tool}: not installed, not measured")


if __name__ == "__main__":
    main()
