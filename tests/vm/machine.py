"""Debian's kernel 6.1 in a QEMU under TCG, with our programs in it."""

import json
from typing import List

from guest import Guest
from tracer_run import DEMO, LOOPSCOPE, Row

SETUP = "mount -t tracefs tracefs /sys/kernel/tracing; ulimit -l unlimited; "
SETUP += "echo 1 >/proc/sys/net/core/bpf_jit_kallsyms"


class Vm(Guest):
    """A guest whose commands are ours; what they print comes back as from a terminal."""

    def __init__(self) -> None:
        super().__init__("-m", "1024", programs=[LOOPSCOPE, DEMO])
        self.run(SETUP)

    def rows(self, command: str) -> List[Row]:
        """The NDJSON that a command prints; what it says besides is not looked at."""
        lines = self.run(f"{command} --json 2>/tmp/said").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def demo(self, scenario: str, options: str = "") -> int:
        """Start a scenario; its process id, once it has said that it is ready."""
        out = f"/tmp/{scenario}.out"
        self.run(
            f"mkfifo {out}; demo-qemu-loop --scenario {scenario} {options} >{out} &"
        )
        said = self.run(f"exec 3<{out}; read -r line <&3; echo $line")
        assert said.endswith("ready"), said
        return int(said.split("pid ")[1].split(",")[0])

    def end(self, pid: int) -> None:
        self.run(f"kill -KILL {pid}; wait {pid} 2>/dev/null; exec 3<&-; true")
