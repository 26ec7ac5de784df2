"""How sure the doctor is: ten runs of each fault in each way, and healthy loops for minutes.

    make bench-doctor                     ten runs, ten minutes: some half an hour
    make bench-doctor RUNS=1 MINUTES=2    or tests/bench/doctor.py --runs 1 --minutes 2
    tests/bench/doctor.py --jobs 1 --only flood

First the table of faults (doctor_cases.py): how often the doctor named verdict and culprit, live, from
a recording, from a core, and how long it took. Then the healthy loops (doctor_soak.py), of which it
has to say nothing. --jobs is how many are tried at once. What was wrong is printed and kept, each in
a directory below build/bench/doctor. Exit status 1 if something was.
"""

import argparse
import os
import statistics
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import doctor_soak  # noqa: E402
from doctor_cases import WAYS, Case, cases  # noqa: E402
from doctor_tries import Outcome, Progress, Tries  # noqa: E402
from tracer_run import BUILD, DEMO  # noqa: E402

KEPT = BUILD / "bench" / "doctor"
NAME, VERDICT = 30, 17  # widths


def cell(outcomes: List[Outcome], width: int) -> str:
    """ "10/10   1.6": how many were right, and the median of what the doctor took."""
    if not outcomes:
        return f"{'-':>5}" + " " * (width - 5)
    right = [o.seconds for o in outcomes if o.miss is None]
    took = f"{statistics.median(right):.1f}" if right else "-"
    return f"{len(right):>2}/{len(outcomes):<2} {took:>5} s".ljust(width)


def table(chosen: List[Case], runs: int, jobs: int) -> bool:
    """Row after row, in the order of @chosen, each as soon as it is complete."""
    progress = Progress("faults")
    tries = Tries(jobs, KEPT, progress)
    good, sums = True, {way: [0, 0] for way in WAYS}
    rows: List[Dict[str, "List[Future[Outcome]]"]] = [
        {
            way: [
                tries.submit(f"{case.name} {way.lower()} {run}", try_it)
                for run in range(1, runs + 1)
            ]
            for way, try_it in case.tries.items()
        }
        for case in chosen
    ]
    progress.total = sum(len(f) for row in rows for f in row.values())
    heads = "".join(f"{way:<14}" for way in WAYS)
    progress.say(f"{'FAULT':<{NAME}} {'VERDICT':<{VERDICT}} {heads}".rstrip())
    try:
        for case, row in zip(chosen, rows):
            done = {way: [f.result() for f in row.get(way, [])] for way in WAYS}
            for way, outcomes in done.items():
                sums[way][0] += sum(o.miss is None for o in outcomes)
                sums[way][1] += len(outcomes)
            cells = "".join(cell(done[way], 14) for way in WAYS)
            progress.say(
                f"{case.name:<{NAME}} {case.verdict:<{VERDICT}} {cells}".rstrip()
            )
            for way, outcomes in done.items():
                for miss in (o.miss for o in outcomes if o.miss):
                    good = False
                    progress.say(f"  wrong {way}: " + miss.replace("\n", "\n    "))
    finally:
        tries.close()
        progress.end()
    cells = "".join(f"{right}/{of}".ljust(14) for right, of in sums.values())
    print(f"{'all of them':<{NAME}} {'':<{VERDICT}} {cells}".rstrip())
    print(
        "How often verdict and culprit were right, and the median of what the doctor took."
    )
    print("Who is not sure, on a busy machine, is asked again for 10 s, as he advises.")
    print("-: the events of a recording, or one moment, do not tell it.", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=10, help="of each fault: 10")
    parser.add_argument("--minutes", type=float, default=10, help="of health: 10")
    parser.add_argument("--jobs", type=int, default=3, help="at once: 3")
    parser.add_argument("--only", default="", help="names that have this in them")
    options = parser.parse_args()
    if os.geteuid():
        print("bench-doctor: only root may load bpf programs", file=sys.stderr)
        return 77
    assert DEMO.exists(), "run make first"
    begun = time.monotonic()
    chosen = [case for case in cases() if options.only in case.name]
    good = not options.runs or table(chosen, options.runs, options.jobs)
    if options.minutes:
        print()
        good &= doctor_soak.soak(options.minutes, options.jobs, options.only, KEPT)
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes in all", end="")
    print("" if good else f"; what was wrong is in {KEPT}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
