# SPDX-License-Identifier: MIT
"""The words for contexts, threads and states. Text, JSON and loopscope use the same."""
from typing import Optional

from qemu_gdb.errors import Damaged
from qemu_gdb.loops import (
    BH_DELETED,
    BH_IDLE,
    BH_ONESHOT,
    BH_SCHEDULED,
    GLOBALS,
    IOHANDLER,
    IOTHREAD,
    MAIN,
    OTHER,
    Context,
    Handler,
)
from qemu_gdb.names import Names
from qemu_gdb.out import duration, printable
from qemu_gdb.threads import Thread

# GSource.flags.
SOURCE_ACTIVE, SOURCE_IN_CALL, SOURCE_READY, SOURCE_BLOCKED = 1, 2, 1 << 4, 1 << 6
PURPOSE = {
    MAIN: "block layer; the main loop drives it, and aio_poll() in nested waits",
    IOHANDLER: "devices, monitors, signals; only the main loop drives it, never aio_poll()",
    IOTHREAD: "what was given to this IOThread; its thread drives it by aio_poll() or GLib",
    OTHER: "not one of the main two, and no IOThread is known to own it",
}

WHY_VIRTIO = {
    MAIN: "its device serves the block layer without an iothread=: drains poll it too",
    IOHANDLER: "its device has no iothread=, and no drain may run it: top level only",
    IOTHREAD: "its device was given this IOThread (iothread=)",
}


def role(
    contexts: list[Context],
    threads: list[Thread],
    tid: int,
    glib_tids: frozenset[Optional[int]] = frozenset(),
) -> str:
    """What a thread is to the loops: "main loop", "IOThread io0", "GLib loop", or its own name."""
    for context in contexts:
        if context.tid != tid:
            continue
        if context.kind in (MAIN, IOHANDLER):
            return "main loop"
        return (
            f"IOThread {context.name}"
            if context.kind == IOTHREAD
            else "loop of its own"
        )
    if tid in glib_tids:
        return "GLib loop"
    name = next((t.name for t in threads if t.tid == tid), "")
    return f'thread "{printable(name)}"' if name else "thread"


def thread(
    contexts: list[Context],
    threads: list[Thread],
    tid: Optional[int],
    glib_tids: frozenset[Optional[int]] = frozenset(),
) -> str:
    """ "main loop, thread 4711, sleeping in ppoll, timeout 970 ms"."""
    if not tid:
        return "no thread waits in it now"
    text = f"{role(contexts, threads, tid, glib_tids)}, thread {tid}"
    polls = next((t.polls for t in threads if t.tid == tid), None)
    if polls is None:
        return text
    return f"{text}, sleeping in {polls.call}, timeout {duration(polls.timeout_ns)}"


def handler_state(handler: Handler, ready: Optional[bool]) -> str:
    words = ["deleted"] if handler.deleted else []
    words += ["ready"] if ready else []
    words += ["poll list"] if handler.on_poll_list else []
    return ", ".join(words) or "active"


def why_here(kind: str, callback: Optional[str]) -> Optional[str]:
    """Why a virtio queue's notifier, known by its callback, is in a context of this kind."""
    if not callback or not callback.startswith("virtio_queue_host_notifier"):
        return None
    return WHY_VIRTIO.get(kind)


def bh_state(flags: int) -> str:
    if flags & BH_DELETED:
        text = "deleted"
    else:
        text = "scheduled" if flags & BH_SCHEDULED else "cancelled"
    text += ", idle" if flags & BH_IDLE else ""
    return text + (", one-shot" if flags & BH_ONESHOT else "")


def source_state(flags: int) -> str:
    """Of a GSource, by its flags."""
    words = [] if flags & SOURCE_ACTIVE else ["destroyed"]
    words += ["ready"] if flags & SOURCE_READY else []
    words += (
        ["is being dispatched"] if flags & (SOURCE_BLOCKED | SOURCE_IN_CALL) else []
    )
    return ", ".join(words) or "waits"


def fdmon(name: Optional[str]) -> str:
    """The monitor's table of functions is a symbol that says which monitor it is."""
    if name and name.startswith("fdmon_") and name.endswith("_ops"):
        return name[len("fdmon_") : -len("_ops")]
    return ""


def calls(names: Names, callback: int) -> Optional[str]:
    """ "calls read, memset" for a function that has no name of its own."""
    text = names.calls(callback)
    return f"calls {text}" if text else None


def damage(what: str, damaged: Damaged) -> str:
    """Handlers are the list that loopscope means by "the list"; a variable is no list."""
    if what in GLOBALS:
        return f"{what} is {damaged.addr:#x}, which {damaged.why}"
    of = "" if what == "handlers" else f" of {what}"
    return f"the list{of} breaks at {damaged.addr:#x}, which {damaged.why}"
