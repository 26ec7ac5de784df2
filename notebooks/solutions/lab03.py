# SPDX-License-Identifier: MIT
"""Lab 3: its answers, from what was captured of real QEMUs, and from gdb on the demo."""

import json
import re
from functools import lru_cache
from typing import Any, Dict, List, Set, Tuple

from looplabs import run
from looplabs.lab import Lab
from looplabs.truth import Answer, solves


def machine_of(lab: Lab) -> Dict[str, Any]:
    """What was captured of the student's QEMU."""
    name = lab.choice("machine", "abcd")
    found: Dict[str, Any] = json.loads(run.data(f"qemu-{name}.json").read_text())
    return found


def polled_in(strace: str) -> Set[int]:
    """The descriptors of a ppoll, as strace writes it."""
    return {int(fd) for fd in re.findall(r"fd=(\d+)", strace)}


def eventfds(seen: Dict[str, Any]) -> Set[int]:
    """Those of the process."""
    return {int(fd) for fd, link in seen["proc"].items() if "eventfd" in link}


@solves("3.1", kind="table")
def numbers_and_kinds(lab: Lab) -> Answer:
    """/proc against strace."""
    seen = machine_of(lab)
    polled = polled_in(seen["strace"])
    right = {
        "not polled": {int(fd) for fd in seen["proc"] if int(fd) > 2} - polled,
        "eventfds": len(polled & eventfds(seen)),
    }
    return Answer(
        right,
        {
            "Only those that the main thread polls count in the second.": {
                **right,
                "eventfds": len(eventfds(seen)),
            },
            "From 3 on: 0, 1 and 2 are the program's input and output.": {
                **right,
                "not polled": {int(fd) for fd in seen["proc"]} - polled,
            },
        },
    )


@lru_cache(maxsize=None)
def _callers(fd: int) -> Tuple[Tuple[str, ...], ...]:
    """Who called at the creation, and at the registration."""
    stop = [f"qemu break-register {fd}", "continue"]
    said = run.demo_under_gdb(
        "five-sources", ["set width 0", "starti", *stop, *stop, "kill"], iterations=1
    )
    lines = re.findall(r"^  called by (.*)$", said, re.MULTILINE)
    return tuple(tuple(line.split(" < ")) for line in lines)


@solves("3.2", kind="table")
def created_and_registered(lab: Lab) -> Answer:
    """As gdb says."""
    created, registered = _callers(lab.choice("fd", [5, 7, 8]))
    right = {"created": list(created[:3]), "registered": registered[0]}
    return Answer(
        right,
        {
            "That is one stop; at the other one somebody else called.": {
                "created": list(registered[:3]),
                "registered": created[0],
            }
        },
    )


def _whom(frames: List[str]) -> str:
    """Whom an eventfd wakes, by the stack of its creation."""
    stack = " ".join(frames)
    if "event_notifier_init" not in stack:
        return "glib" if "g_main_context_default" in stack else "iothread glib"
    if "iohandler_get_aio_context" in stack:
        return "iohandler"
    return "main" if "qemu_init_main_loop" in stack else "iothread"


@solves("3.3", kind="table")
def by_their_makers(lab: Lab) -> Answer:
    """By the stacks that gdb printed."""
    seen = machine_of(lab)
    right: Dict[int, str] = {}
    begun = ""
    frames: List[str] = []
    for line in [*seen["gdb"], "END"]:
        if line.startswith("#"):
            frames.append(line)
            continue
        if frames and begun.startswith("CREATED eventfd"):
            right[int(begun.split()[-1])] = _whom(frames)
        begun, frames = line, []
    other = {"main": "iohandler", "iohandler": "main"}
    return Answer(
        right,
        {
            "Two are the wrong way round: who asked for iohandler_ctx first?": {
                fd: other.get(word, word) for fd, word in right.items()
            },
            "An IOThread has two contexts.": {
                fd: word.replace("iothread glib", "iothread")
                for fd, word in right.items()
            },
        },
    )


@solves("3.4", kind="table")
def unpolled(lab: Lab) -> Answer:
    """All of the process, less what any loop polls."""
    seen = machine_of(lab)
    rows = [row for row in seen["fds"] if row["type"] == "fd"]
    glib = len({row["thread"] for row in rows if row["owner"] == "GLib"})
    right = {
        "unpolled": eventfds(seen) - {row["fd"] for row in rows},
        "glib loops": glib,
    }
    main_only = eventfds(seen) - polled_in(seen["strace"])
    return Answer(right, {"IOThreads poll, too.": {**right, "unpolled": main_only}})


@solves("3.5", kind="table")
def idle(lab: Lab) -> Answer:
    """The timer that is called most, the bottom half, and polls that could not sleep."""
    rec = lab.recorded(f"qemu-{lab.choice('idle', 'abd')}")
    calls = rec.callbacks()
    timers = calls[calls.kind == "timer"].cb.value_counts()
    halves = calls[calls.kind == "BH"].cb.value_counts()
    right = {
        "timer": timers.index[0],
        "bottom half": halves.index[0],
        "zero": int((rec.polls().timeout_ns == 0).sum()),
    }
    return Answer(
        right,
        {
            "Count the polls whose timeout is 0, not those that timed out.": {
                **right,
                "zero": int((rec.polls().ret == 0).sum()),
            }
        },
    )
