"""The doctor on what is over: each scenario's recording, and the cores in which one moment is enough.

bench-doctor prints these tables after that of living loops. A healthy scenario is right if nothing
is said of it; of a core, "standing still" is what its callback or its wait does while it is taken.
"""

import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

from process_memory import wait_until  # noqa: E402
from test_cores import gcore  # noqa: E402
from test_doctor import (  # noqa: E402
    CULPRITS,
    UNRECORDED,
    check_recording,
    record,
    recording_length,
    scenarios,
)
from tracer_run import FINE, run  # noqa: E402
from tracer_targets import Demo  # noqa: E402

KEPT = ("202", "230")  # futex, clock_nanosleep
STAYS = ("--hold", 600000)

# Scenarios that stand still, and what makes them.
IN_A_CORE = {
    "blocked-sleep": STAYS,
    "blocked-lock": STAYS,
    "bql-hold": STAYS,
    "lost-wakeup": (),
    "missing-kick": (),
    "nested-bql": (),
    "five-sources": (),
    "nested-drain": (),
    "iothread": (),
    "thread-pool": (),
}


def in_call(pid: int) -> str:
    return Path(f"/proc/{pid}/syscall").read_text().split()[0]


def from_recording(name: str, directory: Path) -> None:
    check_recording(name, record(name, directory / "r", recording_length(name)))


def from_core(name: str, directory: Path) -> None:
    verdict = scenarios()[name]
    with Demo(name, *IN_A_CORE[name]) as demo:
        if IN_A_CORE[name]:
            wait_until(lambda: in_call(demo.pid) in KEPT, "its callback is blocked")
        else:
            demo.wait_asleep()
        core = gcore(demo, directory)
    result = run("doctor", core, "--json")
    rows = result.of_type("verdict")
    if verdict is None:
        assert (result.rc, rows) == (FINE, []), result.out
        return
    assert len(rows) == 1 and rows[0]["verdict"] == verdict, result.out
    begin = CULPRITS[name].split("{thread}", maxsplit=1)[0]
    assert rows[0]["culprit"].startswith(begin), result.out


def table(
    title: str, names: Dict[str, Optional[str]], runs: int, try_it: Callable
) -> bool:
    good = True
    print(f"\n{title:<30} {'VERDICT':<18} RIGHT")
    for name, verdict in names.items():
        right = 0
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as directory:
                try:
                    try_it(name, Path(directory))
                    right += 1
                except AssertionError as wrong:
                    print(f"  not right: {wrong}")
        good &= right == runs
        print(f"{name:<30} {verdict or '-':<18} {right:>2}/{runs}", flush=True)
    return good


def bench(runs: int) -> bool:
    told = {n: None if n in UNRECORDED else v for n, v in scenarios().items()}
    return table("A RECORDING OF", told, runs, from_recording) & table(
        "A CORE OF", {n: told[n] for n in IN_A_CORE}, runs, from_core
    )
