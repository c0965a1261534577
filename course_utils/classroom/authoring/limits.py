"""Proofs on size and means: short cells, few words, one class at most, known imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from course_utils.classroom.authoring.lessons import Lesson
from course_utils.classroom.authoring.solutions import solved
from course_utils.classroom.authoring.source import Source, SourceCell

__all__ = ["check_code", "check_size", "code_lines", "count_words", "without_magics"]

CELL_LINES, ANSWER_LINES, NOTEBOOK_LINES = 12, 25, 150  # a notebook aims for 110
WORDS = (800, 1500)
# fmt: off
STDLIB = [
    "__future__", "cProfile", "collections", "contextlib", "copy", "dataclasses", "functools", "io", "itertools",
    "json", "math", "os", "pathlib", "pstats", "random", "statistics", "subprocess", "sys", "tempfile",
    "threading", "time", "types", "typing", "urllib",
]
# fmt: on
PACKAGES = ["course_utils", "torch", "torchvision", "numpy", "matplotlib", "denoising_diffusion_pytorch", "IPython"]
ALLOWED = {*STDLIB, *PACKAGES}
_MAGIC = re.compile(r"^(\s*)[%!].*", re.MULTILINE)
_NOISE = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$|<[^>]+>|\]\([^)]*\)|https?://\S+", re.DOTALL)
_WORD = re.compile(r"[^\W_][\w'’.,-]*")


def check_size(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain about cells and notebooks with too many code lines, and about too few or too many words."""
    for lesson in lessons:
        shown = [cell for cell in lesson.source.cells if not cell.is_hidden]
        for cell in lesson.source.cells:
            limit = ANSWER_LINES if "answer" in cell.tags else CELL_LINES
            if cell.is_code and (lines := len(code_lines(cell))) > limit:
                yield f"{lesson.name}, cell {cell.id}: {lines} code lines, at most {limit}; move some into the package"
        total = sum(len(code_lines(cell)) for cell in shown if cell.is_code)
        if total > NOTEBOOK_LINES:
            yield f"{lesson.name}: {total} code lines, at most {NOTEBOOK_LINES}"
        words = count_words(lesson.source)
        if not WORDS[0] <= words <= WORDS[1]:
            yield f"{lesson.name}: {words} words, wanted {WORDS[0]} to {WORDS[1]}"


def check_code(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain about code that is not Python, classes that are not networks, and imports outside the course's means."""
    for lesson in lessons:
        for cell in (cell for cell in lesson.source.cells if cell.is_code):
            try:
                tree = ast.parse(without_magics(solved(cell.text)))
            except SyntaxError as error:
                yield f"{lesson.name}, cell {cell.id}: line {error.lineno} is not Python: {error.msg}"
                continue
            for node in ast.walk(tree):
                for complaint in _check_node(node):
                    yield f"{lesson.name}, cell {cell.id}: {complaint}"


def code_lines(cell: SourceCell) -> list[str]:
    """Return the lines of the solved cell that are neither blank nor a comment."""
    lines = (line.strip() for line in solved(cell.text).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def count_words(source: Source) -> int:
    """Count the words that a student reads: Markdown without markup, addresses and formulas."""
    text = "\n".join(cell.text for cell in source.cells if not cell.is_code and not cell.is_hidden)
    return len(_WORD.findall(_NOISE.sub(" ", text)))


def without_magics(text: str) -> str:
    """Return a cell's text as plain Python: each line magic or shell line becomes `pass`."""
    return _MAGIC.sub(r"\1pass", text)


def _check_node(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        bases = [ast.unparse(base) for base in node.bases]
        if not {"nn.Module", "torch.nn.Module"} & set(bases):
            yield f"class {node.name} is no nn.Module; machinery belongs in the package"
    for module in _imported(node):
        if module.split(".")[0] not in ALLOWED:
            yield f"import of {module!r}; a notebook imports {', '.join(PACKAGES)}, little of the standard library"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return []
