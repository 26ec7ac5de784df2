"""What a guest of the tests boots: Debian's kernel, and an initramfs made here.

The initramfs is busybox, the modules of virtio and an init that obeys: it reads lines from its second
serial port, runs each in its shell and answers with what the command printed and its exit status. So
a test knows when work in the guest begins and that it has ended. An archive is cpio's "newc": 13
hexadecimal words of 8 digits, name, data, each padded to 4 bytes.
"""

import stat
import subprocess
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Sequence, Tuple

import pytest
from tracer_run import BUILD, ROOT
from tracer_targets import installed

KERNEL_DIR = BUILD / "guest"
POKE = BUILD / "tests" / "guest-poke"
MODULES = ("virtio_pci", "virtio_blk", "virtio_net")
READY = "guest: ready"
# Ends an answer. The bell is in no command's output.
END = "\a"

INIT = """#!/bin/sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in {modules}; do insmod /modules/$module.ko; done
stty -F /dev/ttyS1 raw -echo
exec 9</dev/ttyS1 </dev/null >/dev/ttyS1 2>&1
echo '{ready}'
while read -r line <&9; do
	eval "$line"
	printf '\\a%d\\n' $?
done
poweroff -f
"""


def kernel() -> Path:
    """The kernel, fetched when nobody has yet."""
    script = ROOT / "tests/guest-kernel.sh"
    done = subprocess.run(
        [script, KERNEL_DIR], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no kernel to boot: {done.stderr.strip().splitlines()[-1]}")
    return KERNEL_DIR / "vmlinuz"


def depends(module: Path) -> List[str]:
    """What a module's own .modinfo says that it needs."""
    for word in module.read_bytes().split(b"\0"):
        if word.startswith(b"depends="):
            return [name for name in word[8:].decode().split(",") if name]
    return []


def modules(names: Iterable[str]) -> Dict[str, Path]:
    """Files of modules and of all that they need, in the order they are to be loaded."""
    files = {
        path.stem.replace("-", "_"): path
        for path in (KERNEL_DIR / "lib/modules").rglob("*.ko")
    }
    ordered: Dict[str, Path] = {}

    def add(name: str) -> None:
        for needed in depends(files[name]):
            add(needed)
        ordered.setdefault(name, files[name])

    for name in names:
        add(name)
    return ordered


def cpio(files: Mapping[str, Tuple[int, bytes]]) -> bytes:
    """An archive of files: name -> (mode, data)."""
    out = bytearray()
    entries = [*files.items(), ("TRAILER!!!", (0, b""))]
    for number, (name, (mode, data)) in enumerate(entries, 1):
        path = name.encode() + b"\0"
        is_dir = stat.S_ISDIR(mode)
        words = (number, mode, 0, 0, 2 if is_dir else 1, 0, len(data))
        words += (0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08x" % word for word in words) + path
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def with_libraries(program: Path) -> Dict[str, Path]:
    """A program of this host and what it is linked with, by their places in the archive."""
    files = {f"bin/{program.name}": program}
    told = subprocess.run(
        ["ldd", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    for word in told.split():
        if word.startswith("/"):
            files[word.lstrip("/")] = Path(word)
    return files


def initramfs(programs: Sequence[Path] = ()) -> bytes:
    """With these programs of the host in /bin, too."""
    kernel()
    loaded = modules(MODULES)
    script = INIT.format(modules=" ".join(loaded), ready=READY)
    files: Dict[str, Tuple[int, bytes]] = {
        name: (stat.S_IFDIR | 0o755, b"")
        for name in ("bin", "dev", "proc", "sys", "tmp", "modules")
    }
    for program in programs:
        for name, path in with_libraries(program).items():
            for parent in reversed(Path(name).parents[:-1]):
                files.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
            files[name] = (stat.S_IFREG | 0o755, path.read_bytes())
    files["bin/busybox"] = (
        stat.S_IFREG | 0o755,
        Path(installed("busybox")).read_bytes(),
    )
    files["bin/sh"] = (stat.S_IFLNK | 0o777, b"busybox")
    files["init"] = (stat.S_IFREG | 0o755, script.encode())
    files["bin/poke"] = (stat.S_IFREG | 0o755, POKE.read_bytes())
    for name, path in loaded.items():
        files[f"modules/{name}.ko"] = (stat.S_IFREG | 0o644, path.read_bytes())
    return cpio(files)
