"""A slice computes what the whole does: both are executed and compared."""

import pytest
from grading_lesson import triangles

from course_utils.classroom.grading.exams import marked, paper, reference_answers
from course_utils.classroom.grading.slicing import names_of, needed, statements

PROGRAMS = {
    "a chain": ("a = 1\nwaste = 5\nb = a + 1\nresult = b", {"waste = 5"}),
    "bound anew": ("a = 1\na = 2\nresult = a", {"a = 1"}),
    "added to": ("a = 1\na += 2\nresult = a", set()),
    "changed in place": ("a = [1]\na.append(2)\na[0] = 7\nwaste = len(a)\nresult = a[0] + a[1]", {"waste = len(a)"}),
    "a part of a part": (
        "from types import SimpleNamespace\na = SimpleNamespace(b=SimpleNamespace(c=1))\na.b.c = 5\nresult = a.b.c",
        set(),
    ),
    "looked up late": (
        "def f():\n    return g() + k\ndef g():\n    return 1\nk = 4\nwaste = f()\nresult = f()",
        {"waste = f()"},
    ),
    "bound after the function": ("k = 1\ndef f():\n    return k\nk = 2\nresult = f()", set()),
    "maybe bound": ("a = 1\nif a > 5:\n    a = 2\nresult = a", set()),
    "several at once": ("a, b = 1, 2\nwaste = b\nresult = a", {"waste = b"}),
    "imports": (
        "import math, json\nfrom os import path, sep\nresult = math.pi",
        {"import json", "from os import path"},
    ),
    "a local of the same name": ("x = 9\ndef f(x):\n    return x\nresult = f(3)", {"x = 9"}),
    "a class": ("k = 3\nclass A:\n    b = k\n    def f(self):\n        return self.b\nresult = A().f()", set()),
    "a comprehension": ("k = 3\nx = 5\nresult = [x + k for x in range(2)]", {"x = 5"}),
    "a closure": ("k = 2\ndef f():\n    def g():\n        return k\n    return g\nresult = f()()", set()),
    "a file": ("import pathlib\np = pathlib.Path('kept.txt')\nresult = str(p)", set()),
}


@pytest.mark.parametrize(("text", "left_out"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_slice_computes_what_the_whole_does(text, left_out):
    units = statements(text)
    roots = [unit.startswith("result") for unit in units]
    chosen = needed([names_of(unit) for unit in units], roots, [True] * len(units))
    kept = [unit for unit, wanted in zip(units, chosen, strict=True) if wanted]
    whole, part = {}, {}
    exec(text, whole)
    exec("\n".join(kept), part)
    assert part["result"] == whole["result"]
    assert left_out <= set(units) - set(kept)


def test_a_call_for_its_effect_on_globals_is_kept_with_the_name_it_is_called_on():
    assert "torch" in names_of("torch.manual_seed(0)").touches
    assert names_of("x = f(y)").touches == {"x"}


def test_an_answer_that_may_fail_does_not_hide_what_was_bound_before():
    units = [names_of("a = 1"), names_of("a = 2"), names_of("print(a)")]
    assert needed(units, [False, False, True], [True, True, True]) == [False, True, True]
    assert needed(units, [False, False, True], [True, False, True]) == [True, True, True]


def test_cells_that_are_no_python_say_nothing_and_break_nothing():
    for text in ("def f(:", "\x00", "(" * 5000, "-" * 100_000 + "1"):
        assert statements(text) == [text]
        assert names_of(text).touches == frozenset()


def test_a_file_that_one_cell_writes_and_another_runs_belongs_together():
    written = names_of("%%writefile worker.py\nimport torch\nx = 1")
    assert "worker.py" in written.touches
    assert written.binds == frozenset()
    assert "worker.py" in names_of('run("worker.py")').reads


def test_a_paper_leaves_out_what_no_exercise_needs(tmp_path):
    exam = triangles(tmp_path)
    cells = paper(exam, reference_answers(exam), secret=3, mark="M")
    assert [(cell.id, cell.role) for cell in cells] == [
        ("setup", "lesson"),
        *[
            cell
            for name in ("hypotenuse", "perimeter", "area")
            for cell in [
                (f"{name}--stub", "answer"),
                (f"{name}--0", "answer"),
                (f"{name}-hidden", "hidden"),
                *([(f"{name}-drawn", "hidden")] if name == "hypotenuse" else []),
                (f"{name}-check", "check"),
            ]
        ],
    ]
    alone = paper(
        exam,
        {"07.perimeter": ["def perimeter(a, b):\n    return legs(a, b)"]},
        secret=3,
        mark="M",
        only=["07.perimeter"],
    )
    assert [cell.id for cell in alone if cell.role == "hidden"] == ["perimeter-hidden"]
    assert any(cell.id == "hypotenuse-check" for cell in alone)  # the kit's own stands in for what is missing


def test_what_a_student_prints_is_told_from_what_a_hidden_check_prints(capsys):
    scope = {"f": lambda: print("mine", end="") or 4}
    exec(marked("print(f(), 'two\\nlines', sep='-')\nfor k in range(2):\n    print(k)", "M1"), scope)
    lines = capsys.readouterr().out.split("\n")
    assert [line for line in lines if line.startswith("M1")] == ["M14-two", "M1lines", "M10", "M11"]
    assert "mine" in lines
