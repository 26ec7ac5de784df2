# SPDX-License-Identifier: MIT
"""qemu sources and qemu iothreads: in QEMUs, and sources in any program that uses GLib."""
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest
from glib_programs import GLibProgram, OddSources, build
from gdb_run import HERE, Core, Gdb, MakeCore, What, gdb_rows
from tracer_targets import Demo, Qemu, Target, installed

PRIVATE = "libglib2.0-0-dbgsym"


@pytest.fixture(scope="module", params=["symbols", "stripped"])
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("gloop") / "gloop"
    return build(
        HERE / "gloop.c", path, *(["-s"] if request.param == "stripped" else [])
    )


@pytest.fixture
def gloop(program: Path) -> Iterator[GLibProgram]:
    with GLibProgram(program) as target:
        target.wait_polling(3)  # GLib has a thread of its own for signals
        yield target


def by_context(rows: List[dict]) -> Dict[str, List[Tuple[object, ...]]]:
    found: Dict[str, List[Tuple[object, ...]]] = {}
    for row in rows:
        brief = row["priority"], row["kind"], row["name"], len(row["fds"]), row["state"]
        found.setdefault(row["gcontext"], []).append(brief)
    return found


def test_a_source_of_no_descriptor_and_one_with_a_child(
    gdb: Gdb, tmp_path: Path
) -> None:
    with OddSources(tmp_path) as target:
        rows = gdb_rows(gdb.out(target, "qemu sources --json"), "source", "total")
    found = {row["name"]: row["fds"] for row in rows[:-1]}
    assert found == {"no descriptor": [-1], "parent": [target.polled], "child": []}


@pytest.mark.parametrize("live", [True, False], ids=["live", "core"])
def test_any_program_with_glib(
    gloop: GLibProgram, gdb: Gdb, make_core: MakeCore, live: bool
) -> None:
    what: What = gloop if live else make_core(gloop)
    rows = gdb_rows(gdb.out(what, "qemu sources --json"), "source", "total")
    assert by_context(rows[:-1]) == {
        gloop.default: [(-5, "fd", None, 1, "waits")]
        + [(0, "timeout", None, 0, "waits")] * 10
        + [(0, "signal", "GUnixSignalSource: SIGHUP", 0, "waits")],
        gloop.other: [(0, "timeout", "hourly", 0, "waits")],
    }
    assert {row["source"] for row in rows[:-1]} == {"public"}
    assert (rows[-1]["gcontexts"], rows[-1]["sources"]) == (2, 13)
    threads = {row["gcontext"]: row["thread"] for row in rows[:-1]}
    assert threads[gloop.default] == gloop.pid != threads[gloop.other]
    text = gdb.out(what, "qemu sources")
    assert PRIVATE in text and "13 sources in 2 GMainContexts." in text
    lines = [line.split() for line in text.splitlines()]
    (folded,) = [words for words in lines if "x10" in words]
    assert folded[:3] == ["0", "x10", "timeout"]
    table = gdb.out(what, "qemu sources --all").splitlines()
    assert sum(line.endswith(" waits") and " timeout " in line for line in table) == 11


def test_callbacks_have_their_names(gdb: Gdb, tmp_path: Path) -> None:
    with GLibProgram(build(HERE / "gloop.c", tmp_path / "gloop")) as gloop:
        gloop.wait_polling(3)
        rows = gdb_rows(gdb.out(gloop, "qemu sources --json"), "source")
    named = {row["callback"] for row in rows}
    assert named == {"is_readable", "time_is_up"}


def test_a_context_is_chosen_by_address_and_by_one_of_its_sources(
    gloop: GLibProgram, gdb: Gdb
) -> None:
    (row,) = gdb_rows(gdb.out(gloop, f"qemu sources {gloop.other} --json"), "source")
    again = gdb_rows(gdb.out(gloop, f"qemu sources {row['addr']} --json"), "source")
    assert again == [row] and row["name"] == "hourly"
    for wrong, said in (
        ("0x1234", "no GMainContext is known at 0x1234: no source says that it"),
        ("nonsense", '"nonsense" is no address (No symbol '),
        ("g_main_context_default()", "type an address, or qemu sources alone"),
    ):
        assert said in gdb.error(gloop, f"qemu sources {wrong}")


def test_a_loop_that_is_in_a_callback(gdb: Gdb, tmp_path: Path) -> None:
    with GLibProgram(build(HERE / "gloop.c", tmp_path / "gloop"), "stay") as gloop:
        gloop.wait_polling(2)
        rows = gdb_rows(gdb.out(gloop, "qemu sources --json"), "source")
        text = gdb.out(gloop, "qemu sources")
    (stays,) = [row for row in rows if row["callback"] == "stays"]
    assert (stays["gcontext"], stays["kind"]) == (gloop.default, "idle")
    assert stays["state"] == "is being dispatched"
    assert "is being dispatched" in text


def test_a_debian_program_with_glib(gdb: Gdb, tmp_path: Path) -> None:
    with Target("gio") as gio:
        gio.start([installed("gio"), "monitor", tmp_path])
        gio.wait_polling(2)
        rows = gdb_rows(gdb.out(gio, "qemu sources --json"), "source")
    assert "GFileMonitorSource" in {row["name"] for row in rows}


def test_a_program_without_glib_is_one_line(gdb: Gdb) -> None:
    with Target("sleep") as sleeper:
        sleeper.start(["sleep", "1000"])
        said = gdb.error(sleeper, "qemu sources")
    assert said.startswith(
        "no thread is seen to run a GMainContext, and this is no QEMU"
    )
    assert "type: qemu sources ADDRESS" in said


@pytest.mark.parametrize("shape", ["58", "74", "80", "82"])
def test_shapes_of_glib_with_debug_information(
    gdb: Gdb, tmp_path: Path, shape: str
) -> None:
    program = tmp_path / "gshapes"
    source = str(HERE / "gshapes.c")
    command = [installed("gcc"), "-g", "-O0", f"-DSHAPE={shape}", source]
    subprocess.run([*command, "-o", str(program)], check=True)
    with Target("gshapes") as target:
        target.start([program])
        assert target.process and target.process.stdout
        assert target.process.stdout.readline() == b"ready\n"
        target.wait_polling(1)
        rows = gdb_rows(gdb.out(target, "qemu sources &context --json"), "source")
        text = gdb.out(target, "qemu sources &context")
    assert [(row["priority"], row["name"], row["state"]) for row in rows] == [
        (-5, "first", "waits"),
        (200, "later", "ready"),
        (200, "later", "waits"),
    ]
    assert [row["ready_ns"] for row in rows] == [-1, 5 * 10**9, 0]
    assert {(row["source"], row["dispatch"]) for row in rows} == {
        ("dwarf", "dispatches")
    }
    assert "ready, due now" in text and PRIVATE not in text


# --- QEMU ---------------------------------------------------------------------------------------


@pytest.fixture(params=["demo", "demo_core", "qemu", "qemu_core"])
def target(request: pytest.FixtureRequest) -> What:
    found: What = request.getfixturevalue(request.param)
    return found


def test_aio_contexts_are_sources(target: What, gdb: Gdb) -> None:
    contexts = gdb_rows(gdb.out(target, "qemu contexts --json"), "context")
    rows = gdb_rows(gdb.out(target, "qemu sources --json"), "source")
    aio = {row["ctx"]: row for row in rows if row["kind"] == "AioContext"}
    assert set(aio) == {row["ctx"] for row in contexts}
    for context in contexts:
        row = aio[context["ctx"]]
        assert row["addr"] == context["ctx_addr"]
        assert context["notifier_fd"] in row["fds"]
        assert row["thread"] == context["thread"]
    for name in ("io0", aio["io0"]["addr"], aio["io0"]["gcontext"]):
        chosen = gdb_rows(gdb.out(target, f"qemu sources {name} --json"), "source")
        assert chosen == [
            row for row in rows if row["gcontext"] == aio["io0"]["gcontext"]
        ]
    text = gdb.out(target, "qemu sources")
    assert ", that of qemu_aio_context, iohandler_ctx\n" in text
    assert '"io-handler" iohandler_ctx' in text


def test_iothreads(target: What, gdb: Gdb) -> None:
    rows = gdb_rows(gdb.out(target, "qemu iothreads --json"), "iothread", "total")
    by_name = {row["iothread"]: row for row in rows[:-1]}
    demo = isinstance(target, Demo) or (
        isinstance(target, Core) and target.program.endswith("demo-qemu-loop")
    )
    assert set(by_name) == ({"io0"} if demo else {"io0", "mon_iothread"})
    known = ("running", "aio_poll", 0) if demo else (None, None, None)
    io0 = by_name["io0"]
    assert (io0["state"], io0["driven_by"], io0["poll_max_ns"]) == known
    assert io0["handlers"] >= 1 and io0["thread"] and io0["addr"]
    text = gdb.out(target, "qemu iothreads")
    assert f"IOThread io0, thread {io0['thread']}, sleeping in ppoll" in text
    assert ("aio_poll   no" in text) == demo and ("unknown" in text) != demo


def test_no_iothread_is_said(gdb: Gdb) -> None:
    with Demo("many-fds", "--fds", "2") as demo:
        demo.wait_asleep()
        assert "no IOThread: the main loop does everything" in gdb.out(
            demo, "qemu iothreads"
        )
