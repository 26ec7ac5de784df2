# SPDX-License-Identifier: MIT
"""Layouts from files and from loopscope: which is used, what is said, what is refused."""
import json
import shutil
from pathlib import Path

import pytest
from gdb_run import SCRIPTS, Core, Gdb, gdb_rows, names
from tracer_run import LOOPSCOPE, run
from tracer_targets import Demo, Qemu


@pytest.fixture
def layout_file(qemu: Qemu, tmp_path: Path) -> Path:
    path = tmp_path / "the layout.json"
    path.write_text(run("layout", "-p", qemu.pid, "--json").fine().out)
    return path


NO_LOOPSCOPE = {"LOOPSCOPE": "/nonexistent", "PATH": "/usr/bin:/bin"}


def test_a_layout_from_a_file_needs_no_loopscope(
    qemu: Qemu, qemu_core: Core, gdb: Gdb, layout_file: Path, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"  # no build/ beside it
    shutil.copytree(SCRIPTS, place / "gdb-scripts")
    how = {"env": NO_LOOPSCOPE, "scripts": place / "gdb-scripts"}
    said = gdb.error(qemu, "qemu handlers", **how)
    assert said.startswith("this program has no debug information, and loopscope")
    assert said.endswith(
        f"type: loopscope layout -p {qemu.pid} --json > layout.json, "
        "and here: qemu layout layout.json"
    )
    assert str(qemu_core.path) in gdb.error(qemu_core, "qemu handlers", **how)
    load = f"qemu layout {layout_file}"
    for what in (qemu, qemu_core):
        out = gdb.out(what, load, "qemu contexts --json", **how)
        assert names(out)[:2] == ["qemu_aio_context", "iohandler_ctx"]


def test_without_loopscope_the_demo_lacks_only_glib(
    demo: Demo, gdb: Gdb, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    shutil.copytree(SCRIPTS, place / "gdb-scripts")
    how = {"env": NO_LOOPSCOPE, "scripts": place / "gdb-scripts"}
    assert gdb.out(demo, "qemu handlers", **how) == gdb.out(demo, "qemu handlers")
    out = gdb.out(demo, "qemu gpollfds --json", **how)
    unknown = [r["fd"] for r in gdb_rows(out, "fd") if r["owner_kind"] == "unknown"]
    assert unknown == [6, 7]
    (note,) = gdb_rows(out, "note")
    assert note["text"].startswith("GLib's own descriptors stay unknown: ")


def test_it_says_where_a_layout_comes_from(qemu: Qemu, gdb: Gdb) -> None:
    (note,) = gdb_rows(gdb.out(qemu, "qemu contexts --json"), "note")
    assert note["text"] == f"layout of qemu-system-x86_64 inferred by {LOOPSCOPE}"
    text = gdb.out(qemu, "qemu contexts", "qemu layout")
    assert text.splitlines()[1] == f"layout inferred by {LOOPSCOPE}"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"build_id": "00ff"}, "is of build 00ff, but qemu-system-x86_64 is build "),
        ({"version": 2}, "is not what loopscope layout --json prints"),
        ({"type": "total"}, "is not what loopscope layout --json prints"),
        ({"fields": [{"struct": "AioContext"}]}, "is not what loopscope layout"),
        ({"globals": 3}, "is not what loopscope layout --json prints"),
    ],
)
def test_a_wrong_layout_is_refused(
    qemu: Qemu, gdb: Gdb, layout_file: Path, change: dict, said: str
) -> None:
    document = {**json.loads(layout_file.read_text()), **change}
    layout_file.write_text(json.dumps(document))
    assert said in gdb.error(qemu, f"qemu layout {layout_file}")


@pytest.mark.parametrize("at", [-1, 1 << 40, 1.5, "8", True])
def test_a_layout_with_a_mad_offset_is_refused(
    qemu: Qemu, gdb: Gdb, layout_file: Path, at: object
) -> None:
    document = json.loads(layout_file.read_text())
    document["fields"][0]["offset"] = at
    layout_file.write_text(json.dumps(document))
    said = gdb.error(qemu, f"qemu layout {layout_file}")
    assert "is not what loopscope layout --json prints" in said


def test_a_layout_with_wrong_offsets_ends_in_lines_not_in_tracebacks(
    qemu: Qemu, gdb: Gdb, layout_file: Path
) -> None:
    """Of the right build, yet every offset is moved."""
    for shift in (4, 8, 40, 65000):
        document = json.loads(layout_file.read_text())
        for field in document["fields"]:
            if field["offset"] is not None:
                field["offset"] = min(field["offset"] + shift, 65535)
        moved = layout_file.with_name("moved.json")
        moved.write_text(json.dumps(document))
        for answer in gdb.answers(
            qemu,
            f"qemu layout {moved}",
            "qemu contexts",
            "qemu handlers",
            "qemu bh",
            "qemu timers all",
            "qemu iothreads",
            "qemu sources",
            "qemu gpollfds",
        ):
            assert answer["seconds"] < 1, answer["command"]
            assert answer["error"] is None or "\n" not in answer["error"]
            assert "failed:" not in (answer["error"] or "")
