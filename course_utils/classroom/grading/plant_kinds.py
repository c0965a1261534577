"""The kinds of planted submissions: what is done to a student copy, and what it must get.

A kind turns a fresh student copy into what somebody hands in. `right` says which exercises must get their points: all,
none, or all but the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.classroom.grading.exams import Exam, Exercise

__all__ = ["KINDS", "Kind"]

Change = Callable[[NotebookNode, Exam], None]


@dataclass(frozen=True)
class Kind:
    """A way to hand in: `change` edits the copy, `right` is all, half (all but the first) or none, `flag` is told."""

    change: Change
    right: str
    flag: str = ""


def cell_of(notebook: NotebookNode, exercise: Exercise) -> NotebookNode:
    """The answer cell of an exercise."""
    return next(cell for cell in notebook.cells if cell.metadata.get("answer") == exercise.key)


def solve(notebook: NotebookNode, exam: Exam) -> None:
    """Everything right."""
    for one in exam.exercises:
        cell_of(notebook, one).source = one.solution


def nonsense(exercise: Exercise, value: str = "0") -> str:
    """An answer that runs and is wrong."""
    if exercise.solution.startswith("%%"):
        return f"{exercise.solution.splitlines()[0]}\nprint({value})"
    return "\n".join(f"{name} = lambda *args, **options: {value}" for name in exercise.names)


def _solved_then(change: Callable[[NotebookNode, Exam, Exercise, NotebookNode], None]) -> Change:
    """A kind that does something to the cell of every right answer."""

    def run(notebook: NotebookNode, exam: Exam) -> None:
        solve(notebook, exam)
        for one in exam.exercises:
            change(notebook, exam, one, cell_of(notebook, one))

    return run


def _first(text: Callable[[Exercise], str]) -> Change:
    """A kind whose first answer is replaced, the others right."""

    def run(notebook: NotebookNode, exam: Exam) -> None:
        solve(notebook, exam)
        first = exam.exercises[0]
        cell_of(notebook, first).source = text(first)

    return run


def _all(text: Callable[[Exercise], str]) -> Change:
    """A kind in which every answer is made alike."""

    def run(notebook: NotebookNode, exam: Exam) -> None:
        for one in exam.exercises:
            cell_of(notebook, one).source = text(one)

    return run


def _after(before: str) -> Callable[[Exercise], str]:
    """Wrong answers behind some lines of trickery; a program has no place for them."""
    return lambda one: nonsense(one) if one.solution.startswith("%%") else f"{before}\n{nonsense(one)}"


def _leave(notebook: NotebookNode, exam: Exam) -> None:
    """Nothing: the empty stub."""


def _insert(notebook: NotebookNode, cell: NotebookNode, source: str, *, shift: int, keyed: bool) -> None:
    made = cell.copy()
    made.metadata = dict(cell.metadata) if keyed else {}
    made.id, made.source = f"{cell.id[:40]}-b", source
    notebook.cells.insert(notebook.cells.index(cell) + shift, made)


def _split(keyed: bool) -> Change:
    def change(notebook: NotebookNode, exam: Exam, exercise: Exercise, cell: NotebookNode) -> None:
        lines = cell.source.splitlines()
        middle = len(lines) // 2
        while middle and not lines[middle].startswith((" ", "\t")) and not exercise.solution.startswith("%%"):
            middle -= 1
        if keyed or lines[middle][:1] in " \t":
            cell.source = "\n".join(lines[:middle])
            _insert(notebook, cell, "\n".join(lines[middle:]), shift=1, keyed=keyed)

    return _solved_then(change)


def _copied(notebook: NotebookNode, exam: Exam, exercise: Exercise, cell: NotebookNode) -> None:
    """A broken copy above the right one, both with the key."""
    _insert(notebook, cell, f"{cell.source}\nthis is (not Python", shift=0, keyed=True)


def _helped(notebook: NotebookNode, exam: Exam, exercise: Exercise, cell: NotebookNode) -> None:
    """The work done in a cell of the student's own, under another name; what is a program stays one."""
    if not exercise.solution.startswith("%%"):
        (name,) = exercise.names
        work = re.sub(rf"\b{name}\b", f"{name}_of_mine", exercise.solution)
        _insert(notebook, cell, f"import colorsys as {name}_too\n{work}", shift=0, keyed=False)
        cell.source = f"{name} = {name}_of_mine if {name}_too else None"


def _below(notebook: NotebookNode, exam: Exam, exercise: Exercise, cell: NotebookNode) -> None:
    """The stub left standing, the answer in a new cell below it."""
    _insert(notebook, cell, exercise.solution, shift=1, keyed=False)
    cell.source = exercise.stub


def _merged(notebook: NotebookNode, exam: Exam) -> None:
    """All answers in the first one's cell, with the visible checks among them."""
    solve(notebook, exam)
    cells = [cell_of(notebook, one) for one in exam.exercises if not one.solution.startswith("%%")]
    checks = [f"{one.names[0]} = check.{one.name}({one.names[0]})" for one in exam.exercises if one.names]
    cells[0].source = "\n\n".join([*(cell.source for cell in cells), *checks])
    notebook.cells = [cell for cell in notebook.cells if not any(cell is other for other in cells[1:])]


def _moved(notebook: NotebookNode, exam: Exam) -> None:
    """Every answer cut and pasted at the end, in reverse."""
    solve(notebook, exam)
    for one in exam.exercises:
        cell = cell_of(notebook, one)
        notebook.cells = [other for other in notebook.cells if other is not cell]
        notebook.cells.append(cell)


def _unmarked(notebook: NotebookNode, exam: Exam, exercise: Exercise, cell: NotebookNode) -> None:
    """Metadata gone, as some editors leave it."""
    cell.metadata = {}


def _skipped(notebook: NotebookNode, exam: Exam, exercise: Exercise, cell: NotebookNode) -> None:
    """Markers and tags that make nbval look away."""
    cell.metadata["tags"] = ["nbval-skip", "raises-exception"]
    lines = cell.source.splitlines()
    cell.source = "\n".join([lines[0], "# NBVAL_SKIP", *lines[1:]])


def _noisy(notebook: NotebookNode, exam: Exam, exercise: Exercise, cell: NotebookNode) -> None:
    """Warnings, prints and a picture's worth of output; comments with odd characters."""
    if not cell.source.startswith("%%"):
        noise = (
            'import sys, warnings\nwarnings.warn("careful")\nprint("debug", 1.5, file=sys.stderr)\nprint("tested ✓")'
        )
        cell.source = f"{noise}\n{cell.source}\nprint('done', end='')"


def _no_checks(notebook: NotebookNode, exam: Exam) -> None:
    """All checks deleted, all outputs cleared or false."""
    solve(notebook, exam)
    notebook.cells = [cell for cell in notebook.cells if "check" not in cell.metadata.get("tags", [])]


def _half_right(notebook: NotebookNode, exam: Exam) -> None:
    """The first answer wrong, the rest right: what is built on it must not suffer."""
    solve(notebook, exam)
    cell_of(notebook, exam.exercises[0]).source = nonsense(exam.exercises[0])


def _wrong_skipped(notebook: NotebookNode, exam: Exam) -> None:
    for one in exam.exercises:
        cell = cell_of(notebook, one)
        cell.source = nonsense(one) + "\n# NBVAL_SKIP"
        cell.metadata["tags"] = ["nbval-skip", "raises-exception"]
    for cell in notebook.cells:
        if "check" in cell.metadata.get("tags", []):
            cell.source = "# NBVAL_SKIP\nprint('right')"


def _false_outputs(notebook: NotebookNode, exam: Exam) -> None:
    """Wrong answers with stored outputs that say otherwise."""
    for one in exam.exercises:
        cell_of(notebook, one).source = nonsense(one)
    for place, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = place + 1
        cell.outputs = [new_output("stream", text="right\n")]


def _as_markdown(notebook: NotebookNode, exam: Exam) -> None:
    solve(notebook, exam)
    cell = cell_of(notebook, exam.exercises[0])
    made = {"cell_type": "markdown", "id": cell.id, "metadata": cell.metadata, "source": cell.source}
    notebook.cells[notebook.cells.index(cell)] = NotebookNode(made)


def _without_cell(notebook: NotebookNode, exam: Exam) -> None:
    solve(notebook, exam)
    cell = cell_of(notebook, exam.exercises[0])
    notebook.cells = [other for other in notebook.cells if other is not cell]


def _looping(exercise: Exercise) -> str:
    return f"def {exercise.names[0]}(*args, **options):\n    while True:\n        pass"


def _doing(body: str) -> Callable[[Exercise], str]:
    """An answer that does `body` (indented lines) when it is called."""
    return lambda one: f"def {one.names[0]}(*args, **options):\n{body}"


_PATCH = """\
import builtins
get_ipython().showtraceback = lambda *args, **options: None
builtins.print = lambda *args: None"""
_TRANSFORMER = """\
import ast
class NoAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
get_ipython().ast_transformers.append(NoAsserts())"""
_EQUAL = """\
class Yes(float):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = None"""
_READING = """\
import glob, inspect
seen = [open(path).read() for path in glob.glob("/**/*.ipynb", recursive=True) + glob.glob("*.ipynb")]
seen += [str(In[-1]), str(globals().get("_ih"))]
seen += [str(frame.code_context) for frame in inspect.stack()]"""
_TRACING = """\
import sys
def follow(frame, event, arg):
    for name in list(frame.f_globals):
        if name.startswith("_told"):
            frame.f_globals[name] = lambda *parts, **options: None
    return follow
sys.settrace(follow)"""
_GUESSING = "for guess in range(2000):\n    print(guess, guess / 2, (guess, guess), [guess, 0.5])"

KINDS = {
    "right": Kind(solve, "all"),
    "split": Kind(_split(keyed=True), "all"),
    "split-keyless": Kind(_split(keyed=False), "all"),
    "merged": Kind(_merged, "all"),
    "copied": Kind(_solved_then(_copied), "all"),
    "moved": Kind(_moved, "all"),
    "helped": Kind(_solved_then(_helped), "all"),
    "below": Kind(_solved_then(_below), "all"),
    "unmarked": Kind(_solved_then(_unmarked), "all"),
    "skip-marked": Kind(_solved_then(_skipped), "all"),
    "noisy": Kind(_solved_then(_noisy), "all"),
    "no-checks": Kind(_no_checks, "all"),
    "half-right": Kind(_half_right, "half"),
    "syntax-error": Kind(_first(lambda one: f"{one.solution}\n)"), "half"),
    "exception": Kind(_first(_doing("    return undefined_name")), "half"),
    "segfault": Kind(_first(_doing("    import ctypes\n    ctypes.string_at(0)")), "half", "ctypes"),
    "endless": Kind(_first(_looping), "half"),
    "endless-cell": Kind(_first(lambda one: f"{nonsense(one)}\nwhile True:\n    pass"), "half"),
    "sys-exit": Kind(_first(lambda one: f"import sys\n{nonsense(one)}\nsys.exit()"), "half", "processes"),
    "exit": Kind(_first(lambda one: f"{nonsense(one)}\nexit()"), "half"),
    "gone": Kind(_first(_doing("    import os\n    os._exit(0)")), "half", "processes"),
    "memory-bomb": Kind(_first(_doing("    kept = [b'x' * 2**27 for _ in range(10**6)]\n    return kept")), "half"),
    "print-flood": Kind(_first(_doing("    for _ in range(10**7):\n        print('x' * 60)")), "half"),
    "processes": Kind(
        _first(
            _doing(
                "    import subprocess\n    kept = [subprocess.Popen(['sleep', '60']) for _ in range(80)]\n    input()"
            )
        ),
        "half",
    ),
    "markdown": Kind(_as_markdown, "half"),
    "missing": Kind(_without_cell, "half"),
    "empty": Kind(_leave, "none"),
    "wrong": Kind(_all(nonsense), "none"),
    "wrong-skipped": Kind(_wrong_skipped, "none"),
    "false-outputs": Kind(_false_outputs, "none"),
    "equal-to-all": Kind(_all(lambda one: _after(_EQUAL)(one).replace(": 0", ": Yes(0)")), "none", "__eq__"),
    "patched": Kind(_all(_after(_PATCH)), "none", "showtraceback"),
    "transformed": Kind(_all(_after(_TRANSFORMER)), "none", "ast_transformers"),
    "reading": Kind(_all(_after(_READING)), "none", "the input history"),
    "tracing": Kind(_all(_after(_TRACING)), "none", "settrace"),
    "guessing": Kind(_all(_after(_GUESSING)), "none"),
    "stand-in": Kind(_all(lambda one: "".join(f"{name} = check.{one.name}(None)\n" for name in one.names[:1])), "none"),
    "killed-parent": Kind(
        _first(lambda one: f"import os\nos.kill(os.getppid(), 9)\n{one.solution}"), "all", "processes"
    ),
}
