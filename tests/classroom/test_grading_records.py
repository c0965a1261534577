"""The state of a grading run on disk: one secret, whole files, and results that hold for these very answers alone."""

import stat

import pytest
from grading_lesson import LESSON, triangles

from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.marking import Graded, Mark
from course_utils.classroom.grading.records import file_name, opened
from course_utils.classroom.grading.splicing import Answer

GRADED = Graded({"07.area": Mark("raised ValueError", 0.0, "Your cell stops.", ("ok    this",))}, 3.5, 2**28)
ANSWERS = {"07.area": Answer(("def area(): pass",), ("a note",))}


def test_a_result_comes_back_for_the_same_answers_alone(tmp_path):
    exam = triangles(tmp_path / "a")
    with opened(tmp_path) as records:
        assert records.graded("ada", exam, ANSWERS) is None
        records.keep("ada", exam, ANSWERS, GRADED)
        assert records.graded("ada", exam, ANSWERS) == GRADED
        assert records.graded("ada", exam, {"07.area": Answer(("def area(): pass",))}) == GRADED  # notes do not matter
        assert records.graded("ada", exam, {"07.area": Answer(("def area(): ...",))}) is None
        assert records.graded("bob", exam, ANSWERS) is None
        changed = triangles(tmp_path / "b", LESSON.replace('print(f"{perimeter(5', 'print(f"{perimeter(6'))
        assert records.graded("ada", changed, ANSWERS) is None
        records.keep_reference(exam, {"07.area": [["1"]]})
        assert records.reference(exam) == {"07.area": [["1"]]}
        assert records.reference(changed) is None


def test_a_run_that_goes_on_keeps_its_secret_and_another_has_its_own(tmp_path):
    with opened(tmp_path / "one") as records:
        first = records.secret
    with opened(tmp_path / "one") as records:
        assert records.secret == first
    with opened(tmp_path / "two") as records:
        assert records.secret != first
    path = tmp_path / "one/work/secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_was_stopped_at_a_limit_is_graded_again_under_another(tmp_path):
    exam = triangles(tmp_path / "a")
    stopped = Graded({"07.area": Mark("timed out", 0.0)}, 60.0, 2**28)
    with opened(tmp_path, Limits(cell_s=5)) as records:
        records.keep("ada", exam, ANSWERS, stopped)
        records.keep("bob", exam, ANSWERS, GRADED)
        assert records.graded("ada", exam, ANSWERS) == stopped
    with opened(tmp_path, Limits(cell_s=50)) as records:
        assert records.graded("ada", exam, ANSWERS) is None
        assert records.graded("bob", exam, ANSWERS) == GRADED


def test_half_a_file_counts_as_none(tmp_path):
    exam = triangles(tmp_path / "a")
    with opened(tmp_path) as records:
        records.keep("ada", exam, ANSWERS, GRADED)
        path = tmp_path / "work/results/ada/07_triangles.json"
        path.write_text(path.read_text()[:50])
        assert records.graded("ada", exam, ANSWERS) is None


def test_two_graders_do_not_share_a_folder(tmp_path):
    with opened(tmp_path), pytest.raises(ValueError, match="another grading run is at work"), opened(tmp_path):
        pass


def test_names_of_students_become_names_of_files():
    assert file_name("Ada Lovelace (2)") != file_name("Ada Lovelace [2]")
    assert file_name("ada.lovelace@x-1") == "ada.lovelace@x-1"
    for name in ("..", ".", "a/b", "-rf", "Zoë\n", "x" * 200, ""):
        made = file_name(name)
        assert "/" not in made
        assert made not in ("", ".", "..")
        assert len(made) < 100
