"""A static callback of a stripped program has no name: what is shown instead is true."""

import os
import re
import subprocess
from typing import Dict, Iterator, List, Set, Tuple

import pytest
from process_memory import exe, load_base, text_symbols
from tracer_run import Row, run
from tracer_targets import Qemu

UNNAMED = re.compile(r"qemu-system-x86_64\+0x([0-9a-f]+)")


@pytest.fixture(scope="module")
def functions(qemu: Qemu) -> Dict[int, int]:
    """readelf's reading of the FDEs: end of each function by its start."""
    out = subprocess.run(
        ["readelf", "--wide", "--debug-dump=frames", exe(qemu.pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    spans = re.findall(r" FDE cie=\S+ pc=([0-9a-f]+)\.\.([0-9a-f]+)", out)
    assert len(spans) > 10000
    return {int(start, 16): int(end, 16) for start, end in spans}


def unnamed(rows: List[Row], *keys: str) -> Iterator[Tuple[Row, int]]:
    for row in rows:
        for key in keys:
            match = UNNAMED.fullmatch(row.get(key) or "")
            if match:
                yield row, int(match.group(1), 16)


def called_by(path: str, start: int, end: int) -> Set[str]:
    """Names of the functions that objdump sees called or jumped to."""
    code = subprocess.run(
        ["objdump", "-d", f"--start-address={start}", f"--stop-address={end}", path],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    found = re.findall(
        r"\b(?:call|jmp|j[a-z]+)q? +[0-9a-f]+ <([^>+@]+)(?:@[^>+]*)?>", code
    )
    return set(found)


def test_unnamed_callbacks_start_a_function(
    qemu: Qemu, functions: Dict[int, int]
) -> None:
    fds = run("fds", "-p", qemu.pid, "--json").fine().of_type("fd")
    handlers = run("handlers", "-p", qemu.pid, "--json").fine().rows
    keys = ("callback", "io_read", "io_write", "io_poll")
    found = {link for _, link in [*unnamed(fds, *keys), *unnamed(handlers, *keys)]}
    assert len(found) >= 4  # sigfd_handler, the notifiers', the listeners', timers'
    assert found <= set(functions)


def test_unnamed_callbacks_have_no_name_to_give(qemu: Qemu) -> None:
    """A function with a dynamic symbol would have been called by it."""
    named = set(text_symbols(exe(qemu.pid)).values())
    for kind in ("fds", "handlers"):
        rows = run(kind, "-p", qemu.pid, "--json").fine().rows
        for _, link in unnamed(rows, "callback", "io_read", "io_write", "io_poll"):
            assert link not in named


def test_calls_are_made_by_that_very_function(
    qemu: Qemu, functions: Dict[int, int]
) -> None:
    rows = run("fds", "-p", qemu.pid, "--json").fine().of_type("fd")
    shown = {
        link: row["calls"] for row, link in unnamed(rows, "callback") if row["calls"]
    }
    assert len(shown) >= 2
    exported = set(text_symbols(exe(qemu.pid)))
    for link, calls in shown.items():
        names = set(calls.split(", "))
        assert names <= called_by(exe(qemu.pid), link, functions[link])
        assert not [n for n in names if n in exported and UNNAMED.fullmatch(n)]


def test_the_signal_handler_reads_its_signalfd(qemu: Qemu) -> None:
    rows = run("fds", "-p", qemu.pid, "--json").fine().of_type("fd")
    (row,) = [r for r in rows if r["fd_kind"] == "signalfd"]
    assert {"read", "sigaction"} <= set(row["calls"].split(", "))
    assert UNNAMED.fullmatch(row["callback"])


def test_the_address_is_that_of_the_target_memory(qemu: Qemu) -> None:
    """program+0x... is the link address: base of the mapping plus that holds the function's code."""
    rows = run("handlers", "-p", qemu.pid, "--json").fine().of_type("handler")
    path = exe(qemu.pid)
    base = load_base(qemu.pid, path)
    with open(path, "rb") as file, open(
        f"/proc/{qemu.pid}/mem", "rb", buffering=0
    ) as memory:
        for _, link in unnamed(rows, "io_read", "io_poll"):
            file.seek(link)  # text of a Debian QEMU lies at its file offset
            memory.seek(base + link)
            assert file.read(32) == memory.read(32)


def test_text_shows_address_and_calls(qemu: Qemu) -> None:
    for kind in ("fds", "handlers"):
        text = run(kind, "-p", qemu.pid).fine().out
        assert re.search(r"signalfd +in .*" + UNNAMED.pattern, text)
        assert re.search(r"^ +calls read, sigaction", text, re.M)


def test_named_callbacks_are_shown_by_name_alone(qemu: Qemu) -> None:
    names = set(text_symbols(exe(qemu.pid)))
    rows = run("fds", "-p", qemu.pid, "--json").fine().of_type("fd")
    for row in rows:
        if row["callback"] and not UNNAMED.fullmatch(row["callback"]):
            assert row["callback"] in names and row["calls"] is None
    assert os.path.basename(exe(qemu.pid)) == "qemu-system-x86_64"
