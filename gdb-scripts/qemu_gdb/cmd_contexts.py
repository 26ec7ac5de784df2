# SPDX-License-Identifier: MIT
"""qemu contexts: which AioContexts there are, one row each, and what their threads do."""
from qemu_gdb import describe
from qemu_gdb.command import Command
from qemu_gdb.errors import QemuError
from qemu_gdb.out import Table, json_line, plural
from qemu_gdb.rows import context_row, damage_rows, total_row
from qemu_gdb.session import Session


class Contexts(Command):
    """Which AioContexts there are, and what their threads do: qemu contexts [--json]

    NOTIFY says whether somebody has notified it since it last looked, and how many sleepers need a
    wake-up: bit 0 is GLib's loop, each 2 one aio_poll()."""

    name = "contexts"

    def run(self, session: Session, text: str, options: frozenset[str]) -> str:
        if text:
            raise QemuError(
                f'"{text}" is too much: type qemu contexts, or qemu handlers {text}'
            )
        loops = session.loops
        for context in loops.contexts:
            loops.read_lists(context)
        if "json" in options:
            rows = [context_row(session, context) for context in loops.contexts]
            for context in loops.contexts:
                rows += damage_rows(context.name, context.damages)
            return "".join(map(json_line, [*rows, total_row(loops.contexts, [])]))
        return _text(session)


def register() -> None:
    Contexts()


def _text(session: Session) -> str:
    table = Table("CONTEXT", "ADDRESS", "OWN FD", "NOTIFY", "HANDLERS", "BHS", "TIMERS")
    contexts = session.loops.contexts
    for context in contexts:
        own = "?" if context.notifier_fd is None else str(context.notifier_fd)
        notified = {None: "?", 0: "no"}.get(context.notified, "yes")
        sleepers = "?" if context.notify_me is None else str(context.notify_me)
        counts = (len(context.handlers), len(context.bhs), len(context.timers))
        table.row(
            context.name,
            f"{context.addr:#x}",
            f"{own:>6}",
            f"{notified}, {sleepers}",
            *(
                f"{count:>{len(head)}}"
                for count, head in zip(counts, ("HANDLERS", "BHS", "TIMERS"))
            ),
        )
        fdmon = session.fdmon(context)
        monitor = f"; fd monitor {fdmon}" if fdmon else ""
        table.under(0, f"  {session.doing(context.tid)}{monitor}")
        for what, damage in context.damages:
            table.under(0, f"  DAMAGED: {describe.damage(what, damage)}")
    return (
        f"{session.title()}: {plural(len(contexts), 'AioContext')}\n\n{table.text()}"
        f"\nMore of one: qemu handlers {contexts[-1].name}\n"
    )
