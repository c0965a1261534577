"""The state of a grading run on disk: its secret, and a file for each student and notebook that is done."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_utils.atomic import replacing
from course_utils.classroom.grading.exams import Exam
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.marking import ENDED, Graded, Mark, Prints
from course_utils.classroom.grading.splicing import Answer

__all__ = ["Records", "file_name", "opened"]

METHOD = 2  # raise it when the same answer would be graded differently


class Records:
    """What is done and what it gave, in `GRADES/work`; a file is whole or not there."""

    def __init__(self, folder: Path, secret: int, limits: Limits) -> None:
        self.folder, self.secret, self.limits = folder, secret, limits

    def reference(self, exam: Exam) -> Prints | None:
        """What the reference printed in this run, None where it was not run for this version of the lesson."""
        found = _read(self._reference_path(exam))
        return None if found.get("digest") != self._digest(exam, {}) else found["prints"]

    def keep_reference(self, exam: Exam, prints: Prints) -> None:
        """Store what the reference printed."""
        _write(self._reference_path(exam), {"digest": self._digest(exam, {}), "prints": prints})

    def graded(self, student: str, exam: Exam, answers: Mapping[str, Answer]) -> Graded | None:
        """The result for these very answers to this very lesson, None where they are to be graded.

        What was stopped at a limit is graded again under another one.
        """
        found = _read(self._path(student, exam))
        if found.get("digest") != self._digest(exam, answers):
            return None
        ended = any(told["status"] in ENDED for told in found["marks"].values())
        if ended and found.get("limits") != asdict(self.limits):
            return None
        marks = {
            key: Mark(**{**told, "check_lines": tuple(told["check_lines"])}) for key, told in found["marks"].items()
        }
        return Graded(marks, found["seconds"], found["peak_bytes"])

    def keep(self, student: str, exam: Exam, answers: Mapping[str, Answer], graded: Graded) -> None:
        """Store a result."""
        about = {"student": student, "notebook": exam.name, "limits": asdict(self.limits)}
        told = about | {"digest": self._digest(exam, answers)} | asdict(graded)
        _write(self._path(student, exam), told)

    def _path(self, student: str, exam: Exam) -> Path:
        return self.folder / "results" / file_name(student) / f"{exam.name}.json"

    def _reference_path(self, exam: Exam) -> Path:
        return self.folder / "reference" / f"{exam.name}.json"

    def _digest(self, exam: Exam, answers: Mapping[str, Answer]) -> str:
        told = [METHOD, self.secret, exam.digest, {key: [*one.cells, one.in_markdown] for key, one in answers.items()}]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@contextmanager
def opened(grades: Path, limits: Limits | None = None) -> Iterator[Records]:
    """The records of a grading run, for this process alone; a new run draws its secret, one that goes on keeps it.

    Raises ValueError where another process is grading into the same folder.
    """
    folder = grades / "work"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"another grading run is at work in {grades}: wait for it, or give another folder"
            ) from error
        yield Records(folder, _secret(folder / "secret"), limits or Limits())


def file_name(student: str) -> str:
    """A file's name for a student: the name itself where it is harmless, else letters of it and a hash."""
    if re.fullmatch(r"[\w][\w .@+-]{0,79}", student) and not student.endswith("."):
        return student
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', student)[:40]}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"


def _secret(path: Path) -> int:
    """The run's number, drawn once and readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(f"{secrets.randbelow(10**9)}\n")
            temporary.chmod(0o600)
    return int(path.read_text())


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, told: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
