"""The proofs of `make check`: each has a name, and a list of complaints in plain words that is empty when it holds."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from course_utils.classroom.authoring.copies import CHECK_OUTPUT, notebook_text, student_copy
from course_utils.classroom.authoring.execution import execute, smoke_environment
from course_utils.classroom.authoring.lessons import Lesson
from course_utils.classroom.authoring.limits import check_code, check_size, without_magics
from course_utils.classroom.authoring.rhythm import check_answers, check_hints, check_sections
from course_utils.classroom.authoring.solutions import is_placeholder, regions, solved
from course_utils.classroom.authoring.source import Source

__all__ = ["PROOFS", "RUN_PROOF", "Proof", "telling", "unsolved_run"]

OPEN = ("not answered yet", "still missing")  # what a check says of an exercise that is open, or half open

_TRIVIAL = re.compile(
    r"(?:else|try|finally|pass|break|continue|return \w+|(?:from \S+ )?import .*|for \w+ in range\(\w+\)):?"
)
_FORBIDDEN = ("BEGIN SOLUTION", "END SOLUTION", "# expect:", "hidden-check", "solution-note", CHECK_OUTPUT)


@dataclass(frozen=True)
class Proof:
    """A claim about all lessons: `complaints` yields one sentence for each place where it fails."""

    name: str
    complaints: Callable[[Sequence[Lesson]], Iterator[str]]


def check_rebuild(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain where building again would change a student copy."""
    for lesson in lessons:
        if lesson.text is None:
            yield f"{lesson.name}.ipynb is missing: run 'python -m course_utils build'"
        elif lesson.text != notebook_text(student_copy(lesson.source)):
            yield f"{lesson.name}.ipynb differs from what its source builds: run 'python -m course_utils build'"


def check_stubs(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain where a student's cell, placeholders aside, is no part of the solved cell, or is not Python."""
    for lesson, student in _with_student(lessons):
        sources = {cell.id: cell for cell in lesson.source.cells}
        for cell in student.cells:
            if cell.id not in sources:
                yield f"{lesson.name}: cell {cell.id} is not in the source"
                continue
            kept = [line for line in cell.source.splitlines() if not is_placeholder(line)]
            if not _is_subsequence(kept, solved(sources[cell.id].text).splitlines()):
                yield f"{lesson.name}, cell {cell.id}: the student's cell is no part of the solved one"
            if "answer" in sources[cell.id].tags and not _is_python(cell.source):
                yield f"{lesson.name}, cell {cell.id}: the stub is not Python"


def check_leaks(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain about solutions, hidden checks, expected outputs, outputs and widget state in a student copy."""
    for lesson, student in _with_student(lessons):
        secrets = _secrets(lesson.source)
        hidden = {cell.id for cell in lesson.source.cells if cell.is_hidden}
        if "widgets" in student.metadata:
            yield f"{lesson.name}: the student copy holds widget state"
        for cell in student.cells:
            for complaint in _leaks_of(cell, secrets, hidden):
                yield f"{lesson.name}, cell {cell.id}: {complaint}"


def check_unsolved_run(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain where an unsolved copy does not run to its end at smoke scale, or a check there says nothing helpful."""
    yield from unsolved_run({lesson.name: student for lesson, student in _with_student(lessons)})


def unsolved_run(notebooks: Mapping[str, NotebookNode]) -> Iterator[str]:
    """The same for student copies by name, where there are no sources."""
    for name, notebook in (bar := tqdm(notebooks.items(), unit="notebook")):
        bar.set_description(f"unsolved {name}")
        with tempfile.TemporaryDirectory(prefix="course-unsolved-") as folder:
            copy = nbformat.from_dict(notebook)
            outcome = execute(copy, cwd=Path(folder), env=smoke_environment(Path(folder)), timeout_s=120)
        bar.write(f"{name} unsolved: {outcome.wall_s:.1f} s")
        if not outcome.ok:
            yield f"{name}, cell {outcome.failed_cell}: an unsolved copy stops here: {outcome.error}"
            continue
        for cell in copy.cells:
            said = "".join(output.get("text", "") for output in cell.get("outputs", ()))
            if "check" in cell.metadata.get("tags", ()) and not any(words in said for words in OPEN):
                yield f"{name}, cell {cell.id}: the check of an open exercise does not say '{OPEN[0]}'"


PROOFS = (
    Proof("rebuilding changes no student copy", check_rebuild),
    Proof("every stub is part of its solution", check_stubs),
    Proof("no student copy holds a solution", check_leaks),
    Proof("every answer is checked", check_answers),
    Proof("sections keep the rhythm", check_sections),
    Proof("hints come in three folded steps", check_hints),
    Proof("cells and words keep their limits", check_size),
    Proof("code keeps to the course's means", check_code),
)
RUN_PROOF = Proof("every unsolved copy runs to its end and says what is open", check_unsolved_run)


def _with_student(lessons: Sequence[Lesson]) -> Iterator[tuple[Lesson, NotebookNode]]:
    for lesson in lessons:
        if lesson.student is not None:
            yield lesson, lesson.student


def _is_subsequence(part: Sequence[str], whole: Sequence[str]) -> bool:
    rest = iter(whole)
    return all(line in rest for line in part)


def _is_python(text: str) -> bool:
    try:
        ast.parse(without_magics(text))
    except SyntaxError:
        return False
    return True


def _secrets(source: Source) -> set[str]:
    """Lines that only an instructor may see: of solutions and of hidden checks, unless they say next to nothing."""
    lines = [line for cell in source.cells for region in regions(cell.text) for line in region.lines]
    lines += [line for cell in source.cells if "hidden-check" in cell.tags for line in cell.text.splitlines()]
    return telling(lines)


def telling(lines: Iterable[str]) -> set[str]:
    """Those of the lines that say something about a solution, without their indentation."""
    return {line.strip() for line in lines if _is_telling(line.strip())}


def _is_telling(line: str) -> bool:
    return len(line) >= 12 and not line.startswith("#") and not _TRIVIAL.fullmatch(line)


def _leaks_of(cell: Any, secrets: set[str], hidden: set[str]) -> Iterator[str]:
    if cell.id in hidden:
        yield "a cell for instructors only is in the student copy"
    if cell.get("outputs") or cell.get("execution_count") is not None:
        yield "outputs or execution counts are in the student copy"
    everything = nbformat.v4.writes(nbformat.v4.new_notebook(cells=[cell]))
    yield from (f"{word!r} is in the student copy" for word in _FORBIDDEN if word in everything)
    for line in cell.source.splitlines():
        for secret in secrets:
            if line.strip() == secret or (cell.cell_type == "markdown" and secret in line):
                yield f"a line of a solution or hidden check is in the student copy: {secret!r}"
