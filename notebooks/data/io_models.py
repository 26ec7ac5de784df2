#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Five ways to wait for one byte of a pipe, as strace sees them: makes io-models.json.

    ./io_models.py            runs all five under strace
    ./io_models.py MODEL      is one of them

Each waits for a byte that another process writes a little later, between two writes of a mark, so
that what belongs to the way of waiting can be cut out of the trace.
"""

import ctypes
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = 99  # an fd that is not open: writing to it is seen by strace, and by nobody else


def mark():
    """A line in the trace."""
    try:
        os.write(MARK, b"mark")
    except OSError:
        pass


def blocking(fd):
    """The call waits."""
    os.read(fd, 1)


def nonblocking(fd):
    """The call never waits; the program asks again and again."""
    os.set_blocking(fd, False)
    while True:
        try:
            os.read(fd, 1)
            return
        except BlockingIOError:
            time.sleep(0.09)


def multiplexing(fd):
    """One call waits for all descriptors; then the read does not."""
    select.select([fd], [], [])
    os.read(fd, 1)


def signal_driven(fd):
    """The kernel sends a signal when there is something to read."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    signal.sigwaitinfo([signal.SIGIO])
    os.read(fd, 1)


class Iocb(ctypes.Structure):
    """struct iocb of linux/aio_abi.h, for a read."""

    _fields_ = [
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_uint32),
        ("opcode", ctypes.c_uint16),
        ("reqprio", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("buf", ctypes.c_uint64),
        ("nbytes", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("rest", ctypes.c_uint64 * 2),
    ]


def asynchronous(_fd):
    """The read is handed to the kernel, and the program is told when it is done."""
    libc = ctypes.CDLL(None)
    setup, submit, getevents = 206, 209, 208  # x86-64's numbers
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 4096)
        file.flush()
        ctx = ctypes.c_uint64(0)
        libc.syscall(setup, 1, ctypes.byref(ctx))
        buffer = ctypes.create_string_buffer(4096)
        block = Iocb(fd=file.fileno(), buf=ctypes.addressof(buffer), nbytes=1)
        blocks = (ctypes.POINTER(Iocb) * 1)(ctypes.pointer(block))
        events = (ctypes.c_uint64 * 4)()
        mark()
        libc.syscall(submit, ctx, 1, blocks)
        libc.syscall(getevents, ctx, 1, 1, events, None)


MODELS = {
    f.__name__: f
    for f in (blocking, nonblocking, multiplexing, signal_driven, asynchronous)
}
SHOWN = "read,write,poll,ppoll,select,pselect6,fcntl,ioctl,rt_sigprocmask,rt_sigtimedwait,io_submit,io_getevents,clock_nanosleep"


def run_model(name):
    """What strace is put on."""
    out, into = os.pipe()
    if not os.fork():
        time.sleep(0.2)
        os.write(into, b"x")
        os._exit(0)
    mark()
    MODELS[name](out)
    mark()
    os.wait()


def trace(name):
    """The lines of strace between the last two marks; addresses and the pid as they happen to be."""
    with tempfile.NamedTemporaryFile("r") as out:
        command = [
            "strace",
            "-o",
            out.name,
            "-e",
            f"trace={SHOWN}",
            sys.executable,
            __file__,
            name,
        ]
        subprocess.run(command, check=True)
        text = out.read()
    parts = re.split(r"^write\(99,.*\n", text, flags=re.MULTILINE)
    lines = parts[-2].splitlines()
    return [
        re.sub(r"\s+=\s+", " = ", line) for line in lines if not line.startswith("---")
    ]


def main():
    """All five, or the one that is named."""
    if len(sys.argv) > 1:
        run_model(sys.argv[1])
        return
    found = {name: trace(name) for name in MODELS}
    (HERE / "io-models.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
