#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Make everything that depends on the table of events:  gen-probes.py loop.probes --out build/trace

loop_events.h      ids and structs of the events, for C and for bpf programs
loop_table.c       what each event's arguments are called (trace/loop-table.h), and the metadata
loop_probes.h, .c  typed probes for the program that is traced, and their sites
loop_events.tsdl   the CTF metadata of every recording
loop_probes.notes  the USDT notes a program with these probes has
probes.md, .roff   the table for the documentation and the man page

Bad input is refused with FILE:LINE on stderr and exit status 1; nothing is written then.
"""

import argparse
import sys
from pathlib import Path

from probegen import c, table, text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="loop.probes")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for what is made"
    )
    args = parser.parse_args()

    try:
        parsed = table.parse(args.table)
    except table.TableError as error:
        print(error, file=sys.stderr)
        return 1

    templates = Path(c.__file__).parent
    tsdl = text.tsdl(parsed)
    products = {
        "loop_events.h": c.events_h(parsed),
        "loop_table.c": c.table_c(parsed, tsdl),
        "loop_probes.h": c.probes_h(
            parsed, (templates / "loop_probes.h.in").read_text()
        ),
        "loop_probes.c": c.probes_c(
            parsed, (templates / "loop_probes.c.in").read_text()
        ),
        "loop_events.tsdl": tsdl,
        "loop_probes.notes": text.notes(parsed),
        "probes.md": text.markdown(parsed),
        "probes.roff": text.roff(parsed),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, content in products.items():
        (args.out / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
