"""Each proof holds for the lesson that keeps the rules, and names the one place where a rule is broken."""

import json

import pytest
from authoring_lesson import DRAWN, LESSON, PROSE, write_lesson

from course_utils.classroom.authoring.build import check
from course_utils.classroom.authoring.lessons import read_lessons
from course_utils.classroom.authoring.proofs import PROOFS, RUN_PROOF

REBUILD, STUBS, LEAKS, ANSWERS, SECTIONS, HINTS, SIZE, CODE = (proof.name for proof in PROOFS)


def complaints_of(folders):
    return {name: found for name, found in check(folders).items() if found}


def edit(folders, change):
    """Change the student copy on disk as a person with an editor would."""
    path = folders.students / "02_timing.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook, {cell["id"]: cell for cell in notebook["cells"]})
    path.write_text(json.dumps(notebook), encoding="utf-8")


@pytest.mark.parametrize("text", [LESSON, DRAWN], ids=["fixed", "with a secret"])
def test_the_lesson_keeps_every_rule(tmp_path, text):
    assert complaints_of(write_lesson(tmp_path, text)) == {}


BROKEN = {
    "late predict": (SECTIONS, 'section="Predict"', 'section="Reveal"', "'Predict' is missing"),
    "unknown section": (SECTIONS, 'section="Idea"', 'section="Theory"', "'Theory' is none of"),
    "empty card": (SECTIONS, "more than 50 ms?", "long.", "asks one question"),
    "two hints": (HINTS, "<details><summary>Hint 3: nearly there</summary>", "", "2 folded hints"),
    "open hint": (HINTS, "<details><summary>Hint 1", "<details open><summary>Hint 1", "cell timer"),
    "no points": (ANSWERS, " points=2", "", "has points"),
    "graded guess": (ANSWERS, " points=2", " points=0", "is never graded"),
    "alien key": (ANSWERS, "02.timer", "03.timer", "starts with the notebook's number"),
    "no visible check": (ANSWERS, ' tags=["check"]', "", "no visible check"),
    "no hidden check": (ANSWERS, 'tags=["hidden-check"] answer="02.timer"', "", "no hidden check has"),
    "orphan": (ANSWERS, '"hidden-check"] answer="02.timer"', '"hidden-check"] answer="02.x"', "no answer cell carries"),
    "hidden late": (
        ANSWERS,
        '# %% [markdown] id="timer-hints"',
        '# %% id="late" tags=["hidden-check"] answer="02.timer"\nprint(secret)\n# %% [markdown] id="timer-hints"',
        "after the visible one",
    ),
    "nothing compared": (ANSWERS, "# expect: 13.0\n# expect: 17.0\n", "", "compares nothing"),
    "assert": (ANSWERS, "    print(round", "    assert hypotenuse(3, 4)\n    print(round", "an assert"),
    "long cell": (SIZE, "import math", "import math\n" + "x = 1\n" * 12, "cell setup: 13 code lines, at most 12"),
    "long answer": (SIZE, "    return c", "    c += 0\n" * 21 + "    return c", "at most 25"),
    "few words": (SIZE, PROSE, "# Little.", "wanted 800 to 1500"),
    "class": (CODE, "import math", "import math\nclass Timer: pass", "class Timer"),
    "import": (CODE, "import math", "import math, pandas", "import of 'pandas'"),
    "relative import": (CODE, "import math", "import math\nfrom . import secrets", "import of '.'"),
    "no Python": (CODE, 'print("two threads:", math.sqrt(4))', "print 2", "line 1 is not Python"),
    "hint tells": (LEAKS, "The module math has it.", "c = math.sqrt(squared)", "a line of a solution"),
    "hidden check told": (LEAKS, "Compare.", "print(round(hypotenuse(*sides), 3))", "a line of a solution"),
}


@pytest.mark.parametrize(("proof", "old", "new", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_named(tmp_path, proof, old, new, message):
    assert old in LESSON
    found = complaints_of(write_lesson(tmp_path, LESSON.replace(old, new)))
    assert any(message in complaint for complaint in found.get(proof, [])), found


def test_measuring_before_predicting_is_named(tmp_path):
    swapped = LESSON.replace('"Predict"', '"X"').replace('"Measure"', '"Predict"').replace('"X"', '"Measure"')
    assert complaints_of(write_lesson(tmp_path, swapped)) == {
        SECTIONS: ["02_timing: section 'Predict' comes after 'Measure'; it belongs before"]
    }


@pytest.mark.parametrize(
    ("name", "card", "missing"),
    [
        ("11_bottleneck", 'section="Card"', True),
        ("22_scaling", 'section="Card" kind="reading"', False),
        ("02_timing", 'section="Card" kind="treatment"', True),
    ],
)
def test_treatments_need_the_whole_rhythm(tmp_path, name, card, missing):
    text = LESSON.replace('section="Card"', card).replace("02.timer", f"{name[:2]}.timer")
    found = complaints_of(write_lesson(tmp_path, text, name))
    expected = [f"{name}: section 'Measure again' is missing", f"{name}: section 'Does it still draw?' is missing"]
    assert found == ({SECTIONS: expected} if missing else {})


def test_a_prediction_needs_neither_hints_nor_checks(tmp_path):
    guess = 'tags=["answer"] answer="02.guess" points=0\n### BEGIN SOLUTION about 1 line, stub: ms = ...\nms = 50'
    text = LESSON.replace('# %% id="measure"', f'# %% id="guess" {guess}\n### END SOLUTION\n# %% id="measure"')
    assert complaints_of(write_lesson(tmp_path, text)) == {}


def test_a_network_class_is_welcome(tmp_path):
    text = LESSON.replace("import math", "import math\nfrom torch import nn\nclass Block(nn.Module):\n    pass")
    assert complaints_of(write_lesson(tmp_path, text)) == {}


def test_answer_keys_are_unique_in_the_course(tmp_path):
    write_lesson(tmp_path)
    folders = write_lesson(tmp_path, LESSON, "03_profile")
    assert any("is used by 2 cells" in complaint for complaint in complaints_of(folders)[ANSWERS])


def test_missing_and_orphaned_copies_are_named(tmp_path):
    folders = write_lesson(tmp_path)
    (folders.students / "02_timing.ipynb").rename(folders.students / "09_left.ipynb")
    first, second = complaints_of(folders)[REBUILD]
    assert first.startswith("02_timing.ipynb is missing")
    assert second.startswith("09_left.ipynb has no source")


EDITS = {
    "solution pasted": (LEAKS, lambda nb, cells: cells["setup"].update(source="squared = a**2 + b**2")),
    "solution kept": (LEAKS, lambda nb, cells: cells["timer"].update(source="    c = math.sqrt(squared)")),
    "output kept": (
        LEAKS,
        lambda nb, cells: cells["setup"].update(outputs=[{"output_type": "stream", "name": "stdout", "text": "17.0"}]),
    ),
    "executed": (LEAKS, lambda nb, cells: cells["setup"].update(execution_count=3)),
    "widget state": (LEAKS, lambda nb, cells: nb["metadata"].update(widgets={"state": {}})),
    "expectation kept": (LEAKS, lambda nb, cells: cells["timer-check"].update(source="# expect: right")),
    "hidden cell": (LEAKS, lambda nb, cells: cells["setup"].update(id="timer-hidden")),
    "hidden tag": (LEAKS, lambda nb, cells: cells["setup"].update(metadata={"tags": ["hidden-check"]})),
    "alien cell": (STUBS, lambda nb, cells: cells["setup"].update(id="alien")),
    "alien line": (STUBS, lambda nb, cells: cells["timer"].update(source="def hypotenuse(b, a):\n    ...")),
    "broken stub": (STUBS, lambda nb, cells: cells["timer"].update(source="def hypotenuse(a, b):")),
}


@pytest.mark.parametrize(("proof", "change"), EDITS.values(), ids=EDITS)
def test_an_edited_copy_is_caught_without_the_builder(tmp_path, proof, change):
    folders = write_lesson(tmp_path)
    edit(folders, change)
    found = complaints_of(folders)
    assert found[proof]
    assert found[REBUILD]


def test_unsolved_copies_run_and_the_one_that_stops_is_named(tmp_path):
    write_lesson(tmp_path)
    stops = LESSON.replace("# Compare.", '# Compare.\n# %% id="next"\nhypotenuse(1, 1) + 1').replace("02.t", "03.t")
    folders = write_lesson(tmp_path, stops, "03_profile")
    (complaint,) = RUN_PROOF.complaints(read_lessons(folders))
    assert complaint.startswith("03_profile, cell next: an unsolved copy stops here: TypeError")
