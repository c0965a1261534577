"""How far a reader has come: the questions of the notebooks, what was guessed and measured, and what is missing."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.classroom.predictions import History, slug
from course_utils.classroom.staircase import Step
from course_utils.speedups import TREATMENTS

__all__ = ["Question", "incomplete", "questions", "untreated"]


@dataclass(frozen=True)
class Question:
    """A question that a notebook asks to predict, and the key of its guesses."""

    notebook: str
    text: str
    key: str


def questions(folder: Path) -> list[Question]:
    """The `predict(...)` calls of every `NN_topic.ipynb` in a folder, in order, each key once.

    A question that is put together while running is left out unless its key is plain text. Raises ValueError for a file
    that is no notebook.
    """
    found: dict[str, Question] = {}
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        for code in _code_of(path):
            for text, key in _asked(code):
                found.setdefault(key, Question(path.stem, text, key))
    return list(found.values())


def untreated(kept: Sequence[Step]) -> list[str]:
    """The names of treatments that are in none of the steps."""
    seen = {word for step in kept for word in re.findall(r"\w+", re.sub(r"\(.*?\)", "", step.name))}
    return [name for name in TREATMENTS if name not in seen]


def incomplete(asked: Sequence[Question], told: Mapping[str, History], kept: Sequence[Step]) -> list[str]:
    """What is missing, a sentence each: guesses, measurements, steps, and verdicts that settle nothing."""
    said = []
    for one in asked:
        known = told.get(one.key)
        if known is None or known.prediction.guess is None:
            said.append(f"{one.notebook}: no guess yet on “{one.text}”")
        elif known.revealed is None:
            said.append(f"{one.notebook}: guessed, but not yet measured: “{one.text}”")
    if not asked:
        said.append("No notebook with a question was found, so what is still to be predicted is not listed.")
    said += [f"Treatment {name}: no step kept yet." for name in untreated(kept)]
    said += [f"Step {step.label}: the verdict is inconclusive." for step in kept if step.outcome == "inconclusive"]
    return said


def _code_of(path: Path) -> list[str]:
    """The source of each code cell of a notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return ["".join(source) for source in sources]  # text, or a list of lines
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is no notebook ({error}): restore it from the course.") from error


def _asked(code: str) -> Iterator[tuple[str, str]]:
    """Question and key of each call of `predict` in a cell; magics are skipped, and so is a cell that is no Python."""
    if code.lstrip().startswith("%%writefile"):
        return
    try:
        tree = ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", code))
    except SyntaxError:
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == "predict"]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        given = {str(word.arg): word.value for word in call.keywords}
        text, key = _text(call.args[0] if call.args else given.get("question")), _text(given.get("key"))
        if text or key:
            yield text or key, key or slug(text)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.expr | None) -> str:
    """The text of a plain string, or nothing."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
