"""loopscope doctor on GLib programs that are no QEMU: glib-faults, one fault at a time."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from glib_programs import Example
from process_memory import wait_until
from test_doctor import FINDING, healthy, only, those, visit
from tracer_run import BUILD, COLUMNS, FINE, LOOPSCOPE, ROOT, run

pytestmark = pytest.mark.usefixtures("root")

# How each culprit begins; functions are those of glib-faults, sources as it names them.
CULPRITS = {
    "compute": "GSource callback compute",
    "sleep": "GSource callback read_a_config",
    "lock": "GSource callback want_it",
    "never-drained": "GSource callback leave_it never drains fd ",
    "zero-timeout": 'GSource "ticker" (count) is due again at once: a timeout of 0 ms',
    "idle-for-ever": 'GSource "redraw" (count) is an idle source that stays',
    "prepare-ready": 'GSource "queue" (count) is always ready',
    "ready-time-past": 'GSource "deadline" (count) is due in every turn: its ready time',
    "starved": 'GSource "importer" (count, priority -100) leaves GSource "reader" (drain)',
    "starved-timeout": 'GSource "importer" (count, priority -100) leaves GSource "autosave"',
    "nested-loop": "GSource callback ask waits in g_main_loop_run()",
    "nested-iteration": "GSource callback wait_for_reply waits in g_main_context_iteration()",
    "closed-fd": 'GSource "reader" (never) polls fd ',
    "leak": 'more and more sources like GSource "client" (never)',
    "late": 'GSource "clock" (tick) of the default GMainContext comes late, behind ',
    "no-thread": 'GSource "refresh" (refresh) waits in GMainContext 0x',
    "reused-fd": "fd ",
    "poll-for-ever": 'GSource "refresh" (refresh)',
}


def forms() -> Dict[str, Any]:
    """The verdict of each, None of a healthy one."""
    out = subprocess.run(
        [BUILD / "glib-faults", "--list", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return {row["name"]: row["verdict"] for row in rows}


def faults(name: str, program: Path = BUILD / "glib-faults") -> Example:
    """With that fault, when its sources are there."""
    target = Example(str(program), *([] if name == "healthy" else ["--bug", name]))

    def has_sources() -> bool:
        result = run("handlers", "-p", target.pid, "--json")
        return result.rc == FINE and bool(result.of_type("source"))

    wait_until(has_sources, "its sources are attached")
    return target


def length(name: str) -> List[object]:
    """One that computes gets little done in a second of a machine that has other work."""
    return ["-d", 3] if name in ("compute", "late", "leak") else ["-d", 1]


QUICK = ["nested-loop", "no-thread"]


@pytest.mark.parametrize("name", those(forms(), QUICK))
def test_each_fault_gets_its_verdict(name: str) -> None:
    verdict = forms()[name]
    with faults(name) as target:
        result = visit(target.pid, *length(name))
    if verdict is None:
        assert healthy(result)["loops"] == (2 if name == "healthy" else 1)
        return
    row = only(result)
    assert (row["verdict"], row["thread"]) == (verdict, target.pid)
    assert row["role"] == "GLib loop"
    assert row["culprit"].startswith(CULPRITS[name])
    assert row["evidence"] and row["advice"]


def test_a_stripped_program_has_its_sources_names(tmp_path: Path) -> None:
    """And functions by their place in it: --bug has their names in no symbol table."""
    program = tmp_path / "glib-faults"
    subprocess.run(
        ["objcopy", "--strip-all", BUILD / "glib-faults", program], check=True
    )
    with faults("zero-timeout", program) as target:
        row = only(visit(target.pid))
    assert re.fullmatch(
        r'GSource "ticker" \(glib-faults\+0x[0-9a-f]+\) is due again at once: '
        r"a timeout of 0 ms",
        row["culprit"],
    )
    assert "a timeout (id 1, priority 0) of the default GMainContext" in str(
        row["evidence"]
    )


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(forms()))
def test_a_glib_that_tells_less(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, a context that no thread polls is not known, unless it is the default one."""
    verdict = forms()[name]
    with faults(name) as target:
        monkeypatch.setenv("LOOPSCOPE_GLIB", "opaque")
        result = visit(target.pid, *length(name))
    if verdict is None or name == "no-thread":
        healthy(result)
        return
    row = only(result)
    assert row["verdict"] == verdict
    assert row["culprit"].startswith(CULPRITS[name])


def test_text_says_what_was_checked_in_glibs_terms() -> None:
    with faults("healthy") as target:
        result = run("doctor", "-p", target.pid, "-d", 0.5)
    assert result.rc == FINE, result.out
    first, *checked = result.out.splitlines()
    assert re.fullmatch(
        r"no finding: 2 loops of glib-faults \(pid \d+\), watched for \d+\.\d s\.",
        first,
    )
    assert "the big lock" not in result.out and "contexts that no" in result.out
    assert all(len(line) <= COLUMNS for line in checked)


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(n for n, v in forms().items() if v))
def test_text_fits(name: str) -> None:
    with faults(name) as target:
        result = run("doctor", "-p", target.pid, *length(name))
    assert result.rc == FINDING
    assert all(len(line) <= COLUMNS for line in result.out.splitlines())


# --- recordings ---------------------------------------------------------------------------------

# What a recording tells of each; of the others it has no event, and no verdict: a wait found something
# ready in each turn, but which descriptor that was and whether anybody drained it (never-drained,
# closed-fd) is no event of a GLib program without probes, and a busy source is as busy.
RECORDED = {
    **{name: "BLOCKED CALLBACK" for name in ("compute", "sleep", "lock")},
    **{name: "SPIN" for name in ("idle-for-ever", "prepare-ready")},
    **{name: "SPIN" for name in ("ready-time-past", "zero-timeout")},
    **{name: "SPIN" for name in ("starved", "starved-timeout")},
    "nested-iteration": "NESTED WAIT",
    "leak": "HANDLER LEAK",
    "late": "TIMER LATE",
}


@pytest.mark.parametrize("name", those(forms(), ["nested-iteration"]))
def test_a_recording_gets_its_verdict(name: str, tmp_path: Path) -> None:
    path = tmp_path / "r"
    with faults(name) as target:
        seconds = 4 if name in ("late", "compute") else 2
        assert run("record", "-p", target.pid, "-o", path, "-d", seconds).rc == FINE
    result = run("doctor", path, "--json")
    rows = result.of_type("verdict")
    expected = [RECORDED[name]] if name in RECORDED else []
    assert [row["verdict"] for row in rows] == expected
    if rows:
        (culprit,) = re.findall(r"\b[a-z_]{4,}\b|\".*?\"", rows[0]["culprit"])[:1]
        assert rows[0]["thread"] == target.pid and culprit
    text = run("doctor", path).out
    assert all(len(line) <= COLUMNS for line in text.splitlines())


# --- what the pages show ------------------------------------------------------------------------


@pytest.mark.full
def test_the_session_of_the_questions_page() -> None:
    """Its commands, and every line of what they print but for the numbers."""
    page = (ROOT / "docs" / "questions.md").read_text()
    (block,) = re.findall(r"^```\n(\$ build/glib-faults.*?)^```", page, re.M | re.S)
    first, second, *shown = block.splitlines()
    assert second == "$ loopscope doctor -p $!"
    done = subprocess.run(
        [
            "sh",
            "-c",
            f"{first[2:-2]} > /dev/null & sleep 1; $0 doctor -p $!; kill $!",
            LOOPSCOPE,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=BUILD.parent,
    )

    def plain(lines: List[str]) -> List[str]:
        return [re.sub(r"\d+(\.\d+)?", "N", line) for line in lines]

    assert plain(done.stdout.splitlines()) == plain(shown)
