"""The gradebook: a row for each student with the points of every exercise, the total, and flags."""

from __future__ import annotations

import csv
from pathlib import Path

from course_utils.atomic import replacing
from course_utils.classroom.grading.handing_in import HandedIn
from course_utils.classroom.grading.marking import Mark
from course_utils.classroom.grading.review import flags_of
from course_utils.classroom.grading.session import Results

__all__ = ["marks_of", "number", "summary", "totals", "write_gradebook"]


def marks_of(results: Results, student: str) -> dict[str, Mark]:
    """A student's marks by key, for all the notebooks that could be graded."""
    return {
        key: mark
        for exam in results.exams
        if (student, exam.name) in results.graded
        for key, mark in results.graded[student, exam.name].marks.items()
    }


def totals(results: Results, student: str) -> tuple[float, float]:
    """The points of a student, and what there was to get: what cannot be graded here is left out of both."""
    marks = marks_of(results, student)
    exercises = [one for exam in results.exams for one in exam.exercises]
    elsewhere = {key for told in results.graded.values() for key, mark in told.marks.items() if mark.points is None}
    return sum(mark.points or 0.0 for mark in marks.values()), sum(
        one.points for one in exercises if one.key not in elsewhere
    )


def write_gradebook(results: Results, folder: Path) -> Path:
    """Write `gradebook.csv`, in UTF-8 as Excel knows it; an empty field is a notebook without any answer."""
    path = folder / "gradebook.csv"
    keys = [one.key for exam in results.exams for one in exam.exercises]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["student", *keys, "total", "out_of", "flags"])
        for told in results.students:
            writer.writerow([_safe(told.student), *_row(results, told, keys)])
    return path


def summary(results: Results, folder: Path) -> str:
    """What to tell when a run has ended: how many, how many are new, where to look."""
    flagged = sum(bool(flags_of(results, told)) for told in results.students)
    lines = [
        f"{len(results.students)} students, {len(results.graded)} notebooks graded, {results.fresh} of them now; "
        f"{flagged} students to look at",
        *(f"  {name}" for name in ("gradebook.csv", "feedback/", "review.txt", "points.png")),
    ]
    lines[1:1] = [f"in {folder}:"]
    lines += [f"not a submission: {why}" for why in results.ignored]
    lines += [f"could not be graded: {student}, {name}: {why}" for (student, name), why in results.failed.items()]
    return "\n".join(lines)


def number(points: float) -> str:
    """Points as people write them: 2, not 2.0."""
    return f"{points:g}"


def _row(results: Results, told: HandedIn, keys: list[str]) -> list[str]:
    marks = marks_of(results, told.student)
    cells = [_field(marks.get(key)) for key in keys]
    got, out_of = totals(results, told.student)
    return [*cells, number(got), number(out_of), _safe("; ".join(flags_of(results, told)))]


def _field(mark: Mark | None) -> str:
    if mark is None:
        return ""
    return "not graded here" if mark.points is None else number(mark.points)


def _safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
