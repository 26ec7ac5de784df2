"""What watching costs a guest: printed by "make bench-overhead".

Debian's QEMU boots Debian's kernel; the guest reads its disk past its cache, from a device whose
queue the IOThread io0 serves. Each tracer is attached while it does so, and then its throughput is
measured, and the processor time that QEMU needs for a request. Both are said as a ratio of what they
are with nothing attached in the same round; the middle one of the rounds. On a busy machine processor
time is the steadier one; but of a tracer that stops its target for each event, what it costs is
mostly waiting. Nothing is asserted: how fast a guest is here is not ours to promise.

The floor is what a hit of a probe with an empty bpf program costs, on this machine, now: in a loop of
nothing else, where it is cheapest; and at the very places where the full set has its probes. "OTHERS=no"
leaves the other tracers out, "ROUNDS=9" asks for more rounds than 3.
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
from typing import Any, Callable, ContextManager, Dict, Iterable, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from guest import Guest  # noqa: E402  pylint: disable=wrong-import-position

BUILD = Path(os.environ["BUILD"])
ROUNDS = int(os.environ.get("ROUNDS", "3"))
REQUESTS = 4096
NOTHING, FULL = "nothing attached", "record, the full set"
EMPTY = "empty programs at the same places"
BUDGETS = {"top --overhead 3": 3, "record --overhead 10": 10}  # percent
NOTHING_AGAIN = "nothing attached, again"  # the machine may have become slower
GOAL = 1.3
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


def loopscope(command: str, *options: str) -> Attach:
    @contextmanager
    def attach(guest: Guest) -> Iterator[Dict[str, Any]]:
        with tempfile.TemporaryDirectory() as where:
            words = [BUILD / "loopscope", command, "-p", str(guest.pid), *options]
            if command == "record":
                words += ["-o", f"{where}/recording"]
            notes: Dict[str, Any] = {}
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
                with guest.qmp() as qmp:
                    before = guest.disk_reads(qmp, "disk0")
                try:
                    yield notes
                finally:
                    with guest.qmp() as qmp:
                        notes["requests"] = guest.disk_reads(qmp, "disk0") - before
                    process.send_signal(signal.SIGINT)
                    notes["end"] = process.communicate()[1].strip()
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


@contextmanager
def empty_programs(guest: Guest) -> Iterator[None]:
    """Where the full set, attached before, had its probes: their places as it told them."""
    assert Places.lines, "the full set has not been attached yet"
    with tempfile.TemporaryDirectory() as where:
        path = Path(where) / "places"
        path.write_text("".join(Places.lines))
        with subprocess.Popen(
            [BUILD / "bench" / "floor", str(guest.pid), "nothing", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as floor:
            assert floor.stdin and floor.stdout
            assert floor.stdout.readline() == "attached\n"
            yield
            floor.stdin.close()


class Places:
    """Of the last full set: for bench/floor."""

    lines: List[str] = []

    @classmethod
    def note(cls, rows: List[Dict[str, Any]]) -> None:
        cls.lines = [f"{r['image']} {r['link']} entry\n" for r in rows]
        cls.lines += [
            f"{r['image']} {r['link']} return\n" for r in rows if r["returns"]
        ]


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
        "top --overhead 3": (loopscope("top", "--overhead", "3"), REQUESTS),
        "top --overhead none": (loopscope("top", "--overhead", "none"), REQUESTS),
        "record --overhead 10": (loopscope("record", "--overhead", "10"), REQUESTS),
        FULL: (loopscope("record", "-v", "--json"), REQUESTS),
        EMPTY: (empty_programs, REQUESTS),
        NOTHING_AGAIN: (nothing, REQUESTS),
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
    missing: List[str] = []
    if os.environ.get("OTHERS") == "no":
        return found, missing
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


CPUCLOCK_SCHED = 2


def processor_time(pid: int) -> float:
    """Of all its threads, in seconds, also of those that have ended: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def kernel_share(pid: int) -> Tuple[int, int]:
    """Its time in the kernel and in its own code: where the clock's ticks met it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[12]), int(fields[11])


@dataclass
class Run:
    per_second: float
    cpu: float  # seconds of a processor for a request
    kernel: float  # of them, in the kernel: by the ticks that met it there


def measure(guest: Guest, attach: Attach, requests: int) -> Tuple[Run, Dict[str, Any]]:
    with ExitStack() as stack:
        with guest.kept_working():
            notes = stack.enter_context(attach(guest))
            time.sleep(2)
        before, kernel = processor_time(guest.pid), kernel_share(guest.pid)
        per_second = guest.throughput(requests)
        cpu = (processor_time(guest.pid) - before) / requests
        kernel, user = (b - a for a, b in zip(kernel, kernel_share(guest.pid)))
    return Run(per_second, cpu, cpu * kernel / max(kernel + user, 1)), notes or {}


@dataclass
class Hits:
    """Of all probes of a recording, for each request."""

    emulated: float = 0
    stepped: float = 0

    @property
    def all(self) -> float:
        return self.emulated + self.stepped


def hits_of(notes: Dict[str, Any]) -> Hits:
    """What "record -v --json" counted, ends of calls included."""
    assert " 0 lost" in notes["end"], notes["end"]
    rows = [json.loads(line) for line in notes["out"].splitlines()]
    rows = [row for row in rows if row["type"] == "probe"]
    Places.note(rows)
    hits = Hits()
    for row in rows:
        # A return is a trap of its own, which no instruction is stepped for.
        hits.emulated += row["returns"] / notes["requests"]
        if row["cost"] == "emulated":
            hits.emulated += row["hits"] / notes["requests"]
        else:
            hits.stepped += row["hits"] / notes["requests"]
    return hits


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


def main() -> None:
    found, missing = ways()
    runs: Dict[str, List[Run]] = {name: [] for name in found}
    hits: List[Hits] = []
    said: Dict[str, str] = {}
    floors = []
    with Guest() as guest:
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
                    hits.append(hits_of(notes))
                print(f"  {name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    report(runs, said, missing)
    report_hits(runs, hits, statistics.median(floors), stepped_ns)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def report(
    runs: Dict[str, List[Run]], said: Dict[str, str], missing: List[str]
) -> None:
    noise = join_nothing(runs)
    print(f"the guest reads 4 KiB blocks; medians of {ROUNDS} rounds in turns")
    print(
        f"{'':40}{'requests/s':>11}{'ratio':>7}{'CPU us':>9}{'ratio':>7}{'kernel us':>11}"
    )
    for name, found in runs.items():
        base = runs[NOTHING]
        print(
            f"{name:40}{median(r.per_second for r in found):11,.0f}"
            f"{median(r.per_second / b.per_second for r, b in zip(found, base)):7.3f}"
            f"{median(r.cpu for r in found) * 1e6:9.1f}"
            f"{median(r.cpu / b.cpu for r, b in zip(found, base)):7.3f}"
            f"{median(r.kernel for r in found) * 1e6:11.1f}"
        )
    for name, percent in BUDGETS.items():
        report_budget(name, percent, runs, said.get(name, ""), noise)
    for tool in missing:
        print(f"{tool}: not installed, not measured")


def join_nothing(runs: Dict[str, List[Run]]) -> float:
    """What nothing attached was before and after the others of a round: its mean is what they are
    compared with. Returns by how much of it the two differ in throughput, in percent.
    """
    pairs = list(zip(runs[NOTHING], runs.pop(NOTHING_AGAIN)))
    runs[NOTHING] = [
        Run(
            (a.per_second + b.per_second) / 2,
            (a.cpu + b.cpu) / 2,
            (a.kernel + b.kernel) / 2,
        )
        for a, b in pairs
    ]
    return 100 * median(
        abs(a.per_second - b.per_second) / max(a.per_second, b.per_second)
        for a, b in pairs
    )


def report_budget(
    name: str, percent: int, runs: Dict[str, List[Run]], said: str, noise: float
) -> None:
    """What the guest's disk lost, against what may be lost; and what the tracer said of it."""
    words = [
        line
        for line in said.splitlines()
        if "overhead" in line or "every call" in line or "SAMPLED" in line
    ]
    text = words[-1].replace("loopscope: ", "") if words else "said nothing"
    pairs = list(zip(runs[name], runs[NOTHING]))
    lost = [100 * (1 - r.per_second / b.per_second) for r, b in pairs]
    verdict = "kept" if median(lost) <= percent else "BROKEN"
    if noise > percent:
        verdict = f"cannot be told here: nothing attached differs by {noise:.1f} % from itself"
    print(
        f"\n{name}: {verdict}\n  the disk's throughput fell by {median(lost):.1f} % "
        f"({', '.join(f'{one:.1f}' for one in lost)}), and may by {percent} %\n  it said: {text}"
    )


def report_hits(
    runs: Dict[str, List[Run]], hits: List[Hits], floor: float, stepped_ns: float
) -> None:
    pairs = {name: list(zip(runs[name], runs[NOTHING])) for name in (FULL, EMPTY)}
    count, slow = median(h.all for h in hits), median(h.stepped for h in hits)
    least = count * floor / 1000
    dear = slow * (stepped_ns - floor) / 1000
    print(
        f"\n{FULL}: a request has {count:.1f} hits, the ends of calls among them; {slow:.1f} "
        f"are single-stepped\n"
        f"  hits x floor: {least:.1f} us ({floor:.0f} ns: an empty program, emulated, in a "
        f"loop of nothing else)"
    )
    for name, found in pairs.items():
        more = median(r.cpu - b.cpu for r, b in found) * 1e6
        kernel = median(r.kernel - b.kernel for r, b in found) * 1e6
        print(
            f"  {name}: QEMU needs {more:.1f} us more of a processor, {more / least:.2f} x hits x "
            f"floor (goal {GOAL});\n"
            f"    in the kernel, where hits are: {kernel:.1f} us, {kernel / least:.2f} x"
        )
    print(
        f"  of either, {dear:.1f} us ({dear / least:.2f}) because of single-stepped hits, "
        f"{stepped_ns:.0f} ns each"
    )


if __name__ == "__main__":
    main()
