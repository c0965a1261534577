"""What students hand in: copies of a notebook, untouched ones, a whole class in one archive."""

import nbformat
import pytest
from grading_lesson import triangles

from course_utils.classroom.authoring.copies import student_copy
from course_utils.classroom.grading.handing_in import handed_in
from course_utils.classroom.grading.plant_kinds import KINDS
from course_utils.classroom.grading.submissions import Submission


@pytest.fixture
def exam(tmp_path):
    return triangles(tmp_path / "clone")


def told_of(exam, folder, **kinds):
    """What a folder with these files says; each is a kind of submission, `__` parts folders."""
    for name, kind in kinds.items():
        notebook = student_copy(exam.source)
        KINDS[kind].change(notebook, exam)
        path = folder / f"{name.replace('__', '/')}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(nbformat.writes(notebook))
    return handed_in(Submission("ada", folder), [exam])


def test_of_two_copies_the_one_with_more_answers_is_taken_and_named(tmp_path, exam):
    told = told_of(exam, tmp_path / "ada", a="markdown", b="right", c="empty")
    assert told.notes == [
        "07_triangles: b.ipynb was graded, not the copy a.ipynb",
        "07_triangles: b.ipynb was graded, not the copy c.ipynb",
    ]
    assert told.flags == []
    assert told.answers["07_triangles"]["07.area"].text == exam.exercises[2].solution


def test_copies_with_as_many_answers_are_for_a_person(tmp_path, exam):
    assert told_of(exam, tmp_path / "ada", a="right", b="right").flags == []
    told = told_of(exam, tmp_path / "bob", a="right", b="wrong")
    assert told.flags == ["07_triangles: two copies with as many answers, a.ipynb was graded"]


def test_a_class_in_one_archive_is_told(tmp_path, exam):
    (flag,) = told_of(exam, tmp_path / "ada", Bob__a="right", Eve__a="right").flags
    assert flag == "07_triangles: in several folders, Eve/a.ipynb and Bob/a.ipynb; a whole class in one archive?"


def test_a_notebook_without_an_answer_was_not_handed_in(tmp_path, exam):
    told = told_of(exam, tmp_path / "ada", a="empty")
    assert (told.answers, told.untouched) == ({}, {"07_triangles"})
    assert told_of(exam, tmp_path / "bob", a="markdown").untouched == set()


def test_nothing_at_all_is_refused_in_words(tmp_path, exam):
    (tmp_path / "ada").mkdir()
    assert "there is no notebook" in told_of(exam, tmp_path / "ada").refused
