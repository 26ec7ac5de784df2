"""What loopscope stalls, and record --stacks, cost while they watch: the loop, and everybody else.

    make bench-stalls                      processor time, so that a busy machine measures the same

The tracepoints of system calls and of the scheduler are the kernel's, not the target's: so each system
call of any process on the machine pays for the look at whose it is.
"""

import os
import re
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Iterator, List, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

from test_stalls import attached  # noqa: E402
from tracer_run import finish, start  # noqa: E402
from tracer_targets import Demo  # noqa: E402

CALLS = 1_000_000
ROUNDS = 5
SECONDS = 2


def call_ns() -> float:
    """Of our own: a system call that does nothing, the interpreter's part included."""
    getppid = os.getppid
    begin = time.thread_time_ns()
    for _ in range(CALLS):
        getppid()
    return (time.thread_time_ns() - begin) / CALLS


def main_thread(pid: int) -> Tuple[int, int]:
    """Its processor time in ns, and how often it has slept."""
    task = Path(f"/proc/{pid}/task/{pid}")
    ran = int((task / "schedstat").read_text().split()[0])
    match = re.search(r"^voluntary_\w+:\s+(\d+)", (task / "status").read_text(), re.M)
    assert match
    return ran, int(match[1])


def iteration_ns(pid: int) -> float:
    before = main_thread(pid)
    time.sleep(SECONDS)
    after = main_thread(pid)
    return (after[0] - before[0]) / (after[1] - before[1])


@contextmanager
def watched(*words: object) -> Iterator[None]:
    """By such a command, which is told to write to a directory of its own if it records."""
    with TemporaryDirectory() as folder:
        where = ("-o", folder) if words[0] == "record" else ()
        process = attached(start(*words, *where, "--json"))
        yield
        process.terminate()
        assert finish(process).total["lost"] == 0


def compare(title: str, without: Sequence[object], words: Sequence[object]) -> None:
    calls: List[List[float]] = []
    iterations: List[List[float]] = []
    with Demo("busy") as demo:
        for _ in range(ROUNDS):
            calls.append([])
            iterations.append([])
            for command in (without, words):
                with watched(*command, "-p", demo.pid) if command else nullcontext():
                    calls[-1].append(call_ns())
                    iterations[-1].append(iteration_ns(demo.pid))
    print(f"{title:<33}  without    with   added")
    for what, pairs in (
        ("a system call of another process ", calls),
        ("an iteration of the loop watched ", iterations),
    ):
        before, after = (median(p[i] for p in pairs) for i in (0, 1))
        print(f"{what}{before:9.0f}{after:8.0f}{after - before:8.0f}")


def main() -> None:
    print(f"medians of {ROUNDS}, ns of processor time")
    compare("stalls", (), ("stalls",))
    compare("record, without and with --stacks", ("record",), ("record", "--stacks"))


if __name__ == "__main__":
    main()
