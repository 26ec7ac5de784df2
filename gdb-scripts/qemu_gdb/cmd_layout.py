# SPDX-License-Identifier: MIT
"""qemu layout: where the fields of the loop's structures lie in this build, and how it is known."""
import struct
from typing import Any

from qemu_gdb.command import Command
from qemu_gdb.layout import FIELDS, SIZES, VARIABLES
from qemu_gdb.out import Table, json_line, printable
from qemu_gdb.session import Session


class LayoutCommand(Command):
    """Where QEMU's structures keep their fields: qemu layout [FILE] [--json]

    From the program's debug information, or, where it has none, from loopscope, which proves it on
    the process or core itself. FILE is what "loopscope layout -p PID --json" printed, perhaps on
    another machine; it is good for one build of the program only."""

    name = "layout"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        if text:
            session.load_layout(text)
        layout = session.layout
        session.complete_glib()
        if "json" in options:
            return json_line(_document(session))
        table = Table("STRUCTURE", "FIELD", "OFFSET", "PROOF")
        unknown = 0
        for structure, path, (at, proof) in layout.rows():
            unknown += at is None
            offset = "unknown" if at is None else f"{at:6}"
            table.row(structure, path, offset, printable(proof))
        known = len(layout.rows()) - unknown
        build = session.program.build_id or "unknown"
        return (
            f"{session.program.name}, build {build}\nlayout {printable(layout.origin)}\n\n"
            f"{table.text()}\n{known} fields known, {unknown} unknown.\n"
        )


def register() -> None:
    LayoutCommand()


def _document(session: Session) -> dict[str, Any]:
    """In the form loopscope gives and takes: link addresses, not those of this run."""
    layout, program = session.layout, session.program
    variables = {name: layout.variable(name) for name in VARIABLES}
    fields = []
    for structure, path, (at, proof) in layout.rows():
        size = struct.calcsize("<" + FIELDS[structure][path])
        fields.append({"struct": structure, "field": path, "offset": at, "size": size})
        if proof:
            fields[-1]["proof"] = printable(proof)
    return {
        "type": "layout",
        "version": 1,
        "exe": program.name,
        "build_id": program.build_id,
        "source": layout.source,
        "sizes": {name: layout.size(name) for name in SIZES},
        "globals": {
            name: addr - program.bias if addr else None
            for name, addr in variables.items()
        },
        "fields": fields,
        "notes": [],
    }
