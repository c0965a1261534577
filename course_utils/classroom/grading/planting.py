"""Plants whole submissions for a rehearsal: right and wrong, every cheat and accident known, packed in all ways."""

from __future__ import annotations

import io
import itertools
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils.classroom.authoring.copies import student_copy
from course_utils.classroom.grading.exams import Exam
from course_utils.classroom.grading.plant_kinds import KINDS, Kind

__all__ = ["BROKEN", "Plant", "plant", "plants"]

BROKEN = ("not-json", "half-a-file", "bomb", "leads-out", "link")  # nothing of these can be read


@dataclass(frozen=True)
class Plant:
    """A planted student: a kind applied to one notebook, how it is packed, and the points it must get by key."""

    student: str
    kind: str
    exam: Exam
    packing: str
    points: dict[str, float]
    flag: str

    @property
    def total(self) -> float:
        """The sum of the points."""
        return sum(self.points.values())


def plants(exams: Sequence[Exam], n: int) -> list[Plant]:
    """`n` students that go through kinds, notebooks and packings in turn; the same for the same arguments."""
    if n < 1 or not exams:
        raise ValueError(f"wanted at least one student and one notebook, got n={n} and {len(exams)} notebooks")
    packings, turns = itertools.cycle(("folder", "zip", "tar.gz")), itertools.cycle(exams)
    kinds = itertools.cycle([*KINDS, *BROKEN])
    return [
        _planned(f"{place:03d}-{kind}", kind, next(turns), next(packings))
        for place, kind in zip(range(n), kinds, strict=False)
    ]


def plant(one: Plant, folder: Path) -> Path:
    """Write a planted submission below `folder`; return the path of the student's folder or archive."""
    folder.mkdir(parents=True, exist_ok=True)
    if one.kind in ("bomb", "leads-out", "link"):
        return _write_archive(folder / f"{one.student}.tar.gz", one.kind)
    content = _content(one)
    name = f"{one.exam.name}.ipynb"
    if one.packing == "folder":
        path = folder / one.student / "my" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return folder / one.student
    if one.packing == "zip":
        with zipfile.ZipFile(folder / f"{one.student}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"course/{name}", content)
        return folder / f"{one.student}.zip"
    with tarfile.open(folder / f"{one.student}.tar.gz", "w:gz") as archive:
        archive.addfile(_entry(f"./{name}", len(content)), io.BytesIO(content))
    return folder / f"{one.student}.tar.gz"


def _planned(student: str, kind: str, exam: Exam, packing: str) -> Plant:
    right = KINDS[kind].right if kind in KINDS else "none"
    exercises = exam.exercises
    gets = {
        one.key: one.points if right == "all" or (right == "half" and one is not exercises[0]) else 0.0
        for one in exercises
    }
    return Plant(student, kind, exam, packing, gets, _flag(kind))


def _flag(kind: str) -> str:
    told: dict[str, str] = {"not-json": "not JSON", "half-a-file": "not JSON", "bomb": "refused", "link": "a link"}
    known: Kind | None = KINDS.get(kind)
    return known.flag if known else told.get(kind, "leads out")


def _content(one: Plant) -> bytes:
    notebook = student_copy(one.exam.source)
    if one.kind in KINDS:
        KINDS[one.kind].change(notebook, one.exam)
    text = _text(notebook)
    if one.kind == "half-a-file":
        text = text[: len(text) // 2]
    return b"\x89PNG\r\n not a notebook" if one.kind == "not-json" else text.encode()


def _text(notebook: NotebookNode) -> str:
    return str(nbformat.writes(notebook))


def _write_archive(path: Path, kind: str) -> Path:
    """An archive that no grader should unpack."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for entry, content in _entries(kind):
            archive.addfile(entry, io.BytesIO(content))
    return path


def _entries(kind: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    if kind == "bomb":
        for place in range(24):
            yield _entry(f"{place}_zeros.bin", 20 * 2**20), bytes(20 * 2**20)
    elif kind == "leads-out":
        yield _entry("../../planted.ipynb", 2), b"{}"
    else:
        link = _entry("12_link.ipynb", 0)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        yield link, b""


def _entry(name: str, size: int) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    return made
