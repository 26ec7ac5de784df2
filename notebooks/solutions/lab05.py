# SPDX-License-Identifier: MIT
"""Lab 5: its answers."""

import signal
from typing import Dict, List, Set

from looplabs import run
from looplabs.lab import Lab
from looplabs.truth import Answer, solves


def names(mask: str) -> Set[str]:
    """The signals of a mask in /proc."""
    bits = int(mask, 16)
    return {signal.Signals(n).name for n in range(1, 32) if bits >> (n - 1) & 1}


@solves("5.1", kind="table")
def masks(_lab: Lab) -> Answer:
    """As the program has them."""
    with run.demo("signal") as pid:
        status = run.status(pid)
    blocked, caught = names(status["SigBlk"]), names(status["SigCgt"])
    lower = {
        k: {
            signal.Signals(signal.Signals[n] - 1).name
            for n in v
            if signal.Signals[n] > 1
        }
        for k, v in (("blocked", blocked), ("caught", caught))
    }
    return Answer(
        {"blocked": blocked, "caught": caught},
        {
            "Bit 0 is signal 1.": lower,
            "The wrong way round.": {"blocked": caught, "caught": blocked},
        },
    )


STEPS = [
    "poll_enter",
    "fd_ready",
    "bql_acquired",
    "source_check",
    "source_dispatch_begin",
]
STEPS += ["handler_begin", "signal_dispatch", "handler_end"]


@solves("5.2", kind="names")
def from_kill_to_handler(lab: Lab) -> List[str]:
    """As they come in an iteration."""
    story = list(lab.record("signal", iterations=3).story(1).event)
    return sorted(STEPS, key=story.index)


@solves("5.3", kind="table")
def bursts(lab: Lab) -> Answer:
    """One for each burst: counted in a recording of them."""
    sent = [lab.number(f"burst {n}", 1, 5) for n in range(lab.number("bursts", 3, 6))]
    rec = lab.record("signal", bursts=sent)
    calls = int((rec.callbacks().cb == "sigfd_handler").sum())
    seen = len(rec.of("signal_dispatch"))
    right = {
        "sigfd_handler": calls,
        "sigalrm_handler": seen,
        "never seen": sum(sent) - seen,
    }
    return Answer(
        right,
        {
            "That would be so if signals queued.": {
                "sigfd_handler": len(sent),
                "sigalrm_handler": sum(sent),
                "never seen": 0,
            }
        },
    )


@solves("5.4", kind="table")
def who_wrote(lab: Lab) -> Answer:
    """Each iteration in which fd 6 was ready, by what was before."""
    rec = lab.record("five-sources", iterations=lab.number("iterations", 24, 40))
    loop = rec.iterations("main loop")
    woken = rec.log("context_wakeup").ns
    right: Dict[str, List[int]] = {
        "context_wakeup": [],
        "vnc-listener": [],
        "source_attach": [],
    }
    for row in loop.itertuples():
        if 6 not in row.ready:
            continue
        since = loop.end_ns[row.n - 1] if row.n else 0
        if ((woken > since) & (woken < row.end_ns)).any():
            right["context_wakeup"].append(row.n)
        elif row.n:
            assert "vnc-listener" in loop.callbacks[row.n - 1]
            right["vnc-listener"].append(row.n)
        else:
            right["source_attach"].append(row.n)
    dispatched = [int(r.n) for r in loop.itertuples() if "vnc-listener" in r.callbacks]
    return Answer(
        right,
        {
            "In those it was dispatched; fd 6 is ready in the next poll.": {
                **right,
                "vnc-listener": dispatched,
            }
        },
    )


@solves("5.5", kind="table")
def one_more(lab: Lab) -> Answer:
    """The first polls against the last one."""
    right: Dict[str, int] = {}
    for name, machine in (("vnc", "qemu-a"), ("serial", "qemu-b")):
        n_fds = lab.recorded(machine).polls().n_fds
        right[name] = int(n_fds.iloc[0] - n_fds.iloc[-1])
    return Answer(
        right,
        {
            "A listener that takes one client only: does it still listen?": {
                **right,
                "serial": 1,
            }
        },
    )
