#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An IOThread that polls busily, of the demo loop: makes busy-polling.tar.xz.

    make build/demo-qemu-loop && notebooks/data/busy_polling.py

Needs no privilege.  What is found awake and what asleep is another each time, as it depends on the
machine: so all students have this one recording, and the answers are found in it.  It is recorded
again until there are enough of each.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "build" / "demo-qemu-loop"
ENOUGH, TRIES = 20, 50
COMMAND = [DEMO, "--scenario", "busy-polling", "--era", "8.2", "--iterations", "12"]


def main() -> int:
    """Run it, and pack what it recorded."""
    sys.path.insert(0, str(HERE.parent))
    # pylint: disable=import-outside-toplevel
    from looplabs.recording import read
    from looplabs.release import pack

    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "rec"
            subprocess.run(
                [*COMMAND, "--record", out], stdout=subprocess.DEVNULL, check=True
            )
            rec = read(out)
            ends, waits = rec.of("run_poll_handlers_end"), len(rec.iterations("io0"))
            found = int(ends.progress.sum())
            if min(found, len(ends) - found, waits - len(ends)) >= ENOUGH:
                pack(out, HERE / "busy-polling.tar.xz")
                return 0
    print("busy_polling: it was all found awake, or all asleep", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
