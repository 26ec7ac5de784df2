# SPDX-License-Identifier: MIT
"""What a chain of calls says about a loop: its phase, and the callbacks it is in.

The loop's own functions call each other directly and callbacks through a pointer. So: from a
function that is the loop's by its name, follow direct calls, to helpers without a name too; what is
called through a pointer is a callback. That needs no symbol of the callback and no table, and
serves where a bottom half or timer that runs is on no list any more. A callback may poll again:
hence a list of them, the outermost first.
"""
import re
from typing import NamedTuple, Optional

from qemu_gdb.code import Code
from qemu_gdb.frames import Frame, Stack

# QEMU's by their names since 2.x, and GLib's. Static ones help where there are symbols.
MACHINERY = frozenset(
    """aio_bh_call aio_bh_poll aio_ctx_check aio_ctx_dispatch aio_ctx_prepare aio_dispatch
    aio_dispatch_handler aio_dispatch_handlers aio_dispatch_ready_handlers aio_poll
    g_main_context_check g_main_context_check_unlocked g_main_context_dispatch
    g_main_context_dispatch_unlocked g_main_context_iterate g_main_context_iteration
    g_main_context_prepare g_main_context_prepare_unlocked g_main_dispatch g_main_loop_run
    glib_pollfds_fill glib_pollfds_poll main_loop_wait os_host_main_loop_wait
    qemu_clock_run_all_timers qemu_clock_run_timers run_poll_handlers run_poll_handlers_once
    timerlist_run_timers timerlistgroup_run_timers try_poll_mode""".split()
)
BQL_FUNCTIONS = frozenset(
    "bql_lock bql_lock_impl qemu_mutex_lock_iothread qemu_mutex_lock_iothread_impl".split()
)
LOOPS = frozenset("aio_poll main_loop_wait g_main_loop_run".split())
WAITS = frozenset(
    """qemu_poll_ns g_poll fdmon_poll_wait fdmon_epoll_wait fdmon_io_uring_wait ppoll __ppoll poll
    __poll epoll_wait epoll_pwait io_uring_enter io_uring_submit_and_wait""".split()
)
POLLING, BUSY, PREPARE = "polling", "busy polling", "preparing"
CHECK, DISPATCH, BQL_WAIT, BETWEEN = (
    "checking",
    "dispatching",
    "waiting for the BQL",
    "between its steps",
)
# The innermost function that is one of these tells the phase.
PHASES = {
    **dict.fromkeys(WAITS, POLLING),
    **dict.fromkeys(
        ("run_poll_handlers", "run_poll_handlers_once", "try_poll_mode"), BUSY
    ),
    **dict.fromkeys(
        """aio_compute_timeout aio_ctx_prepare aio_prepare g_main_context_prepare
        g_main_context_prepare_unlocked g_main_context_query glib_pollfds_fill
        main_loop_poll_add_notifier""".split(),
        PREPARE,
    ),
    **dict.fromkeys(
        "aio_ctx_check aio_pending g_main_context_check g_main_context_check_unlocked".split(),
        CHECK,
    ),
    **dict.fromkeys(
        """aio_bh_call aio_bh_poll aio_ctx_dispatch aio_dispatch aio_dispatch_handler
        aio_dispatch_handlers aio_dispatch_ready_handlers g_main_context_dispatch
        g_main_context_dispatch_unlocked g_main_dispatch qemu_clock_run_all_timers
        qemu_clock_run_timers timerlist_run_timers timerlistgroup_run_timers""".split(),
        DISPATCH,
    ),
}
MAX_HELPERS = 4  # functions without a name between a known one and the callback
CALL = re.compile(r"\bcall\w*\s+(.*)")
DIRECT = re.compile(r"0x[0-9a-f]+\b")


class Callback(NamedTuple):
    kind: str  # "BH", "timer", "handler", "GSource", "io_poll", "callback"
    frame: Frame
    at: int  # its index in the stack


class Where(NamedTuple):
    loop: str  # the outermost function that is a loop: "main_loop_wait"; "": this thread runs none
    phase: str
    callbacks: list[Callback]  # the outermost first
    depth: int  # loops within each other; 1: none is nested
    nested_at: int  # index of the innermost nested aio_poll's frame; -1: none
    for_bql: bool


def _call(code: Code, frame: Frame) -> tuple[bool, int]:
    """The call that @frame has to come back from: through a pointer (not the PLT's)? Or to where?"""
    lines = code.instructions(frame.function, frame.pc) if frame.function else []
    if not lines or lines[-1][0] + lines[-1][1] != frame.pc:
        return False, 0
    match = CALL.search(lines[-1][2])
    if match is None:
        return False, 0
    direct = DIRECT.match(match[1])
    if direct:
        return False, int(direct[0], 16)
    return "rip" not in match[1], 0


def _kind(frame: Frame) -> str:
    """What a function of the loop's is there to call."""
    for name in frame.names():
        if name.startswith("aio_bh_"):
            return "BH"
        if "timer" in name:
            return "timer"
        if name in ("aio_ctx_prepare", "aio_ctx_check"):
            return "callback"
        if "poll_handlers" in name or name == "try_poll_mode":
            return "io_poll"
        if "prepare" in name or "check" in name or name.startswith("g_main_"):
            return "GSource"
        if name.startswith("aio_"):
            return "handler"
    return "callback"


def _is(frame: Frame, names: frozenset[str]) -> bool:
    return any(name in names for name in frame.names())


def _is_called_back(
    code: Code, caller: Frame, frame: Frame, tails: frozenset[int]
) -> bool:
    """aio_bh_call() and others may end in a jump to the callback: then they leave no frame."""
    by_pointer, target = _call(code, caller)
    return by_pointer or (target in tails and frame.function != target)


def _callbacks(
    code: Code, stack: Stack, monitors: frozenset[int], tails: frozenset[int]
) -> list[Callback]:
    found: list[Callback] = []
    machine: Optional[
        Frame
    ] = None  # the last one met, while what it calls is the loop's
    helpers = 0
    for i in range(len(stack) - 1, -1, -1):
        frame = stack[i]
        if _is(frame, MACHINERY):
            machine, helpers = frame, 0
            continue
        if machine is None:
            continue
        if (
            frame.function in monitors
            or frame.symbol.startswith("fdmon_")
            or _is(frame, WAITS)
        ):
            machine = None  # called through a pointer too, but to wait
        elif _is_called_back(code, stack[i + 1], frame, tails):
            found.append(Callback(_kind(machine), frame, i))
            machine = None
        elif frame.symbol or helpers == MAX_HELPERS:
            machine = None  # it calls something by its name: the loop's own work
        else:
            helpers += 1
    return found


def locate(
    code: Code,
    stack: Stack,
    monitors: frozenset[int] = frozenset(),
    tails: frozenset[int] = frozenset(),
) -> Where:
    """@monitors: functions of fd monitors, which are called through pointers too. @tails: those of
    the loop's own that may end in a jump to a callback."""
    loops = [i for i, frame in enumerate(stack) if _is(frame, LOOPS)]
    callbacks = _callbacks(code, stack, monitors, tails)
    inner = loops[0] if loops else -1
    # What lies further in than the innermost callback is that one's own business.
    for_bql = any(_is(frame, BQL_FUNCTIONS) for frame in stack[:8])
    phase = ""
    if loops:
        phase = BETWEEN
        since = callbacks[-1].at if callbacks else -1
        if -1 < since < inner:
            phase = DISPATCH
        else:
            named = (PHASES.get(n) for f in stack[: inner + 1] for n in f.names())
            phase = next((p for p in named if p), BETWEEN)
            if for_bql:
                phase = BQL_WAIT
    polls = [i for i in loops if "aio_poll" in stack[i].names()]
    nested = polls[0] if polls and polls[0] != loops[-1] else -1
    loop = ""
    if loops:
        loop = next(
            name for name in reversed(stack[loops[-1]].names()) if name in LOOPS
        )
    return Where(loop, phase, callbacks, len(loops), nested, for_bql)
