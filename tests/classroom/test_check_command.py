"""`python -m course_utils check`: a student's own copy, right, wrong, raising, broken or empty, in plain words."""

import json

import nbformat
import pytest

from course_utils.__main__ import main
from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.check_command import check_copy, exam_of, visible_paper

NOTEBOOKS = find_folders().students
IM2COL, TIMING, START = (NOTEBOOKS / name for name in ("12_im2col.ipynb", "02_timing.ipynb", "00_start.ipynb"))

LOOPS = """\
def conv_loops(x, weight):
    return torch.nn.functional.conv2d(x, weight)
"""
IM2COL_UNPADDED = """\
def conv_im2col(x, weight, padding=1):
    rows = x.shape[2] - weight.shape[-1] + 1
    return (weight.flatten(1) @ F.unfold(x, weight.shape[-1])).unflatten(2, (rows, -1))
"""
NOT_PYTHON = """\
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    flop = 2 * n * side * side * c_out * c_in * k * k
    moved = bytes_per_value * (n *
    return flop, moved
"""
WITHOUT_A_LINE = """\
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    pictures, taps = n * side * side, c_in * k * k
    print("counting", pictures, end="")
    return 2 * pictures * c_out * taps, bytes_per_value * (pictures * (c_in + 2 * taps + c_out) + c_out * taps)
"""
IN_PLACE = """\
def conv_im2col(x, weight, padding=1):
    return F.conv2d(x.zero_(), weight, padding=padding)
"""
RAISES_AT_ONCE = "seconds_of = {}\nfor name in unheard_of:\n    seconds_of[name] = 0\n"
NEVER_ENDS = "while True:\n    pass\n"
SUSPECTS = """\
def suspects(rows, tolerance):
    from itertools import combinations
    from math import isclose
    return [(a, b) for a, b in combinations(rows, 2) if isclose(rows[a][1], rows[b][1], rel_tol=tolerance)]
"""
PRICE = "def seconds_per_picture(call_s, num_steps, batch_size):\n    return sum([call_s] * num_steps) / batch_size\n"


def copy_with(path, folder, answers):
    """A student's copy of a notebook with these texts in place of its stubs, by their key."""
    notebook = nbformat.read(path, as_version=4)
    known = {cell.metadata.get("answer"): cell for cell in notebook.cells}
    for key, text in answers.items():
        known[key].source = text
    own = folder / path.name
    nbformat.write(notebook, own)
    return own


def said(path, folder, answers, **options):
    """What the check finds, by the name of the exercise."""
    return {one.name: one for one in check_copy(path, copy_with(path, folder, answers), **options)}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_every_exercise_of_the_course_is_checked(path):
    exam = exam_of(path)
    cells = visible_paper(exam, {})
    marked = [cell.metadata for cell in nbformat.read(path, as_version=4).cells if cell.metadata.get("points")]
    keys = [one["answer"] for one in marked]
    assert keys, "a notebook with nothing to check"
    assert [cell.key for cell in cells if cell.role == "check"] == keys
    assert [cell.key for cell in cells if cell.role == "answer"] == keys, "the stubs, and no prediction"


def test_right_wrong_and_broken_answers_stand_side_by_side(tmp_path):
    answers = {"12.conv_loops": LOOPS, "12.conv_im2col": IM2COL_UNPADDED, "12.im2col_work": NOT_PYTHON}
    found = said(IM2COL, tmp_path, answers)
    assert list(found) == ["conv_loops", "conv_im2col", "im2col_work"]
    assert str(found["conv_loops"]).startswith("conv_loops: right\n  ok    ")
    assert [one.right for one in found.values()] == [True, False, False]
    wrong = str(found["conv_im2col"])
    assert wrong.startswith("conv_im2col: not right yet\n")
    assert "expected shape (1, 1, 4, 4), got (1, 1, 2, 2)" in wrong
    assert "cells below" not in wrong, "that is for those who read on in the notebook"
    broken = str(found["im2col_work"])
    assert broken.startswith("im2col_work: your cell raised SyntaxError: ")
    assert broken.endswith("(line 3)")
    assert "Traceback" not in "".join(map(str, found.values()))


def test_an_answer_that_raises_is_told_with_its_line_and_one_that_ends_python_leaves_it_alone(tmp_path):
    found = said(TIMING, tmp_path, {"02.timer": RAISES_AT_ONCE, "02.suspects": "import os\nos._exit(3)\n"})
    assert found["timer"].verdict == "your cell raised NameError: name 'unheard_of' is not defined (line 2)"
    assert found["suspects"].verdict.startswith("your cell ended Python itself")


def test_an_answer_that_never_ends_is_stopped_and_costs_the_others_nothing(tmp_path):
    found = said(TIMING, tmp_path, {"02.timer": NEVER_ENDS, "02.suspects": SUSPECTS}, limit_s=5)
    assert found["timer"].verdict == "your cell did not end within 5 s: is there a loop without an end?"
    assert found["suspects"].right


def test_command_reads_the_copy_in_my_and_says_which_file_it_read(tmp_path, capsys):
    for folder in ("notebooks", "my"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notebooks" / START.name).write_bytes(START.read_bytes())
    copy_with(START, tmp_path / "my", {"00.seconds_per_picture": PRICE})
    assert main(["check", "00", "--root", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "my" / START.name) in printed
    assert "not saved yet is not seen" in printed
    assert "seconds_per_picture: right" in printed
    assert printed.endswith("1 of 1 right.\n")


def test_stub_is_not_answered_yet_and_an_answer_that_became_markdown_is_told_how_to_come_back(tmp_path, capsys):
    own = copy_with(TIMING, tmp_path, {"02.suspects": SUSPECTS})
    notebook = nbformat.read(own, as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.metadata.get("answer") == "02.suspects")
    cell.cell_type = "markdown"
    for name in ("outputs", "execution_count"):
        cell.pop(name)
    nbformat.write(notebook, own)
    assert main(["check", "02_timing", "--notebook", str(own)]) == 1
    printed = capsys.readouterr().out
    assert "timer: not answered yet\n\n" in printed
    assert "suspects: its cell is not code any more: make it code again (Esc, then Y)\n\n0 of 2 right." in printed


def test_what_is_missing_is_named(tmp_path):
    found = said(IM2COL, tmp_path, {"12.conv_loops": "exit()", "12.conv_im2col": "", "12.im2col_work": WITHOUT_A_LINE})
    assert found["conv_loops"].verdict == "your cell does not define conv_loops"
    assert found["conv_im2col"].verdict == "its cell is empty or gone: notebooks/ has it as it was"
    assert found["im2col_work"].right, "what it prints has no end of line"
    quoting = "class Quoting:\n    def __call__(self, x, weight):\n        raise ValueError('all of it: right')\n"
    found = said(IM2COL, tmp_path, {"12.conv_loops": f"{quoting}\nconv_loops = Quoting()"})
    assert found["conv_loops"].verdict == "not right yet"
    asking = LOOPS.replace("\n", "\n    input()\n", 1)
    found = said(IM2COL, tmp_path, {"12.conv_loops": asking, "12.conv_im2col": IN_PLACE})
    assert "it asks for input(), and nobody is there to answer" in "".join(found["conv_loops"].lines)
    assert found["conv_im2col"].verdict == "not right yet"
    assert found["im2col_work"].verdict == "not answered yet", "a stub of two values"


def test_another_notebook_is_told_apart_and_a_path_is_a_name(tmp_path, capsys):
    own = copy_with(TIMING, tmp_path, {"02.suspects": SUSPECTS})
    assert main(["check", "12", "--notebook", str(own)]) == 2
    assert "has no cell of 12_im2col: is it another notebook?" in capsys.readouterr().err
    assert main(["check", str(own)]) == 1
    assert f"02_timing, as saved in {own}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["77"], "no notebook is called '77'; there are 00_start"),
        (["00", "--notebook", "nowhere.ipynb"], "there is no file nowhere.ipynb"),
        (["00", "--limit", "0"], "--limit is a number of seconds above 0, not 0"),
    ],
)
def test_mistake_in_the_command_is_one_sentence_and_status_2(options, words, capsys):
    assert main(["check", *options]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert not told.out
    assert "Traceback" not in told.err


@pytest.mark.parametrize("text", ["no json at all", "", json.dumps({"cells": 3})], ids=["text", "empty", "no-cells"])
def test_file_that_is_no_notebook_is_named(text, tmp_path, capsys):
    own = tmp_path / "own.ipynb"
    own.write_text(text)
    assert main(["check", "00", "--notebook", str(own)]) == 2
    assert f"{own}: the file " in capsys.readouterr().err
