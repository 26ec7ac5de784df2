"""What probes do to a program: its code in memory, and its USDT semaphores, held against its file."""

import re
import subprocess
from collections import Counter
from typing import Iterator, List, Tuple

from process_memory import Memory, exe, load_base, maps


def code_and_file(pid: int) -> Iterator[Tuple[str, bytes, bytes]]:
    """Of each mapped file: its code in memory, and the same bytes in the file."""
    memory = Memory(pid)
    for m in maps(pid):
        if "x" not in m.perms or not m.path.startswith("/"):
            continue
        with open(m.path, "rb") as file:
            file.seek(m.offset)
            code = file.read(m.end - m.start)
        yield m.path, memory.read(m.start, len(code)), code
    memory.close()


def text_differs(pid: int) -> List[str]:
    """The mapped files whose code in memory is not the code in the file."""
    return [path for path, code, plain in code_and_file(pid) if code != plain]


def breakpoints(pid: int) -> int:
    """How many places of its code have a breakpoint."""
    return sum(
        sum(a != b for a, b in zip(code, plain))
        for _, code, plain in code_and_file(pid)
        if code != plain
    )


def semaphores(pid: int) -> Counter[int]:
    """How many of the demo's probes are counted as listened to how often."""
    path = exe(pid)
    notes = subprocess.run(
        ["readelf", "-n", path], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    base, memory = load_base(pid, path), Memory(pid)
    addresses = {int(x, 16) for x in re.findall(r"Semaphore: 0x([0-9a-f]+)", notes)}
    counts = Counter(
        int.from_bytes(memory.read(base + at, 2), "little") for at in addresses
    )
    memory.close()
    assert sum(counts.values()) > 70
    return counts


def untouched(pid: int) -> bool:
    """Of the demo: no breakpoint, and nobody listens."""
    return not text_differs(pid) and set(semaphores(pid)) == {0}
