"""Words that a person should look at, and answers that are alike."""

import pytest
from grading_lesson import triangles

from course_utils.classroom.grading.flags import WORDS, alike, suspicious
from course_utils.classroom.grading.splicing import Answer

TRICKS = {
    "get_ipython": "get_ipython().run_cell('1')",
    "ast_transformers": "shell.ast_transformers.append(1)",
    "settrace": "sys.settrace(f)",
    "ctypes": "import ctypes",
    "builtins": "__builtins__.print = f",
    "__eq__": "def __eq__(self, other): return True",
    "a notebook file": "open('07_triangles.ipynb')",
    "the visible checks": "from course_utils.classroom import check as c",
    "the kit's own parts": "from somewhere import kit_area",
    "inspect": "import inspect",
    "frames": "sys._getframe(1)",
    "the input history": "In[-1]",
    "eval or exec": "exec(text)",
    "showtraceback": "shell.showtraceback = None",
    "gc": "gc.get_objects()",
    "the grader's processes": "os.kill(1, 9)",
    "the secret": "print(secret)",
}


@pytest.mark.parametrize(("word", "line"), TRICKS.items(), ids=TRICKS)
def test_each_trick_is_told(tmp_path, word, line):
    exercise = triangles(tmp_path).exercises[2]
    assert word in suspicious(exercise, Answer((f"def area(a, b):\n    {line}\n    return 0",)))


def test_every_word_has_its_trick_and_honest_answers_none(tmp_path):
    assert set(TRICKS) == set(WORDS)
    for exercise in triangles(tmp_path).exercises:
        assert suspicious(exercise, Answer((exercise.solution,))) == []
        assert suspicious(exercise, Answer((exercise.stub,))) == []


LONG = '''def area(a, b):
    """{said}"""
    # {said}
    total_of_all_things = 0
    for step_number in range(1000):
        total_of_all_things += a * b / 2000
    return total_of_all_things'''


def test_the_same_code_under_other_comments_is_told_and_the_reference_is_not(tmp_path):
    exercise = triangles(tmp_path).exercises[2]
    answers = {
        "ada": Answer((LONG.format(said="mine"),)),
        "bob": Answer((LONG.format(said="my very own"),)),
        "cyd": Answer((LONG.format(said="mine").replace("1000", "500"),)),
        "dan": Answer((exercise.solution,)),
        "eva": Answer((exercise.solution,)),
        "fay": Answer((exercise.stub,)),
        "gus": Answer((exercise.stub,)),
        "hal": Answer(("def area(a, b): return b",)),
        "ivy": Answer(("def area(a, b): return b",)),
        "jan": Answer(),
        "kim": Answer(),
    }
    assert list(alike(exercise, answers)) == [["ada", "bob"]]
