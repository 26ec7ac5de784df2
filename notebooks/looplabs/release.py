# SPDX-License-Identifier: MIT
"""The students' version of the labs: notebooks, package, keys, recordings, and no solutions.

    make release        -> build/release

Keys are made of the solutions, for all variants; the recordings the solutions looked at on the way
are packed beside them, so that the labs need neither compiler nor tracer.
"""

import argparse
import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any, Dict, List

from . import answers, notebook, run, truth
from .lab import Lab

LEFT_OUT = (
    "solutions",
    "answers",
    "keys",
    "recordings",
    "__pycache__",
    ".ipynb_checkpoints",
)


def pack(rec_path: Path, archive: Path) -> None:
    """A recording as one small file, whose owner and times do not matter."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz") as tar:
        for path in sorted(rec_path.iterdir()):
            tar.add(path, arcname=path.name, filter=plain)


def keys_of(number: int, recordings: Path) -> List[Dict[str, Any]]:
    """The keys of a lab, by variant; what they were found in is packed."""
    found = []
    for variant in range(answers.VARIANTS):
        lab = Lab(number, variant=variant, keep=False)
        solved = truth.solutions(number)
        found.append({e: solved[e].keys(lab) for e in sorted(solved)})
        for name, rec in lab.made.items():
            archive = recordings / f"{name}.tar.xz"
            if not archive.exists():
                pack(rec.path, archive)
    return found


def release(out: Path) -> None:
    """Make the release anew."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(run.NOTEBOOKS, out, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (out / "looplabs" / "grade.py").unlink()
    (out / "looplabs" / "release.py").unlink()
    (out / "keys").mkdir()
    for number in notebook.labs(run.NOTEBOOKS):
        keys = keys_of(number, out / "recordings")
        (out / "keys" / f"lab{number:02d}.json").write_text(json.dumps(keys) + "\n")
    (out / "bin").mkdir()
    for name in ("demo-qemu-loop", "glib-io-watch", "glib-custom-source"):
        shutil.copy2(run.need(name), out / "bin" / name)
    shutil.copytree(
        run.gdb_scripts().parent,
        out / "gdb-scripts",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(prog="release", description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    if not truth.solutions_dir():
        print("release: there are no solutions here to make keys of", file=sys.stderr)
        return 4
    release(out)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(
        f"{out}: {len(notebook.labs(out))} labs, {size / 1e6:.1f} MB, without solutions"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
