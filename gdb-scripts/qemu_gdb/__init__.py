# SPDX-License-Identifier: MIT
"""gdb commands that explain QEMU's event loops.

Who reads what, from the bottom up (nothing imports from further down):

    errors      what the user is told when something cannot be done
    memory      bytes of the inferior, in bulk
    inferior    process or core, and the ELF images it has mapped
    layout      where fields lie: from types (layout_types) or from loopscope (layout_file)
    lists       one walker for all linked lists
    threads     what each thread waits for
    loops       contexts, handlers, bottom halves, timers; iothread: their names
    glib        sources of a GMainContext; glib_reach: where one is, by public parts only
    names, fds, describe, owner, out     the words for all that
    code, tls, frames, where     functions and thread-local variables without symbols, chains of calls
    waits, bql, coroutine        and what those say
    session     the parts of one command, put together; command: what all commands share
    rows, tables    what a context has, as JSON and as text
    stop_clock, finding, verdict_*, verdicts, subject, recording, stops    what single commands are
                                 made of
    cmd_*       one family of commands each; functions, printers: the same for scripts and "print"

Everything is read and nothing is changed: no inferior call, no register, no memory, no setting.
"""
import gdb

from qemu_gdb import (
    cmd_bql,
    cmd_break,
    cmd_contexts,
    cmd_coroutine,
    cmd_diff,
    cmd_doctor,
    cmd_gpollfds,
    cmd_handlers,
    cmd_layout,
    cmd_sources,
    cmd_tail,
    cmd_where,
    functions,
    printers,
)
from qemu_gdb.command import Prefix

MODULES = (
    cmd_handlers,
    cmd_contexts,
    cmd_gpollfds,
    cmd_sources,
    cmd_where,
    cmd_bql,
    cmd_coroutine,
    cmd_doctor,
    cmd_break,
    cmd_diff,
    cmd_tail,
    cmd_layout,
    functions,
    printers,
)


def _prefix_exists() -> bool:
    try:
        gdb.execute("help qemu", to_string=True)
    except gdb.error:
        return False
    return True


def register() -> None:
    """Define the commands. A "qemu" that is there already (QEMU's own scripts) keeps its others."""
    if not _prefix_exists():
        Prefix()
    for module in MODULES:
        module.register()
