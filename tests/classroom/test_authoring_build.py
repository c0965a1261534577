"""Student copies and masters: what is in them, and that the same source gives the same bytes."""

import json

import nbformat
import pytest
from authoring_lesson import DRAWN, LESSON, write_lesson

from course_utils.classroom.authoring.build import build, main
from course_utils.classroom.authoring.copies import master
from course_utils.classroom.authoring.source import read_sources


def read(folder):
    return nbformat.read(folder / "02_timing.ipynb", as_version=4)


def cell_of(notebook, cell_id):
    return next(cell for cell in notebook.cells if cell.id == cell_id)


def test_student_copy_has_stubs_and_nothing_else_of_the_answer(tmp_path):
    folders = write_lesson(tmp_path)
    student = read(folders.students)
    text = (folders.students / "02_timing.ipynb").read_text(encoding="utf-8")
    for secret in ("SOLUTION", "squared", "expect", "timer-hidden", "timer-note", "17.0", "nbval"):
        assert secret not in text
    assert cell_of(student, "timer").source.splitlines()[2] == "    c = ...  # your code here, about 2 lines"
    assert all(not cell.outputs and cell.execution_count is None for cell in student.cells if cell.cell_type == "code")


def test_student_copy_carries_what_a_grader_and_jupyterlab_need(tmp_path):
    student = read(write_lesson(tmp_path).students)
    answer, check = cell_of(student, "timer").metadata, cell_of(student, "timer-check").metadata
    assert (answer["answer"], answer["points"], answer["deletable"]) == ("02.timer", 2, False)
    assert (check["deletable"], check["editable"]) == (False, False)
    assert student.metadata.kernelspec.name == "python3"


def test_master_stores_the_expected_output_as_if_executed(tmp_path):
    notebook = read(write_lesson(tmp_path).masters)
    hidden = cell_of(notebook, "timer-hidden")
    assert hidden.outputs[0].text == "13.0\n17.0\n"
    assert hidden.execution_count is not None  # a never-executed cell is not compared
    assert "nbval-check-output" in hidden.metadata.tags
    assert cell_of(notebook, "setup").execution_count is None
    assert "squared = a**2 + b**2" in cell_of(notebook, "timer").source
    assert "SOLUTION" not in json.dumps(notebook)


def test_a_hidden_check_that_varies_gets_its_secret(tmp_path):
    folders = write_lesson(tmp_path, DRAWN)
    assert cell_of(read(folders.masters), "timer-drawn").source.startswith("secret = 0\nprint(")
    (source,) = read_sources(folders.sources)
    drawn = master(source, secret=7)
    assert cell_of(drawn, "timer-drawn").source.startswith("secret = 7\nprint(")
    assert "secret" not in cell_of(drawn, "timer-hidden").source
    assert "secret" not in json.dumps(read(folders.students))


def test_building_twice_gives_the_same_bytes_and_writes_nothing(tmp_path):
    folders = write_lesson(tmp_path)
    path = folders.students / "02_timing.ipynb"
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    assert build(folders) == []
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, written)
    path.unlink()
    assert build(folders) == [path]
    assert path.read_bytes() == before


def test_no_temporary_file_stays(tmp_path):
    folders = write_lesson(tmp_path)
    assert [path.name for path in folders.students.iterdir()] == ["02_timing.ipynb"]


def test_command_builds_and_checks(tmp_path, capsys):
    folders = write_lesson(tmp_path)
    (folders.students / "02_timing.ipynb").unlink()
    assert main(["--root", str(tmp_path)]) == 0
    assert "wrote notebooks/02_timing.ipynb" in capsys.readouterr().out
    assert main(["--check", "--root", str(tmp_path)]) == 0
    (folders.sources / "02_timing.py").write_text(LESSON.replace("Compare.", "Compare them."), encoding="utf-8")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert "no  rebuilding changes no student copy\n      02_timing.ipynb differs" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{}", "cut", '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}'])
def test_a_copy_that_is_no_notebook_is_named(tmp_path, text):
    folders = write_lesson(tmp_path)
    (folders.students / "02_timing.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"02_timing\.ipynb is not a valid notebook"):
        main(["--check", "--root", str(tmp_path)])


def test_a_clone_without_sources_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        main(["--root", str(tmp_path)])
