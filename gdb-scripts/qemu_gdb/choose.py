# SPDX-License-Identifier: MIT
"""Which context somebody means: by its name, its address, or an expression of gdb's.

Expressions are evaluated without calling functions of the inferior, which a stuck or dead one
could not survive: "iothread_by_id(\\"io0\\")->ctx" is refused, and "io0" does it.
"""
import contextlib
from collections.abc import Iterator

import gdb

from qemu_gdb.errors import QemuError
from qemu_gdb.loops import Context
from qemu_gdb.session import Session

POINTERS = (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_INT)


@contextlib.contextmanager
def _no_calls() -> Iterator[None]:
    """gdb's setting of that name is put back; one without it (before 9) cannot be kept from it."""
    try:
        allowed = gdb.parameter("may-call-functions")
    except RuntimeError:
        yield
        return
    gdb.execute("set may-call-functions off")
    try:
        yield
    finally:
        gdb.execute(f"set may-call-functions {'on' if allowed else 'off'}")


def evaluate(text: str, what: str = "an AioContext") -> int:
    """The address an expression means; gdb.error or QemuError if it means none."""
    with _no_calls():
        value = gdb.parse_and_eval(text)
        kind = value.type.strip_typedefs()
        if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            value = value.referenced_value()
            kind = value.type.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_STRUCT and value.address is not None:
            return int(value.address)
        if kind.code in POINTERS:
            return int(value) & (1 << 64) - 1
    raise QemuError(
        f'"{text}" is neither {what} nor an address: qemu contexts and print show what there is'
    )


def choose(session: Session, text: str) -> Context:
    contexts = session.loops.contexts
    for context in contexts:
        if context.name == text:
            return context
    names = ", ".join(context.name for context in contexts)
    names = f"there are {names}: type one of these, or an address"
    try:
        addr = evaluate(text)
    except gdb.error as error:
        said = " ".join(str(error).split()).rstrip(".")
        if "may-call-functions" in said:
            said = "functions of the program are not called"
        raise QemuError(f'no context is called "{text}" ({said}); {names}')
    found = session.context_at(addr) if addr else None
    if found is None:
        raise QemuError(f'no AioContext is at {addr:#x} ("{text}"); {names}')
    return found
