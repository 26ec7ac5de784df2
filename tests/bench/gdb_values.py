"""A gdb script as one writes it by hand: walks each list of a context value by value.

For "make bench-gdb" only, to be compared with "qemu handlers --all", "qemu bh --all" and "qemu
timers --all": the same columns, one row an element. Runs inside gdb: python by_hand("handlers", "ctx").
"""

import ctypes
import os
import select
import time

import gdb


def function(value):
    return str(value).partition("<")[2].rstrip(">") or "-"


def events(bits):
    words = [word for bit, word in ((1, "in"), (2, "pri"), (4, "out")) if bits & bit]
    return "+".join(words) or "-"


def kind(pid, fd):
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return "unknown"


libc = ctypes.CDLL(None)


def ready(pidfd, fd, bits):
    copy = libc.syscall(438, pidfd, fd, 0)  # pidfd_getfd
    if copy < 0:
        return False
    poll = select.poll()
    poll.register(copy, bits)
    found = bool(poll.poll(0))
    os.close(copy)
    return found


def handlers(ctx):
    pid = gdb.selected_inferior().pid
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        pidfd = -1
    node = ctx["aio_handlers"]["lh_first"]
    while node:
        fd, bits = int(node["pfd"]["fd"]), int(node["pfd"]["events"])
        state = ["deleted"] if node["node_deleted"]["le_prev"] else []
        state += ["ready"] if pidfd >= 0 and ready(pidfd, fd, bits) else []
        state += ["poll list"] if node["node_poll"]["le_prev"] else []
        called = function(node["io_read"] if node["io_read"] else node["io_write"])
        yield fd, kind(pid, fd), events(bits), called, str(node["opaque"]), state
        node = node["node"]["le_next"]


def bhs(ctx):
    bh = ctx["bh_list"]["slh_first"]
    while bh:
        flags = int(bh["flags"])
        state = "deleted" if flags & 4 else "scheduled" if flags & 2 else "cancelled"
        yield bh["name"].string(), state, function(bh["cb"]), str(bh["opaque"])
        bh = bh["next"]["sle_next"]


def timers(ctx):
    for clock in range(4):
        timer = ctx["tlg"]["tl"][clock]["active_timers"]
        while timer:
            left = int(timer["expire_time"]) - time.monotonic_ns()
            yield clock, left, function(timer["cb"]), str(timer["opaque"])
            timer = timer["next"]


def by_hand(command, expression):
    ctx = gdb.parse_and_eval(expression)
    for walk in LISTS[command]:
        for row in walk(ctx):
            print(*row)


# What each of our commands lists of a context.
LISTS = {
    "handlers": (handlers, bhs, timers),
    "bh": (bhs,),
    "timers": (timers,),
}
