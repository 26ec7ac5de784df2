#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Make the fuzzers' seeds again:  tests/fuzz/make_corpus.py     (after "make"; needs gcc, objcopy)

Each is a small input that is right, for the fuzzers to spoil: tests/fuzz/corpus/NAME/seed-*. Files
beside them that are called otherwise are inputs that once found a fault; they are kept.
"""

import json
import random
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, List

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
PROGRAM = """
#ifdef PROBE
#include <sys/sdt.h>
#else
#define DTRACE_PROBE1(...)
#endif
struct AioContext { struct { void *lh_first; } aio_handlers; int notify_me; };
extern int outer(struct AioContext *);
int seen;
__attribute__((noinline)) int inner(struct AioContext *ctx) { return ctx->notify_me + seen; }
int aio_notify(struct AioContext *ctx) 
{
	seen++;
	DTRACE_PROBE1(qemu, notified, ctx);
	return inner(ctx) + outer(ctx);
}
"""


def recording(scenario: str, *options: str) -> Dict[str, bytes]:
    """The files of what the demo records of itself."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "r"
        words = [BUILD / "demo-qemu-loop", "--scenario", scenario, *options]
        subprocess.run(
            [*words, "--record", where], check=True, stdout=subprocess.DEVNULL
        )
        return {path.name: path.read_bytes() for path in where.iterdir()}


def metadata() -> bytes:
    """Without the part that is the same in all of them, which nobody parses."""
    text = recording("signal", "--iterations", "1")["metadata"].decode()
    same = (BUILD / "trace" / "loop_events.tsdl").read_text()
    assert same in text
    return text.replace(same, "").encode()


def stream() -> bytes:
    """The first packet of the shortest stream that has events, cut behind its last event."""
    files = recording("five-sources", "--iterations", "1")
    found: List[bytes] = []
    for name, data in files.items():
        if name != "metadata" and len(data) >= 4096:
            content = struct.unpack_from("<Q", data, 48)[0] // 8
            found.append(data[:content])
    return min((data for data in found if len(data) > 80), key=len)


def events(seed: int) -> bytes:
    """A loop of some iterations, and at random what else the table has."""
    table = (HERE.parents[1] / "trace" / "loop.probes").read_text().splitlines()
    words = [line.split() for line in table if line.startswith(("probe ", "record "))]
    ids = {w[2].split("(")[0]: int(w[1]) for w in words}
    choose = random.Random(seed)
    out = bytearray()

    def put(name: str, *fields: int, thread: int = 1) -> None:
        out.extend((choose.randrange(0, 32, 4) | thread, ids[name], *fields))

    for _ in range(2):
        put("iteration_begin", 0x81, 1, 1)
        put("poll_enter", 0x81, 3, 0x40, 1, 0, 1)
        put("poll_exit", 0x81, 1)
        put("dispatch_begin", 0x81)
        put("handler_begin", 0x81, 0x90 + choose.randrange(4), 5, 1, 0x83)
        put(choose.choice(sorted(ids)), *(choose.randrange(0x90) for _ in range(6)))
        put("handler_end", 0x81, 0x90, 5)
        put("dispatch_end", 0x81, 1)
        put("iteration_end", 0x81, 1, 1)
    return bytes(out)


def stall() -> bytes:
    """Two long calls whose stack, and what their time went into, are told; the second goes on."""
    ids = {"poll_exit": 9, "poll_enter": 8, "bh_begin": 47, "thread_state": 160}
    ids.update({"stack_frame": 161, "stall_split": 167, "stall_call": 168, "fd": 135})
    out = bytearray()
    thread = 101  # the fuzzer's second stream
    ns = (0xC3, 0, 0, 0, 1)  # 16777216, in four bytes

    def put(name: str, *fields: int, stream: int = 0, steps: int = 0) -> None:
        """So many steps of 8388608 ns after the one before."""
        out.extend((steps * 0x20 | stream, ids[name], *fields))

    for goes_on in range(2):
        put("poll_exit", 0x81, 1, stream=1, steps=1)
        put("bh_begin", 0x81, 0x82, 0x83, 0, 0, stream=1)
        put("thread_state", thread, 3, 74, 0, 0, 5, steps=1)
        put("stack_frame", thread, 0, 0x84, 0x85)
        put("fd", 7, 7, 2, 97, 98, steps=goes_on)
        if not goes_on:
            put("poll_enter", 0x81, 3, 0x40, 1, 0, 1, stream=1, steps=1)
        put("stall_call", thread, 74, 7, *ns, 1)
        put("stall_split", thread, goes_on, 0, *ns, 9, 0, *ns, 0)
    return bytes(out)


def program(folder: Path, *options: str) -> bytes:
    """A shared library as small as the linker makes one."""
    source, made = folder / "p.c", folder / "p.so"
    source.write_text(PROGRAM)
    words = ["gcc", "-Os", "-shared", "-nostdlib", "-fPIC", "-Wl,--build-id=sha1"]
    words += ["-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=16", "-Wl,-z,norelro"]
    subprocess.run([*words, *options, source, "-o", made], check=True)
    return made.read_bytes()


def frames(folder: Path) -> bytes:
    """The .eh_frame of the program just made."""
    out = folder / "eh"
    words = ["objcopy", "-O", "binary", "--only-section=.eh_frame"]
    subprocess.run([*words, folder / "p.so", out], check=True)
    return out.read_bytes()


def frames_with(augmentation: bytes, data: bytes) -> bytes:
    """A CIE that says how to read what an FDE behind it has."""
    cie = struct.pack("<IB", 0, 1) + augmentation + b"\0\x01\x78\x10"
    cie += bytes([len(data)]) + data
    cie += bytes(-(len(cie) + 4) % 8)
    fde = struct.pack("<IIIB", len(cie) + 8, 0x1000, 0x20, 0)
    fde += bytes(-(len(fde) + 4) % 8)
    both = struct.pack("<I", len(cie)) + cie + struct.pack("<I", len(fde)) + fde
    return both + bytes(4)


def note(kind: int, desc: bytes) -> bytes:
    head = struct.pack("<III", 5, len(desc), kind) + b"CORE\0\0\0\0"
    return head + desc + bytes(-len(desc) % 4)


def core(file: bytes = b"/bin/x") -> bytes:
    """One thread in a system call, one segment, one mapped file."""
    files = struct.pack("<QQ", 1, 4096) + struct.pack("<QQQ", 0x1000, 0x2000, 0)
    status = bytearray(336)  # struct elf_prstatus
    struct.pack_into("<I", status, 32, 77)
    struct.pack_into("<Q", status, 112 + 15 * 8, 7)  # orig_rax: poll
    struct.pack_into("<Q", status, 112 + 16 * 8, 0x3002)  # rip, behind "syscall"
    struct.pack_into("<Q", status, 112 + 19 * 8, 0x3000)  # rsp
    info = bytearray(136)  # struct elf_prpsinfo
    struct.pack_into("<I", info, 24, 77)
    info[40:44] = b"fuzz"
    notes = note(3, bytes(info)) + note(0x46494C45, files + file + b"\0")
    notes += note(1, bytes(status))
    memory = b"\x0f\x05" + bytes(62)
    at = 64 + 2 * 56
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 4, 62, 1)
    head += struct.pack("<QQQIHHHHHH", 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    segments = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), 0, 4)
    segments += struct.pack(
        "<IIQQQQQQ", 1, 5, at + len(notes), 0x3000, 0, 64, 0x1000, 1
    )
    return head + segments + notes + memory


def layout() -> bytes:
    row = {"struct": "AioHandler", "field": "pfd", "offset": 0, "proof": "it is"}
    globals_ = ("qemu_aio_context", "iohandler_ctx", "aio_source_funcs")
    document = {
        **{"type": "layout", "version": 1, "source": "inferred", "build_id": "abcd"},
        "fields": [row, {**row, "field": "pfd.fd", "offset": None}],
        "globals": {name: 4096 for name in globals_},
        "sizes": {"AioContext": 600, "AioHandler": None},
    }
    return json.dumps(document).encode()


def proc(link: bytes) -> bytes:
    parts = [
        b"55d0-66d0 r-xp 00001000 fe:00 42   /usr/bin/x y\n7000-8000 rw-p 0 0:0 0 \n",
        b"main\xe2\x80\xae\n",
        b"271 0x7f01 0x2 0x0 0x0 0x8 0x0 0x3000 0x55d4\n",
        b"Name:\tx\nSigPnd:\t0000000000000004\nShdPnd:\t0\nNSpid:\t77\t1\n",
        b"/usr/bin/x y",
        link,
        b"Num RefCount Protocol\n00: 00000002 00000000 00010000 0001 01 12 /tmp/s\n",
        b"  sl\n   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 12 1\n",
        b"pos:\t0\nsigmask:\t4\n",
        b"tfd:        5 events:       19 data: 5\n",
        b"\x01\x4d",
        bytes(range(64)),
    ]
    return b"\xff".join(parts)


def make() -> Dict[str, List[bytes]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        elf = [program(folder, *more) for more in (("-s", "-DPROBE"), ("-g",), ("-s",))]
        eh_frame = frames(folder)
    raw = stream()
    return {
        "metadata": [metadata()],
        "recording": [bytes([n]) + events(n) for n in range(13)]
        + [b"\x81" + raw, b"\xc7" + raw]
        + [bytes([n]) + stall() for n in (7, 13, 14)],
        "elf": elf,
        "cfi": [
            eh_frame,
            frames_with(b"zR", b"\x1b"),
            frames_with(b"zPLR", b"\x03\x00\x10\x00\x00\x1b\x0b"),
            frames_with(b"zRS", b"\x00"),
        ],
        "layout": [layout()],
        "core": [core()],
        "proc": [
            proc(b"socket:[12]"),
            proc(b"anon_inode:[eventfd]"),
            proc(b"anon_inode:[signalfd]"),
            proc(b"pipe:[3]"),
        ],
    }


def main() -> None:
    for name, seeds in make().items():
        folder = HERE / "corpus" / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        for number, data in enumerate(seeds):
            (folder / f"seed-{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
