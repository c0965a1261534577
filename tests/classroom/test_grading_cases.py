"""Planted answers of a small lesson: the batch tells right from wrong, one case does not help the next."""

import pytest
from grading_lesson import LESSON, triangles

from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.marking import Bench
from course_utils.classroom.grading.planted import read_cases, try_cases
from course_utils.classroom.grading.sandbox import find_sandbox

BENCH = Bench(find_sandbox(), Limits(cell_s=5, notebook_s=120), secret=4711)
CASES = """\
# %% [markdown]
# Why these.
# %% answer="07.hypotenuse" case="other-form" points=1
hypotenuse = math.hypot
# %% answer="07.hypotenuse" case="forgets-the-root" points=0
def hypotenuse(a, b):
    return a**2 + b**2
# %% answer="07.hypotenuse" case="another-name" points=0
def long_side(a, b):
    return math.sqrt(a**2 + b**2)
# %% answer="07.hypotenuse" case="numbers-learned-by-heart" points=0
def hypotenuse(a, b):
    return {(5, 12): 13.0, (8, 15): 17.0, (3, 4): 5.0}[a, b]
# %% answer="07.perimeter" case="builds-on-the-first" points=2
def perimeter(a, b):
    print("debug", a, b)
    return sum([hypotenuse(a, b), a, b])
# %% answer="07.perimeter" case="endless" points=0
def perimeter(a, b):
    while True: pass
# %% answer="07.area" case="hands-back-nothing" points=0
def area(a, b):
    doubled = a * b
# %% answer="07.area" case="does-not-parse" points=0
def area(a, b)
    return a * b / 2
"""


def written(tmp_path, text=CASES):
    path = tmp_path / "07_triangles.py"
    path.write_text(text)
    return path


def test_cases_get_what_they_should(tmp_path):
    exam = triangles(tmp_path / "clone")
    cases = read_cases(written(tmp_path), exam)
    marks = try_cases(exam, cases, BENCH)
    assert {name: mark.points for (_, name), mark in marks.items()} == {case.name: case.points for case in cases}
    told = {name: mark.status for (_, name), mark in marks.items()}
    assert told["another-name"] == "not right"
    assert "does not define hypotenuse" in marks["07.hypotenuse", "another-name"].words
    assert told["numbers-learned-by-heart"] == "raised KeyError"
    assert told["endless"] == "timed out"
    assert told["does-not-parse"] == "raised SyntaxError"
    assert marks["07.area", "does-not-parse"].words.endswith("(line 1)")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("# expect: 13.000 17.000", "# expect: 13.000 18.000", "the reference prints"),
        ("    c = math.sqrt(squared)", "    c = math.sqrt(-squared)", "fails in cell hypotenuse-hidden: ValueError"),
        ('print(f"{perimeter(5', 'str(f"{perimeter(5', "prints nothing for the reference"),
    ],
)
def test_a_reference_that_is_not_right_stops_everything(tmp_path, old, new, why):
    exam = triangles(tmp_path / "clone", LESSON.replace(old, new))
    with pytest.raises(RuntimeError, match=why):
        try_cases(exam, [], BENCH)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('answer="07.area" case="does', 'answer="07.volume" case="does', "with a key of"),
        ('case="other-form" points=1', 'case="other-form" points=3', "points are 0 or 1"),
        (' case="endless"', "", "a case is headed"),
        ('case="forgets-the-root"', 'case="other-form"', "two cases called"),
    ],
)
def test_a_planted_answer_that_is_not_well_formed_is_named(tmp_path, old, new, why):
    exam = triangles(tmp_path / "clone")
    with pytest.raises(ValueError, match=why):
        read_cases(written(tmp_path, CASES.replace(old, new)), exam)
