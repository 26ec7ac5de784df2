"""loopscope layout: every field has a proof or a reason, on every QEMU; the cache helps, no more."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from process_memory import Memory, exe, load_base, text_symbols, wait_until
from tracer_run import DEMO, Row, run
from tracer_targets import Daemon, Demo, Qemu, Target, nbd_server, storage_daemon

Fields = Dict[Tuple[str, str], Any]

# What fds and handlers cannot do without.
NEEDED = {
    ("AioContext", "aio_handlers.lh_first"),
    ("AioContext", "notified"),
    ("AioContext", "notify_me"),
    ("AioContext", "notifier.rfd"),
    ("AioContext", "tlg.tl"),
    ("AioContext", "bh_list.slh_first"),
    ("AioHandler", "pfd.fd"),
    ("AioHandler", "pfd.events"),
    ("AioHandler", "io_read"),
    ("AioHandler", "io_write"),
    ("AioHandler", "io_poll"),
    ("AioHandler", "opaque"),
    ("AioHandler", "node.le_next"),
    ("AioHandler", "node.le_prev"),
    ("AioHandler", "node_deleted.le_prev"),
    ("QEMUTimerList", "notify_opaque"),
    ("QEMUClock", "timerlists.lh_first"),
    ("GMainContext", "source_lists"),
    ("GMainContext", "wake_up_rec.fd"),
}


def layout_of(pid: int, *args: object, **kwargs: Any) -> Row:
    (layout,) = run("layout", "-p", pid, "--json", *args, **kwargs).fine().rows
    assert layout["type"] == "layout" and layout["version"] == 1
    return layout


def offsets(layout: Row) -> Fields:
    return {(f["struct"], f["field"]): f["offset"] for f in layout["fields"]}


def known(layout: Row) -> Fields:
    return {
        name: offset for name, offset in offsets(layout).items() if offset is not None
    }


def build_id(path: str) -> str:
    out = subprocess.run(
        ["readelf", "-n", path], stdout=subprocess.PIPE, text=True, check=True
    )
    return out.stdout.split("Build ID: ")[1].split()[0]


def arm() -> Target:
    args = ("-M", "virt", "-cpu", "cortex-a53")
    return Qemu("qemu-system-aarch64", *args)


TARGETS: Dict[str, Callable[[], Target]] = {
    "qemu-system-x86_64": Qemu,
    "qemu-system-aarch64": arm,
    "qemu-storage-daemon": storage_daemon,
    "qemu-nbd": nbd_server,
}


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    with TARGETS[request.param]() as started:
        yield started


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A QEMU main loop that has no timer armed: some fields cannot be proven on it."""
    with storage_daemon() as started:
        yield started


@pytest.fixture
def own_cache(tmp_path: Path) -> Tuple[Path, Dict[str, str]]:
    return tmp_path / "loopscope", {"XDG_CACHE_HOME": str(tmp_path)}


def test_layout_proves_itself(target: Target) -> None:
    layout = layout_of(target.pid)
    assert layout["source"] == "inferred"
    assert layout["build_id"] == build_id(f"/proc/{target.pid}/exe")
    missing = NEEDED - set(known(layout))
    assert not missing
    assert layout["globals"]["qemu_aio_context"] and layout["globals"]["iohandler_ctx"]
    assert layout["sizes"]["AioContext"] > max(
        offset
        for (struct, _), offset in known(layout).items()
        if struct == "AioContext"
    )


def test_every_offset_has_a_proof_and_every_gap_a_reason(target: Target) -> None:
    layout = layout_of(target.pid)
    bare = [(f["struct"], f["field"]) for f in layout["fields"] if not f.get("proof")]
    assert bare == []


# What only a QEMU before 5.0 has.
BEFORE_5_0 = {
    ("AioContext", "first_bh"),
    ("AioHandler", "deleted"),
    ("QEMUBH", "next"),
    ("QEMUBH", "scheduled"),
    ("QEMUBH", "idle"),
    ("QEMUBH", "deleted"),
}


def test_every_gap_has_a_reason_beside_debug_information_too(demo: Demo) -> None:
    layout = layout_of(demo.pid)
    assert layout["source"] == "dwarf"
    assert [f for f in layout["fields"] if not f.get("proof")] == []
    missing = {field for field, offset in offsets(layout).items() if offset is None}
    assert missing == BEFORE_5_0


def test_every_loop_is_explained_by_it(target: Target) -> None:
    result = run("fds", "-p", target.pid, "--json").fine()
    assert result.total["unknown"] == 0 and result.total["fds"] >= 5
    damaged = run("handlers", "-p", target.pid, "--json").fine().total["damaged"]
    assert damaged == 0


def test_text_says_what_json_says(target: Target) -> None:
    layout = layout_of(target.pid)
    text = run("layout", "-p", target.pid).fine().out
    assert f"{layout['exe']}, build {layout['build_id']}: layout inferred" in text
    n = len(known(layout))
    assert f"{n} fields known, {len(layout['fields']) - n} unknown." in text
    lines = [line.split() for line in text.splitlines()]
    for (struct, field), offset in offsets(layout).items():
        shown = "unknown" if offset is None else str(offset)
        assert [struct, field, shown] in [line[:3] for line in lines]


def test_getters_return_what_the_layout_calls_the_globals(qemu: Qemu) -> None:
    """objdump's reading of the exported getters, against ours."""
    layout = layout_of(qemu.pid)
    path = exe(qemu.pid)
    symbols = text_symbols(path)
    for getter, name in (
        ("qemu_get_aio_context", "qemu_aio_context"),
        ("iohandler_get_aio_context", "iohandler_ctx"),
    ):
        start = symbols[getter]
        code = subprocess.run(
            [
                "objdump",
                "-d",
                f"--start-address={start}",
                f"--stop-address={start + 16}",
                path,
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        assert f"# {layout['globals'][name]:x}" in code


# --- stripped against debug information ---------------------------------------------------------


def test_inferred_equals_debug_information(demo: Demo, tmp_path: Path) -> None:
    """The demo with its debug information and symbols stripped, exporting as QEMU does."""
    by_dwarf = layout_of(demo.pid)
    assert "qemu_get_aio_context" in text_symbols(
        str(DEMO)
    ), "link the demo with -rdynamic"
    stripped = tmp_path / "demo-qemu-loop"
    subprocess.run(["strip", "-o", str(stripped), str(DEMO)], check=True)
    with Demo("five-sources", program=stripped) as target:
        target.wait_asleep()
        by_inference = layout_of(target.pid)
        assert by_inference["source"] == "inferred"
        truth = offsets(by_dwarf)
        found = known(by_inference)
        assert found == {name: truth[name] for name in found}
        assert not NEEDED - set(found)
        assert by_inference["sizes"]["AioContext"] == by_dwarf["sizes"]["AioContext"]
        for name in ("qemu_aio_context", "iohandler_ctx"):
            assert by_inference["globals"][name] == by_dwarf["globals"][name]
        keys = ("fd_kind", "events", "owner_kind", "owner", "ctx")
        rows = [
            [
                tuple(r[k] for k in keys)
                for r in run("fds", "-p", pid, "--json").fine().of_type("fd")
            ]
            for pid in (demo.pid, target.pid)
        ]
        assert sorted(rows[0], key=str) == sorted(rows[1], key=str)


# --- the cache ----------------------------------------------------------------------------------


def test_cache_is_written_under_the_build_id(
    qemu: Qemu, own_cache: Tuple[Path, Dict[str, str]]
) -> None:
    place, env = own_cache
    layout = layout_of(qemu.pid, env=env)
    assert [p.name for p in place.iterdir()] == [f"{layout['build_id']}.json"]
    cached = json.loads((place / f"{layout['build_id']}.json").read_text())
    written = {name: o for name, o in offsets(cached).items() if name[0][0] != "G"}
    assert written == {
        name: o for name, o in offsets(layout).items() if name[0][0] != "G"
    }


def test_cache_completes_what_this_run_cannot_prove(
    daemon: Daemon, own_cache: Tuple[Path, Dict[str, str]]
) -> None:
    """An earlier run saw a timer: QEMUTimer is the same in every program of one build."""
    place, env = own_cache
    layout = layout_of(daemon.pid, env=env)
    path = place / f"{layout['build_id']}.json"
    learnt = {("QEMUTimerList", "active_timers"): 56, ("QEMUTimer", "expire_time"): 0}
    assert all(offsets(layout)[name] is None for name in learnt)
    cached = json.loads(path.read_text())
    for field in cached["fields"]:
        if (field["struct"], field["field"]) in learnt:
            field["offset"] = learnt[(field["struct"], field["field"])]
            field["proof"] = "a timer of 2001"
    path.write_text(json.dumps(cached))
    again = layout_of(daemon.pid, env=env)
    assert {name: offsets(again)[name] for name in learnt} == learnt
    proofs = {
        (f["struct"], f["field"]): f["proof"] for f in again["fields"] if "proof" in f
    }
    assert all("earlier" in proofs[name] and "2001" in proofs[name] for name in learnt)


def test_cache_learns_what_this_run_proves(
    qemu: Qemu, own_cache: Tuple[Path, Dict[str, str]]
) -> None:
    place, env = own_cache
    layout = layout_of(qemu.pid, env=env)
    path = place / f"{layout['build_id']}.json"
    cached = json.loads(path.read_text())
    for field in cached["fields"]:
        if field["struct"] == "QEMUTimer":
            field["offset"] = None
    path.write_text(json.dumps(cached))
    layout_of(qemu.pid, env=env)
    timers = [
        o
        for (struct, _), o in offsets(json.loads(path.read_text())).items()
        if struct == "QEMUTimer"
    ]
    assert len(timers) == 6 and None not in timers


def damaged_caches(good: str) -> List[str]:
    """Every kind of wrong file; @good is a layout as it was written."""
    files = ["", "{", "[]", "null", '"layout"', good[: len(good) // 2], "\x00" * 4096]
    changes: List[Row] = [
        {"version": 2},
        {"type": "other"},
        {"build_id": "00" * 20},
        {"fields": None},
        {"fields": {}},
        {"fields": [1, 2]},
        {"globals": []},
        {"sizes": 1},
        {"source": 7},
        {"source": "nonsense"},
    ]
    for change in changes:
        files.append(json.dumps({**json.loads(good), **change}))
    for offset in (-1, 1 << 40, "8", 3.5, True):
        layout = json.loads(good)
        for field in layout["fields"]:
            field["offset"] = offset
        files.append(json.dumps(layout))
    return files


def test_damaged_cache_is_ignored_and_replaced(
    daemon: Daemon, own_cache: Tuple[Path, Dict[str, str]]
) -> None:
    place, env = own_cache
    layout = layout_of(daemon.pid, env=env)
    path = place / f"{layout['build_id']}.json"
    good = path.read_text()
    for text in damaged_caches(good):
        path.write_text(text)
        assert (
            layout_of(daemon.pid, env=env) == layout
        ), f"with the cache {text[:200]!r}"
        assert offsets(json.loads(path.read_text())) == offsets(json.loads(good))


def test_wrong_offsets_in_the_cache_lose_against_proof(
    qemu: Qemu, own_cache: Tuple[Path, Dict[str, str]]
) -> None:
    place, env = own_cache
    layout = layout_of(qemu.pid, env=env)
    path = place / f"{layout['build_id']}.json"
    cached = json.loads(path.read_text())
    for field in cached["fields"]:
        if field["offset"] is not None:
            field["offset"] += 8
    path.write_text(json.dumps(cached))
    assert layout_of(qemu.pid, env=env) == layout


def test_wrong_offsets_in_the_cache_show_no_nonsense(
    daemon: Daemon, own_cache: Tuple[Path, Dict[str, str]]
) -> None:
    """What this run cannot prove may be wrong in the cache: what it leads to is checked."""
    place, env = own_cache
    layout = layout_of(daemon.pid, env=env)
    path = place / f"{layout['build_id']}.json"
    cached = json.loads(path.read_text())
    for field in cached["fields"]:
        if (
            field["struct"] in ("QEMUTimer", "QEMUTimerList")
            and field["offset"] is None
        ):
            field["offset"] = 0  # a timer list begins with its clock, which is no timer
    path.write_text(json.dumps(cached))
    result = run("handlers", "-p", daemon.pid, "--json", env=env).fine()
    assert result.of_type("timer") == []


@pytest.mark.parametrize("kind", ["a file", "a directory without permission"])
def test_a_cache_that_cannot_be_written_is_no_failure(
    qemu: Qemu, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "cache"
    if kind == "a file":
        place.write_text("in the way")
    else:
        place = Path("/proc/self")
    run("layout", "-p", qemu.pid, env={"XDG_CACHE_HOME": str(place)}).fine()


# --- a layout from a file -----------------------------------------------------------------------


def write_layout(layout: Row, path: Path) -> Path:
    path.write_text(json.dumps(layout))
    return path


def test_a_layout_file_serves_as_well_as_inference(qemu: Qemu, tmp_path: Path) -> None:
    path = write_layout(layout_of(qemu.pid), tmp_path / "layout.json")
    plain = run("handlers", "-p", qemu.pid, "--json").fine()
    given = run("handlers", "-p", qemu.pid, "--layout", path, "--json").fine()
    assert given.of_type("handler") == plain.of_type("handler")


def test_a_layout_of_another_build_is_refused(
    demo: Demo, qemu: Qemu, tmp_path: Path
) -> None:
    path = write_layout(layout_of(demo.pid), tmp_path / "layout.json")
    line = run("fds", "-p", qemu.pid, "--layout", path).refused()
    assert build_id(str(DEMO)) in line and build_id(f"/proc/{qemu.pid}/exe") in line


def test_a_damaged_layout_file_is_refused(qemu: Qemu, tmp_path: Path) -> None:
    path = tmp_path / "layout.json"
    for text in ("", "{", "{}", "[]"):
        path.write_text(text)
        run("fds", "-p", qemu.pid, "--layout", path).refused()
    run("fds", "-p", qemu.pid, "--layout", tmp_path / "none.json").refused()


def test_a_layout_file_is_held_against_the_target(qemu: Qemu, tmp_path: Path) -> None:
    """The right build-id and a wrong offset: believing it would show empty or foreign lists."""
    layout = layout_of(qemu.pid)
    for field in layout["fields"]:
        if field["field"] == "aio_handlers.lh_first":
            field["offset"] += 8
    path = write_layout(layout, tmp_path / "layout.json")
    run("handlers", "-p", qemu.pid, "--layout", path).refused()


def test_layout_of_a_copied_program_is_the_same(qemu: Qemu, tmp_path: Path) -> None:
    """Another path and file name, the same build."""
    layout = layout_of(qemu.pid)
    copy = tmp_path / "other-name"
    shutil.copy(exe(qemu.pid), copy)
    with Qemu(str(copy), "-M", "none") as target:
        again = layout_of(target.pid)
        assert again["exe"] == "other-name"
        assert known(again) == known(layout) and again["globals"] == layout["globals"]


def test_probes_of_others_do_not_stand_in_what_is_read(root: None) -> None:
    """A probe on all users of a file patches every mapping of it, a reader's too."""
    with Qemu() as target:
        program = exe(target.pid)
        at = load_base(target.pid, program) + text_symbols(program)["aio_notify"]
        memory = Memory(target.pid)
        tracer = subprocess.Popen(
            ["bpftrace", "-e", f"uprobe:{program}:aio_notify {{ @ = count(); }}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: memory.read(at, 1) == b"\xcc", "the breakpoint")
            layout_of(target.pid)
        finally:
            tracer.terminate()
            tracer.wait()
            memory.close()
