"""Answers are found whatever was done to the cells, and mean what the student meant: they are executed here."""

import json
import math

import nbformat
import pytest
from grading_lesson import triangles

from course_utils.classroom.authoring.copies import student_copy
from course_utils.classroom.grading.plant_kinds import KINDS
from course_utils.classroom.grading.splicing import answers_of, read_cells

ALL = {"07.hypotenuse", "07.perimeter", "07.area"}


def handed_in(exam, change):
    notebook = student_copy(exam.source)
    change(notebook, exam)
    return answers_of(exam, read_cells(nbformat.writes(notebook)))


def right_ones(answers):
    """The keys whose answer computes what it should, executed as the cells of a notebook are."""
    scope = {"math": math}
    for answer in answers.values():
        for cell in answer.cells:
            try:
                exec(cell, scope)
            except SyntaxError:
                continue  # a broken copy
    wanted = {"hypotenuse": 5.0, "perimeter": 12.0, "area": 6.0}
    return {f"07.{name}" for name, value in wanted.items() if name in scope and scope[name](3, 4) == value}


WHOLE = (
    "right",
    "split",
    "split-keyless",
    "merged",
    "copied",
    "moved",
    "helped",
    "below",
    "unmarked",
    "skip-marked",
    "noisy",
    "no-checks",
)


@pytest.mark.parametrize("kind", WHOLE)
def test_no_accident_loses_a_right_answer(tmp_path, kind):
    answers = handed_in(triangles(tmp_path), KINDS[kind].change)
    assert right_ones(answers) == ALL
    assert "NBVAL" not in "".join(answer.text for answer in answers.values())
    assert "check." not in "".join(answer.text for answer in answers.values())


def test_stubs_markdown_and_missing_cells_are_no_answers(tmp_path):
    exam = triangles(tmp_path)
    assert all(answer.is_stub for answer in handed_in(exam, KINDS["empty"].change).values())
    lost = handed_in(exam, KINDS["markdown"].change)["07.hypotenuse"]
    assert (lost.cells, lost.in_markdown) == ((), True)
    missing = handed_in(exam, KINDS["missing"].change)["07.hypotenuse"]
    assert (missing.cells, missing.in_markdown, missing.is_stub) == ((), False, True)


def test_what_was_put_right_is_noted(tmp_path):
    exam = triangles(tmp_path)
    told = {
        kind: handed_in(exam, KINDS[kind].change)["07.area"].notes for kind in ("merged", "unmarked", "skip-marked")
    }
    assert "known by its name" in told["merged"][0]
    assert "visible check" in told["merged"][1]
    assert "known by its id" in told["unmarked"][0]
    assert told["skip-marked"] == ("a comment for nbval was taken out",)
    assert handed_in(exam, KINDS["right"].change)["07.area"].notes == ()
    assert handed_in(exam, KINDS["helped"].change)["07.area"].notes == (
        "it takes something from cells that the student added",
    )
    assert "an older copy?" in handed_in(exam, KINDS["missing"].change)["07.hypotenuse"].notes[0]


def test_of_the_students_own_cells_only_what_the_answer_needs_comes_along(tmp_path):
    def change(notebook, exam):
        KINDS["right"].change(notebook, exam)
        cells = {cell.id: cell for cell in notebook.cells}
        cells["area"].source = "def area(a, b):\n    return quarter(a, b) * four"
        cells["setup"].source += "\nimport os\nfour = two + two"
        own = (
            "two = 2\nraise SystemExit\nwaste = list(range(10**6))\ncheck = None\ndef perimeter(a, b):\n    return 0",
            "def quarter(a, b):\n    return halved(a, b) / 2\ndef halved(a, b):\n    return a * b / 4",
            "def broken(:\n",
            "+".join(["two"] * 20_000),
        )
        notebook.cells[1:1] = [nbformat.v4.new_code_cell(text) for text in own]

    answers = handed_in(triangles(tmp_path), change)
    assert right_ones(answers) == ALL
    assert not {"SystemExit", "waste", "check", "os"} & set(answers["07.area"].text.split())
    assert len(answers["07.perimeter"].cells) == 1


def test_a_visible_check_in_an_answer_cannot_put_the_kits_own_in_its_place(tmp_path):
    answer = handed_in(triangles(tmp_path), KINDS["stand-in"].change)["07.area"]
    assert answer.text.strip() == ""


def test_a_piece_of_the_lesson_with_the_name_is_not_taken_for_an_answer(tmp_path):
    exam = triangles(tmp_path)

    def change(notebook, exam):
        KINDS["missing"].change(notebook, exam)
        extra = nbformat.v4.new_code_cell("print(hypotenuse(3, 4))")
        notebook.cells.append(extra)

    assert handed_in(exam, change)["07.hypotenuse"].cells == ()


def test_a_time_magic_keeps_its_cell(tmp_path):
    def change(notebook, exam):
        KINDS["right"].change(notebook, exam)
        for cell in notebook.cells:
            if "answer" in cell.metadata:
                cell.source = f"%%time\n{cell.source}"

    answer = handed_in(triangles(tmp_path), change)["07.area"]
    assert answer.cells[0].startswith("%%time\ndef area")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("\x89PNG", "not JSON"),
        ('{"cells": [{"cell_type"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no cells that can be read"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3]}', "no cells that can be read"),
        ('{"nbformat": 99}', "no cells that can be read"),
    ],
)
def test_what_is_no_notebook_gets_a_sentence(text, why):
    with pytest.raises(ValueError, match=why):
        read_cells(text)


def test_an_old_notebook_is_read(tmp_path):
    exam = triangles(tmp_path)
    notebook = student_copy(exam.source)
    KINDS["right"].change(notebook, exam)
    old = json.loads(nbformat.writes(notebook))
    old["nbformat_minor"] = 4
    for cell in old["cells"]:
        del cell["id"]
    assert right_ones(answers_of(exam, read_cells(json.dumps(old)))) == ALL
