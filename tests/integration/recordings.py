"""Recordings: made by loopscope, and read by three that share no code.

`loopscope report`, babeltrace2 (its command for what it warns of, its library for events), and the
packets counted here as docs/trace-format.md describes them.
"""

import re
import signal
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import pytest
import tracer_run
from process_memory import wait_until
from tracer_run import ROOT, Result, finish, run, start

PACKET, PACKET_HEAD = 4096, 80
THREADS = ("main", "io0", "other")

ATTACHED = re.compile(
    rb"loopscope: attached to process (\d+): (\d+) USDT probes, (\d+) functions"
    rb"(, \d+ of them single-stepped)?; Ctrl-C ends the recording\n"
)
ENDED = re.compile(
    r"^loopscope: (?P<path>.*): (?P<events>\d+) events of (?P<threads>\d+) threads"
    r" in \S+ s, (?P<lost>\d+) lost$",
    re.MULTILINE,
)


@dataclass
class Said:
    """What the recorder said when it ended."""

    events: int
    threads: int
    lost: int


def said(result: Result) -> Said:
    """The summary of a recording that went well: "attached", this line, nothing else."""
    assert result.rc == 0, f"{result.args}: {result.rc} {result.err}"
    lines = result.err.splitlines(keepends=True)
    assert len(lines) == 2 and ATTACHED.fullmatch(lines[0].encode()), result.err
    return said_line(lines[1])


def said_line(text: str) -> Said:
    match = ENDED.search(text)
    assert match, text
    return Said(*(int(match[key]) for key in ("events", "threads", "lost")))


def record_command(
    out: Path, *command: object, options: Sequence[object] = ()
) -> Result:
    """Record a command from its first instruction to its end."""
    return run("record", "-o", out, *options, "--", *command)


class Recorder:
    """loopscope record -p PID, attached when the with is entered; end() is Ctrl-C."""

    def __init__(self, pid: int, out: Path, *options: object) -> None:
        self.out = out
        self.process = start("record", "-p", pid, "-o", out, *options)
        assert self.process.stderr
        self.attached = self.process.stderr.readline()
        if not ATTACHED.fullmatch(self.attached):
            rest = self.process.communicate()[1]
            raise AssertionError(f"not attached: {self.attached + rest!r}")

    def end(self, number: int = signal.SIGINT) -> Said:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> Said:
        """Of a recorder that ends by itself, as its target does."""
        result = finish(self.process)
        result.err = self.attached.decode() + result.err
        return said(result)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


# --- what a recording says ------------------------------------------------------------------------


def report(recording: Path) -> Result:
    return run("report", recording, "--json").fine()


def probe_names() -> List[str]:
    """The probes of the table, in its order; records (names, states) are not among them."""
    table = (ROOT / "trace" / "loop.probes").read_text()
    return re.findall(r"^probe \d+ (\w+)\(", table, re.MULTILINE)


def report_counts(result: Result) -> Dict[str, int]:
    """How many events of each probe, as report says; none where it says none."""
    rows = {row["event"]: row["count"] for row in result.of_type("event_count")}
    return {name: rows[name] for name in probe_names() if rows[name]}


@dataclass(frozen=True)
class Event:
    name: str
    ns: int
    tid: int
    fields: Dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]


def events(recording: Path, *names: str) -> List[Event]:
    """All events of these names (or of any), in the order in which babeltrace2 gives them."""
    bt2 = pytest.importorskip("bt2", reason="python3-bt2 is not installed")
    found = []
    for message in bt2.TraceCollectionMessageIterator(str(recording)):
        # pylint: disable=unidiomatic-typecheck
        if type(message) is not bt2._EventMessageConst:
            continue
        event = message.event
        if names and event.name not in names:
            continue
        payload = {
            key: str(value) if isinstance(value, bt2._StringFieldConst) else int(value)
            for key, value in event.payload_field.items()
        }
        clock = message.default_clock_snapshot.value
        found.append(Event(event.name, clock, int(event["tid"]), payload))
    return found


def babeltrace_counts(recording: Path) -> Dict[str, int]:
    """How many events of each probe, as babeltrace2 says."""
    counts = Counter(event.name for event in events(recording))
    return {name: counts[name] for name in probe_names() if counts[name]}


def babeltrace(recording: Path) -> Tuple[int, List[int]]:
    """The command babeltrace2: how many events it prints, and the losses it warns of."""
    done = subprocess.run(
        ["babeltrace2", str(recording)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=tracer_run.HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    losses = re.findall(r"^WARNING: Tracer discarded (\d+) events", done.stderr, re.M)
    assert len(losses) == len(done.stderr.splitlines()), done.stderr
    return done.stdout.count("\n"), [int(number) for number in losses]


def sleeps(pid: int) -> int:
    """How often a process's main thread has gone to sleep."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def wait_sleeps(pid: int, count: int) -> None:
    """It wakes and sleeps again, so often."""
    before = sleeps(pid)
    wait_until(lambda: sleeps(pid) >= before + count, f"{pid} wakes {count} times")


# --- packets, by hand -----------------------------------------------------------------------------


def streams(recording: Path) -> List[Path]:
    return sorted(recording.glob("thread-*"))


def packets(stream: Path) -> Iterator[Tuple[int, int]]:
    """Of each whole packet: how many events it has, and how many its stream has lost so far."""
    data = stream.read_bytes()
    for start_at in range(0, len(data) - PACKET + 1, PACKET):
        magic, content, size, lost = struct.unpack_from("<I44xQQ8xQ", data, start_at)
        assert (magic, size) == (0xC1FC1FC1, PACKET * 8)
        at, count = PACKET_HEAD, 0
        while at < content // 8:
            (length,) = struct.unpack_from("<10xH", data, start_at + at)
            assert length >= 16 and length % 8 == 0
            at, count = at + length, count + 1
        assert at - 8 < content // 8 <= at  # a text may be last, and ends anywhere
        yield count, lost


def events_in_packets(recording: Path) -> int:
    return sum(count for path in streams(recording) for count, _ in packets(path))


# --- the known workload ---------------------------------------------------------------------------


def five_sources_counts(iterations: int = 23) -> Dict[str, Dict[str, int]]:
    """The events of five-sources by probe and thread, from the table of the demo's own test."""
    text = (ROOT / "tests" / "unit" / "demo" / "test-events.c").read_text()
    row = r"\{ LOOP_EV_(\w+), \{ (\d+), (\d+), (\d+) \}, \{ (\d+), (\d+), (\d+) \} \}"
    column = {23: 1, 115: 4}[iterations]
    found = {
        match[0].lower(): dict(
            zip(THREADS, (int(n) for n in match[column : column + 3]))
        )
        for match in re.findall(row, text)
    }
    assert found["iteration_end"]["main"] == iterations
    return found


def sums(counts: Dict[str, Dict[str, int]]) -> Dict[str, int]:
    """The same for all threads together, in the order of the table of probes."""
    return {
        name: sum(counts[name].values())
        for name in probe_names()
        if sum(counts.get(name, {}).values())
    }
