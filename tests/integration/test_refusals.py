"""What loopscope cannot do it refuses in one line, with the exit code that says why."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, List, Sequence

import pytest
from tracer_run import DEMO, LOOPSCOPE, NOBODY, PRIVILEGE, USAGE, run
from tracer_targets import Demo, Qemu

COMMANDS = ("fds", "handlers", "layout")


@pytest.fixture(
    params=["sleep 1000", "bash -c 'read -r x < /dev/zero'", f"{sys.executable} -i"]
)
def stranger(request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with no loop that we know. It waits for its stdin, or sleeps."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        shlex.split(request.param), stdin=pipe, stderr=pipe
    ) as process:
        yield process
        process.kill()


# --- no such target -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_without_our_loop_is_named(
    command: str, stranger: "subprocess.Popen[bytes]"
) -> None:
    program = Path(os.readlink(f"/proc/{stranger.pid}/exe")).name
    line = run(command, "-p", stranger.pid).refused()
    assert f"{program} is not a QEMU" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_no_such_process(command: str) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    line = run(command, "-p", gone.pid).refused()
    assert str(gone.pid) in line


def test_a_zombie() -> None:
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        for way in ("mem", "iter", "probe"):
            assert (
                str(zombie.pid) in run("fds", "-p", zombie.pid, "--via", way).refused()
            )


def kernel_threads() -> List[int]:
    """Those with the flag PF_KTHREAD."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            flags = int(stat.read_text().rsplit(")", 1)[1].split()[6])
        except OSError:
            continue
        if flags & 0x00200000:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_kernel_thread(command: str) -> None:
    threads = kernel_threads()
    if not threads:
        pytest.skip("no kernel thread is visible in this PID namespace")
    line = run(command, "-p", threads[0]).refused()
    assert str(threads[0]) in line and "kernel thread" in line


def test_a_thread_is_not_a_process(demo: Demo, way: str) -> None:
    """/proc/TID exists for every thread: it has to be refused, or be its process."""
    tids = sorted(int(t) for t in os.listdir(f"/proc/{demo.pid}/task"))
    plain = run("fds", "-p", demo.pid, "--via", "mem", "--json").fine()
    for tid in tids[1:]:
        result = run("fds", "-p", tid, "--via", way, "--json")
        if result.rc:
            result.refused()
        else:
            assert result.total == plain.total


# --- no such file ---------------------------------------------------------------------------------


def test_what_is_no_core_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)) * 64)
    for path in (empty, noise, DEMO, tmp_path, Path("/dev/null"), tmp_path / "missing"):
        for command in COMMANDS:
            assert str(path) in run(command, path).refused()


# --- wrong usage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["fds"],
        ["handlers"],
        ["layout"],
        ["fds", "-p"],
        ["fds", "-p", ""],
        ["fds", "-p", "x"],
        ["fds", "-p", "1x"],
        ["fds", "-p", "0"],
        ["fds", "-p", "-1"],
        ["fds", "-p", "99999999999999999999"],
        ["fds", "-p", "1", "-t", "x"],
        ["fds", "-p", "1", "extra"],
        ["handlers", "-p", "1", "ctx", "extra"],
        ["layout", "-p", "1", "extra"],
        ["fds", "-p", "1", "--via"],
        ["fds", "-p", "1", "--via", "magic"],
        ["fds", "-p", "1", "-d", "0"],
        ["fds", "-p", "1", "-d", "-1"],
        ["fds", "-p", "1", "-d", "nan"],
        ["fds", "-p", "1", "-d", "soon"],
        ["fds", "-p", "1", "--nonsense"],
        ["fds", "-p", "1", "-x"],
        ["fds", "-p", "1", "--all=yes"],
        ["fds", "-p", "1", "--ring", "64K"],
        ["record", "-o", "r", "--events", "--", "true"],
        ["report", "r", "--only", "poll_enter"],
        ["fds", "core", "--via", "iter"],
        ["fds", "core", "--via", "probe"],
        ["fds", "\x1b[31m\xff"],
    ],
)
def test_wrong_usage(args: Sequence[str]) -> None:
    if args == ["fds", "\x1b[31m\xff"]:
        assert "\x1b" not in run(*args).refused()  # a core that does not exist
        return
    line = run(*args).refused(USAGE)
    assert "loopscope --help" in line


def test_help_and_version_need_nothing_else() -> None:
    text = run("--help").fine().out
    for words in (*COMMANDS, "-p PID", "--via", "--json", "Exit:"):
        assert words in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert run("--version").fine().out.startswith("loopscope ")


def test_help_of_a_command_is_its_part_of_the_whole() -> None:
    """Its options and no others; each is one that it takes, and each that it takes is told."""
    whole = run("--help").fine().out
    rows = [line.split("\t") for line in run("--help-table").fine().out.splitlines()]
    taken = {row[1]: set(row[3].split()) for row in rows if row[0] == "command"}
    assert set(COMMANDS) <= set(taken)
    every = {row[1] for row in rows if row[0] == "option"}
    for command, options in taken.items():
        text = run(command, "--help").fine().out
        assert set(text.splitlines()) <= set(whole.splitlines())
        assert text.startswith(f"  loopscope {command} ")
        told = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", text, re.MULTILINE))
        # One that it takes as all commands do may be told elsewhere, but never one it does not.
        assert told - {"help", "verbose"} <= options <= every
        refused = "histograms" if command != "report" else "ring=64K"
        line = run(command, f"--{refused}", "--help").refused(USAGE)
        assert f"{command} does not take --{refused.split('=')[0]}" in line
    assert run("--help", "nix").fine().out == whole


# --- no privilege ---------------------------------------------------------------------------------


def sudo_command(*args: object) -> str:
    return " ".join(["sudo", str(LOOPSCOPE), *(str(a) for a in args)])


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("command", COMMANDS)
def test_another_users_process(command: str, demo: Demo) -> None:
    ways: List[List[str]] = [
        [],
        ["--via", "mem"],
        ["--via", "iter"],
        ["--via", "probe"],
    ]
    for way in ways:
        args = (command, "-p", demo.pid, *way)
        line = run(*args, user=NOBODY).refused(PRIVILEGE)
        assert "CAP_SYS_PTRACE" in line and sudo_command(*args) in line


@pytest.fixture(scope="module")
def theirs(root: None) -> Iterator[Demo]:
    """A demo that runs as a user without any privilege."""
    with Demo("five-sources", wrapper=NOBODY) as target:
        yield target.wait_asleep()


@pytest.mark.parametrize("command", COMMANDS)
def test_memory_of_the_own_process_needs_no_privilege(
    command: str, theirs: Demo
) -> None:
    by_root = run(command, "-p", theirs.pid, "--via", "mem", "--json").fine()
    ways: List[List[str]] = [["--via", "mem"], []]
    for way in ways:
        by_owner = run(command, "-p", theirs.pid, "--json", *way, user=NOBODY).fine()
        assert by_owner.rows == by_root.rows


@pytest.mark.parametrize("way", ["iter", "probe"])
def test_bpf_on_the_own_process_needs_a_capability(way: str, theirs: Demo) -> None:
    args = ("fds", "-p", theirs.pid, "--via", way)
    line = run(*args, user=NOBODY).refused(PRIVILEGE)
    assert "CAP_BPF" in line and "CAP_PERFMON" in line and "--via mem" in line
    assert sudo_command(*args) in line


@pytest.mark.usefixtures("root")
def test_a_core_that_may_not_be_read(tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.write_bytes(b"secret")
    core.chmod(0o600)
    tmp_path.chmod(0o755)
    line = run("handlers", core, user=NOBODY).refused(PRIVILEGE)
    assert str(core) in line


# --- things that fail inside ----------------------------------------------------------------------


def strace(call: str, error: str, when: str) -> List[str]:
    inject = f"inject={call}:error={error}:when={when}"
    return [
        "strace",
        "-f",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        inject,
    ]


@pytest.fixture(scope="module")
def has_strace() -> None:
    if subprocess.run(
        ["which", "strace"], stdout=subprocess.DEVNULL, check=False
    ).returncode:
        pytest.skip("strace is not installed")


@pytest.mark.usefixtures("has_strace")
@pytest.mark.parametrize("error", ["ESRCH", "EFAULT"])
@pytest.mark.parametrize("first", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
def test_memory_that_cannot_be_read_any_more(
    qemu: Qemu, first: int, error: str
) -> None:
    """From some read on the target is gone (ESRCH) or its memory unmapped (EFAULT)."""
    inject = strace("process_vm_readv", error, f"{first}+")
    result = run("handlers", "-p", qemu.pid, "--via", "mem", user=inject)
    if result.rc:
        result.refused()
    else:
        assert first > 8, "nothing of the target could be read"


@pytest.mark.usefixtures("root", "has_strace")
@pytest.mark.parametrize("when", range(1, 24, 2))
@pytest.mark.parametrize("error, rc", [("EPERM", 3), ("ENOMEM", 77)])
@pytest.mark.parametrize("way", ["iter", "probe"])
def test_a_kernel_that_refuses_bpf(
    demo: Demo, way: str, error: str, rc: int, when: int
) -> None:
    """Whatever bpf() call fails from some point on: one line and the right code, or it was enough."""
    args: Any = ("fds", "-p", demo.pid, "--via", way, "-d", "0.1")
    result = run(*args, user=strace("bpf", error, f"{when}+"))
    if way == "iter" and result.rc == 0:
        return
    assert result.rc in (rc, 4), result.err  # 4: nobody polled meanwhile
    result.refused(result.rc)


@pytest.mark.usefixtures("root", "has_strace")
def test_without_bpf_memory_is_read_instead(demo: Demo) -> None:
    """Without --via: what the kernel does not allow is done in the way that is left."""
    for error in ("EPERM", "ENOSYS"):
        args = ("fds", "-p", demo.pid, "--json")
        result = run(*args, user=strace("bpf", error, "1+")).fine()
        assert {row["via"] for row in result.of_type("fd")} == {"mem"}
