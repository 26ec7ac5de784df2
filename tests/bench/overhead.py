"""What watching costs a guest: printed by "make bench-overhead".

Debian's QEMU boots Debian's kernel; the guest reads its disk past its cache, from a device whose
queue the IOThread io0 serves. Its throughput with each tracer attached is said as a ratio of that
with nothing attached, measured in turns; the middle one of the rounds. Nothing is asserted: how fast
a guest is on a machine with other work is not ours to promise.

The floor is what a hit of a probe with an empty bpf program costs, on this machine, now.
"""

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from guest import Guest  # noqa: E402  pylint: disable=wrong-import-position

BUILD = Path(os.environ["BUILD"])
ROUNDS = int(os.environ.get("ROUNDS", "5"))
REQUESTS = 4096
Attach = Callable[[Guest], ContextManager[Any]]

# The functions that loopscope record probes in a QEMU without probes, entries only: a return probe
# on one that a coroutine runs in ends QEMU.
FUNCTIONS = """main_loop_wait aio_poll aio_bh_call qemu_bh_schedule aio_bh_schedule_oneshot_full
qemu_bh_cancel qemu_bh_delete timer_mod_ns timer_mod_anticipate_ns timer_del aio_notify
aio_notify_accept aio_set_fd_handler qemu_mutex_lock_iothread_impl qemu_mutex_unlock_iothread
aio_context_new aio_co_schedule aio_wait_kick""".split()


def wait_for(process: "subprocess.Popen[str]", word: str, where: str) -> None:
    stream = getattr(process, where)
    for line in iter(stream.readline, ""):
        if word in line:
            return
    raise SystemExit(f"{process.args} did not attach")


@contextmanager
def nothing(_guest: Guest) -> Iterator[None]:
    yield


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
                    out.seek(0)
                    notes["out"] = out.read()

    return attach


def other(words: List[str], ready: Optional[Tuple[str, str]] = None) -> Attach:
    """Another tracer; @ready: what it says, and where, when it has attached."""

    @contextmanager
    def attach(guest: Guest) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as where:
            with open(f"{where}/out", "w", encoding="utf-8") as out:
                pipe = {ready[1]: subprocess.PIPE} if ready else {}
                process = subprocess.Popen(
                    [
                        w.replace("{pid}", str(guest.pid)).replace("{where}", where)
                        for w in words
                    ],
                    **{
                        "stdin": subprocess.DEVNULL,
                        "stdout": out,
                        "stderr": out,
                        **pipe,
                    },
                    text=True,
                )
                try:
                    if ready:
                        wait_for(process, *ready)
                    else:
                        time.sleep(2)
                    yield
                finally:
                    process.send_signal(signal.SIGINT)
                    try:
                        process.communicate(timeout=60)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.communicate()

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
        "nothing attached": (nothing, REQUESTS),
        "top": (loopscope("top"), REQUESTS),
        "top --overhead none": (loopscope("top", "--overhead", "none"), REQUESTS),
        "record --overhead 10": (loopscope("record", "--overhead", "10"), REQUESTS),
        "record, the full set": (loopscope("record"), REQUESTS),
    }
    others = {
        "strace -f -e ppoll": (
            other(
                ["strace", "-f", "-e", "ppoll", "-o", "{where}/s", "-p", "{pid}"],
                ("attached", "stderr"),
            ),
            REQUESTS,
        ),
        "perf trace -e ppoll": (
            other(["perf", "trace", "-e", "ppoll", "-o", "{where}/p", "-p", "{pid}"]),
            REQUESTS,
        ),
        "bpftrace, entries of the same events": (
            other(
                ["bpftrace", "-p", "{pid}", "-o", "{where}/b", "-e", bpftrace_script()],
                ("Attach", "stderr"),
            ),
            REQUESTS,
        ),
        "gdb, breakpoints on 3 of the functions": (
            other(gdb_words(), ("attached", "stdout")),
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


def main() -> None:
    found, missing = ways()
    runs: Dict[str, List[float]] = {name: [] for name in found}
    events: List[float] = []
    said: Dict[str, str] = {}
    floor = floor_ns()
    with Guest() as guest:
        guest.throughput(REQUESTS)
        for number in range(ROUNDS):
            for name, (attach, requests) in found.items():
                if requests < REQUESTS and number:
                    continue  # it takes long, and nobody needs it exact
                with attach(guest) as notes:
                    time.sleep(0.5)
                    per_second = guest.throughput(requests)
                runs[name].append(per_second)
                if notes and "out" in notes:
                    said[name] = notes.get("said") or notes["out"].split("\n\n")[0]
                if name == "record, the full set":
                    match = re.search(r"(\d+) events", notes["end"])
                    assert match and " 0 lost" in notes["end"], notes["end"]
                    events.append(int(match[1]))
    report({name: statistics.median(r) for name, r in runs.items()}, said, missing)
    base, full = (
        statistics.median(runs[n]) for n in ("nothing attached", "record, the full set")
    )
    added = 1e9 / full - 1e9 / base
    hits = statistics.median(events) / REQUESTS
    print(
        f"\nthe full set: {hits:.1f} events a request, {added / 1000:.1f} us longer: "
        f"{added / hits / floor:.2f} x hits x floor (an empty program: {floor:.0f} ns; goal 1.3)"
    )


def report(medians: Dict[str, float], said: Dict[str, str], missing: List[str]) -> None:
    base = medians["nothing attached"]
    print(f"the guest reads 4 KiB blocks, medians of {ROUNDS} rounds in turns")
    print(f"{'':42}{'requests/s':>12}{'ratio':>8}")
    for name, per_second in medians.items():
        print(f"{name:42}{per_second:12,.0f}{per_second / base:8.3f}")
    for name in ("top", "record --overhead 10"):
        lines = said.get(name, "").splitlines()
        words = [l for l in lines if "overhead" in l or "every call" in l]
        print(
            f"{name}: {words[0].replace('loopscope: ', '') if words else 'said nothing'}"
        )
    for tool in missing:
        print(f"{tool}: not installed, not measured")


if __name__ == "__main__":
    main()
