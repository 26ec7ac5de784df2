"""What listing costs in gdb: printed by "make bench-gdb".

A demo with 10,000 handlers, bottom halves and timers in one context, live and as a core: the time
of each listing ("handlers" lists all three), a row for each element (--all) and with equal ones
folded as by default, beside a script that walks the same lists value by value and prints the same
columns (gdb_values.py). Times are what
gdb's thread has had of the processor, in the kernel or not: on a machine with nothing else to do it
is the time that passes, on a busy one it is not the fault of gdb that it waits.
"""

import argparse
import json
import os
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RUNS = 7
LIMIT_S, TIMES = 0.3, 4

# Runs inside gdb. Prints one line of JSON: seconds of each listing.
INSIDE = """
import json, sys, time
sys.path.insert(0, {here!r})
import gdb_values
from gdb_values import by_hand

def seconds(command):
    start = time.thread_time()
    text = gdb.execute(command, to_string=True)
    return time.thread_time() - start, text.count("\\n")

answer = {{}}
for command, lists in gdb_values.LISTS.items():
    ways = [
        f"qemu {{command}} {context} --all",
        f"qemu {{command}} {context}",
        f"python by_hand('{{command}}', 'crowd.ctx')",
    ]
    # In turn, so that what else the machine does is not the trouble of one of them.
    runs = [[seconds(way) for way in ways] for _ in range({runs})]
    answer[command] = [[run[i][0] for run in runs] for i in range(len(ways))]
    ours, _, theirs = (lines for _, lines in runs[0])
    assert ours >= theirs >= {each} * len(lists), (ours, theirs)
print("ANSWER " + json.dumps(answer))
"""


def gdb(*words: str) -> str:
    done = subprocess.run(
        ["gdb", "-nx", "-q", "-batch", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBUGINFOD_URLS": ""},
        check=False,
    )
    return done.stdout


def measure(script: str, *words: str) -> dict:
    said = gdb(*words, "-ex", f"source {ROOT}/gdb-scripts/qemu-gdb.py", "-x", script)
    for line in said.splitlines():
        if line.startswith("ANSWER "):
            return json.loads(line.removeprefix("ANSWER "))
    raise SystemExit(f"gdb failed: {said}")


def show(where: str, answer: dict) -> bool:
    fine = True
    for command, runs in answer.items():
        ours, folded, theirs = map(min, runs)
        times = theirs / ours
        fine = fine and max(ours, folded) <= LIMIT_S and times >= TIMES
        print(
            f"{where:5} {command:9} {ours:7.3f} s  {folded:7.3f} s  {theirs:7.3f} s"
            f"  {times:6.1f}"
        )
    return fine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--each", type=int, default=10000)
    options = parser.parse_args()
    program = os.path.join(os.path.abspath(options.build), "demo-qemu-loop")
    words = [program, "--scenario", "crowd", "--fds", str(options.each)]
    with tempfile.TemporaryDirectory() as work, subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True
    ) as demo:
        try:
            said = demo.stdout.readline()
            if not said.endswith("ready\n"):
                raise SystemExit(f"the demo failed: {said}")
            script = os.path.join(work, "inside.py")
            with open(script, "w", encoding="utf-8") as file:
                file.write(
                    INSIDE.format(
                        here=HERE,
                        context=said_context(demo.pid),
                        runs=RUNS,
                        each=options.each,
                    )
                )
            print(
                f"{options.each} of each in one context; seconds of the processor in gdb, best of several"
            )
            print(f"{'':15} {'a row each':>9}  {'folded':>9}  {'by hand':>9}   times")
            fine = show("live", measure(script, "-p", str(demo.pid)))
            core = os.path.join(work, "core")
            gdb("-p", str(demo.pid), "-ex", f"generate-core-file {core}")
            fine = show("core", measure(script, program, core)) and fine
        finally:
            demo.kill()
    print(
        f"each within {LIMIT_S} s and {TIMES} times as fast as by hand: "
        f"{'yes' if fine else 'NO'}"
    )


def said_context(pid: int) -> str:
    """The address of the context that has them all."""
    said = gdb("-p", str(pid), "-ex", "print/x (unsigned long) crowd.ctx")
    return said.rsplit("= ", 1)[1].split()[0]


if __name__ == "__main__":
    main()
