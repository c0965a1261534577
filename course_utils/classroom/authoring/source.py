"""Reads a py:percent source: one cell per `# %%` header, with its id, section, tags, answer key and points.

    # %% id="timer" tags=["answer"] answer="02.timer" points=2
    # %% id="timer-hidden" tags=["hidden-check"] answer="02.timer"
    print(round(my_timer(rigged), 3))
    # expect: 3.651

Each `# expect: ` line is one line that the cell must print, exactly, at smoke scale. A hidden check may use the name
`secret`, an int that a grading run draws and that is 0 everywhere else, so that no answer can print what is expected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext

from course_utils.classroom.authoring.solutions import regions

__all__ = ["Source", "SourceCell", "read_source", "read_sources"]

KEYS = ("id", "section", "tags", "answer", "points", "kind")
TAGS = {"code": {"answer", "check", "hidden-check"}, "markdown": {"solution-note"}}
_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")  # what nbformat 4.5 allows
_EXPECT = re.compile(r"^# expect:(?: (.*))?$")
_NAME = re.compile(r"^\d\d_[a-z0-9_]+$")


@dataclass(frozen=True)
class SourceCell:
    """One cell: `text` still holds the solution markers, `expect` is the exact stdout or None."""

    id: str
    is_code: bool
    text: str
    expect: str | None = None
    section: str | None = None
    tags: tuple[str, ...] = ()
    answer: str | None = None
    points: float | None = None
    kind: str | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether the cell is for instructors only."""
        return "hidden-check" in self.tags or "solution-note" in self.tags


@dataclass(frozen=True)
class Source:
    """A notebook's source: its name, such as `02_timing`, and its cells."""

    name: str
    cells: tuple[SourceCell, ...]

    @property
    def number(self) -> int:
        """The two digits that place the notebook in the course."""
        return int(self.name[:2])


def read_source(path: Path) -> Source:
    """Read one source; raise ValueError that names the file and the cell where the format is broken."""
    if not _NAME.match(path.stem):
        raise ValueError(f"{path.name}: a source is named NN_topic.py, such as 02_timing.py")
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    cells: list[SourceCell] = []
    for number, cell in enumerate(notebook.cells, start=1):
        try:
            cells.append(_read_cell(cell))
        except ValueError as error:
            raise ValueError(f"{path.name}, cell {cell.metadata.get('id', number)}: {error}") from error
        if cells[-1].id in {earlier.id for earlier in cells[:-1]}:
            raise ValueError(f"{path.name}: cell id {cells[-1].id!r} is used twice; ids are unique in a notebook")
    return Source(path.stem, tuple(cells))


def read_sources(folder: Path) -> tuple[Source, ...]:
    """Read every NN_topic.py of a folder, in the order of the course."""
    return tuple(read_source(path) for path in sorted(folder.glob("[0-9][0-9]_*.py")))


def _read_cell(cell: Any) -> SourceCell:
    metadata = {key: value for key, value in cell.metadata.items() if not key.startswith("lines_to_")}
    _check_metadata(metadata, cell.cell_type)
    text, expect = _split_expect(cell.source)
    is_code = cell.cell_type == "code"
    if not is_code and expect is not None:
        raise ValueError("only a code cell can have '# expect:' lines")
    tags = tuple(metadata.get("tags", ()))
    if bool(regions(text)) != ("answer" in tags):
        raise ValueError("an answer cell has a solution region, and no other cell has one")
    return SourceCell(
        id=metadata["id"],
        is_code=is_code,
        text=text,
        expect=expect,
        tags=tags,
        **{key: metadata.get(key) for key in ("section", "answer", "points", "kind")},
    )


def _check_metadata(metadata: dict[str, Any], cell_type: str) -> None:
    if not _ID.match(str(metadata.get("id", ""))):
        raise ValueError('the header needs an id of letters, digits, - and _, as in # %% id="setup"')
    if unknown := sorted(set(metadata) - set(KEYS)):
        raise ValueError(f"unknown header keys {unknown}; known are {list(KEYS)}")
    if cell_type not in TAGS:
        raise ValueError(f"a {cell_type} cell has no place in a source; use code or [markdown]")
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not set(tags) <= TAGS[cell_type]:
        raise ValueError(f"tags {tags!r} are not a list out of {sorted(TAGS[cell_type])}, those of a {cell_type} cell")
    if {"answer", "hidden-check"} & set(tags) and not metadata.get("answer"):
        raise ValueError('an answer and its hidden checks carry the answer\'s key, as in answer="02.timer"')


def _split_expect(text: str) -> tuple[str, str | None]:
    lines = text.splitlines()
    expected = [match[1] or "" for line in lines if (match := _EXPECT.match(line))]
    kept = "\n".join(line for line in lines if not _EXPECT.match(line)).strip("\n")
    return kept, "".join(f"{line}\n" for line in expected) if expected else None
