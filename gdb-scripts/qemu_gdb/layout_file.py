# SPDX-License-Identifier: MIT
"""The layout from "loopscope layout --json": for a program without debug information.

gdb infers nothing. load() takes a file that somebody made; ask_loopscope() runs the program on the
process or core that is debugged. Either is good for one build of the program, and is checked
against the build-id of the one in memory before it is used.
"""
import json
import os
import shutil
import struct
import subprocess
from typing import Any, Optional

import gdb

from qemu_gdb.errors import QemuError
from qemu_gdb.inferior import Image, Inferior
from qemu_gdb.layout import FIELDS, SIZES, UNKNOWN, VARIABLES, Field, Layout

SECONDS = 20  # loopscope needs a fraction of one, but for a list in a cycle
OFFSET_MAX = 1 << 16
MAKE_ONE = "make one by: loopscope layout -p PID --json > layout.json"


class FileLayout(Layout):
    def __init__(self, document: Any, origin: str, program: Image) -> None:
        super().__init__()
        self.origin = origin
        self._bias = program.bias
        try:
            self._take(document)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise QemuError(
                f"no layout {origin}: it is not what loopscope layout --json prints; {MAKE_ONE}"
            )
        if self.build_id != program.build_id:
            raise QemuError(
                f"the layout {origin} is of build {self.build_id or 'unknown'}, "
                f"but {program.name} is build {program.build_id or 'unknown'}; {MAKE_ONE}"
            )

    def _take(self, document: Any) -> None:
        if document["type"] != "layout" or document["version"] != 1:
            raise ValueError
        self.source = "dwarf" if document["source"] == "dwarf" else "inferred"
        self.exe, self.build_id = str(document["exe"]), str(document["build_id"])
        self.notes = [str(note) for note in document.get("notes", [])]
        self._sizes = {name: document["sizes"].get(name) for name in SIZES}
        self._variables = {name: document["globals"].get(name) for name in VARIABLES}
        for value in (*self._sizes.values(), *self._variables.values()):
            if value is not None and not isinstance(value, int):
                raise ValueError
        self._fields: dict[tuple[str, str], Field] = {}
        for row in document["fields"]:
            structure, path, at = row["struct"], row["field"], row["offset"]
            code = FIELDS.get(structure, {}).get(path)
            if code is None:  # a newer loopscope may know more
                continue
            if at is not None and not (type(at) is int and 0 <= at < OFFSET_MAX):
                raise ValueError
            if row["size"] != struct.calcsize("<" + code):
                raise ValueError
            self._fields[structure, path] = Field(at, str(row.get("proof") or ""))

    def field(self, structure: str, path: str) -> Field:
        return self._fields.get((structure, path), UNKNOWN)

    def variable(self, name: str) -> Optional[int]:
        link = self._variables[name]
        return link + self._bias if link else None

    def size(self, structure: str) -> Optional[int]:
        return self._sizes[structure]


def load(path: str) -> Any:
    """The document in a file; FileLayout() looks at what it says."""
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise QemuError(f"cannot read {path}: {error.strerror}; {MAKE_ONE}")
    except ValueError:
        raise QemuError(
            f"{path} is no layout: it is not what loopscope layout --json prints; {MAKE_ONE}"
        )


def find_loopscope() -> Optional[str]:
    """$LOOPSCOPE, the build beside these scripts, or one on PATH."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for path in (os.environ.get("LOOPSCOPE"), os.path.join(root, "build", "loopscope")):
        if path and os.access(path, os.X_OK):
            return path
    return shutil.which("loopscope")


def _target(inferior: Inferior) -> list[str]:
    """What loopscope is asked for: of a core also gdb's own "sysroot", which holds its files."""
    if inferior.live:
        return ["-p", str(inferior.pid)]
    root = gdb.parameter("sysroot")
    with_root = isinstance(root, str) and root and not root.startswith("target:")
    return [inferior.core or "CORE", *(["--sysroot", str(root)] if with_root else [])]


def _by_hand(inferior: Inferior) -> str:
    target = " ".join(_target(inferior))
    return f"loopscope layout {target} --json > layout.json, and here: qemu layout layout.json"


def ask_loopscope(inferior: Inferior) -> tuple[str, Any]:
    """Which loopscope was run, and the document it printed."""
    loopscope = find_loopscope()
    if loopscope is None:
        raise QemuError(
            "this program has no debug information, and loopscope, which finds the layout of one "
            "without, is neither in build/ nor on PATH nor in $LOOPSCOPE; "
            f"type: {_by_hand(inferior)}"
        )
    if not inferior.live and inferior.core is None:
        raise QemuError(
            f"loopscope cannot reach this target from here; type: {_by_hand(inferior)}"
        )
    command = [loopscope, "layout", *_target(inferior), "--json"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return loopscope, json.loads(done.stdout)
        said = (
            done.stderr.decode("utf-8", "replace").strip()
            or f"it ended with {done.returncode}"
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        said = f"{loopscope}: {error}"
    if "--sysroot DIR" in said:
        said += ' (in gdb: "set sysroot DIR")'
    raise QemuError(
        f"no debug information, and no layout: {' '.join(said.split())}; "
        f"when that is settled, type: {_by_hand(inferior)}"
    )
