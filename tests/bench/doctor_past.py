"""The doctor on what is over: each scenario's recording, and the cores in which one moment is enough.

bench-doctor prints these tables after that of living loops. A healthy scenario is right if nothing
is said of it. A core is taken when its callback is in the wait that blocks it, or, of one that hangs,
when a living doctor has found it.
"""

import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
sys.path.append(str(ROOT / "tests/integration/gdb"))  # its conftest.py is another

from test_cores import gcore  # noqa: E402
from test_doctor import (  # noqa: E402
    CULPRITS,
    UNRECORDED,
    check_recording,
    record,
    recording_length,
    scenarios,
)
from test_doctors_agree import found_alive  # noqa: E402
from test_gdb_where import STAYS, in_call  # noqa: E402
from tracer_run import FINE, run  # noqa: E402
from tracer_targets import Demo  # noqa: E402

# Whose callback is kept in a call, and those that hang by themselves.
KEPT = {
    "blocked-sleep": "clock_nanosleep",
    "blocked-lock": "futex",
    "bql-hold": "futex",
}
HANGS = [
    *("aio-wait-kick-barrier", "bh-wrong-context", "coroutine-wrong-context"),
    *(
        "dead-fd",
        "deleted-handler",
        "iothread-stop-race",
        "lost-wakeup",
        "missing-kick",
        "nested-bql",
    ),
    *("poll-recursion", "stolen-accept"),
]
HEALTHY = ["five-sources", "nested-drain", "iothread", "thread-pool"]


def from_recording(name: str, directory: Path) -> None:
    check_recording(name, record(name, directory / "r", recording_length(name)))


def from_core(name: str, directory: Path) -> None:
    verdict = scenarios()[name]
    with Demo(name, *(STAYS if name in KEPT else ())) as demo:
        if name in KEPT:
            in_call(demo, KEPT[name])
        elif verdict is None:
            demo.wait_asleep()
        else:
            found_alive(demo)
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
        "A CORE OF", {n: told[n] for n in [*KEPT, *HANGS, *HEALTHY]}, runs, from_core
    )
