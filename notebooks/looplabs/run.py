# SPDX-License-Identifier: MIT
"""Running programs for a notebook: the demo loop that records itself, gdb, loopscope.

Nothing here needs a privilege.  Programs are looked for in $BUILD, in build/ of the source tree, and
in bin/ of a student's release.  What only the source tree has (loopscope) may be missing.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent
QUIET: Dict[str, Any] = {
    "stdout": subprocess.PIPE,
    "stderr": subprocess.DEVNULL,
    "text": True,
}
HANG_S = 9  # a cell of a notebook has ten seconds


class RunError(Exception):
    """A program that is missing or failed; the text says which and why."""


def find(name: str) -> Optional[Path]:
    """A program we built, or None."""
    places = [NOTEBOOKS / "bin", NOTEBOOKS.parent / "build"]
    if "BUILD" in os.environ:
        places.insert(0, Path(os.environ["BUILD"]))
    for place in places:
        if os.access(place / name, os.X_OK):
            return place / name
    return None


def need(name: str) -> str:
    """The same, but it has to be there."""
    path = find(name)
    if not path:
        raise RunError(f"{name} is not built: type make build/{name}")
    return str(path)


def gdb_scripts() -> Path:
    """Where `source` finds qemu-gdb.py."""
    for place in (NOTEBOOKS, NOTEBOOKS.parent):
        if (place / "gdb-scripts" / "qemu-gdb.py").is_file():
            return place / "gdb-scripts" / "qemu-gdb.py"
    raise RunError("gdb-scripts/qemu-gdb.py is missing")


def data(name: str) -> Path:
    """A file that comes with the labs."""
    return NOTEBOOKS / "data" / name


def output(*command: object, status: Sequence[int] = (0,)) -> str:
    """What a command prints, on both its outputs; it must end with one of these codes."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=HANG_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise RunError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise RunError(f"{words[0]} took longer than {HANG_S} s") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode not in status:
        last = text.strip().splitlines()[-1:] or [""]
        raise RunError(f"{words[0]} ended with {done.returncode}: {last[0]}")
    return text


def options(**settings: Any) -> List[str]:
    """iterations=5, fds=64 as a command line has them."""
    words: List[str] = []
    for name, value in settings.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def demo_record(out: Path, scenario: str, **settings: Any) -> str:
    """Run a scenario that records itself into the directory `out`; returns what it printed.

    Without `iterations` it is ended by SIGTERM as soon as it says that it is ready.  Before that it
    gets bursts of SIGALRM, if there are any: so many at once, each when it has dealt with the last;
    and is left alone for so many seconds.
    """
    bursts = settings.pop("bursts", ())
    seconds = settings.pop("seconds", 0)
    command = [need("demo-qemu-loop"), "--scenario", scenario, "--record", str(out)]
    command += options(**settings)
    if settings.get("iterations") is not None:
        return output(*command)
    with subprocess.Popen(command, **QUIET) as child:
        assert child.stdout
        said = child.stdout.readline()
        for count in bursts:
            _burst(child.pid, count)
        time.sleep(seconds)
        child.send_signal(signal.SIGTERM)
        try:
            said += child.communicate(timeout=HANG_S)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            raise RunError(f"{scenario} does not end") from None
    return said


def status(pid: int) -> Dict[str, str]:
    """A process's main thread, as /proc/PID/status has it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        name: value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }


def _wait(what: Callable[[], bool], name: str) -> None:
    end = time.monotonic() + HANG_S
    while not what():
        if time.monotonic() > end:
            raise RunError(f"waited too long for {name}")
        time.sleep(0.001)


def _burst(pid: int, count: int) -> None:
    """All while it is stopped, so that it sees them at once."""
    pending = 1 << (signal.SIGALRM - 1)
    os.kill(pid, signal.SIGSTOP)
    _wait(lambda: status(pid)["State"].startswith("T"), "a stop")
    for _ in range(count):
        os.kill(pid, signal.SIGALRM)
    os.kill(pid, signal.SIGCONT)
    _wait(
        lambda: not int(status(pid)["ShdPnd"], 16) & pending
        and status(pid)["State"].startswith("S"),
        "a signal's end",
    )


@contextmanager
def demo(scenario: str, **settings: Any) -> Iterator[int]:
    """A scenario that runs until the end of the with; its pid."""
    command = [need("demo-qemu-loop"), "--scenario", scenario, *options(**settings)]
    with subprocess.Popen(command, **QUIET) as child:
        try:
            assert child.stdout
            child.stdout.readline()  # it is ready
            yield child.pid
        finally:
            child.terminate()
            child.communicate()


def gdb(program: Sequence[object], commands: Sequence[str]) -> str:
    """Run a program under gdb, as `gdb -batch -ex COMMAND ... --args PROGRAM ...`; what gdb says.

    gdb starts the program itself, so no privilege is needed.  `qemu ...` commands are there.
    """
    return output(*_gdb(commands), "--args", *program)


def gdb_attached(pid: int, commands: Sequence[str]) -> str:
    """The same of a process that runs; that takes the right to debug it."""
    said = output(*_gdb([f"attach {pid}", *commands, "detach"]))
    if "ptrace:" in said:
        raise RunError(
            "gdb may not attach to a process here (kernel.yama.ptrace_scope)"
        )
    return said


def _gdb(commands: Sequence[str]) -> List[object]:
    if not shutil.which("gdb"):
        raise RunError("gdb is not installed")
    words: List[object] = ["gdb", "-nx", "-batch", "-ex", "set debuginfod enabled off"]
    words += ["-ex", "set pagination off", "-ex", f"source {gdb_scripts()}"]
    for command in commands:
        words += ["-ex", command]
    return words


def demo_under_gdb(scenario: str, commands: Sequence[str], **settings: Any) -> str:
    """The same for a scenario of the demo loop."""
    program = [need("demo-qemu-loop"), "--scenario", scenario, *options(**settings)]
    return gdb(program, commands)


def demo_core(out: Path, scenario: str, **settings: Any) -> None:
    """A core file of a scenario, by gdb, as soon as it hangs for good (or has spun for a while)."""
    program = [need("demo-qemu-loop"), "--scenario", scenario, *options(**settings)]
    command = _gdb(["run", f"generate-core-file {out}", "kill"])
    words = [str(word) for word in [*command, "--args", *program]]
    # With an arena for each thread the file would be ten times as large.
    env = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    with subprocess.Popen(words, env=env, **QUIET) as child:
        assert child.stdout
        ready = None
        for line in child.stdout:
            ready = re.search(r"pid (\d+), ready", line)
            if ready:
                break
        if ready:
            _settle(int(ready[1]))
            os.kill(int(ready[1]), signal.SIGINT)
        said = child.communicate(timeout=HANG_S)[0]
    if not out.is_file():
        last = said.strip().splitlines()[-1:] or ["it did not start"]
        raise RunError(f"gdb wrote no core file of {scenario}: {last[0]}")


def _settle(pid: int) -> None:
    """Until no thread of a process has run for a while, or they have computed for longer."""

    def ran() -> "tuple[int, int]":
        stats = [t.read_text() for t in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(s.split()[0]) for s in stats), len(stats)

    begin_ns, before, quiet = ran()[0], ran(), 0
    while quiet < 10 and before[0] - begin_ns < 300_000_000:
        time.sleep(0.03)
        now = ran()
        quiet = quiet + 1 if now == before else 0
        before = now


def gdb_core(program: object, core: Path, commands: Sequence[str]) -> str:
    """What gdb says of a core file, without its greeting."""
    said = output(*_gdb(["set width 0", *commands]), program, core)
    greeting, _, rest = said.partition("[Current thread is ")
    return rest.partition("\n")[2] if rest else greeting


def calls(program: Sequence[object], functions: Sequence[str]) -> List[str]:
    """Which of these functions a program calls, in order: gdb prints a line at each of them."""
    marks = [f'dprintf {function},"called {function}\\n"' for function in functions]
    said = gdb(program, [*marks, "run"])
    return [line.split()[1] for line in said.splitlines() if line.startswith("called ")]


def loopscope(*args: object, status: Sequence[int] = (0,)) -> List[Dict[str, Any]]:
    """The rows of `loopscope ... --json`."""
    text = output(need("loopscope"), *args, "--json", status=status)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def scratch() -> Path:
    """A directory for this session, gone at its end."""
    if not _scratch:
        _scratch.append(tempfile.TemporaryDirectory(prefix="looplabs-"))
    return Path(_scratch[0].name)


_scratch: List["tempfile.TemporaryDirectory[str]"] = []
