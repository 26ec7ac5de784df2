# SPDX-License-Identifier: MIT
"""What all commands share: options, one-line errors, and the "qemu" prefix whose help teaches.

A command is a class with a name, its options and run(session, text, options), which returns what
is to be shown; text is what was typed without the options. Whatever goes wrong ends in one line,
never in a traceback.
"""
import contextlib
import gc
import re
from collections.abc import Iterator

import gdb

from qemu_gdb.errors import QemuError
from qemu_gdb.out import show_note, write
from qemu_gdb.session import Session

OPTION = re.compile(r"(?:^|(?<=\s))--([a-z]+)(?=\s|$)")


class Prefix(gdb.Command):
    """Look into QEMU's event loops: which descriptors they poll, and who is called when.

    A loop goes round in five steps. It *prepares* (asks its timers and bottom halves how long it
    may sleep), *queries* (collects the descriptors to wait for), *polls* (sleeps in ppoll until one
    is ready), *checks* (which ones are) and *dispatches* (calls bottom halves, handlers, timers).
    A callback that does not return holds up all others of its loop.

      qemu contexts      which loops there are, and what their threads do now
      qemu handlers      who waits for what in each of them; "qemu handlers io0" only that one
      qemu bh            which calls they still have to make at their next turn
      qemu timers        what is due when, on which clock; "qemu timers all" with IOThreads'
      qemu iothreads     how each IOThread is driven, and what it has to do
      qemu sources       what GLib's loops ask, in which order (any GLib program)
      qemu gpollfds      what each sleeping thread polls at this moment, and whose it is
      qemu where         in which step each thread is, in whose callback, how deeply nested
      qemu bql           who holds the big lock, who waits for it, and at which line
      qemu bt            a thread's chain of calls, on through the coroutines it is in
      qemu coroutine     where a sleeping coroutine goes on
      qemu doctor        what is wrong, as far as one look can prove it
      qemu diff          what has changed since the stop before
      qemu tail          the end of a recording; with --at -2.5s the tables as they were then
      qemu break-callback, qemu break-register   stop at a callback; where an fd is registered
      qemu layout        how these commands know where QEMU keeps all that

    qemu_aio_context is the block layer's, iohandler_ctx that of devices, monitors and signals: the
    main loop runs both. Each IOThread runs one of its own.
    For scripts there are $qemu_ctx("io0"), $qemu_handler(FD) and others (help function); print shows
    an AioContext, AioHandler, QEMUBH, QEMUTimer, GSource or GPollFD in words (print/r: raw).
    --json prints one object a line; --all does not fold equal rows. Nothing is changed in the
    program, and it is neither called nor continued: a core file works as well."""

    def __init__(self) -> None:
        super().__init__("qemu", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """A listing makes thousands of tuples, and keeps them: looking for cycles among them is vain."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Command(gdb.Command):
    name = ""
    options: tuple[str, ...] = ("json",)

    def __init__(self) -> None:
        super().__init__(f"qemu {self.name}", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument: str, from_tty: bool) -> None:
        self.dont_repeat()
        try:
            options = frozenset(OPTION.findall(argument))
            for option in options - set(self.options):
                known = ", ".join(f"--{name}" for name in self.options)
                raise QemuError(f"qemu {self.name} has no --{option}; it has {known}")
            with _no_collections(), Session() as session:
                text = self.run(session, OPTION.sub("", argument).strip(), options)
                for note in session.notes:
                    show_note(note, "json" in options)
            write(text)
        except QemuError as error:
            raise gdb.GdbError(str(error))
        except gdb.error as error:
            raise gdb.GdbError(" ".join(str(error).split()))
        except Exception as error:  # a fault of ours: still one line
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            at = f"{where.tb_frame.f_code.co_name}:{where.tb_lineno}" if where else "?"
            raise gdb.GdbError(
                f"qemu {self.name} failed: {type(error).__name__} {error} in {at}"
            )

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        """What is to be shown."""
        raise NotImplementedError
