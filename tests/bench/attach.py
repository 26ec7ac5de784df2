"""What attaching costs: printed by "make bench-attach".

Starts a real QEMU and a program that hits one function as fast as it can, attaches to both, and
prints the time to attach and detach 200 sites, the time from SIGKILL of the tracer to no probe
left, the events counted and lost, and whether the traced program computed what the untraced did.
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time

HITS = 10_000_000


class Tracer:
    """attach-sites on some process; its context ends it."""

    def __init__(self, build: str, pid: int, sites: int, *function: str) -> None:
        self.process = subprocess.Popen(
            [f"{build}/bench/attach-sites", str(pid), str(sites), *function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.attached = self.read()

    def read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("attach-sites failed (its message is above)")
        return json.loads(line)

    def stop(self) -> dict:
        self.process.stdin.close()
        row = self.read()
        self.process.wait()
        return row

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def breakpoints_left(pid: int, sites: list[dict]) -> int:
    """How many sites in the process's memory differ from its program's file."""
    left = 0
    with open(f"/proc/{pid}/mem", "rb") as mem, open(f"/proc/{pid}/exe", "rb") as exe:
        for site in sites:
            mem.seek(site["addr"])
            exe.seek(site["offset"])
            left += mem.read(1) != exe.read(1)
    return left


def start_qemu(folder: str) -> subprocess.Popen:
    qmp = os.path.join(folder, "qmp")
    process = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg", "-S", "-m", "64", "-nodefaults"]
        + ["-display", "none", "-object", "iothread,id=io0"]
        + ["-qmp", f"unix:{qmp},server=on,wait=off"]
    )
    while not os.path.exists(qmp):
        if process.poll() is not None:
            raise SystemExit("qemu-system-x86_64 did not start")
        time.sleep(0.01)
    return process


def bench_sites(build: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        qemu = start_qemu(folder)
        try:
            tracer = Tracer(build, qemu.pid, 200)
            sites = tracer.attached["sites"]
            placed = breakpoints_left(qemu.pid, sites)
            row = tracer.stop()
            print(
                f"sites on qemu-system-x86_64             {len(sites)} ({placed} seen in its text)"
            )
            print(
                f"load and attach                         {tracer.attached['seconds'] * 1e3:.0f} ms"
            )
            print(
                f"detach                                  {row['seconds'] * 1e3:.0f} ms"
            )
            tracer = Tracer(build, qemu.pid, 200)
            sites = tracer.attached["sites"]
            start = time.monotonic()
            tracer.kill()
            while breakpoints_left(qemu.pid, sites):
                time.sleep(0.001)
            took = time.monotonic() - start
            print(f"SIGKILL of the tracer to no probe left  {took * 1e3:.0f} ms")
        finally:
            qemu.kill()
            qemu.wait()


def run_hot(build: str, traced: bool) -> tuple[str, float, dict]:
    """The hot program's result and seconds, and the tracer's counts."""
    hot = subprocess.Popen(
        [f"{build}/bench/hot", str(HITS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    hot.stdout.readline()
    tracer = Tracer(build, hot.pid, 1, "hot") if traced else None
    out, _ = hot.communicate("go\n")
    counts = tracer.stop() if tracer else {}
    result, seconds = out.split()
    return result, float(seconds), counts


def bench_hits(build: str) -> None:
    plain, idle, _ = run_hot(build, False)
    traced, busy, counts = run_hot(build, True)
    print(f"hits of one traced function             {HITS:,}")
    print(f"events received                         {counts['events']:,}")
    print(f"events lost                             {counts['lost']:,}")
    print(f"hits a second                           {HITS / busy:,.0f}")
    print(
        f"a hit                                   {(busy - idle) / HITS * 1e9:.0f} ns"
    )
    same = "the same" if plain == traced else f"DIFFERENT: {traced}, untraced {plain}"
    print(f"result, traced and untraced             {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    args = parser.parse_args()
    bench_sites(args.build)
    bench_hits(args.build)


if __name__ == "__main__":
    main()
