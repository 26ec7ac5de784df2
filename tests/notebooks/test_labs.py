"""The notebooks themselves: their form, their solutions, and runs of them with each kind of answers."""

import json
import platform
import re

import pytest
from conftest import NOTEBOOKS

from looplabs import Lab, answers, cases, execute, notebook, run, truth

LABS = notebook.labs(NOTEBOOKS)
# One is run in make check, all in make check-full.
EACH = [pytest.param(n, marks=[] if n == 1 else [pytest.mark.full]) for n in LABS]


def path_of(lab):
    return NOTEBOOKS / f"lab{lab:02d}.ipynb"


# --- their form -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lab", LABS)
def test_a_notebook_is_committed_without_outputs_and_in_one_form(lab):
    text = path_of(lab).read_text()
    book = json.loads(text)
    assert all(not cell.get("outputs") for cell in book["cells"])
    assert all(cell.get("execution_count") is None for cell in book["cells"])
    again = notebook.from_text(notebook.to_text(book))
    assert notebook.as_committed(again) == text


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_has_three_to_six_exercises_for_one_or_two_hours(lab):
    found = notebook.exercises(path_of(lab))
    assert 3 <= len(found) <= 6
    assert [e.id for e in found] == [f"{lab}.{i + 1}" for i in range(len(found))]
    text = path_of(lab).read_text()
    # Reading and looking take time, too.
    said = int(re.search(r"\| time \| (\d+) minutes", text)[1])
    assert 60 <= said <= 120 and sum(e.minutes for e in found) <= said
    assert f"| {lab} |" in (NOTEBOOKS / "README.md").read_text()


@pytest.mark.parametrize("lab", LABS)
def test_an_exercise_has_hints_dots_and_a_solution(lab):
    book = json.loads(path_of(lab).read_text())
    found = notebook.exercises(path_of(lab))
    text = notebook.to_text(book)
    parts = re.split(r"^### Exercise (\d+\.\d+)", text, flags=re.MULTILINE)
    for exercise, part in zip(parts[1::2], parts[2::2]):
        assert "<details><summary>Hint" in part, exercise
        assert f'lab.check("{exercise}", answer)' in part
    assert text.count(notebook.PLACEHOLDER) == len(found)
    assert sorted(truth.solutions(lab)) == sorted(e.id for e in found)


@pytest.mark.parametrize("lab", LABS)
def test_a_notebook_is_thin(lab):
    """No cell is longer than a screen, and none imports solutions."""
    for cell in json.loads(path_of(lab).read_text())["cells"]:
        assert len(cell["source"]) <= 75
        assert "solution" not in "".join(cell["source"])


# --- their solutions ------------------------------------------------------------------------------


@pytest.mark.parametrize("lab", EACH)
def test_students_have_different_answers(lab):
    """Of any two variants most differ; each exercise that has a choice has several answers."""
    every = []
    for variant in range(answers.VARIANTS):
        mine = Lab(lab, variant=variant, keep=False)
        found = {e: s.answer(mine) for e, s in truth.solutions(lab).items()}
        every.append({e: json.dumps(a.value, sort_keys=True) for e, a in found.items()})
        for answer in found.values():
            assert answer.value not in answer.mistakes.values()
    assert len({json.dumps(one, sort_keys=True) for one in every}) >= 8


def test_the_functions_that_gdb_sees_are_those_of_the_solution():
    for variant in (0, 5):
        lab = Lab(1, variant=variant, keep=False)
        right = truth.solution(lab, "1.5")
        called = run.calls(
            [
                run.need("glib-custom-source"),
                "--bug",
                "revents-not-equal",
                "--iterations",
                lab.number("rounds", 6, 14),
            ],
            list(right),
        )
        assert {name: called.count(name) for name in right} == right


@pytest.mark.parametrize("name", "abcd")
def test_what_breakpoints_say_of_a_qemu_is_what_loopscope_infers(name):
    """Two ways that share nothing: stacks at creation, and the lists in memory."""
    seen = json.loads(run.data(f"qemu-{name}.json").read_text())
    lab = next(
        lab
        for lab in (Lab(3, variant=v, keep=False) for v in range(answers.VARIANTS))
        if lab.choice("machine", "abcd") == name
    )
    by_stack = truth.solution(lab, "3.3")
    polled = {str(r["fd"]): r for r in seen["fds"] if r.get("fd_kind") == "eventfd"}
    for fd, row in polled.items():
        owners = {"qemu_aio_context": "main", "iohandler_ctx": "iohandler"}
        owners["GLib"] = "glib" if row["role"] == "main loop" else "iothread glib"
        assert by_stack[fd] == owners.get(row["owner"], "iothread")
    # What no loop polls is the GLib context of an IOThread that runs aio_poll().
    assert {by_stack[fd] for fd in set(by_stack) - set(polled)} <= {"iothread glib"}


def test_what_was_kept_and_what_was_lost_is_all_there_was():
    """A buffer that is far too small, and one that is not."""
    lab = Lab(12, variant=3, keep=False)
    tight = lab.record("five-sources", iterations=50, record_buffer=4)
    whole = lab.record("five-sources", iterations=50)
    lost = [int(re.search(r"(\d+) lost", rec.said)[1]) for rec in (tight, whole)]
    assert lost[0] > 0 and lost[1] == 0
    assert tight.counts().sum() + lost[0] == whole.counts().sum()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="has no red zone")
def test_a_call_amid_a_leaf_function_destroys_its_red_zone(tmp_path):
    said = {}
    for flag in ("-mred-zone", "-mno-red-zone"):
        program = tmp_path / "redzone"
        run.output("cc", "-O2", flag, "-o", program, run.data("redzone.c"))
        said[flag] = dict(line.split() for line in run.output(program).splitlines())
    assert said["-mno-red-zone"] == {"nop": "17004", "call": "17004"}
    assert said["-mred-zone"]["nop"] == "17004" != said["-mred-zone"]["call"]


@pytest.mark.full
def test_doctors_say_of_a_case_what_its_answer_is_or_nothing(capsys):
    """Of its recording and of its core file; a wait in a wrong context is a nested one, too."""
    if not run.find("loopscope"):
        pytest.skip("loopscope is not built")
    lab = Lab(11, variant=3, keep=False)
    verdicts = truth.solution(lab, "11.2")
    drawn = truth.solution(lab, "11.6")
    scenarios = {
        "a3aeb9f09d": "bh-not-cancelled",
        "e62da98527": "epoll-upgrade-race",
        "6d740fb01b": "poll-recursion",
        "719c6819ed9a": "coroutine-wrong-context",
        "b37548fcd1": "stolen-accept",
        "2362a28ea1": "iothread-stop-race",
    }
    proved = []
    for letter, commit in drawn.items():
        case = cases.Case(lab, letter, scenarios[commit])
        for look in (case.doctor, lambda case=case: case.gdb("qemu doctor")):
            look()
            said = re.findall("^([A-Z]+ ?[A-Z]*)   ", capsys.readouterr().out, re.M)
            assert set(said) <= {verdicts[letter], "NESTED WAIT"}, (commit, said)
            proved += said
    assert "LOST WAKEUP" in proved and "NESTED WAIT" in proved


# --- runs -----------------------------------------------------------------------------------------


def _all_runs():
    """In make check lab 1 with its solutions; in make check-full each lab, in each way."""
    words = {"solutions": "GOOD", "nothing": "MISSING", "nonsense": "BAD"}
    for lab in LABS:
        for how, word in words.items():
            quick = lab == 1 and how == "solutions"
            marks = [] if quick else [pytest.mark.full]
            yield pytest.param(lab, how, word, marks=marks, id=f"lab{lab:02d}-{how}")


@pytest.mark.parametrize("lab, how, word", list(_all_runs()))
def test_a_notebook_runs_with_right_answers_with_none_and_with_wrong_ones(
    lab, how, word, tmp_path
):
    outcome = execute.execute(path_of(lab), how, "ada", tmp_path)
    assert outcome.error == ""
    assert set(outcome.results.values()) == {word}
    assert len(outcome.results) == len(notebook.exercises(path_of(lab)))


def test_each_lab_knows_the_recordings_that_are_made_once_for_all() -> None:
    """A release packs what its labs used, also what was made for one before it."""
    labs = [Lab(11, variant=v, keep=False) for v in (0, 7)]
    found = [cases.cases(lab, ["poll-recursion"])["A"].rec for lab in labs]
    assert found[0] is found[1]
    assert [list(lab.made.values()) for lab in labs] == [found[:1], found[:1]]
