"""What a person should look at after grading: `review.txt`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from course_utils.atomic import replacing
from course_utils.classroom.grading.flags import alike, suspicious
from course_utils.classroom.grading.handing_in import HandedIn
from course_utils.classroom.grading.marking import ENDED
from course_utils.classroom.grading.sandbox import Sandbox
from course_utils.classroom.grading.session import Results

__all__ = ["flags_of", "write_review"]


def flags_of(results: Results, told: HandedIn) -> list[str]:
    """What makes a person look at a student's work, a few words each: nothing here takes points by itself."""
    found = [*([told.refused] if told.refused else []), *told.flags]
    found += [f"{name}: {why}" for name, why in told.unreadable.items()]
    found += [
        f"{name}: not graded, {why}" for (student, name), why in results.failed.items() if student == told.student
    ]
    for exam in results.exams:
        for exercise in exam.exercises if exam.name in told.answers else ():
            found += [f"{exercise.key}: {word}" for word in suspicious(exercise, told.answers[exam.name][exercise.key])]
        graded = results.graded.get((told.student, exam.name))
        stopped = {key: mark for key, mark in graded.marks.items() if mark.status in ENDED} if graded else {}
        found += [f"{key}: {mark.words}" for key, mark in stopped.items()]
    return found


def write_review(results: Results, folder: Path, sandbox: Sandbox) -> Path:
    """Write `review.txt`: who is to be looked at and why, same answers, accidents with cells, what was ignored."""
    path = folder / "review.txt"
    with replacing(path) as temporary:
        temporary.write_text("\n".join(_lines(results, sandbox)) + "\n", encoding="utf-8")
    return path


def _lines(results: Results, sandbox: Sandbox) -> Iterator[str]:
    yield "What a person should look at. Nothing here has changed a point by itself."
    if sandbox.warning:
        yield f"\n{sandbox.warning}"
    yield from _section(
        "Flags", [f"{told.student}: {flag}" for told in results.students for flag in flags_of(results, told)]
    )
    yield from _section("The same answer, word for word", list(_same(results)))
    notes = [f"{told.student}: {note}" for told in results.students for note in _notes(results, told)]
    yield from _section("Accidents with files and cells, put right where that was possible", notes)
    yield from _section("Not a submission", results.ignored)


def _section(title: str, lines: list[str]) -> Iterator[str]:
    yield f"\n{title}"
    yield from (f"  {line}" for line in lines or ["nothing"])


def _same(results: Results) -> Iterator[str]:
    for exam in results.exams:
        for exercise in exam.exercises:
            answers = {
                told.student: told.answers[exam.name][exercise.key]
                for told in results.students
                if exam.name in told.answers
            }
            for students in alike(exercise, answers):
                yield f"{exercise.key}: {', '.join(students)}"


def _notes(results: Results, told: HandedIn) -> list[str]:
    cells = [
        f"{key}: {note}"
        for exam in results.exams
        for key, answer in told.answers.get(exam.name, {}).items()
        for note in answer.notes
    ]
    untouched = [f"{', '.join(sorted(told.untouched))}: nothing is answered, not counted"] if told.untouched else []
    return [*told.notes, *untouched, *cells]
