"""Every planted answer of the course gets its points, and what is left of a lesson still prints what it should.

One kernel a notebook: the reference solution goes through the same slice and is compared with the source's own
`# expect:` lines, which the whole lesson prints as well (tests/test_notebooks.py).
"""

import builtins
import secrets

import pytest

from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.authoring.source import read_source
from course_utils.classroom.grading.exams import Exam, paper, reference_answers
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.marking import Bench
from course_utils.classroom.grading.planted import read_cases, try_cases
from course_utils.classroom.grading.sandbox import find_sandbox
from course_utils.classroom.grading.slicing import names_of

FOLDER = find_folders().sources
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
SANDBOX = find_sandbox()
LIMITS = Limits(cell_s=120, notebook_s=560)  # 21_data_parallel starts a torchrun for each of its cases
none_here = pytest.mark.skipif(not SOURCES, reason=f"{FOLDER.name}/ holds no source: nothing to grade")


def exam_and_cases(path):
    exam = Exam(read_source(path))
    planted = FOLDER / "planted" / path.name
    return exam, read_cases(planted, exam) if planted.exists() else []


@none_here
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_planted_answers_get_their_points(path):
    exam, cases = exam_and_cases(path)
    secret = secrets.randbelow(10**9)
    marks = try_cases(exam, cases, Bench(SANDBOX, LIMITS, secret))
    wrong = [
        f"{case.key} {case.name}: {marks[case.key, case.name]}, wanted {case.points:g}"
        for case in cases
        if marks[case.key, case.name].points not in (case.points, None)
    ]  # None: not graded here
    assert wrong == [], f"secret {secret}"


@none_here
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_each_exercise_has_three_wrong_answers_and_another_right_one(path):
    exam, cases = exam_and_cases(path)
    for one in exam.exercises:
        points = [case.points for case in cases if case.key == one.key]
        assert points.count(0.0) >= 3, f"{one.key}: {points.count(0.0)} wrong answers"
        assert points.count(one.points) >= 1, f"{one.key}: no right answer in another form"


@none_here
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_hidden_check_takes_nothing_from_another_exercises(path):
    """Where a kernel died each exercise is run alone, and an earlier check may have stopped half-way."""
    exam, _ = exam_and_cases(path)
    for one in exam.exercises:
        known = set(dir(builtins))
        for cell in paper(exam, reference_answers(exam), secret=0, mark="told", only=[one.key]):
            found = names_of(cell.text)
            known |= found.touches
            unknown = {name for name in found.reads - known if name.isidentifier()}
            assert not unknown, f"{one.key}: its check {cell.id} reads {sorted(unknown)}"
