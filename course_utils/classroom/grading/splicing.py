"""Takes the answers out of a student's notebook, whatever JupyterLab's split, merge, copy and paste did to the cells.

An answer is known by the key in its cell's metadata, else by the cell's id, else by the names it binds; what it takes
from cells that the student added comes with it. Tags, checks and outputs of the student's notebook are never looked at.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nbformat

from course_utils.classroom.authoring.copies import student_copy
from course_utils.classroom.authoring.solutions import is_placeholder
from course_utils.classroom.grading.exams import Exam, Exercise
from course_utils.classroom.grading.slicing import Names, names_of, needed, parsed, statements

__all__ = ["Answer", "StudentCell", "answers_of", "read_cells"]

_MARKER = re.compile(  # comments that would make nbval skip a cell or excuse its errors
    r"^[#\s]*#[#\s]*(?:NBVAL_(?:IGNORE_OUTPUT|CHECK_OUTPUT|RAISES_EXCEPTION|SKIP)|PYTEST_VALIDATE_IGNORE_OUTPUT)\s*$"
)


@dataclass(frozen=True)
class StudentCell:
    """A cell of a submission: `code` or another kind, its id, the answer key in its metadata, its text."""

    kind: str
    id: str | None
    key: str | None
    text: str


@dataclass(frozen=True)
class Answer:
    """What a student wrote for an exercise: code cells in order, and what a person should know about where it lay."""

    cells: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    in_markdown: bool = False

    @property
    def text(self) -> str:
        """All of it, for people and for whoever looks for words."""
        return "\n\n".join(self.cells)

    @property
    def is_stub(self) -> bool:
        """Whether nothing was written, or a placeholder still stands."""
        return not self.text.strip() or any(is_placeholder(line) for line in self.text.splitlines())

    def missing(self, exercise: Exercise) -> list[str]:
        """The names that the exercise asks for and none of the cells binds."""
        bound = {name for text in self.cells for name in names_of(text).touches}
        return [name for name in exercise.names if name not in bound]


def read_cells(text: str) -> list[StudentCell]:
    """The cells of a notebook; raise ValueError with words for a student where the text is no notebook."""
    try:
        cells = nbformat.reads(text, as_version=4).cells
        return [_read_cell(cell) for cell in cells]
    except Exception as error:  # whatever any content of a file makes nbformat raise
        why = "is not JSON" if not _is_json(text) else f"has no cells that can be read ({type(error).__name__})"
        raise ValueError(f"the file {why}: save the notebook again") from error


def answers_of(exam: Exam, cells: Sequence[StudentCell]) -> dict[str, Answer]:
    """The answer to every exercise of the exam, by its key; an empty one where nothing was found."""
    given = student_copy(exam.source).cells
    pristine = {str(cell.source) for cell in given}
    keys = {one.key for one in exam.exercises}
    bound = {name for cell in given if cell.cell_type == "code" for name in names_of(str(cell.source)).touches}
    own = [cell.text for cell in cells if cell.kind == "code" and cell.key not in keys and cell.text not in pristine]
    found = {one.key: _answer(one, cells, keys, pristine) for one in exam.exercises}
    return {key: _with_helpers(answer, own, bound) for key, answer in found.items()}


def _read_cell(cell: Any) -> StudentCell:
    key, cell_id = cell.get("metadata", {}).get("answer"), cell.get("id")
    text = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    return StudentCell(
        str(cell["cell_type"]),
        cell_id if isinstance(cell_id, str) else None,
        key if isinstance(key, str) else None,
        text,
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _answer(exercise: Exercise, cells: Sequence[StudentCell], keys: set[str], pristine: set[str]) -> Answer:
    ways = {
        "": lambda cell: cell.key == exercise.key,
        "its cell had lost the key and was known by its id": lambda cell: (
            cell.key not in keys and cell.id == exercise.cell_id
        ),
        "it stood in a cell without its key and was known by its name": lambda cell: (
            cell.text not in pristine and _binds(cell, exercise)
        ),
    }
    found: list[Answer] = []
    for note, is_it in ways.items():
        places = [place for place, cell in enumerate(cells) if cell.kind == "code" and is_it(cell)]
        if places:
            texts = list(_with_halves(cells, places, keys, pristine))
            found.append(_cleaned(exercise, texts, [note] if note else []))
    lost = [cell for cell in cells if cell.kind != "code" and exercise.key == cell.key and cell.text.strip()]
    if not found and not lost:
        return Answer(notes=("no cell of it was found: deleted, or an older copy?",))
    return next((one for one in found if not one.is_stub), found[0] if found else Answer(in_markdown=True))


def _with_helpers(answer: Answer, own: Sequence[str], bound: set[str]) -> Answer:
    """The answer behind those statements of the student's own cells that bind what it reads and the lesson does not."""
    units = [part for text in own if text not in answer.cells for part in statements(_without_checks(text))]
    names = [names_of(text) for text in units]
    asked = names_of(answer.text)
    free = {name for one in names for name in one.touches} - bound
    root = Names(frozenset(asked.reads & free), frozenset(asked.late & free))
    chosen = needed([*names, root], [False] * len(units) + [True], [False] * (len(units) + 1))
    kept = [text for text, wanted in zip(units, chosen[:-1], strict=True) if wanted]
    if answer.is_stub or not kept:
        return answer
    note = "it takes something from cells that the student added"
    return replace(answer, cells=("\n".join(kept), *answer.cells), notes=(*answer.notes, note))


def _binds(cell: StudentCell, exercise: Exercise) -> bool:
    return bool(exercise.names) and set(exercise.names) <= names_of(cell.text).touches


def _with_halves(
    cells: Sequence[StudentCell], places: Sequence[int], keys: set[str], pristine: set[str]
) -> Iterator[str]:
    """The texts at these places, and beside them halves of a split cell that lost the key."""

    def is_half(place: int) -> bool:
        inside = 0 <= place < len(cells) and place not in places
        return (
            inside
            and cells[place].kind == "code"
            and cells[place].key not in keys
            and cells[place].text not in pristine
        )

    for place in places:
        if _starts_inside(cells[place].text) and is_half(place - 1):
            yield cells[place - 1].text
        yield cells[place].text
        after = place + 1
        while is_half(after) and _starts_inside(cells[after].text):
            yield cells[after].text
            after += 1


def _starts_inside(text: str) -> bool:
    """Whether the first line of code is indented: the lower half of something."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and lines[0][0] in " \t"


def _cleaned(exercise: Exercise, texts: Sequence[str], notes: list[str]) -> Answer:
    plain = ["\n".join(line for line in text.splitlines() if not _MARKER.match(line)) for text in texts]
    if plain != ["\n".join(text.splitlines()) for text in texts]:
        notes.append("a comment for nbval was taken out")
    whole = list(_put_together([text for text in plain if text.strip()], exercise.solution.startswith("%%")))
    kept = [_without_checks(text) for text in whole]
    if kept != whole:
        notes.append("a call of a visible check was taken out")
    return Answer(tuple(kept), tuple(notes))


def _put_together(texts: Sequence[str], in_a_file: bool) -> Iterator[str]:
    """Cells to run: halves joined, whole pieces each on its own, so that a broken copy does not spoil a good one."""
    open_text = ""
    for text in texts:
        joined = f"{open_text}\n{text}" if open_text else text
        if in_a_file and open_text and text.lstrip().startswith("%%"):
            yield open_text
            open_text = text
        elif in_a_file or not open_text or _starts_inside(text):
            open_text = joined
        elif parsed(open_text) or (parsed(text) and not parsed(joined)):
            yield open_text
            open_text = text
        else:
            open_text = joined
    if open_text:
        yield open_text


def _without_checks(text: str) -> str:
    """The text without top-level statements that call a visible check: its stand-in must not become the answer."""
    tree, lines = parsed(text), text.splitlines()
    if tree is None:
        return text
    for statement in tree.body:
        defines = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        if not defines and any(_is_check(node) for node in ast.walk(statement)):
            for number in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
                lines[number] = ""
    return "\n".join(lines)


def _is_check(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "check"
