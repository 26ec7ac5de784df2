"""The unwinder on a program whose chain of calls is known: optimized, no frame pointers, stripped."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

BUILD = Path(os.environ.get("BUILD", "build")).resolve()
DIR = BUILD / "tests/unit/doctor"
HANG_S = 60
EXIT_FAILED = 4
PAUSE = "34 "  # the system call in /proc/PID/task/TID/syscall

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may load bpf programs"
)


@pytest.fixture(scope="module")
def names() -> Dict[str, str]:
    """What the stripped program's functions were called: by "chain.stripped+0x..."."""
    out = subprocess.run(
        ["nm", DIR / "chain"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    symbols = (line.split() for line in out.splitlines())
    return {
        f"chain.stripped+0x{int(words[0], 16):x}": words[2]
        for words in symbols
        if len(words) == 3
    }


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> Iterator[Tuple[int, int]]:
    """Process and thread of a chain that is in its leaf."""
    with subprocess.Popen(
        [DIR / "chain.stripped", request.param], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        ready = process.stdout.readline().split()
        assert ready[0] == "ready"
        syscall = Path(f"/proc/{process.pid}/task/{ready[1]}/syscall")
        while request.param not in (
            "run",
            "lost",
        ) and not syscall.read_text().startswith(PAUSE):
            time.sleep(0.001)
        yield process.pid, int(ready[1])
        process.kill()


def take(
    pid: int, tid: int, names: Dict[str, str], rc: int = 0
) -> Tuple[List[str], str]:
    """The functions, innermost first, and the last line of what stack-tool says."""
    done = subprocess.run(
        [DIR / "stack-tool", str(pid), str(tid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == rc, done.stderr
    if rc:
        return [], done.stderr
    *rows, last = done.stdout.splitlines()
    functions = [row.split()[1] for row in rows]
    return [names.get(function, function) for function in functions], last


def own(functions: List[str]) -> List[str]:
    return [
        f for f in functions if re.fullmatch(r"leaf|middle|top|start|main|_start", f)
    ]


@pytest.mark.parametrize("chain", ["sleep"], indirect=True)
def test_a_sleeping_thread(chain: Tuple[int, int], names: Dict[str, str]) -> None:
    functions, last = take(*chain, names)
    assert functions[0] == "pause"
    assert own(functions) == ["leaf", "middle", "top", "main", "_start"]
    assert functions[-1] == "_start"
    assert last.startswith("whole state=S nr=34 ")  # pause


@pytest.mark.parametrize("chain", ["run"], indirect=True)
def test_a_running_thread(chain: Tuple[int, int], names: Dict[str, str]) -> None:
    functions, last = take(*chain, names)
    assert own(functions) == ["leaf", "middle", "top", "main", "_start"]
    assert functions[-1] == "_start"
    assert last.startswith("whole state=R nr=-1 ")


@pytest.mark.parametrize("chain", ["thread"], indirect=True)
def test_a_second_thread_ends_in_clone(
    chain: Tuple[int, int], names: Dict[str, str]
) -> None:
    functions, last = take(*chain, names)
    assert chain[0] != chain[1]
    assert own(functions) == ["leaf", "middle", "top", "start"]
    # It has a name where the C library's debug file is installed.
    assert functions[-1].startswith("libc.so.6+") or "clone3" in functions[-1]
    assert last.startswith("whole ")


@pytest.mark.parametrize("chain", ["deep"], indirect=True)
def test_a_stack_larger_than_the_copy(
    chain: Tuple[int, int], names: Dict[str, str]
) -> None:
    functions, last = take(*chain, names)
    assert own(functions) == ["leaf", *["middle"] * 41, "top", "main", "_start"]
    assert last.startswith("whole ")


@pytest.mark.parametrize("chain", ["many"], indirect=True)
def test_more_frames_than_are_kept_are_cut(
    chain: Tuple[int, int], names: Dict[str, str]
) -> None:
    functions, last = take(*chain, names)
    assert len(functions) == 128
    assert own(functions) == ["leaf", *["middle"] * 126]
    assert last.startswith("cut ")


@pytest.mark.parametrize("chain", ["lost"], indirect=True)
def test_a_stack_pointer_to_nowhere_gives_the_frame_it_is_in(
    chain: Tuple[int, int], names: Dict[str, str]
) -> None:
    functions, last = take(*chain, names)
    assert functions == ["leaf"]
    assert last.startswith("cut ")


@pytest.mark.parametrize("chain", ["sleep"], indirect=True)
def test_it_sleeps_on_undisturbed(
    chain: Tuple[int, int], names: Dict[str, str]
) -> None:
    """A stack is taken without a stop: the thread's sleep is the same one after it."""

    def sleeps() -> List[str]:
        status = Path(f"/proc/{chain[0]}/task/{chain[1]}/status").read_text()
        return re.findall(r"voluntary_ctxt_switches:\s*\d+", status)

    before = sleeps()
    for _ in range(5):
        take(*chain, names)
    assert sleeps() == before


@pytest.mark.parametrize("chain", ["sleep"], indirect=True)
def test_a_thread_that_is_not_there(
    chain: Tuple[int, int], names: Dict[str, str]
) -> None:
    _, said = take(chain[0], 1, names, EXIT_FAILED)
    assert said == "stack-tool: thread 1 has exited\n"
