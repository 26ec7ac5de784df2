# SPDX-License-Identifier: MIT
#
# gdb commands for event loops: QEMU's main loop and its IOThreads, alive or in a core file.
#
#     (gdb) source gdb-scripts/qemu-gdb.py
#     (gdb) help qemu
#
# Only finds the package beside this file and registers its commands; loading it again is harmless.
# No type or symbol is looked up before a command runs, and no setting of gdb is changed.

# A gdb without Python takes this for one of its own commands, and says there that it has none.
python = True

import os  # noqa: E402
import sys  # noqa: E402

_here = os.path.dirname(os.path.abspath(__file__))
if sys.version_info < (3, 9):
    raise gdb.GdbError(
        "these commands need a gdb with Python 3.9 or later"
    )  # noqa: F821
sys.path.insert(0, _here)
try:
    import qemu_gdb
finally:
    sys.path.remove(_here)
qemu_gdb.register()
