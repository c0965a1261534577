"""What each student handed in: which notebook belongs to which lesson, and the answers in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from course_utils.classroom.grading.exams import Exam
from course_utils.classroom.grading.splicing import Answer, StudentCell, answers_of, read_cells
from course_utils.classroom.grading.submissions import Submission, read_submission

__all__ = ["HandedIn", "handed_in"]


@dataclass
class HandedIn:
    """A student's answers by lesson and key, the file each lesson was read from, why one could not be, and more.

    `untouched` are lessons handed in without a single answer; `flags` make a person look, `notes` tell of accidents.
    """

    student: str
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    refused: str | None = None


def handed_in(submission: Submission, exams: Sequence[Exam]) -> HandedIn:
    """Read a submission; whatever is wrong with it is told in the result, nothing is raised."""
    told = HandedIn(submission.student)
    try:
        texts = read_submission(submission)
    except ValueError as error:
        told.refused = str(error)
        return told
    for path, text in texts.items():
        try:
            cells = read_cells(text)
        except ValueError as error:
            exam = _by_name(path, exams)
            if exam is not None:
                told.unreadable.setdefault(exam.name, f"{error} and hand it in once more")
            told.notes.append(f"{path}: {error}")
            continue
        if exam := _by_keys(cells, exams) or _by_name(path, exams):
            _take(told, exam, path, answers_of(exam, cells))
        else:
            told.notes.append(f"{path}: it is none of the notebooks that are graded")
    for name in told.answers:
        told.unreadable.pop(name, None)
    for name in [name for name, answers in told.answers.items() if not _begun(answers)]:
        del told.answers[name]
        told.untouched.add(name)
    return told


def _take(told: HandedIn, exam: Exam, path: str, answers: dict[str, Answer]) -> None:
    """Keep the answers; of two copies of a lesson the one with more of them, where both have as many a person looks."""
    known, other = told.answers.get(exam.name), told.paths.get(exam.name, "")
    if known is None or _answered(answers) > _answered(known):
        told.answers[exam.name], told.paths[exam.name] = answers, path
    if known is None:
        return
    left = path if told.paths[exam.name] == other else other
    told.notes.append(f"{exam.name}: {told.paths[exam.name]} was graded, not the copy {left}")
    texts = [{key: one.text for key, one in copy.items()} for copy in (answers, known)]
    if _answered(answers) == _answered(known) and texts[0] != texts[1]:
        told.flags.append(f"{exam.name}: two copies with as many answers, {told.paths[exam.name]} was graded")
    if len({PurePosixPath(one).parts[0] for one in (path, other) if len(PurePosixPath(one).parts) > 1}) > 1:
        told.flags.append(f"{exam.name}: in several folders, {path} and {other}; a whole class in one archive?")


def _begun(answers: Mapping[str, Answer]) -> bool:
    return any(not answer.is_stub or answer.in_markdown for answer in answers.values())


def _answered(answers: Mapping[str, Answer]) -> int:
    return sum(not answer.is_stub for answer in answers.values())


def _by_keys(cells: Sequence[StudentCell], exams: Sequence[Exam]) -> Exam | None:
    """The lesson most of whose answers have their keys in these cells."""
    keys = {cell.key for cell in cells}
    counts = {sum(one.key in keys for one in exam.exercises): exam for exam in reversed(exams)}
    best = max(counts, default=0)
    return counts[best] if best else None


def _by_name(path: str, exams: Sequence[Exam]) -> Exam | None:
    found = re.match(r"\d\d(?=[_ -])", PurePosixPath(path).name)
    return next((exam for exam in exams if found and exam.name.startswith(f"{found[0]}_")), None)
