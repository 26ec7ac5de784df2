# SPDX-License-Identifier: MIT
"""Whose is a polled descriptor? A context's notifier or fd monitor, a handler of a context, GLib's
own wake-up, or a GSource: of those that the polling thread drives, and only where one really holds it.
"""
from typing import NamedTuple, Optional

from qemu_gdb.glib import FUNCS_DISPATCH, MainContext, Source
from qemu_gdb.loops import Context, Handler
from qemu_gdb.memory import Memory

UNKNOWN, NOTIFIER, HANDLER, SOURCE, WAKEUP, FDMON = (
    "unknown",
    "notifier",
    "handler",
    "GSource",
    "GLib",
    "fd monitor",
)


class Owner(NamedTuple):
    kind: str
    name: str
    context: Optional[str]  # of a handler, notifier or monitor
    callback: int  # 0: none

    def callback_text(self, name: Optional[str]) -> str:
        return {
            NOTIFIER: "its own notifier",
            FDMON: "its fd monitor, for all its handlers",
            WAKEUP: "wake-up of this thread's GMainContext",
            UNKNOWN: "no handler and no GSource holds it",
        }.get(self.kind) or (name or "-")


def _source_name(source: Source) -> str:
    if source.name:
        return f'GSource "{source.name}"' + (" *" if source.priority else "")
    return f"GSource {source.id}, priority {source.priority}"


class Owners:
    def __init__(
        self,
        memory: Memory,
        contexts: list[Context],
        gcontexts: list[MainContext],
        polled_by: dict[int, Optional[int]],
    ) -> None:
        """@polled_by: address of a GMainContext -> the thread that polls it."""
        self._memory = memory
        self._contexts = contexts
        self._gcontexts = gcontexts
        self._polled_by = polled_by
        # The first handler of each fd that is not deleted.
        self._handlers: dict[int, dict[int, Handler]] = {}
        for context in contexts:
            live = {h.fd: h for h in reversed(context.handlers) if not h.deleted}
            self._handlers[context.addr] = live

    def find(self, tid: int, fd: int) -> Owner:
        for context in self._contexts:
            handler = self._handlers[context.addr].get(fd)
            if context.tid != tid:
                continue
            if handler is None:
                if fd == context.fdmon_fd:
                    return Owner(FDMON, context.name, context.name, 0)
                continue
            if fd == context.notifier_fd:
                return Owner(NOTIFIER, context.name, context.name, handler.io_read)
            callback = handler.io_read or handler.io_write
            return Owner(HANDLER, context.name, context.name, callback)
        for gcontext in self._gcontexts:
            if self._polled_by.get(gcontext.addr) != tid:
                continue
            if fd == gcontext.wakeup_fd:
                return Owner(WAKEUP, "GLib", None, 0)
            for source in gcontext.sources:
                if fd in source.fds and source.addr not in self._handlers:
                    # Without a callback set, the source's own dispatch function is what runs.
                    callback = source.callback or self._memory.pointer(
                        source.funcs + FUNCS_DISPATCH
                    )
                    return Owner(SOURCE, _source_name(source), None, callback)
        return Owner(UNKNOWN, "unknown", None, 0)
