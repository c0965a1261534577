"""Two notebooks out of one source: the student copy, and the solved master that nbval executes."""

from __future__ import annotations

import re
from typing import Any

import nbformat
from nbformat import NotebookNode

from course_utils.classroom.authoring.solutions import solved, stubbed
from course_utils.classroom.authoring.source import Source, SourceCell

__all__ = ["master", "notebook_text", "student_copy", "uses_secret", "with_secret"]

CHECK_OUTPUT = "nbval-check-output"
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_SECRET = re.compile(r"\bsecret\b")


def student_copy(source: Source) -> NotebookNode:
    """Return the notebook for students: stubs instead of solutions, no hidden checks, no outputs."""
    return _notebook([_student_cell(cell) for cell in source.cells if not cell.is_hidden])


def master(source: Source, *, secret: int = 0) -> NotebookNode:
    """Return the solved notebook with hidden checks; a cell's expected stdout is stored as its output for nbval.

    Hidden checks that vary with the name `secret` get it as this number.
    """
    cells = [_master_cell(cell, secret) for cell in source.cells]
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code" and cell.outputs), start=1):
        cell.execution_count = count  # nbval compares only cells that look executed
    return _notebook(cells)


def notebook_text(notebook: NotebookNode) -> str:
    """Return the notebook as the text of an .ipynb file: same notebook, same bytes."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def uses_secret(text: str) -> bool:
    """Whether a hidden check varies with `secret`, the number that a grading run draws."""
    return _SECRET.search(text) is not None


def with_secret(text: str, secret: int) -> str:
    """Return a hidden check behind a line that sets `secret`, where it uses the name."""
    return f"secret = {secret}\n{text}" if uses_secret(text) else text


def _notebook(cells: list[NotebookNode]) -> NotebookNode:
    return nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": dict(_METADATA), "cells": cells})


def _student_cell(cell: SourceCell) -> NotebookNode:
    metadata = _metadata(cell)
    if "check" in cell.tags:
        metadata |= {"deletable": False, "editable": False}
    if "answer" in cell.tags:
        metadata |= {"deletable": False}
    return _cell(cell, stubbed(cell.text), metadata)


def _master_cell(cell: SourceCell, secret: int) -> NotebookNode:
    metadata, text = _metadata(cell), solved(cell.text)
    if "hidden-check" in cell.tags:
        text = with_secret(text, secret)
    if cell.expect is None:
        return _cell(cell, text, metadata)
    metadata["tags"] = [*cell.tags, CHECK_OUTPUT]
    made = _cell(cell, text, metadata)
    made.outputs = [nbformat.from_dict({"output_type": "stream", "name": "stdout", "text": cell.expect})]
    return made


def _metadata(cell: SourceCell) -> dict[str, Any]:
    values = {"section": cell.section, "answer": cell.answer, "points": cell.points, "kind": cell.kind}
    kept: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    return kept | ({"tags": list(cell.tags)} if cell.tags else {})


def _cell(cell: SourceCell, text: str, metadata: dict[str, Any]) -> NotebookNode:
    made: dict[str, Any] = {"cell_type": "markdown", "id": cell.id, "metadata": metadata, "source": text}
    if cell.is_code:
        made |= {"cell_type": "code", "execution_count": None, "outputs": []}
    return nbformat.from_dict(made)
