"""What of a lesson is graded: its exercises with their points, and the cells that are run for a student."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from course_utils.classroom.authoring.copies import with_secret
from course_utils.classroom.authoring.solutions import solved, stubbed
from course_utils.classroom.authoring.source import Source, SourceCell
from course_utils.classroom.grading.slicing import Names, names_of, needed, statements

__all__ = ["Cell", "Exam", "Exercise", "marked", "paper", "reference_answers"]

ROLES = ("lesson", "answer", "hidden", "check")  # a check is a visible one


@dataclass(frozen=True)
class Exercise:
    """An answer that earns points: its key, the solved text, the stub, and the names that it must bind."""

    key: str
    cell_id: str
    points: float
    solution: str
    stub: str
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """The key without the notebook's number."""
        return self.key.partition(".")[2]


@dataclass(frozen=True)
class Cell:
    """A cell to execute: an id, its text, its role (`ROLES`) and the exercise it belongs to (None: to the lesson)."""

    id: str
    text: str
    role: str
    key: str | None = None


@dataclass(frozen=True)
class Exam:
    """A lesson as a grader sees it."""

    source: Source

    @property
    def name(self) -> str:
        """The notebook's name, such as `02_timing`."""
        return self.source.name

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """The answers that earn points, in order."""
        return tuple(_exercise(cell) for cell in self.source.cells if "answer" in cell.tags and cell.points)

    @property
    def points(self) -> float:
        """What a perfect submission gets."""
        return sum(one.points for one in self.exercises)

    @property
    def digest(self) -> str:
        """A name for this version of the lesson: another one is graded again."""
        text = repr([(cell.id, cell.text, cell.tags, cell.answer, cell.points) for cell in self.source.cells])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def reference_answers(exam: Exam) -> dict[str, list[str]]:
    """The solutions, as if a student had handed them in."""
    return {one.key: [one.solution] for one in exam.exercises}


def paper(
    exam: Exam, answers: Mapping[str, Sequence[str]], *, secret: int, mark: str, only: Iterable[str] | None = None
) -> list[Cell]:
    """The cells to run for a student: answers, hidden and visible checks, and of the lesson what these need.

    `answers` gives the code cells of each key (a key may be missing); what hidden checks print carries `mark`; with
    `only` these exercises alone are checked, by their key (default: all). Each answer stands behind its stub, so that
    the visible check of one that fails has something to put the kit's own in place of.
    """
    checked = {one.key for one in exam.exercises} if only is None else set(only)
    units = [(cell, names) for cell, names in _units(exam, answers) if cell.role != "hidden" or cell.key in checked]
    roots = [cell.key in checked and not _starts_program(cell, names) for cell, names in units]
    firm = [cell.role == "lesson" for cell, _ in units]
    chosen = needed([names for _, names in units], roots, firm)
    kept = [cell for (cell, _), wanted in zip(units, chosen, strict=True) if wanted]
    return [_finished(cell, secret, mark) for cell in _joined(kept)]


def marked(text: str, mark: str) -> str:
    """A hidden check whose `print` puts `mark` before each line, so that what an answer prints is told from it."""
    tree = ast.parse(text)
    teller = f"_told_{mark}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print":
            node.id = teller
    return _TELLER.format(teller=teller, mark=mark) + ast.unparse(tree)


_TELLER = """\
def {teller}(*parts, sep=" "):
    import sys
    for line in sep.join(map(str, parts)).splitlines() or [""]:
        sys.stdout.write("\\n{mark}" + line + "\\n")
"""


def _exercise(cell: SourceCell) -> Exercise:
    solution = solved(cell.text)
    told = names_of(solution)
    names = tuple(sorted(told.binds or told.touches))  # a cell that writes a file touches that
    return Exercise(str(cell.answer), cell.id, float(cell.points or 0), solution, stubbed(cell.text), names)


def _units(exam: Exam, answers: Mapping[str, Sequence[str]]) -> Iterator[tuple[Cell, Names]]:
    """Every statement of the lesson and its checks, every cell of the answers, with the names they have to do with."""
    graded = {one.key: one for one in exam.exercises}
    before: str | None = None  # the answer that a visible check belongs to
    for cell in (cell for cell in exam.source.cells if cell.is_code):
        if cell.answer in graded and "answer" in cell.tags:
            before = cell.answer
            yield from _answer_units(graded[before], answers)
        elif "hidden-check" in cell.tags:
            yield Cell(cell.id, cell.text, "hidden", cell.answer), names_of(cell.text)
        else:
            for text in statements(solved(cell.text)):
                is_check = "check" in cell.tags and "check" in names_of(text).reads
                yield Cell(cell.id, text, *(("check", before) if is_check else ("lesson", None))), names_of(text)


def _starts_program(cell: Cell, names: Names) -> bool:
    """Whether a visible check runs a student's file in processes of its own: too dear where nothing builds on it."""
    return cell.role == "check" and any("." in name for name in names.reads)


def _answer_units(exercise: Exercise, answers: Mapping[str, Sequence[str]]) -> Iterator[tuple[Cell, Names]]:
    yield Cell(f"{exercise.cell_id}--stub", exercise.stub, "answer", exercise.key), names_of(exercise.solution)
    for place, text in enumerate(answers.get(exercise.key, ())):
        yield Cell(f"{exercise.cell_id}--{place}", text, "answer", exercise.key), names_of(text)


def _joined(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Statements of one cell in one piece again."""
    for (cell_id, role, key), parts in groupby(cells, lambda cell: (cell.id, cell.role, cell.key)):
        yield Cell(cell_id, "\n".join(part.text for part in parts), role, key)


def _finished(cell: Cell, secret: int, mark: str) -> Cell:
    return replace(cell, text=marked(with_secret(cell.text, secret), mark)) if cell.role == "hidden" else cell
