"""loopscope top: what it counts is what was done; the target survives it; it ends when it should.

The known workload is five-sources with 23 iterations, held before its first until top is attached.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from process_memory import wait_until
from recordings import five_sources_counts, wait_sleeps
from scripted import Held, settle
from tracer_run import (
    BUILD,
    COLUMNS,
    DEMO,
    FAILED,
    FINE,
    HANG_S,
    LOOPSCOPE,
    Result,
    Row,
    finish,
    parse,
    start,
)
from tracer_targets import Demo, Qemu, Target, installed, stranger, summary

pytestmark = pytest.mark.usefixtures("root")

ATTACHED = re.compile(rb"loopscope: attached to process (\d+): (\d+) probes.*\n")


ALL = ("--overhead", "none")  # every call is counted, whatever that costs


class Top:
    """loopscope top -p PID, attached when the with is entered."""

    def __init__(self, pid: int, *options: object) -> None:
        self.process = start("top", "-p", pid, *options)
        self.out = b""
        assert self.process.stderr
        attached = self.process.stderr.readline()
        if not ATTACHED.fullmatch(attached):
            rest = self.process.stderr.read()
            raise AssertionError(f"not attached: {attached + rest!r}")

    def row(self) -> Row:
        """The next one."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "it has ended"
        self.out += line
        row: Row = json.loads(line)
        return row

    def end(self) -> Result:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> Result:
        """It ends by itself, and has said nothing more."""
        assert self.process.stdout and self.process.stderr
        hangs = threading.Timer(HANG_S, self.process.kill)
        hangs.start()
        self.out += self.process.stdout.read()
        err = self.process.stderr.read()
        words = [str(word) for word in self.process.args]  # type: ignore[union-attr]
        result = parse(words, self.process.wait(), self.out, err)
        hangs.cancel()
        assert (result.rc, result.err) == (FINE, ""), result
        return result

    def __enter__(self) -> "Top":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def in_all(result: Result) -> List[Row]:
    """The rows since the beginning: those behind the last interval's line."""
    kinds = [row["type"] for row in result.rows]
    assert kinds[-1] == "total"
    intervals = [i for i, kind in enumerate(kinds) if kind == "interval"]
    return result.rows[intervals[-1] + 1 if intervals else 0 :]


def calls(rows: List[Row], thread: int) -> Dict[str, int]:
    """How many calls of each kind of callback, on one thread."""
    count: Counter[str] = Counter()
    for row in rows:
        if row["type"] == "callback" and row["thread"] == thread:
            count[row["kind"]] += row["calls"]
    return dict(count)


def test_every_call_of_a_known_workload() -> None:
    expected = {name: row["main"] for name, row in five_sources_counts().items()}
    with Held("five-sources", 23) as demo:
        with Top(demo.pid, "--json", *ALL) as top:
            printed = summary(demo.result())
            result = top.ended()
    rows = in_all(result)
    (loop,) = [r for r in rows if r["type"] == "loop" and r["thread"] == demo.pid]
    assert (loop["loop"], loop["iterations"]) == ("main loop", expected["poll_enter"])
    assert loop["bql_waits"] == expected["bql_wait"] - 1  # one before it was ready
    assert sum(loop["woken"].values()) == expected["poll_exit"]
    found = calls(rows, demo.pid)
    # An AioContext is a source too; what it runs is counted by itself.
    assert found.pop("source") == int(printed["vnc_connections"])
    assert found == {
        "handler": expected["handler_begin"],
        "bh": expected["bh_begin"],
        "timer": expected["timer_begin"],
    }
    assert result.total["lost"] == 0
    assert all(r["timed"] == r["calls"] for r in rows if r["type"] == "callback")


def test_intervals_add_up_to_the_total() -> None:
    with Demo("busy") as demo:
        with Top(demo.pid, "--json", "-i", 0.1) as top:
            for _ in range(40):
                top.row()
            demo.stop()
            # Of what was done before it stopped an interval tells, and then one of nothing.
            result = top.end()
    total = result.total
    assert total["calls"] > 0 and total["iterations"] > 0
    for row in in_all(result):
        if row["type"] == "callback":
            assert (
                0 < row["p50_ns"] <= row["p99_ns"] <= row["max_ns"] <= row["total_ns"]
            )
            assert row["max_ns"] * row["calls"] >= row["total_ns"]
        if row["type"] == "loop":
            shares = [row[key] for key in row if key.endswith("_share")]
            assert len(shares) == 4 and 0.99 < sum(shares) < 1.01


def test_a_loop_that_only_sleeps(demo: Demo) -> None:
    """five-sources without a script: nothing happens, and that is what is said."""
    with Top(demo.pid, "--json") as top:
        result = top.end()
    loops = {r["loop"]: r for r in in_all(result) if r["type"] == "loop"}
    assert set(loops) == {"main loop", "IOThread io0"}
    for loop in loops.values():
        assert (loop["iterations"], loop["wait_share"]) == (0, 1)


def test_a_callback_that_does_not_return() -> None:
    """It is shown while it runs, with the time so far."""
    with Demo("blocked-lock") as demo, Top(demo.pid, "--json", "-i", 0.1) as top:
        wait_until(lambda: bool(top.row().get("running_ns")), "a callback runs")
        top.end()


# --- the budget -----------------------------------------------------------------------------------


def test_a_loop_too_busy_for_the_budget_is_sampled() -> None:
    """It spins: every call would cost a whole CPU, its waits alone a sixth."""
    with Demo("spin-bh") as demo:
        # On a machine that has other things to do, it would not be too busy.
        os.setpriority(os.PRIO_PROCESS, demo.pid, -20)
        with Top(demo.pid, "--json", "-i", 0.1, "--overhead", 30) as top:
            sampled = 0
            for _ in range(300):
                row = top.row()
                sampled += row.get("mode") == "sampled" and row["calls"] > 0
                if sampled == 2:
                    break
            result = top.end()
    total = result.total
    assert (total["mode"], total["budget_percent"], total["lost"]) == ("sampled", 30, 0)
    assert total["full_cost_percent"] > 30 >= total["cost_percent"]
    assert total["seen_seconds"] < total["seconds"]
    # Its one bottom half runs in every turn: also in what was sampled.
    (loop,) = [r for r in in_all(result) if r["type"] == "loop"]
    (bh,) = [r for r in in_all(result) if r["type"] == "callback" and r["kind"] == "bh"]
    assert bh["callback"] == "reschedules_itself_bh_cb"
    assert abs(bh["calls"] - loop["iterations"]) <= loop["iterations"] / 20


def test_without_a_budget_every_call_is_counted() -> None:
    with Demo("spin-bh") as demo, Top(demo.pid, "-d", 0.5, *ALL) as top:
        out = top.ended().out
    assert "every call is counted" in out and "SAMPLED" not in out


# --- stripped programs ----------------------------------------------------------------------------


def test_qemu_by_its_functions(qemu: Qemu) -> None:
    """One answer of the monitor is one bottom half in which the command ran, and its threads go on."""
    n = 20
    with qemu.qmp() as monitor:
        settle(qemu.pid)
        with Top(qemu.pid, "--json", *ALL) as top:
            for _ in range(n):
                monitor.command("query-version")
            settle(qemu.pid)
            result = top.end()
        monitor.command("query-status")
    rows = in_all(result)
    count = {
        (r["callback"], r["loop"]): r["calls"] for r in rows if r["type"] == "callback"
    }
    assert count["do_qmp_dispatch_bh", "main loop"] == n
    assert result.total["lost"] == 0 and qemu.alive()
    loops = {r["loop"] for r in rows if r["type"] == "loop"}
    assert {"main loop", "IOThread io0", "IOThread mon_iothread"} <= loops


def test_a_coroutine_above_the_stack_of_its_thread() -> None:
    """No return probe: it would end the program. Calls are counted, also those that nest."""
    rounds = 40
    with subprocess.Popen(
        [BUILD / "tests" / "high-stack"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as target:
        try:
            assert target.stdin and target.stdout
            assert target.stdout.readline() == "ready\n"
            settle(target.pid)
            with Top(target.pid, "--json", *ALL) as top:
                for _ in range(rounds):
                    target.stdin.write("go\n")
                    target.stdin.flush()
                    settle(target.pid)
                result = top.end()
            said, _ = target.communicate(timeout=HANG_S)
        finally:
            target.kill()
    assert (target.returncode, said) == (0, f"outer={rounds} inner={rounds}\n")
    rows = [r for r in in_all(result) if r["type"] == "callback" and r["kind"] == "bh"]
    assert sum(r["calls"] for r in rows) == 2 * rounds
    # All but the first from each place are timed too.
    assert sum(r["calls"] - r["timed"] for r in rows) <= 4


# --- what is lost ---------------------------------------------------------------------------------


class ManyCallbacks(Target):
    """It calls @n callbacks, each once, when it is told to."""

    def __init__(self, n: int) -> None:
        super().__init__("many")
        self.start([BUILD / "tests" / "many-callbacks", n], stdin=subprocess.PIPE)
        self.answers("ready")

    def answers(self, word: str) -> None:
        assert self.process and self.process.stdout
        assert self.process.stdout.readline().decode() == f"{word}\n", self.said()

    def call_each(self) -> None:
        assert self.process and self.process.stdin
        self.process.stdin.write(b"go\n")
        self.answers("done")


ROOM = 4096  # for callbacks (TOP_MAX_CALLS)


def test_calls_that_find_no_room_are_counted_as_lost() -> None:
    with ManyCallbacks(ROOM + 904) as target:
        with Top(target.pid, "--json", *ALL) as top:
            for _ in range(3):
                target.call_each()
            result = top.end()
        assert target.alive()
    rows = [r for r in in_all(result) if r["type"] == "callback"]
    assert (len(rows), {r["calls"] for r in rows}) == (ROOM, {3})
    assert result.total["lost"] == 3 * 904


def test_what_is_lost_is_said() -> None:
    with ManyCallbacks(ROOM + 904) as target, Top(target.pid, *ALL) as top:
        target.call_each()
        lines = top.end().out.splitlines()
    assert "LOST: 904 calls of callbacks beyond the first 4096" in lines


# --- what people see ------------------------------------------------------------------------------


def test_plain_lines_fit_and_are_plain() -> None:
    with Demo("busy") as demo, Top(
        demo.pid, "-i", 0.2, "-d", 0.9, "--sort", "rate"
    ) as top:
        result = top.ended()
    lines = result.out.splitlines()
    assert max(len(line) for line in lines) <= COLUMNS and "\033" not in result.out
    assert "In all:" in lines
    block = lines[lines.index("In all:") + 1 :]
    assert block[0].startswith("demo-qemu-loop (pid ")
    at = next(i for i, line in enumerate(block) if line.startswith("CALLBACK"))
    column = block[at].split().index("CALLS/S") + 1  # "main loop" is two words
    rates = [float(line.split()[column]) for line in block[at + 1 :] if line]
    assert len(rates) >= 5 and rates == sorted(rates, reverse=True)


def test_names_cannot_drive_the_terminal(tmp_path: Path) -> None:
    """The program's name is the target's to choose."""
    program = shutil.copy(DEMO, tmp_path / "demo\033[31mred")
    with Demo("busy", program=program) as demo, Top(demo.pid, "-d", 0.3) as top:
        out = top.ended().out
    assert "demo?[31mred" in out and "\033" not in out


def test_it_ends_with_its_target() -> None:
    with Demo("busy") as demo, Top(demo.pid) as top:
        demo.kill()
        assert top.ended().rc == FINE


def test_it_refuses_what_has_no_loop() -> None:
    with stranger() as pid:
        line = finish(start("top", "-p", pid)).refused(FAILED)
    assert "is not a QEMU" in line


# --- the live view --------------------------------------------------------------------------------


class Screen:
    """A terminal of that size with the live view in it, by tmux."""

    def __init__(
        self, pid: int, where: Path, columns: int, lines: int, *options: str
    ) -> None:
        installed("tmux")
        self.socket = str(where / "tmux")
        top = f"'{LOOPSCOPE}' top -p {pid} -i 0.2 {' '.join(options)}"
        words = f"{top}; echo rc=$?; cat"
        size = ("-x", str(columns), "-y", str(lines))
        env = "env -u NO_COLOR TERM=screen sh -c"
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, f'{env} "{words}"')

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self.socket, *words],
            stdout=subprocess.PIPE,
            text=True,
            timeout=HANG_S,
            check=True,
        )
        return done.stdout

    def lines(self) -> List[str]:
        return self.tmux("capture-pane", "-p").splitlines()

    def last(self) -> str:
        """The last line; none while the terminal changes its size."""
        return (self.lines() or [""])[-1]

    def rows(self) -> List[str]:
        """The names of the callbacks, from the top."""
        lines = self.lines()
        heads = [i for i, line in enumerate(lines) if line.startswith("CALLBACK")]
        return (
            [line.split()[0] for line in lines[heads[0] + 1 : -1] if line]
            if heads
            else []
        )

    def frozen(self) -> List[str]:
        return [line.split()[0] for line in self.lines() if line.endswith(" *")]

    def pause(self) -> List[str]:
        """Pause it while it shows some rows: which."""
        rows: List[str] = []

        def paused() -> bool:
            self.press("p")
            self.shows(lambda: "PAUSED" in self.last(), "a pause")
            rows[:] = self.rows()
            if len(rows) >= 2:
                return True
            self.press("p")
            self.shows(lambda: "PAUSED" not in self.last(), "what goes on")
            return False

        wait_until(paused, "rows are there when it is paused")
        return rows

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def shows(self, what: Callable[[], bool], text: str) -> None:
        wait_until(what, f"the screen shows {text}: {self.lines()}")

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self.tmux("kill-server")


def test_the_live_view(tmp_path: Path) -> None:
    with Demo("busy") as demo, Screen(demo.pid, tmp_path, 80, 24) as screen:
        screen.shows(lambda: len(screen.rows()) >= 5, "callbacks")
        assert max(len(line) for line in screen.lines()) <= 80
        assert screen.last().startswith("q quit")
        screen.press("/", "v", "n", "c", "_", "Enter")
        screen.shows(
            lambda: screen.rows() == ["vnc_listen_io"], "what the filter finds"
        )
        screen.press("Escape")
        screen.shows(lambda: len(screen.rows()) >= 5, "all of them again")
        # By name: the second is frozen, and by time it stays the second.
        for sort in ("rate", "p50", "p99", "max", "name"):
            screen.press("s")
            screen.shows(lambda: f"sort: {sort}" in screen.last(), sort)
        # Paused, so that no row goes while the second is being frozen.
        rows = screen.pause()
        assert rows == sorted(rows)
        screen.press("Down", "f")
        screen.shows(lambda: screen.frozen() == rows[1:2], "a frozen row")
        assert screen.rows() == rows
        screen.press("p", "s")
        screen.shows(lambda: "sort: time" in screen.last(), "the other order")
        screen.shows(
            lambda: screen.rows()[1:2] == rows[1:2], "the frozen row in its place"
        )
        screen.tmux("resize-window", "-x", "140", "-y", "40")
        screen.shows(lambda: any(" TOTAL " in line for line in screen.lines()), "more")
        screen.pause()
        picture = screen.lines()
        wait_sleeps(demo.pid, 2000)
        assert screen.lines() == picture
        screen.press("q")
        screen.shows(lambda: "rc=0" in screen.lines(), "its end")


def test_the_live_view_shows_what_is_lost_in_red(tmp_path: Path) -> None:
    with ManyCallbacks(ROOM + 904) as target:
        with Screen(target.pid, tmp_path, 100, 30, *ALL) as screen:
            screen.shows(lambda: screen.last().startswith("q quit"), "the view")
            assert not any("LOST" in line for line in screen.lines())
            target.call_each()
            lost = "LOST: 904 calls of callbacks beyond the first 4096"
            screen.shows(lambda: lost in screen.lines(), "the loss")
            with_colours = screen.tmux("capture-pane", "-p", "-e")
            (line,) = [s for s in with_colours.splitlines() if "LOST" in s]
            assert line.startswith("\033[1m\033[31m" + lost), repr(line)


def test_the_live_view_ends_with_its_target(tmp_path: Path) -> None:
    with Demo("busy") as demo, Screen(demo.pid, tmp_path, 100, 30) as screen:
        screen.shows(lambda: len(screen.rows()) >= 5, "callbacks")
        demo.kill()
        screen.shows(lambda: "rc=0" in screen.lines(), "its end")
        assert "In all:" in screen.lines()
