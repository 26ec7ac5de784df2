# SPDX-License-Identifier: MIT
"""For the gdb commands: targets of their own, and cores of them.

A stop by gdb leaves traces in /proc (poll goes on as restart_syscall), so targets are not shared
with the tests of loopscope.
"""
from pathlib import Path
from typing import Iterator, List

import pytest
from gdb_run import Core, Gdb, MakeCore, dump
from tracer_targets import Demo, Qemu, Target, installed


@pytest.fixture
def gdb(tmp_path: Path) -> Gdb:
    installed("gdb")
    return Gdb(tmp_path)


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """five-sources, asleep. For looking at only."""
    with Demo("five-sources") as target:
        yield target.wait_asleep()


@pytest.fixture(scope="session")
def qemu() -> Iterator[Qemu]:
    """Debian's stripped qemu-system-x86_64, idle. For looking at only."""
    with Qemu() as target:
        yield target


@pytest.fixture
def make_core(gdb: Gdb) -> Iterator[MakeCore]:
    """make_core(target, *commands): by gdb's generate-core-file, after some commands."""
    paths: List[Path] = []

    def make(target: Target, *commands: str) -> Core:
        path = gdb.directory / f"core.{len(paths)}"
        paths.append(path)
        return dump(gdb, target, path, *commands)

    yield make
    for path in paths:
        path.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def demo_core(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    yield from core_of(demo, tmp_path_factory.mktemp("demo-core"))


@pytest.fixture(scope="session")
def qemu_core(qemu: Qemu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    yield from core_of(qemu, tmp_path_factory.mktemp("qemu-core"))


def core_of(target: Target, directory: Path) -> Iterator[Core]:
    path = directory / "core"
    yield dump(Gdb(directory), target, path)
    path.unlink()
