"""Planted answers, `instructor/planted/NN_topic.py`: what students would really write, and the points each must get.

    # %% answer="12.conv_im2col" case="no-padding" points=0

A code cell is one answer, whole; a Markdown cell explains. All cases of a notebook are tried in one kernel.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext

from course_utils.classroom.grading.exams import Cell, Exam, Exercise, paper
from course_utils.classroom.grading.marking import Bench, Mark, checked_prints, judge
from course_utils.classroom.grading.running import run_cells
from course_utils.classroom.grading.splicing import Answer

__all__ = ["Case", "read_cases", "try_cases"]

SWEEP = """\
import pathlib
for left in pathlib.Path.cwd().iterdir():
    left.is_file() and left.unlink()
"""  # what an earlier case has written must not help the next one


@dataclass(frozen=True)
class Case:
    """An answer as a student would have it, for the exercise `key`, and the points it must get."""

    key: str
    name: str
    points: float
    text: str


def read_cases(path: Path, exam: Exam) -> list[Case]:
    """The planted answers of a lesson; raise ValueError that names the file and the cell where one is not right."""
    cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
    cases = [_case(path, cell, exam) for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    names = [(case.key, case.name) for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{path.name}: {twice[0][0]} has two cases called {twice[0][1]!r}: give each a name of its own"
        )
    return cases


def try_cases(exam: Exam, cases: Sequence[Case], bench: Bench) -> dict[tuple[str, str], Mark]:
    """The mark of every case, by key and name; all run in one kernel, each behind the stub of its exercise.

    Raises RuntimeError where the reference fails, or the kernel does not live to the end: what kills one belongs into a
    submission of its own.
    """
    mark = secrets.token_hex(6)
    cells = list(_cells(exam, cases, bench.secret, mark))
    run = run_cells(cells, sandbox=bench.sandbox, limits=bench.limits, stop=bench.stop)
    if not run.lived:
        last = run.ran[-1][0].key if run.ran else None
        raise RuntimeError(
            f"the kernel of the planted answers of {exam.name} ended at {last}: {run.trouble or 'it died'}"
        )
    cases_by_key = {_own_key(case): case for case in cases}
    wanted = checked_prints(exam, [pair for pair in run.ran if pair[0].key not in cases_by_key], mark)
    by_key = {one.key: one for one in exam.exercises}
    return {
        (case.key, case.name): judge(by_key[case.key], Answer((case.text,)), wanted[case.key], run.of(key), mark)
        for key, case in cases_by_key.items()
    }


def _case(path: Path, cell: Any, exam: Exam) -> Case:
    told = cell.metadata
    exercises: dict[str, Exercise] = {one.key: one for one in exam.exercises}
    key, name, points = told.get("answer"), told.get("case"), told.get("points")
    if key not in exercises or not name or points is None:
        raise ValueError(
            f'{path.name}: a case is headed # %% answer="KEY" case="NAME" points=0, with a key of {sorted(exercises)}; '
            f"got answer={key!r} case={name!r} points={points!r}"
        )
    if points not in (0, exercises[key].points):
        raise ValueError(f"{path.name}, {key} {name}: points are 0 or {exercises[key].points:g}, got {points!r}")
    return Case(key, name, float(points), cell.source)


def _cells(exam: Exam, cases: Sequence[Case], secret: int, mark: str) -> Iterator[Cell]:
    """The paper of the reference, and before each of its answers the cases, with the hidden checks of the exercise."""
    solutions = {one.key: one.solution for one in exam.exercises}
    answers = {
        key: [*(case.text for case in cases if case.key == key), solution] for key, solution in solutions.items()
    }
    cells = paper(exam, answers, secret=secret, mark=mark)
    tried = {key: [cell for cell in cells if cell.key == key and cell.role == "answer"] for key in solutions}
    hidden = {key: [cell for cell in cells if cell.key == key and cell.role == "hidden"] for key in solutions}
    for cell in cells:
        if cell.role == "answer" and cell is tried[str(cell.key)][0]:
            for case in (case for case in cases if case.key == cell.key):
                yield Cell("sweep", SWEEP, "lesson")
                own = [cell, Cell(f"{cell.id}-case", case.text, "answer"), *hidden[case.key]]
                yield from (Cell(one.id, one.text, one.role, _own_key(case)) for one in own)
        if cell.role != "answer" or cell in (tried[str(cell.key)][0], tried[str(cell.key)][-1]):
            yield cell


def _own_key(case: Case) -> str:
    return f"{case.key}#{case.name}"
