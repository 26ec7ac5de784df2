"""bpf/one-liners: each script runs as docs/one-liners.md says, and counts what is known.

The command lines are taken from that page and run in a shell, with PID set, as a reader would.
"""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from probed import breakpoints, text_differs, untouched
from process_memory import wait_until
from recordings import five_sources_counts
from scripted import Held, Scripted, settle
from tracer_run import COLUMNS, HANG_S, ROOT
from tracer_targets import Demo, Target, installed

pytestmark = pytest.mark.usefixtures("root")

SCRIPTS = sorted((ROOT / "bpf" / "one-liners").glob("*.bt"))
PAGE = (ROOT / "docs" / "one-liners.md").read_text()
NAMES = [script.stem for script in SCRIPTS]


def page_commands() -> Dict[str, str]:
    """The command line of each script, by its name."""
    lines = re.findall(r"^\$ (bpftrace .*)$", PAGE, re.MULTILINE)
    return {Path(re.findall(r"\S+\.bt\b", line)[0]).stem: line for line in lines}


def places(name: str) -> int:
    """How many places it puts a probe to: one for each USDT probe, and for each function."""
    text = (ROOT / "bpf" / "one-liners" / f"{name}.bt").read_text()
    code = text[text.index("*/") :]
    found = set(re.findall(r"\b(?:usdt:\*:qemu|ur?e?t?probe:\$1):(\w+)", code))
    assert found
    return len(found)


class Script:
    """A script that runs as the page says: in place when the with is entered; end() is Ctrl-C."""

    def __init__(self, name: str, target: Target) -> None:
        self.target = target
        installed("bpftrace")
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {page_commands()[name]}"],
            cwd=ROOT,
            env={**os.environ, "PID": str(target.pid)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def in_place() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            return breakpoints(target.pid) == places(name)

        try:
            wait_until(in_place, f"the probes of {name} are in the target")
        except BaseException:
            self.process.kill()
            raise

    def end(self) -> "Output":
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> "Output":
        out, err = self.process.communicate(timeout=HANG_S)
        assert self.process.returncode == 0, err
        # Without tracefs it says so of each probe, and of its limit of locked memory.
        noise = re.compile(
            r"ERROR: failed to detach probe|open\(/sys/kernel/|.*RLIMIT_MEMLOCK"
        )
        assert not [line for line in err.splitlines() if not noise.match(line)], err
        return Output(out)

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


class Output:
    """What bpftrace printed: values of maps, and how many a histogram has counted."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: Dict[str, str] = dict(re.findall(r"^(@.*): (\S.*)$", text, re.M))
        self.histograms: Dict[str, int] = {}
        for name, rows in re.findall(r"^(@.*): *\n((?:[\[(].*\n)+)", text, re.M):
            counts = re.findall(r"^[\[(][^|]*?(\d+) \|", rows, re.M)
            self.histograms[name] = sum(int(count) for count in counts)

    def __getitem__(self, key: str) -> int:
        return int(self.values[key])


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with Scripted() as target:
        yield target


# --- the page and the scripts ---------------------------------------------------------------------


def test_the_page_has_a_command_for_every_script() -> None:
    assert sorted(page_commands()) == NAMES
    assert len(NAMES) == 6
    lines = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == len(NAMES) + 2  # and the demo is started, and its PID is noted


@pytest.mark.parametrize("name", NAMES)
def test_a_script_opens_with_what_it_is_and_how_to_run_and_read_it(name: str) -> None:
    text = (ROOT / "bpf" / "one-liners" / f"{name}.bt").read_text()
    lines = text.splitlines()
    assert lines[0] == "#!/usr/bin/env bpftrace" and lines[1] == "/*"
    comment, code = text.split("*/\n", 1)
    assert f" *\t$ {page_commands()[name]}\n" in comment
    assert " * Attaching " in comment and " * How to read it. " in comment
    assert len(code.splitlines()) <= 25
    assert max(len(line.expandtabs(8)) for line in lines) <= COLUMNS
    # The page shows a part of the same output.
    shown = PAGE.split(f"$ {page_commands()[name]}\n")[1].split("```")[0]
    assert shown.splitlines()
    assert all(f" * {line}".rstrip() in lines for line in shown.splitlines())


def test_choosers_are_named_as_in_the_table_of_events() -> None:
    table = (ROOT / "trace" / "loop.probes").read_text()
    (names,) = re.findall(r"^enum chooser \{ (.*) \}$", table, re.MULTILINE)
    text = (ROOT / "bpf" / "one-liners" / "who-chose-the-timeout.bt").read_text()
    words = dict(re.findall(r'@by\[(\d+)\] = "([^"]+)"', text))
    told = {"the caller": "caller", "GSource": "source"}
    assert {
        number: told.get(word, word.lower().replace(" ", "_"))
        for number, word in words.items()
    } == {str(i): name for i, name in enumerate(names.split()) if i}


# --- the demo's probes ----------------------------------------------------------------------------


def test_iteration_latency() -> None:
    """23 iterations of the main loop, and what is left of io0's: all are in the histograms."""
    with Held("five-sources", 23) as target:
        target.wait_polling(1)
        with Script("iteration-latency", target) as script:
            target.result()
            counted = script.ended().histograms
    main = target.pid
    assert counted.pop(f"@awake_us[{main}]") == counted.pop(f"@asleep_us[{main}]") == 23
    # io0 slept when we came: of its last three iterations two begin under our eyes.
    assert list(counted.values()) == [2, 2]


def test_who_chose_the_timeout() -> None:
    """Of the 23 iterations: five times a timer, three times a bottom half, else nobody."""
    with Held("five-sources", 23) as target:
        target.wait_polling(1)
        with Script("who-chose-the-timeout", target) as script:
            target.result()
            output = script.ended()
    chosen: Dict[str, List[int]] = {}
    for key in output.values:
        by, _, asked = key[len("@waits[") : -1].split(", ")
        chosen.setdefault(f"{by}, {asked}", []).append(output[key])
    main = five_sources_counts()["timeout_chosen"]["main"]
    assert sum(sum(counts) for counts in chosen.values()) == main + 2  # io0's last two
    assert {key: sorted(counts) for key, counts in chosen.items()} == {
        "timer, 0": [2, 3],  # the context's, the device's
        "BH, 0": [3],
        "nobody, for ever": [15 + 2],
    }


def test_who_chose_the_timeout_by_name() -> None:
    with Demo("five-sources", "--iterations", 10**9) as target:
        with BusyScript("who-chose-the-timeout", target) as script:
            output = script.end()
    assert set(output.values) == {
        "@waits[timer, five_context_timer_cb, 0]",
        "@waits[timer, five_device_timer_cb, 0]",
        "@waits[BH, five_bh_cb, 0]",
        "@waits[nobody, 0, for ever]",
    }


class BusyScript(Script):
    """On a loop that never sleeps long: it ends when it has seen some iterations."""

    def end(self) -> Output:
        before = waits(self.target.pid)
        wait_until(lambda: waits(self.target.pid) > before + 100, "the loop goes on")
        return super().end()


def waits(pid: int) -> int:
    """How often the threads of a process have gone to sleep."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text()
        total += int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return total


def test_slowest_callbacks() -> None:
    """Five signals and three connections, to a loop that sleeps else: each callback's calls."""
    with Demo("five-sources") as target:
        target.wait_asleep()
        with Script("slowest-callbacks", target) as script:
            for _ in range(5):
                os.kill(target.pid, signal.SIGALRM)
                settle(target.pid)
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(target.vnc))
                settle(target.pid)
            output = script.end()
        assert untouched(target.pid)
    for name, calls in (
        ("sigfd_handler", 5),
        ("vnc_listener_dispatch", 3),
        ("aio_ctx_dispatch", 5),
    ):
        assert output[f"@calls[{name}]"] == calls
        assert 0 < output[f"@longest_ns[{name}]"] <= output[f"@total_ns[{name}]"]
        assert output[f"@total_ns[{name}]"] <= calls * output[f"@longest_ns[{name}]"]
    # Nothing else was called.
    assert len(output.values) == 3 * 3


def test_slowest_callbacks_are_of_all_kinds() -> None:
    with Demo("five-sources", "--iterations", 10**9) as target:
        with BusyScript("slowest-callbacks", target) as script:
            output = script.end()
    names = {key[len("@calls[") : -1] for key in output.values if key[1] == "c"}
    assert names == {
        *("aio_ctx_dispatch", "vnc_listener_dispatch"),
        *("sigfd_handler", "aio_context_notifier_cb"),
        *("five_bh_cb", "five_io0_bh", "five_reply_bh", "notify_event_cb"),
        *("five_device_timer_cb", "five_context_timer_cb"),
    }


# --- a stripped QEMU's functions ------------------------------------------------------------------


def test_qemu_iteration_latency(scripted: Scripted) -> None:
    """A signal is an iteration. The first was begun before us; one sleeps when we go."""
    with Script("qemu-iteration-latency", scripted) as script:
        for _ in range(6):
            scripted.signal()
        output = script.end()
    assert output.histograms == {"@awake_us": 5, "@asleep_us": 5}
    assert not text_differs(scripted.pid)


def test_qemu_timeouts(scripted: Scripted) -> None:
    """io0, which has no timer, sleeps until it is notified; of five waits we see four begin."""
    io0 = scripted.thread("IO io0")
    with Script("qemu-timeouts", scripted) as script:
        for _ in range(5):
            scripted.stir_io0()
        output = script.end()
    rows = {key: value for key, value in output.values.items() if f" {io0}," in key}
    assert list(rows) == [f"@slept_us[IO io0, {io0}, for ever]"]
    assert re.match(r"count 4, average \d+, total \d+$", *rows.values())
    main = [key for key in output.values if f", {scripted.pid}," in key]
    # It looks for work, and it sleeps until its clock's next alarm, hours away.
    assert {key.split(", ")[-1] for key in main} == {"0]", ">= 1 s]"}


def test_qemu_who_notifies(scripted: Scripted) -> None:
    """Each change of io0's settings notifies it, each command the main loop: by whom, how often."""
    main, monitor = scripted.pid, scripted.thread("IO mon_iothread")
    with Script("qemu-who-notifies", scripted) as script:
        for _ in range(4):
            scripted.stir_io0()
        scripted.command("query-status")
        output = script.end()
    name = Path(f"/proc/{main}/task/{main}/comm").read_text().strip()
    assert output[f"@notifies[{name}, {main}, object_property_set]"] == 4
    assert output[f"@notifies[IO mon_iothread, {monitor}, aio_co_schedule]"] == 5


def test_only_the_qemu_that_was_asked_for_is_counted(scripted: Scripted) -> None:
    """bpftrace 0.17 puts its probes into every process of the program; the script picks one."""
    with Scripted() as other, Script("qemu-who-notifies", scripted) as script:
        for _ in range(3):
            other.stir_io0()
        scripted.stir_io0()
        output = script.end()
    keys = [key for key in output.values if "object_property_set" in key]
    assert len(keys) == 1 and output[keys[0]] == 1
