#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a real, stripped QEMU shows of itself: makes qemu-a.json, qemu-a.tar.xz, ... qemu-d.*.

    make && sudo notebooks/data/real_qemu.py

Needs root (loopscope record), qemu-system-x86_64, strace and gdb.  Of each of four QEMUs there is: its
command line, its descriptors in /proc, one ppoll of its main loop by strace, what gdb's breakpoints on
registration and creation say, loopscope's tables, and a recording of some seconds in which a client
connects.  No guest runs in them (-S): what is left is the loop.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOOPSCOPE = ROOT / "build" / "loopscope"
QEMU = "qemu-system-x86_64 -accel tcg -S -m 64 -nodefaults -display none -name lab,debug-threads=on"
SERIAL = (
    "-chardev socket,id=serial0,path=serial,server=on,wait=off -serial chardev:serial0"
)
VNC, QMP = "-vnc unix:vnc", "-qmp unix:qmp,server=on,wait=off"
QUIET = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.DEVNULL,
}
MONITOR = "-monitor unix:monitor,server=on,wait=off"

MACHINES = {
    "a": (f"{QEMU} {VNC} {QMP}", "vnc"),
    "b": (f"{QEMU} -object iothread,id=io0 {SERIAL} {VNC}", "serial"),
    "c": (
        f"{QEMU} -object iothread,id=io0 -object iothread,id=io1 {MONITOR} {SERIAL}",
        "monitor",
    ),
    "d": (f"{QEMU} {SERIAL} {QMP} {VNC} -object iothread,id=io0", "vnc"),
}

GDB = """
set debuginfod enabled off
set pagination off
set width 0
set breakpoint pending on
break aio_set_fd_handler
commands
silent
printf "REGISTERED aio_set_fd_handler fd %d\\n", (int)$rsi
bt 4
continue
end
break qio_channel_create_watch
commands
silent
printf "REGISTERED qio_channel_create_watch\\n"
bt 4
continue
end
catch syscall eventfd2
commands
silent
printf "CREATED eventfd %d\\n", (int)$rax
bt 5
continue
end
catch syscall signalfd4
commands
silent
printf "CREATED signalfd %d\\n", (int)$rax
bt 5
continue
end
run
"""


def wait_for(what):
    """Until it is true; half a minute is enough for anything here."""
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    raise SystemExit("real_qemu: waited too long")


def run(*command, **options):
    """What a command prints."""
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, **options
    ).stdout


def by_gdb(command, where):
    """Who creates and who registers, while QEMU starts; -38 is a system call that has not returned yet."""
    script = where / "gdb.script"
    script.write_text(GDB)
    words = [
        "timeout",
        "-s",
        "INT",
        "60",
        "gdb",
        "-nx",
        "-batch",
        "-x",
        script,
        "--args",
        *command,
    ]
    with subprocess.Popen(
        words,
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as gdb:
        wait_for(lambda: any((where / s).exists() for s in ("monitor", "qmp", "vnc")))
        time.sleep(4)
        pid = run("pgrep", "-n", "-P", str(children(gdb.pid)[0])).strip()
        os.kill(int(pid), signal.SIGKILL)
        text = gdb.communicate()[0]
    stops, keep = [], False
    for line in text.splitlines():
        if line.startswith(("REGISTERED", "CREATED")):
            keep = not line.endswith(" -38")
        elif not line.startswith("#"):
            keep = False
        if keep:
            stops.append(re.sub(r" from /\S+$| \.\./\S+$| at \.\./\S+$", "", line))
    return stops


def children(pid):
    """Its child processes."""
    return [
        int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def by_looking(pid):
    """/proc, strace and loopscope."""
    links = {
        int(fd): os.readlink(f"/proc/{pid}/fd/{fd}")
        for fd in os.listdir(f"/proc/{pid}/fd")
    }
    strace = subprocess.run(
        ["timeout", "-s", "INT", "3", "strace", "-e", "trace=ppoll", "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    ).stderr
    polls = [
        line for line in strace.splitlines() if line.startswith(("ppoll(", "restart"))
    ]
    return {
        "proc": {fd: links[fd] for fd in sorted(links)},
        "strace": re.sub(
            r" *strace: .*",
            " <unfinished ...>",
            next(p for p in polls if p.startswith("ppoll(")),
        ),
        "fds": rows("fds", pid),
        "handlers": rows("handlers", pid),
    }


def rows(command, pid):
    """loopscope's rows."""
    return [
        json.loads(line)
        for line in run(LOOPSCOPE, command, "-p", str(pid), "--json").splitlines()
    ]


def connect(path):
    """A client: it says hello if it is asked to, and goes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        if path.name == "vnc":
            client.recv(12)
            client.sendall(b"RFB 003.008\n")
            client.recv(16)
        else:
            client.sendall(b"x\n")
            time.sleep(0.3)


def capture(name, command, client, where):
    """All of it, for one QEMU."""
    words = command.split()
    found = {"command": command, "client": client, "gdb": by_gdb(words, where)}
    for path in where.iterdir():
        path.unlink()
    with subprocess.Popen(words, cwd=where, **QUIET) as qemu:
        wait_for(lambda: (where / client).exists())
        time.sleep(1)
        found |= by_looking(qemu.pid)
        out = where / "rec"
        record = subprocess.Popen(
            [LOOPSCOPE, "record", "-p", str(qemu.pid), "-o", out, "-d", "6"],
            stderr=subprocess.PIPE,
            text=True,
        )
        record.stderr.readline()
        time.sleep(1)
        connect(where / client)
        record.wait()
        qemu.kill()
    (HERE / f"qemu-{name}.json").write_text(json.dumps(found, indent=0) + "\n")
    sys.path.insert(0, str(HERE.parent))
    from looplabs.release import pack  # pylint: disable=import-outside-toplevel

    pack(out, HERE / f"qemu-{name}.tar.xz")


def main():
    """Those that are named, or all four."""
    for name in sys.argv[1:] or MACHINES:
        with tempfile.TemporaryDirectory(prefix="qemu-") as where:
            capture(name, *MACHINES[name], Path(where))
            print(name)


if __name__ == "__main__":
    main()
