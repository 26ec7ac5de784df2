"""Answers: their forms, what is stored of them, and that grading believes only them."""

import json
import os
import subprocess

import pytest
from conftest import NOTEBOOKS, ROOT

from looplabs import Lab, answers, grade, truth


@pytest.mark.parametrize(
    "kind, given, stored",
    [
        ("number", 3, 3),
        ("number", 3.0, 3),
        ("name", " five_bh_cb() ", "five_bh_cb"),
        ("yes", True, True),
        ("names", ("a", "b"), ["a", "b"]),
        ("set", {"b", "a"}, ["a", "b"]),
        ("set", ["b", "a", "b"], ["a", "b"]),
        ("table", {"x": {"b", "a"}, 3: 1.0}, {"x": ["a", "b"], "3": 1}),
    ],
)
def test_answers_that_mean_the_same_are_the_same(kind, given, stored):
    assert answers.normal(kind, given) == stored


@pytest.mark.parametrize(
    "kind, given",
    [
        ("number", "3"),
        ("number", True),
        ("number", 2.5),
        ("number", float("nan")),
        ("name", ["a"]),
        ("yes", 1),
        ("names", "abc"),
        ("set", 3),
        ("table", ["a"]),
        ("name", object()),
    ],
)
def test_an_answer_of_another_form_is_refused(kind, given):
    with pytest.raises(answers.AnswerError):
        answers.normal(kind, given)


def test_a_key_is_of_its_exercise_and_variant():
    keys = {
        answers.key(e, v, k, 1)
        for e in ("1.1", "1.2")
        for v in (0, 1)
        for k in ("number", "yes")
    }
    assert len(keys) == 8


def test_the_same_student_is_asked_the_same():
    one, again, other = Lab(1, "ada"), Lab(1, " Ada"), Lab(1, variant=3)
    assert one.variant == again.variant
    assert one.order("x", "abcdefgh") == again.order("x", "abcdefgh")
    assert [Lab(1, variant=v).number("n", 0, 999) for v in range(4)] != [
        other.number("n", 0, 999)
    ] * 4


def test_check_says_good_bad_or_missing_and_notes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lab = Lab(1, "ada")
    right = truth.solution(lab, "1.3")
    for given, says in [
        (..., "MISSING 1.3: put your answer in place of the dots"),
        ("x", "BAD     1.3: expected a dictionary"),
        ({**right, "edge": 7}, "BAD     1.3: look again"),
        ({**right, "edge": right["level"], "left": 0}, "BAD     1.3: Edge-triggered"),
        (right, "GOOD    1.3"),
    ]:
        lab.check("1.3", given)
        assert capsys.readouterr().out.startswith(says)
        noted = (
            json.loads(lab.answers_path.read_text())["answers"]
            if lab.answers_path.exists()
            else {}
        )
        assert ("1.3" in noted) == isinstance(given, dict)
    with pytest.raises(KeyError, match="no exercise 1.9"):
        lab.check("1.9", 1)


def hand_in(where, lab, student, given):
    where.mkdir(parents=True, exist_ok=True)
    whole = {"lab": lab, "student": student, "answers": given}
    (where / f"lab{lab:02d}.json").write_text(json.dumps(whole))
    return where


def all_right(lab, student):
    mine = Lab(lab, student, keep=False)
    return {e: s.answer(mine).value for e, s in truth.solutions(lab).items()}


def run_grade(where, lab=1):
    return grade.main(["--lab", str(lab), "--answers", str(where)])


def test_full_marks_are_success(tmp_path, capsys):
    right = all_right(1, "ada")
    assert run_grade(hand_in(tmp_path, 1, "ada", right)) == 0
    out = capsys.readouterr().out
    assert out.count("GOOD") == len(right) and "BAD" not in out


def test_each_wrong_and_each_missing_answer_costs_its_points(tmp_path, capsys):
    right = all_right(1, "ada")
    for exercise in right:
        rest = {e: v for e, v in right.items() if e != exercise}
        for given, word in (({**rest, exercise: "x"}, "BAD"), (rest, "MISSING")):
            assert run_grade(hand_in(tmp_path, 1, "ada", given)) == 1
            lines = capsys.readouterr().out.splitlines()[1:-1]
            words = {line.split()[1]: line.split()[0] for line in lines}
            assert words == {e: "GOOD" for e in rest} | {exercise: word}


def test_another_students_answers_are_not_ones_own(tmp_path, capsys):
    others = next(s for s in "abcdefgh" if Lab(1, s).variant != Lab(1, "ada").variant)
    assert run_grade(hand_in(tmp_path, 1, others, all_right(1, "ada"))) == 1
    assert "BAD" in capsys.readouterr().out


def test_nothing_handed_in_is_no_points(tmp_path, capsys):
    assert run_grade(tmp_path) == 1
    out = capsys.readouterr().out
    assert out.count("MISSING") == 6 and "GOOD" not in out


def test_a_class_is_a_line_each_and_a_sum(tmp_path, capsys):
    hand_in(tmp_path / "a", 1, "ada", all_right(1, "ada") | {"minutes": 90})
    hand_in(tmp_path / "b", 1, "bob", {})
    hand_in(tmp_path / "c", 1, "ada", {"1.1": "x"})
    assert run_grade(tmp_path) == 1
    out = capsys.readouterr().out
    assert "3 students" in out and "id handed in twice" in out and "90 minutes" in out
    rows = {line.split(",")[0]: line.split()[-6:] for line in out.splitlines()}
    assert rows["good"] == ["1"] * 6
    assert rows["bad"] == ["1", "0", "0", "0", "0", "0"]
    assert rows["missing"] == ["1", "2", "2", "2", "2", "2"]


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an answers file"),
        ('{"lab": 1, "answers": []}', "not an answers file"),
        ('{"lab": 2, "student": "a", "answers": {}}', "of lab 2, not of lab 1"),
        ('{"lab": 1, "student": 3, "answers": {}}', "no student's id"),
        ("x" * (1 << 20) + "yy", "larger than"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, capsys, text, says):
    (tmp_path / "lab01.json").write_text(text)
    assert run_grade(tmp_path) == 4
    err = capsys.readouterr().err
    assert err.startswith("grade: ") and says in err and err.count("\n") == 1


def test_answers_of_any_shape_are_bad_and_nothing_worse(tmp_path, capsys):
    shapes = [0, "x", [], {}, [[[]]], {"a": {"b": {}}}, 1e400, "\x1b[31m", True]
    for shape in shapes:
        given = {e: shape for e in all_right(1, "ada")}
        assert run_grade(hand_in(tmp_path, 1, "ada", given)) == 1
        assert capsys.readouterr().out.count("BAD") == 6


def test_an_id_does_not_reach_the_terminal_unescaped(tmp_path, capsys):
    run_grade(hand_in(tmp_path, 1, "\x1b[31mada", {}))
    assert "\x1b" not in capsys.readouterr().out


def test_make_grade_ends_with_success_only_on_full_marks(tmp_path):
    hand_in(tmp_path / "good", 1, "ada", all_right(1, "ada"))
    hand_in(tmp_path / "bad", 1, "ada", {})
    for name, fine in (("good", True), ("bad", False)):
        done = subprocess.run(
            ["make", "-s", "grade", "LAB=1", f"ANSWERS={tmp_path / name}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, "MAKEFLAGS": ""},
        )
        assert (done.returncode == 0) == fine, done.stdout
        assert ("GOOD" in done.stdout) == fine


def test_a_lab_that_is_not_there_is_said_to_be_none(tmp_path, capsys):
    assert run_grade(tmp_path, lab=77) == 4
    assert "there is no lab 77" in capsys.readouterr().err
    assert NOTEBOOKS.is_dir()
