# SPDX-License-Identifier: MIT
"""qemu diff: two stops compared. qemu tail: a recording seen from a stop."""
import subprocess
from pathlib import Path
from typing import Iterator, List

import pytest
from gdb_run import Core, Gdb, gdb_rows
from tracer_run import DEMO, Row
from tracer_targets import Demo, Qemu

WORDS = "--scenario five-sources --iterations 23 --seed 7"


def run_demo(gdb: Gdb, directory: Path, *commands: str) -> List[str]:
    start = [f"file {DEMO}", f"set args {WORDS} --vnc {directory}/v > /dev/null"]
    start += ["starti", "break main_loop_wait", "continue", "delete"]
    answers = gdb.answers(None, *start, *commands)
    assert [a for a in answers if a["error"] is not None] == []
    return [str(a["out"]) for a in answers[len(start) :]]


# --- qemu diff ----------------------------------------------------------------------------------


def test_the_first_stop_is_remembered_and_nothing_changes_by_itself(
    demo: Demo, demo_core: Core, qemu: Qemu, gdb: Gdb
) -> None:
    for what in (demo, demo_core, qemu):
        answers = gdb.answers(what, "qemu diff", "qemu diff", "qemu diff --json")
        first, second, rows = (str(a["out"]) for a in answers)
        assert (
            "remembered.\nType continue, stop it again (Ctrl-C), and qemu diff" in first
        )
        assert "stop 2 against stop 1" in second
        assert "0 appeared, 0 went, 0 changed; " in second
        (total,) = gdb_rows(rows, "total")
        assert total["changes"] == 0 and isinstance(total["things"], int)


def test_what_appears_goes_and_changes_is_told(gdb: Gdb, tmp_path: Path) -> None:
    """Between two calls of five_bh_cb: a bottom half and a client of VNC came and went."""
    outs = run_demo(
        gdb,
        tmp_path,
        *("qemu diff", "break five_bh_cb", "continue", "qemu diff", "delete"),
        *("set var qemu_notify_bh->flags = 2", "qemu diff", "qemu diff --json"),
    )
    assert f"~ main loop, thread " in outs[3]
    assert (
        "does between its steps -> dispatching, in BH five_bh_cb of qemu_aio_"
        in outs[3]
    )
    assert "- BH five_bh_cb of qemu_aio_context: state scheduled" in outs[3]
    assert outs[7].count('"type":"change"') == 0


def test_a_handlers_new_callback_is_a_change(gdb: Gdb) -> None:
    change = "set var iohandler_ctx->aio_handlers.lh_first->io_write = vnc_listen_io"
    with Demo("five-sources") as demo:
        answers = gdb.answers(
            demo.wait_asleep(), "qemu diff", change, "qemu diff --json"
        )
    (row,) = gdb_rows(str(answers[-1]["out"]), "change")
    assert (row["change"], row["kind"]) == ("changed", "handler")
    assert str(row["name"]).startswith("handler of fd ")
    differences = row["differences"]
    assert isinstance(differences, dict)
    assert differences["callback"] == ["sigfd_handler", "sigfd_handler / vnc_listen_io"]


# --- qemu tail ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """By the demo itself, which needs no privilege; the directory has a space in its name."""
    directory = tmp_path_factory.mktemp("tail") / "a recording"
    words = [*WORDS.split(), "--vnc", directory.parent / "v", "--record", directory]
    subprocess.run([DEMO, *words], check=True, stdout=subprocess.DEVNULL)
    yield directory


def tail(gdb: Gdb, demo: Demo, words: str, *kinds: str) -> List[Row]:
    return gdb_rows(gdb.out(demo, f"qemu tail {words} --json"), *kinds)


def test_the_last_events_are_those_before_the_stop(
    demo: Demo, gdb: Gdb, recording: Path
) -> None:
    rows = tail(gdb, demo, f'"{recording}" -n 5', "event")
    assert len(rows) == 5
    ages = [int(str(row["before_stop_ns"])) for row in rows]
    assert ages == sorted(ages, reverse=True) and ages[-1] >= 0
    (total,) = tail(gdb, demo, f'"{recording}"', "total")
    assert total["lost"] == 0
    text = gdb.out(demo, f'qemu tail "{recording}" -n 3')
    assert "of threads" in text and "none of them is in this process" in text
    assert "          TIME   THREAD  EVENT\n" in text
    assert max(map(len, text.split("\n\n", 1)[1].splitlines())) <= 100


def test_the_tables_are_as_they_were(demo: Demo, gdb: Gdb, recording: Path) -> None:
    """At the end the IOThread's handler is gone; while it lived, it was there."""
    rows = tail(gdb, demo, f'"{recording}" -n 100000', "event")
    times = {
        str(row["event"]): int(str(row["before_stop_ns"]))
        for row in rows
        if row["event"] in ("handler_begin", "context_free")
    }
    before = times["handler_begin"]
    assert before > times["context_free"]
    then = tail(gdb, demo, f'"{recording}" --at -{before}ns', "handler")
    now = tail(gdb, demo, f'"{recording}" --at 0s', "handler")
    assert len(then) > len(now)
    assert {row["source"] for row in now} == {"trace"}
    text = gdb.out(demo, f'qemu tail "{recording}" --at -{before}ns')
    assert f"\nas it was {before / 1e9:g} s before the stop\n" in text
    assert "  fd 3    sigfd_handler\n" in text
    assert " in handler " in text.partition("\nthreads\n")[2]


def test_the_recording_of_the_stopped_process_has_its_names(
    gdb: Gdb, tmp_path: Path
) -> None:
    """It records itself, and is stopped in the middle."""
    directory = tmp_path / "rec"
    start = [
        f"file {DEMO}",
        f"set args {WORDS} --vnc {tmp_path}/v --record {directory}",
    ]
    run = ["starti", "break five_bh_cb", "continue", "continue", "delete"]
    answers = gdb.answers(None, *start, *run, f"qemu tail {directory} --at 0s")
    out, error = answers[-1]["out"], answers[-1]["error"]
    if error is not None:  # nothing of it has been written yet
        assert "recording" in error or "before the stop" in error
    else:
        assert "none of them is in this process" not in out


@pytest.mark.parametrize(
    "words, said",
    [
        ("", "which recording? type qemu tail DIR"),
        ("/nonexistent", "/nonexistent: No such file or directory"),
        ("/tmp -n", "-n needs a number of events: type qemu tail"),
        ("/tmp -n 0", "-n needs a number of events"),
        ("/tmp --at", "--at needs a time before the stop, such as -2.5s"),
        ("/tmp /usr", '"/usr" is too much: type qemu tail DIR'),
        ("/etc/passwd", "/etc/passwd"),
    ],
)
def test_what_is_no_recording_is_said_in_one_line(
    demo: Demo, gdb: Gdb, words: str, said: str
) -> None:
    assert said in gdb.error(demo, f"qemu tail {words}")


def test_without_loopscope_it_says_so(demo: Demo, gdb: Gdb, tmp_path: Path) -> None:
    hide = "python import qemu_gdb.recording as r; r.find_loopscope = lambda: None"
    said = gdb.error(demo, hide, "qemu tail /tmp")
    assert "loopscope reads recordings, and is neither in build/" in said
    assert "os.environ['LOOPSCOPE']" in said
