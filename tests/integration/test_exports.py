"""Recordings of real runs, exported: what other programs read is what the report says."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Dict, Iterator

import pytest
from process_memory import wait_until
from recordings import PACKET, Recorder, record_command, said, streams
from tracer_run import DEMO, ROOT, finish, run, start
from tracer_targets import Demo, Qemu, installed

sys.path.insert(0, str(ROOT / "tests" / "unit" / "report"))
# pylint: disable=wrong-import-position
import exports

SCENARIOS = {"five-sources": 23, "nested-drain": 20}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_recorded_demo(root: None, tmp_path: Path, scenario: str) -> None:
    installed("protoc")
    path = tmp_path / "r"
    count = SCENARIOS[scenario]
    said(record_command(path, DEMO, "--scenario", scenario, "--iterations", count))
    exports.check_all(path)
    trace = exports.check_pftrace(path)
    threads = [t["thread"][0] for t in trace.tracks.values() if t["thread"]]
    assert any(t["name"][0].startswith("main loop") for t in threads)
    assert trace.flows_to if scenario == "five-sources" else trace.depth >= 8


def test_a_recorded_qemu(root: None, tmp_path: Path) -> None:
    """Stripped, so by its exported functions; a monitor command wakes the main loop."""
    installed("protoc")
    path = tmp_path / "r"
    with Qemu() as qemu:
        with Recorder(qemu.pid, path) as recorder:
            with qemu.qmp() as qmp:
                for _ in range(23):
                    qmp.command("query-status")
            recorder.end()
    exports.check_all(path)
    trace = exports.check_pftrace(path)
    names = [t["thread"][0]["name"][0] for t in trace.tracks.values() if t["thread"]]
    assert any(name.startswith("main loop") for name in names)
    assert any(name.startswith("IOThread mon_iothread") for name in names)
    assert sum(n for (_, _, name), n in trace.begun.items() if "qmp_dispatch" in name)


def test_a_recorder_that_was_killed(root: None, tmp_path: Path) -> None:
    """Whatever the last packets have: nothing stays open, and nothing is made up."""
    path = tmp_path / "r"
    with Demo("busy") as demo, Recorder(demo.pid, path) as recorder:
        wait_until(lambda: packets_of(path) > 64, "some packets are written")
        recorder.kill()
    exports.check_all(path)


def test_promtool_has_nothing_to_say(root: None, tmp_path: Path) -> None:
    installed("promtool")
    path = tmp_path / "r"
    said(record_command(path, DEMO, "--scenario", "aio-wait", "--iterations", 5))
    assert exports.lint_metrics(path) == "0"


def test_a_file_that_follows_a_recording(root: None, tmp_path: Path) -> None:
    """Whoever reads it finds a whole one, and in the end it is that of the whole recording."""
    path, out = tmp_path / "r", tmp_path / "metrics"
    words = ["export", path, "--to", "openmetrics", "--watch", "0.05", "-o", out]
    with Demo("busy") as demo, Recorder(demo.pid, path) as recorder:
        with start(*words) as watcher:
            try:
                seen = set()
                wait_until(out.exists, "it is written")
                while len(seen) < 5:
                    text = out.read_text()
                    assert text.endswith("\n# EOF\n")
                    seen.add(text)
                demo.kill()
                recorder.ended()
                assert finish(watcher).rc == 0
            finally:
                watcher.kill()
    assert out.read_bytes() == exports.export(path, "openmetrics")
    assert not list(tmp_path.glob("*.part"))


def test_a_watch_that_is_ended(root: None, tmp_path: Path) -> None:
    """It waits for the recording to begin, and at its end writes once more."""
    path, out = tmp_path / "r", tmp_path / "metrics"
    words = ["export", path, "--to", "prometheus", "--watch", "600", "-o", out]
    with Demo("busy") as demo, start(*words) as watcher:
        try:
            assert watcher.stderr
            assert b"waiting for the recording" in watcher.stderr.readline()
            with Recorder(demo.pid, path):
                wait_until(out.exists, "it is written")
                first, seen = out.read_text(), packets_of(path)
                wait_until(lambda: packets_of(path) > seen, "there are more events")
                watcher.send_signal(signal.SIGINT)
                assert finish(watcher).rc == 0
        finally:
            watcher.kill()
    assert "loopscope_polls_total" in out.read_text() != first


def test_a_quiet_loop_is_seen_while_it_is_recorded(root: None, tmp_path: Path) -> None:
    """Long before a packet is full of what it does."""
    path = tmp_path / "r"
    with Demo("signal") as demo, Recorder(demo.pid, path) as recorder:
        os.kill(demo.pid, signal.SIGALRM)

        def handled() -> bool:
            result = run("report", path, "--json")
            rows = result.of_type("callback") if result.rc == 0 else []
            return any(row["callback"] == "sigfd_handler" for row in rows)

        wait_until(handled, "the recording has the signal")
        assert recorder.end().lost == 0
    for stream in streams(path):
        assert stream.stat().st_size % PACKET == 0


def packets_of(path: Path) -> int:
    return sum(p.stat().st_size for p in streams(path)) // PACKET


# --- a real Prometheus ----------------------------------------------------------------------------


@contextmanager
def serving(body: bytes, kind: str) -> Iterator[int]:
    """A server on the loopback that answers every request so; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # pylint: disable=invalid-name
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def prometheus(top: Path, scraped: int) -> Iterator[int]:
    """A Prometheus that scrapes this port each second; its own port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    config = top / "prometheus.yml"
    config.write_text(
        "scrape_configs: [{job_name: loopscope, scrape_interval: 1s,"
        f" static_configs: [{{targets: ['127.0.0.1:{scraped}']}}]}}]"
    )
    words = [installed("prometheus"), f"--config.file={config}"]
    words += [f"--storage.tsdb.path={top / 'data'}"]
    words += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


def ask(port: int, query: str) -> Dict[str, float]:
    """Its answer, by the label "v"; nothing while it does not answer yet."""
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode(
        {"query": query}
    )
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            rows = json.load(answer)["data"]["result"]
    except OSError:
        return {}
    return {row["metric"].get("v", ""): float(row["value"][1]) for row in rows}


@pytest.mark.parametrize(
    "to, kind",
    [
        ("openmetrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        pytest.param(
            "prometheus",
            "text/plain; version=0.0.4; charset=utf-8",
            marks=pytest.mark.full,
        ),
    ],
)
def test_prometheus_scrapes_it(root: None, tmp_path: Path, to: str, kind: str) -> None:
    installed("prometheus")
    path = tmp_path / "r"
    said(record_command(path, DEMO, "--scenario", "nested-drain", "--iterations", 20))
    rows = exports.report(path)
    with serving(exports.export(path, to), kind) as scraped, prometheus(
        tmp_path, scraped
    ) as port:
        wait_until(lambda: ask(port, "up") == {"": 1.0}, "a scrape that went well")
        polls = ask(port, "sum(loopscope_polls_total)")
        assert polls == {"": rows["total"][0]["iterations"]}
        counts = ask(
            port,
            "sum by (v) (label_replace(loopscope_callback_seconds_count,"
            ' "v", "$1", "callback", "(.*)"))',
        )
    expected: Dict[str, float] = {}
    for row in rows["callback"]:
        expected[row["callback"]] = expected.get(row["callback"], 0) + row["count"]
    assert counts == expected
