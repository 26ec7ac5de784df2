# SPDX-License-Identifier: MIT
"""Time at a stop: when gdb let the program run and stopped it, and how long a timer was overdue.

A stop takes time, and whoever is stopped sleeps on for the rest of its timeout. So a timer's lateness
counts from when the program last went on.
"""
import os
import time
from typing import Optional

import gdb

from qemu_gdb.loops import Timer

REALTIME, HOST = 0, 2
CLOCKS = {REALTIME: time.CLOCK_MONOTONIC, HOST: time.CLOCK_REALTIME}

# CLOCK_MONOTONIC: when gdb last let the program run, and when it next stopped; 0: not seen.
_went_on_ns = _stopped_ns = 0
_watches = False


def _note_that_it_runs(_: object) -> None:
    global _went_on_ns
    _went_on_ns = time.monotonic_ns()


def _note_that_it_stops(_: object) -> None:
    global _stopped_ns
    _stopped_ns = time.monotonic_ns()


def watch() -> None:
    """From now on, know when gdb stops the program and lets it run. Once is enough."""
    global _watches
    if _watches:
        return
    _watches = True
    gdb.events.cont.connect(_note_that_it_runs)
    gdb.events.stop.connect(_note_that_it_stops)


def stop_seen_ns() -> Optional[int]:
    """When the program stopped, if gdb has told us; None: it was stopped before we came."""
    return _stopped_ns if _stopped_ns > _went_on_ns else None


def _stop_ns() -> int:
    """The stop was not before this: gdb itself began before it stopped anything."""
    if _stopped_ns > _went_on_ns:
        return _stopped_ns
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return max(ticks * 10**9 // os.sysconf("SC_CLK_TCK") - asleep, _went_on_ns)


def late_ns(timer: Timer) -> int:
    """How long at least the program has run, up to the stop, with the timer overdue."""
    now = time.monotonic_ns()
    due = now - (time.clock_gettime_ns(CLOCKS[timer.clock]) - timer.expire_ns)
    return _stop_ns() - max(due, _went_on_ns)
