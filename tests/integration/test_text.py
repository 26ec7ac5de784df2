"""What reaches the terminal: lines of at most 100 columns, nothing of the target unescaped, NDJSON."""

import json
import os
import shutil
import signal
import subprocess
import unicodedata
from pathlib import Path
from typing import Callable, Iterator, List, Sequence

import pytest
from process_memory import listeners
from tracer_run import COLUMNS, DEMO, LOOPSCOPE, Result, probe_while, run
from tracer_targets import Demo, Qemu, Target

COMMANDS = (
    ["fds"],
    ["fds", "--all"],
    ["fds", "--via", "mem"],
    ["handlers"],
    ["handlers", "--all"],
    ["layout"],
)

# Clears a terminal, renames its window, is no UTF-8, is a C1 control, backspaces.
HOSTILE = b"\x1b[2J\x1b]0;owned\x07\xff\xfe\xc2\x9b31m\x08\x08\x7f"
# Valid and printable, but what follows is shown from right to left, or on a line of its own.
MISLEADING = "a\u202etxt.exe\u2066b\u2028c\u2029d"


def all_commands(pid: int) -> Iterator[Result]:
    for words in COMMANDS:
        yield run(words[0], "-p", pid, *words[1:])


def assert_harmless(text: str) -> None:
    """No control character, of C0 or C1, but the newline."""
    for c in text:
        assert c == "\n" or unicodedata.category(c) != "Cc", f"{c!r} in {text!r}"


def width(line: str) -> int:
    return sum(0 if unicodedata.combining(c) else 1 for c in line)


def assert_narrow(text: str) -> None:
    assert [line for line in text.splitlines() if width(line) > COLUMNS] == []


@pytest.mark.parametrize("name", ["demo", "qemu", "many"])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words))
def test_lines_have_at_most_100_columns(
    name: str, words: List[str], request: pytest.FixtureRequest
) -> None:
    target = request.getfixturevalue(name)
    text = run(words[0], "-p", target.pid, *words[1:]).fine().out
    assert_narrow(text)
    assert_harmless(text)
    assert not [line for line in text.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("name", ["demo", "qemu", "many"])
@pytest.mark.parametrize("words", COMMANDS[:5], ids=lambda words: " ".join(words))
def test_json_is_one_object_a_line_and_ends_with_the_total(
    name: str, words: List[str], request: pytest.FixtureRequest
) -> None:
    target = request.getfixturevalue(name)
    result = run(words[0], "-p", target.pid, "--json", *words[1:]).fine()
    assert [row["type"] for row in result.rows].index("total") == len(result.rows) - 1
    assert result.total["lost"] == 0
    rows = [row["type"] for row in result.rows]
    if words[0] == "fds":
        assert result.total["fds"] == rows.count("fd")
    else:
        assert result.total["contexts"] == rows.count("context")
        assert result.total["timers"] == rows.count("timer")
        assert result.total["bhs"] == rows.count("bh")
        counts = [row["count"] for row in result.of_type("handler")]
        assert result.total["handlers"] == sum(counts)


def test_keys_are_those_that_were_promised(qemu: Qemu) -> None:
    fds = "fd fd_kind events owner ctx callback registered_by ready"
    for row in run("fds", "-p", qemu.pid, "--json").fine().of_type("fd"):
        assert set(fds.split()) <= set(row)
    handlers = "ctx ctx_addr thread fd fd_kind events io_read io_write io_poll opaque state count source"
    for row in run("handlers", "-p", qemu.pid, "--json").fine().of_type("handler"):
        assert set(handlers.split()) <= set(row)


def test_no_colour_where_there_is_no_terminal(demo: Demo) -> None:
    assert "\x1b" not in run("fds", "-p", demo.pid).fine().out


def on_terminal(*args: object, **env: str) -> str:
    """The output of loopscope when it writes to a terminal."""
    words = " ".join(str(a) for a in args)
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
        check=True,
    )
    return done.stdout.decode()


def test_colour_on_a_terminal_unless_no_color_is_set(demo: Demo) -> None:
    if not shutil.which("script"):
        pytest.skip("script (package bsdutils) is not installed")
    command = (LOOPSCOPE, "fds", "-p", demo.pid)
    assert "\x1b[1m" in on_terminal(*command)
    assert "\x1b" not in on_terminal(*command, NO_COLOR="1")


# --- hostile names --------------------------------------------------------------------------------


def hostile_path(prefix: str, tmp: Path) -> str:
    return os.fsdecode(os.fsencode(tmp / prefix) + HOSTILE)


class HostileSocket(Demo):
    """The demo listens on a path made of escape sequences."""

    def __init__(self, tmp: Path) -> None:
        super().__init__("five-sources", "--vnc", hostile_path("v", tmp))
        self.wait_asleep()


class HostileProgram(Demo):
    """The program's own file is called so, hence its process and its threads too."""

    def __init__(self, tmp: Path) -> None:
        path = hostile_path("d", tmp)
        shutil.copy(DEMO, path)
        super().__init__("five-sources", program=path)
        self.wait_asleep()


class HostileQemu(Qemu):
    """A real one that serves VNC on such a path."""

    def __init__(self, tmp: Path) -> None:
        super().__init__("qemu-system-x86_64", "-vnc", "unix:" + hostile_path("q", tmp))


HOSTILE_TARGETS: List[Callable[[Path], Target]] = [
    HostileSocket,
    HostileProgram,
    HostileQemu,
]


@pytest.fixture(
    scope="module", params=HOSTILE_TARGETS, ids=["socket", "program", "qemu"]
)
def hostile(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    make: Callable[[Path], Target] = request.param
    with make(tmp_path_factory.mktemp("h")) as target:
        yield target


def test_names_of_the_target_do_not_drive_the_terminal(hostile: Target) -> None:
    for result in all_commands(hostile.pid):
        result.fine()
        assert_harmless(result.out)
        assert_narrow(result.out)


def test_names_of_the_target_are_valid_json(hostile: Target) -> None:
    for command in ("fds", "handlers", "layout"):
        result = run(command, "-p", hostile.pid, "--json").fine()
        for row in result.rows:
            assert_harmless(" ".join(str(value) for value in row.values()))


def test_names_in_messages_do_not_drive_the_terminal(
    hostile: Target, tmp_path: Path
) -> None:
    core = hostile_path("core", tmp_path)
    with open(core, "wb") as file:
        file.write(b"no core")
    for args in (
        ["handlers", "-p", str(hostile.pid), os.fsdecode(HOSTILE)],
        ["fds", core],
    ):
        assert_harmless(run(*args).refused())


def test_each_thread_by_its_hostile_name(hostile: Target) -> None:
    for tid in os.listdir(f"/proc/{hostile.pid}/task"):
        result = run("fds", "-p", hostile.pid, "-t", tid)
        assert result.rc in (0, 4)
        assert_harmless(result.out + result.err)


def test_text_that_turns_a_line_round_is_replaced() -> None:
    """Bidirectional overrides make a line read as something else: format and separator characters."""
    with Demo("five-sources", "--vnc", MISLEADING) as target:
        for result in all_commands(target.wait_asleep().pid):
            kinds = {unicodedata.category(c) for c in result.fine().out}
            assert not kinds & {"Cf", "Zl", "Zp"}


def test_a_newline_in_a_socket_path_forges_no_other_socket() -> None:
    """/proc/net/unix prints paths as they are: a second line in one looks like another socket."""
    with Demo("five-sources") as honest:
        inode = listeners(honest.wait_asleep().pid)[str(honest.vnc)][
            len("socket:[") : -1
        ]
        forged = (
            f"x\n0000000000000000: 00000002 00000000 00010000 0001 01 {inode} forged"
        )
        with Demo("five-sources", "--vnc", forged):
            rows = run("fds", "-p", honest.pid, "--json").fine().of_type("fd")
            details = [row["fd_detail"] for row in rows if row["fd_kind"] == "unix"]
            assert details == [f"listens on {honest.vnc}"]


# --- programs in odd places -----------------------------------------------------------------------


def looks_normal(pid: int, ways: Sequence[str]) -> None:
    for way in ways:
        result = run("fds", "-p", pid, "--via", way, "--json").fine()
        assert result.total["fds"] == 6 and result.total["unknown"] == 0
    assert run("handlers", "-p", pid, "--json").fine().total["contexts"] == 3
    probed = probe_while(pid, 1, lambda: os.kill(pid, signal.SIGALRM)).fine()
    assert probed.total["fds"] == 5 and probed.total["unknown"] == 0


def test_a_deleted_program(root: None, tmp_path: Path) -> None:
    """After an upgrade of the package the running program has no file any more."""
    program = tmp_path / "demo-qemu-loop"
    shutil.copy(DEMO, program)
    with Demo("five-sources", program=program) as target:
        target.wait_asleep()
        program.unlink()
        looks_normal(target.pid, ("mem", "iter"))
        rows = run("fds", "-p", target.pid, "--json").fine().of_type("fd")
        assert "vnc_listen_io" in [row["callback"] for row in rows]
        assert "(deleted)" not in json.dumps(
            run("handlers", "-p", target.pid, "--json").rows
        )


def test_a_program_that_was_replaced(root: None, tmp_path: Path) -> None:
    """Another file has its name now; what runs is what counts."""
    program = tmp_path / "demo-qemu-loop"
    shutil.copy(DEMO, program)
    with Demo("five-sources", program=program) as target:
        target.wait_asleep()
        program.unlink()
        shutil.copy("/bin/true", program)
        looks_normal(target.pid, ("mem", "iter"))


def test_a_program_in_another_mount_namespace(root: None, tmp_path: Path) -> None:
    """As in a container: its file cannot be reached under its name from here."""
    inside = tmp_path / "inside"
    inside.mkdir()
    script = (
        'mount -t tmpfs none "$0" && cp "$1" "$0/demo" && shift && exec "$0/demo" "$@"'
    )
    wrapper = ["unshare", "-m", "bash", "-c", script, str(inside)]
    with Demo("five-sources", wrapper=wrapper) as target:
        target.wait_asleep()
        assert not (inside / "demo").exists()
        looks_normal(target.pid, ("mem", "iter"))
