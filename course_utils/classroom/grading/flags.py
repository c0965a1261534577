"""What a person should look at: words in an answer that no exercise needs, and answers that are alike."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from course_utils.classroom.grading.exams import Exercise
from course_utils.classroom.grading.slicing import parsed
from course_utils.classroom.grading.splicing import Answer

__all__ = ["alike", "suspicious"]

WORDS = {
    "get_ipython": r"\bget_ipython\b",
    "ast_transformers": r"\b(?:ast|input)_transformers?",
    "settrace": r"\bset(?:trace|profile)\b",
    "ctypes": r"\bctypes\b",
    "builtins": r"\b_*builtins_*\b",
    "__eq__": r"\b__(?:eq|ne|repr|str|format|float|int|round|getattribute|class)__\b",
    "a notebook file": r"\.ipynb\b",
    "the visible checks": r"\bcheck\s*\.\s*\w|course_utils\.classroom|classroom\s+import\b.*\bcheck\b",
    "the kit's own parts": r"\bkit_\w+|\bimport_module\b|\b__import__\b",
    "inspect": r"\binspect\b",
    "frames": r"\b_getframe\b|\bcurrentframe\b|\bf_globals\b|\bf_back\b",
    "the input history": r"\bIn\s*\[|\b_ih\b",
    "eval or exec": r"\b(?:eval|exec|compile)\s*\(",
    "showtraceback": r"\bshowtraceback\b",
    "gc": r"\bgc\s*\.",
    "the grader's processes": r"\bos\.(?:kill|_exit|getppid|fork)\b|\bsys\.(?:exit|modules|stdout)\b",
    "the secret": r"\bsecret\b|\b_told_",
}
LEAST = 60  # characters of code below which two people may well write the same


def suspicious(exercise: Exercise, answer: Answer) -> list[str]:
    """The names in `WORDS` that occur in what the student wrote; lines of the stub do not count."""
    given = {line.strip() for line in exercise.stub.splitlines()}
    own = "\n".join(line for line in answer.text.splitlines() if line.strip() not in given)
    return [name for name, pattern in WORDS.items() if re.search(pattern, own)]


def alike(exercise: Exercise, answers: Mapping[str, Answer]) -> Iterator[list[str]]:
    """Groups of students whose answers are the same code, comments and blanks aside, and not the reference's.

    Short answers do not count.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    given = _plain(exercise.stub)
    for student, answer in answers.items():
        groups[_plain(answer.text)].append(student)
    for code, students in groups.items():
        if len(students) > 1 and code not in (given, _plain(exercise.solution)) and len(code) - len(given) >= LEAST:
            yield sorted(students)


def _plain(text: str) -> str:
    """Code without comments, docstrings and layout; as it stands where it is no Python."""
    tree = parsed(text)
    if tree is None or text.lstrip().startswith("%%"):
        return "\n".join(
            line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")
        )
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    try:
        return ast.unparse(tree)
    except RecursionError:
        return text
