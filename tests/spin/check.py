#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Has spin search the models of this directory: as they are nothing may be wrong, and with each of
their mutants something must be.  Then whether a model still is of the sources: see quotes().

usage: check.py --build DIR        (make check-spin)
"""

from __future__ import annotations

import argparse
import concurrent.futures
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOOP = HERE.parent.parent / "demo-qemu-loop"


class Wrong(Exception):
    """What is wrong, in one line."""


def command(*args: str, cwd: Path) -> str:
    done = subprocess.run(args, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"{' '.join(args)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def search(model: Path, mutant: str | None, build: Path) -> str:
    """Searches all states; returns what was found, raises if that is not what had to be."""
    name = f"{model.stem}, {mutant}" if mutant else f"{model.stem}, as it is"
    where = build / "spin" / f"{model.stem}-{mutant or 'itself'}"
    where.mkdir(parents=True, exist_ok=True)
    command(
        "spin", *([f"-DMUTANT_{mutant}"] if mutant else []), "-a", str(model), cwd=where
    )
    command("gcc", "-O1", "-DSAFETY", "-o", "pan", "pan.c", cwd=where)
    out = command("./pan", "-m200000", cwd=where)

    errors = re.search(r"errors: (\d+)", out)
    states = re.search(r"(\d+) states, stored", out)
    if (
        not errors
        or not states
        or "search not completed" in out
        or "max search depth" in out
    ):
        raise Wrong(f"{name}: the search did not end: {out.strip()}")
    if mutant is None:
        if errors[1] != "0":
            raise Wrong(
                f"{name}: spin found an error; replay it in {where} with: spin -t -p {model}"
            )
        return f"{name}: holds in all {states[1]} states"
    if errors[1] == "0":
        raise Wrong(f"{name}: not found in {states[1]} states")
    found = re.search(r"pan:\d+: (.*) \(at depth (\d+)\)", out)
    if not found:
        raise Wrong(f"{name}: an error of another kind: {out.strip()}")
    return f"{name}: {found[1]} after {found[2]} steps"


def mutants(model: Path) -> list[str]:
    """Those its first comment lists; each must be in the text, and no other."""
    text = model.read_text(encoding="utf-8")
    listed = re.findall(r"^ \*   ([A-Z_]{4,}) ", text, re.M)
    used = set(re.findall(r"\bMUTANT_([A-Z_]+)", text))
    if not listed or set(listed) != used:
        raise Wrong(
            f"{model.name}: mutants listed and used differ: {set(listed) ^ used}"
        )
    return listed


def body(function: str) -> str:
    """The C function's, from the first file of the loop that defines it."""
    for source in sorted(LOOP.glob("*.c")):
        text = source.read_text(encoding="utf-8")
        found = re.search(
            rf"^[^\s#/*][^;{{}}]*\b{function}\([^;{{}}]*\)\n\{{\n(.*?)^\}}",
            text,
            re.M | re.S,
        )
        if found:
            return found[1]
    raise Wrong(f"{function}(): modelled, but not in {LOOP.name}")


def quotes(model: Path) -> int:
    """Each "C: line" must be in the function of that name, in the order of the model."""
    n = 0
    parts = re.split(r"^inline (\w+)\(", model.read_text(encoding="utf-8"), flags=re.M)
    for function, text in zip(parts[1::2], parts[2::2]):
        rest = None
        for line in re.findall(r"/\* C: (.*?) \*/", text):
            rest = body(function) if rest is None else rest
            at = rest.find(line)
            if at < 0:
                raise Wrong(
                    f"{model.name}: {function}(): no longer there, or in another order: {line}"
                )
            rest = rest[at + len(line) :]
            n += 1
    return n


def loop_mutants(model: Path, listed: list[str]) -> list[str]:
    """Faults of the loop that can be switched on and are of this model's protocol."""
    text = (LOOP / "mutants.h").read_text(encoding="utf-8")
    ours = re.findall(rf"^ \*   mutant_({model.stem}_\w+) ", text, re.M)
    missing = [name for name in ours if name.upper() not in listed]
    if missing:
        raise Wrong(f"{model.name}: mutants.h has {missing}, which the model has not")
    return ours


def main() -> int:
    parser = argparse.ArgumentParser(description="search the models of tests/spin")
    parser.add_argument(
        "--build", type=Path, required=True, help="where to put what is made"
    )
    build = parser.parse_args().build.resolve()
    try:
        for model in sorted(HERE.glob("*.pml")):
            listed = mutants(model)
            n = quotes(model)
            shared = loop_mutants(model, listed)
            print(
                f"  CHECK    {model.stem}: {n} steps as in the sources, {len(shared)} shared mutants"
            )
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                for found in pool.map(
                    lambda m: search(model, m, build), [None, *listed]
                ):
                    print(f"  SPIN     {found}", flush=True)
    except Wrong as wrong:
        print(f"check-spin: {wrong}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
