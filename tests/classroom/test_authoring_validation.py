"""The nbval harness fails where it must: a wrong expectation, an exception, a timeout, a dead kernel."""

from authoring_lesson import LESSON, write_lesson

from course_utils.classroom.authoring.copies import master
from course_utils.classroom.authoring.source import read_sources
from course_utils.classroom.authoring.validation import validate


def run(tmp_path, text, timeout_s=60):
    (source,) = read_sources(write_lesson(tmp_path, text).sources)
    return validate(master(source), timeout_s=timeout_s)


def test_the_right_lesson_passes_at_smoke_scale_offline_and_one_threaded(tmp_path):
    probe = 'import os\nprint(*(os.environ[name] for name in ("COURSE_SCALE", "OMP_NUM_THREADS", "COURSE_OFFLINE")))'
    text = LESSON.replace('print("two threads:", math.sqrt(4))', f"{probe}\n# expect: smoke 1 1")
    said = run(tmp_path, text)
    assert (said.complaints, said.compared) == ({}, 3)


def test_wrong_expectation_and_exception_are_found_by_cell_id(tmp_path):
    text = LESSON.replace("# expect: 17.0", "# expect: 17.5").replace('print("two', '1 / 0; print("two')
    said = run(tmp_path, text)
    assert set(said.complaints) == {"measure", "timer-hidden"}
    assert "ZeroDivisionError" in said.complaints["measure"]
    assert "17.5" in said.complaints["timer-hidden"]
    assert "cell timer-hidden" in str(said)


def test_a_cell_that_prints_nothing_does_not_pass(tmp_path):
    said = run(tmp_path, LESSON.replace("    print(round(hypotenuse(*sides), 3))", "    round(hypotenuse(*sides), 3)"))
    assert set(said.complaints) == {"timer-hidden"}


def test_a_timeout_is_found_and_later_failures_are_not_excused(tmp_path):
    text = LESSON.replace('print("two', 'import time; time.sleep(30); print("two').replace(
        "# expect: 17.0", "# expect: 1"
    )
    said = run(tmp_path, text, timeout_s=2)
    assert set(said.complaints) == {"measure", "timer-hidden"}
    assert "Timeout of 2 seconds" in said.complaints["measure"]
    assert "after an earlier timeout" in said.complaints["timer-hidden"]


def test_nothing_passes_after_the_kernel_died(tmp_path):
    said = run(tmp_path, LESSON.replace('print("two', 'import os; os._exit(1); print("two'), timeout_s=2)
    assert set(said.complaints) == {"measure", "timer", "timer-check", "timer-hidden"}
