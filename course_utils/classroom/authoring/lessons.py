"""A lesson is what the proofs look at: a source beside the student copy that lies on disk."""

from __future__ import annotations

from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode

from course_utils.classroom.authoring.folders import Folders
from course_utils.classroom.authoring.source import Source, read_sources

__all__ = ["Lesson", "read_lessons"]


@dataclass(frozen=True)
class Lesson:
    """A source, the text of its student copy as it lies on disk (None: not there), and that text as a notebook."""

    source: Source
    text: str | None
    student: NotebookNode | None

    @property
    def name(self) -> str:
        """The notebook's name, such as `02_timing`."""
        return self.source.name


def read_lessons(folders: Folders) -> tuple[Lesson, ...]:
    """Read every source and its student copy; raise ValueError that names the file that cannot be read."""
    return tuple(_read_lesson(folders, source) for source in read_sources(folders.sources))


def _read_lesson(folders: Folders, source: Source) -> Lesson:
    path = folders.students / f"{source.name}.ipynb"
    if not path.exists():
        return Lesson(source, None, None)
    text = path.read_text(encoding="utf-8")
    try:
        student = nbformat.reads(text, as_version=4)
        nbformat.validate(student)
    except (nbformat.ValidationError, nbformat.reader.NotJSONError, AttributeError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"{path.name} is not a valid notebook ({first_line}): delete it and build again") from error
    return Lesson(source, text, student)
