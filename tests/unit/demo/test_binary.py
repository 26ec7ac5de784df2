# SPDX-License-Identifier: MIT
"""What the compiler made of the demo's probes; $BUILD has the programs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

BUILD = Path(os.environ["BUILD"])
DEMO = BUILD / "demo-qemu-loop"
BARE = BUILD / "demo-qemu-loop-noprobes"
X86 = os.uname().machine == "x86_64"


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not X86, reason="knows the instructions of x86-64 only")
def test_an_idle_probe_is_a_compare_and_a_jump():
    code = output("objdump", "-d", "--no-show-raw-insn", str(DEMO)).splitlines()
    tests = [
        i for i, line in enumerate(code) if re.search(r"<qemu_\w+_semaphore>", line)
    ]
    kinds = {re.search(r"<qemu_(\w+)_semaphore>", code[i])[1] for i in tests}
    tested = 0
    for i in tests:
        if "cmpw " in code[i]:
            assert "cmpw   $0x0," in code[i], code[i]
            assert re.search(r"\tjne ", code[i + 1]), code[i : i + 2]
            tested += 1
    assert tested >= len(kinds) > 40


def test_without_probes_none_is_left():
    assert "stapsdt" in output("readelf", "-n", str(DEMO))
    assert "stapsdt" not in output("readelf", "-n", str(BARE))
    assert not re.search(r"probe_fire|_semaphore", output("nm", str(BARE)))


@pytest.mark.parametrize("program", [DEMO, BARE], ids=lambda path: path.name)
def test_it_exports_its_functions_as_qemu_does(program):
    exported = set(
        re.findall(r" T (\w+)", output("nm", "-D", "--defined-only", str(program)))
    )
    assert {
        "aio_poll",
        "aio_set_fd_handler",
        "qemu_get_aio_context",
        "timer_mod_ns",
    } <= exported
    assert not [name for name in exported if name.startswith("probe_")]
