# SPDX-License-Identifier: MIT
"""What loopscope export writes, read by others, and held against what loopscope report says.

protoc decodes the .pftrace, json the speedscope file, prometheus_client and promtool the metrics.
Each check_*() takes a recording of any kind, lossy and cut ones too.
"""

import csv
import json
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("BUILD", ROOT / "build"))
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
BEGIN, END, INSTANT, COUNTER = "1", "2", "3", "4"  # types of track events
CALLBACKS = {"handler", "BH", "timer", "GSource", "poll notifier"}

Message = Dict[str, List[Any]]


def installed(program: str) -> bool:
    return shutil.which(program) is not None


def loopscope(*args: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [str(BUILD / "loopscope"), *map(str, args)], capture_output=True, check=False
    )


def export(path: Path, to: str, *options: object) -> bytes:
    done = loopscope("export", path, "--to", to, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(path: Path) -> Dict[str, List[Any]]:
    """The rows of a report by their type."""
    done = loopscope("report", path, "--json")
    assert done.returncode == 0, done.stderr
    rows: Dict[str, List[Any]] = defaultdict(list)
    for line in done.stdout.decode().splitlines():
        row = json.loads(line)
        rows[row["type"]].append(row)
    return rows


def calls(rows: Dict[str, List[Any]]) -> "Counter[Tuple[int, str, str]]":
    """How often each callback began, by thread, kind and name."""
    found: "Counter[Tuple[int, str, str]]" = Counter()
    for row in rows["callback"]:
        name = row["callback"] or row["callback_addr"] or "unknown"
        # One that has no name may have a source line.
        key = row["thread"], row["kind"], name.split(" (")[0]
        found[key] += row["count"] + row["unfinished"]
    return found


# --- pftrace --------------------------------------------------------------------------------------


def parse_text(lines: Iterator[str]) -> Message:
    """protoc's text format: a field is "name: value", a message "name {" to "}"."""
    message: Message = defaultdict(list)
    for line in lines:
        line = line.strip()
        if line == "}":
            break
        if line.endswith(" {"):
            name, value = line[:-2], parse_text(lines)
        else:
            name, text = line.split(": ", 1)
            value = json.loads(text) if text[0] == '"' else text
        assert not name.isdigit(), f"field {name} is not in pftrace.proto"
        message[name].append(value)
    return message


def decode(data: bytes) -> List[Message]:
    here = Path(__file__).parent
    done = subprocess.run(
        ["protoc", f"--proto_path={here}", "--decode=Trace", "pftrace.proto"],
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Bytes above 127 are octal escapes in it; a JSON text has none.
    text = re.sub(r"\\[0-7]{3}", "?", done.stdout.decode()).replace("\\'", "'")
    return parse_text(iter(text.splitlines()))["packet"]


class Pftrace:
    """The packets in their order, with names for numbers; checks as it reads."""

    def __init__(self, data: bytes) -> None:
        self.tracks: Dict[str, Message] = {}
        self.begun: "Counter[Tuple[int, str, str]]" = Counter()  # tid, category, name
        self.ns: "Counter[Tuple[str, str]]" = Counter()  # finished ones, category, name
        self.flows_from: List[str] = []
        self.flows_to: List[str] = []
        self.counters: Dict[str, List[int]] = defaultdict(list)
        self.unfinished = 0
        self.depth = 0  # at most
        self._names: Dict[str, Dict[str, str]] = defaultdict(dict)
        self._open: Dict[str, List[Tuple[str, str, int]]] = defaultdict(list)
        self._last: Dict[str, int] = defaultdict(int)
        packets = decode(data)
        self._check_head(packets[0])
        for packet in packets:
            assert packet["sequence_id"] == ["1"]
            self._packet(packet)
        assert not any(self._open.values()), "slices that never end"

    @staticmethod
    def _check_head(packet: Message) -> None:
        assert packet["sequence_flags"] == ["1"]
        assert packet["defaults"][0]["timestamp_clock_id"] == ["3"]
        assert packet["clock_snapshot"][0]["primary"] == ["3"]

    def _packet(self, packet: Message) -> None:
        for table, names in (packet["interned_data"] or [{}])[0].items():
            for name in names:
                assert (
                    name["iid"][0] not in self._names[table]
                ), "a number for two names"
                self._names[table][name["iid"][0]] = name["name"][0]
        for track in packet["track_descriptor"]:
            assert track["uuid"][0] not in self.tracks, "described twice"
            assert set(track["parent"]) <= set(self.tracks)
            self.tracks[track["uuid"][0]] = track
        for event in packet["track_event"]:
            self._event(event, int(packet["timestamp"][0]))

    def _notes(self, event: Message) -> Dict[str, str]:
        return {
            self._names["annotations"][note["name_iid"][0]]: (
                note["string_value"] or note["int_value"]
            )[0]
            for note in event["annotations"]
        }

    def _event(self, event: Message, now: int) -> None:
        uuid, kind = event["track_uuid"][0], event["type"][0]
        track = self.tracks[uuid]  # described before
        assert now >= self._last[uuid], "a track goes back in time"
        self._last[uuid] = now
        notes = self._notes(event)
        self.flows_from += event["flow_ids"]
        self.flows_to += event["terminating_flow_ids"]
        if kind == COUNTER:
            self.counters[track["name"][0]].append(int(event["counter_value"][0]))
        elif kind == END:
            category, name, begin = self._open[uuid].pop()
            self.unfinished += "end" in notes
            if "end" not in notes:
                self.ns[category, name] += now - begin
        else:
            name = self._names["names"][event["name_iid"][0]]
            category = self._names["categories"][event["category_iids"][0]]
            assert not CONTROL.search(name)
        if kind == BEGIN:
            self._open[uuid].append((category, name, now))
            self.depth = max(self.depth, len(self._open[uuid]))
            if track["thread"]:
                tid = int(track["thread"][0]["tid"][0])
                self.begun[tid, category, name.split(" (")[0]] += 1


def check_pftrace(path: Path) -> Pftrace:
    rows = report(path)
    trace = Pftrace(export(path, "pftrace"))
    begun = Counter({key: n for key, n in trace.begun.items() if key[1] in CALLBACKS})
    assert begun == calls(rows)
    for category, ns in callback_times(rows).items():
        assert ns == sum(n for (c, _), n in trace.ns.items() if c == category)
    polls = sum(n for (_, c, _), n in trace.begun.items() if c == "poll")
    waited = sum(r["waited"] for r in rows["loop"])
    assert polls == rows["total"][0]["iterations"] + waited
    assert trace.unfinished == rows["total"][0]["unfinished"]
    woken = [r["count"] for r in rows["wakeup"] if r["cause"] == "notify"]
    assert len(trace.flows_to) == sum(woken)
    assert set(trace.flows_to) <= set(trace.flows_from)
    return trace


def callback_times(rows: Dict[str, List[Any]]) -> "Counter[str]":
    found: "Counter[str]" = Counter()
    for row in rows["callback"]:
        found[row["kind"]] += row["total_ns"]
    return found


# --- speedscope -----------------------------------------------------------------------------------


def check_speedscope(path: Path) -> Dict[str, Any]:
    rows = report(path)
    text = export(path, "speedscope").decode()
    data: Dict[str, Any] = json.loads(text)
    assert data["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    names = [frame["name"] for frame in data["shared"]["frames"]]
    assert len(set(names)) == len(names)
    assert not any(CONTROL.search(name) for name in names)
    opened: "Counter[str]" = Counter()
    for profile in data["profiles"]:
        assert (profile["type"], profile["unit"]) == ("evented", "nanoseconds")
        opened += check_profile(profile, names)
    expected: "Counter[str]" = Counter()
    for (_, _, name), n in calls(rows).items():
        expected[name] += n
    for name, n in expected.items():
        assert opened[name] == n, name
    return data


def check_profile(profile: Dict[str, Any], names: List[str]) -> "Counter[str]":
    """Each close is that of the frame opened last, time never goes back, nothing stays open."""
    stack: List[int] = []
    opened: "Counter[str]" = Counter()
    at = profile["startValue"]
    for event in profile["events"]:
        assert set(event) == {"type", "frame", "at"}
        assert at <= event["at"] <= profile["endValue"]
        at = event["at"]
        if event["type"] == "O":
            stack.append(event["frame"])
            opened[names[event["frame"]].split(" (")[0]] += 1
        else:
            assert event["type"] == "C" and stack.pop() == event["frame"]
    assert not stack
    return opened


# --- CSV ------------------------------------------------------------------------------------------


def check_csv(path: Path) -> List[Dict[str, str]]:
    text = export(path, "csv").decode()
    table = list(csv.DictReader(text.splitlines()))
    found: "Counter[Tuple[int, str, str]]" = Counter()
    for row in table:
        assert None not in row and None not in row.values(), row
        assert not any(cell[:1] in tuple("=+-@") for cell in row.values() if cell)
        name = row["callback"].lstrip("'").split(" (")[0]
        found[int(row["thread"]), row["kind"], name] += 1
        assert bool(row["duration_us"]) == (not row["end"])
    assert found == calls(report(path))
    return table


# --- metrics --------------------------------------------------------------------------------------


def check_metrics(path: Path) -> None:
    rows = report(path)
    text = export(path, "openmetrics").decode()
    assert text.endswith("\n# EOF\n")
    sums: "Counter[str]" = Counter()
    for name, value in re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", text, re.M):
        sums[name] += float(value)
    callbacks = rows["callback"]
    assert sums["loopscope_callback_seconds_count"] == sum(
        r["count"] for r in callbacks
    )
    assert sums["loopscope_callbacks_unfinished_total"] == sum(
        r["unfinished"] for r in callbacks
    )
    assert sums["loopscope_events_total"] == rows["total"][0]["events"]
    assert sums["loopscope_lost_events_total"] == rows["total"][0]["lost"]
    causes = sum(row["count"] for row in rows["wakeup"])
    assert sums["loopscope_wakeups_total"] == causes


def lint_metrics(path: Path) -> str:
    """What promtool has to say: nothing."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=export(path, "prometheus"),
        capture_output=True,
        check=False,
    )
    return f"{done.returncode} {(done.stdout + done.stderr).decode()}".strip()


def families(path: Path) -> Dict[str, Any]:
    """The metrics by name, as the reference parser of OpenMetrics reads them; it is strict."""
    # pylint: disable=import-outside-toplevel
    from prometheus_client.openmetrics import parser

    text = export(path, "openmetrics").decode()
    return {f.name: f for f in parser.text_string_to_metric_families(text)}


def check_all(path: Path) -> None:
    if installed("protoc"):
        check_pftrace(path)
    check_speedscope(path)
    check_csv(path)
    check_metrics(path)
