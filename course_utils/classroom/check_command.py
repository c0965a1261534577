"""What `python -m course_utils check 11` does: the visible checks on a student's own copy, told in plain words.

It runs the student's answers and what of the lesson their checks need, at smoke scale, in a folder of its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from course_utils.classroom.authoring.execution import RunningInterpreter, smoke_environment
from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.authoring.source import Source, SourceCell
from course_utils.classroom.grading.exams import Cell, Exam, Exercise
from course_utils.classroom.grading.slicing import names_of, needed, statements
from course_utils.classroom.grading.splicing import Answer, answers_of, read_cells

__all__ = ["Finding", "check_copy", "exam_of", "main", "visible_paper"]

LIMIT_S = 60.0
LESSON_LIMIT_S = 600.0  # the lesson's own cells; the first of them imports torch
OWN_FOLDER = "my"
_VERDICT = re.compile(  # an answer may have printed before it; a finding may quote anything
    r"(?!  (?:ok|not yet)    ).*?\S+: (right$|not right yet$|not answered yet)"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r" \([^()]*, line (\d+)\)$")  # what Python adds to the words of a SyntaxError
_KIT_FOLLOWS = "  The cells below use"


@dataclass(frozen=True)
class Finding:
    """What there is to say of one exercise: its name, whether it is right, the verdict, and the check's own lines."""

    name: str
    right: bool
    verdict: str
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the verdict and the lines below it."""
        return "\n".join([f"{self.name}: {self.verdict}", *self.lines])


@dataclass(frozen=True)
class Told:
    """What a cell printed, and the exception that ended it in words (None: it ran through)."""

    text: str
    error: str | None = None


class StoppedError(Exception):
    """A cell took the kernel with it, or had to be stopped."""

    def __init__(self, cell: Cell, why: str) -> None:
        super().__init__(f"{cell.id}: {why}")
        self.cell, self.why = cell, why


def check_copy(pristine: Path, own: Path, *, limit_s: float = LIMIT_S) -> list[Finding]:
    """Run the visible checks of the lesson `pristine` (.ipynb) on the answers in `own`; one finding an exercise.

    `limit_s` bounds each answer and each check, in seconds. Raises ValueError for a copy that is no notebook, and where
    the lesson's own cells do not run.
    """
    exam = exam_of(pristine)
    try:
        cells = read_cells(own.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        raise ValueError(f"{own}: {error}, or take a fresh copy from notebooks/") from error
    answers = answers_of(exam, cells)
    if exam.exercises and not any(answer.cells or answer.in_markdown for answer in answers.values()):
        raise ValueError(f"{own} has no cell of {exam.name}: is it another notebook?")
    ended: dict[str, str] = {}  # answers that took the kernel with them: all others are run again without these
    while True:
        texts = {key: answer.cells for key, answer in answers.items() if key not in ended}
        try:
            told = _run(visible_paper(exam, texts), limit_s)
        except StoppedError as stop:
            if stop.cell.key is None or stop.cell.key in ended:
                raise ValueError(
                    f"the lesson's own cell {stop.cell.id} {stop.why}; `python -m course_utils doctor` may know why"
                ) from stop
            ended[stop.cell.key] = f"your cell {stop.why}"
            continue
        return [_finding(one, answers[one.key], told, ended) for one in exam.exercises]


def main(argv: Sequence[str] | None = None) -> int:
    """Check one notebook; 0 when every exercise is right, else 1. Raises ValueError for a mistake in the command."""
    options = _parser().parse_args(argv)
    if options.limit <= 0:
        raise ValueError(f"--limit is a number of seconds above 0, not {options.limit:g}")
    pristine, own = _chosen(find_folders(options.root).root, options.name, options.notebook)
    saved = time.strftime("%H:%M on %d %B", time.localtime(own.stat().st_mtime))
    print(f"{pristine.stem}, as saved in {own} at {saved}. What a tab has not saved yet is not seen.")
    print(f"Running it, at most {options.limit:g} s a cell ...\n", flush=True)
    findings = check_copy(pristine, own, limit_s=options.limit)
    print("\n\n".join(map(str, findings)) or "There is nothing to check in this notebook.")
    right = sum(one.right for one in findings)
    print(f"\n{right} of {len(findings)} right.")
    return 0 if right == len(findings) else 1


def exam_of(path: Path) -> Exam:
    """The exercises of a student copy (.ipynb), which has stubs where a source has solutions."""
    cells = [
        SourceCell(
            id=cell.id,
            is_code=cell.cell_type == "code",
            text=cell.source,
            tags=tuple(cell.metadata.get("tags", ())),
            answer=cell.metadata.get("answer"),
            points=cell.metadata.get("points"),
        )
        for cell in nbformat.read(path, as_version=4).cells
    ]
    return Exam(Source(path.stem, tuple(cells)))


def visible_paper(exam: Exam, answers: Mapping[str, Sequence[str]]) -> list[Cell]:
    """The cells to run: each answer behind its stub, every visible check, and of the lesson what these need.

    `answers` gives the code cells of each key; one that is missing leaves its stub.
    """
    cells = list(_pieces(exam, answers))
    names = [names_of(cell.text) for cell in cells]
    chosen = needed(names, [cell.key is not None for cell in cells], [cell.role == "lesson" for cell in cells])
    return [cell for cell, wanted in zip(cells, chosen, strict=True) if wanted]


def _pieces(exam: Exam, answers: Mapping[str, Sequence[str]]) -> Iterator[Cell]:
    """Answers cell by cell, everything else statement by statement."""
    graded = {one.key: one for one in exam.exercises}
    key: str | None = None  # the answer that a visible check belongs to
    for cell in (cell for cell in exam.source.cells if cell.is_code):
        if cell.answer in graded:
            key = cell.answer
            for place, text in enumerate([graded[key].stub, *answers.get(key, ())]):
                yield Cell(f"{cell.id}-{place}", text, "answer", key)
            continue
        for text in statements(cell.text):
            is_check = "check" in cell.tags and "check" in names_of(text).reads
            yield Cell(cell.id, text, "check" if is_check else "lesson", key if is_check else None)


def _run(cells: Sequence[Cell], limit_s: float) -> list[tuple[Cell, Told]]:
    """Run the cells in a kernel of their own, whatever single ones raise; nothing of it is left afterwards."""
    made = [_timed(cell, limit_s) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=made)
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=RunningInterpreter())
    client = NotebookClient(
        notebook, km=kernel, timeout_func=_limit_of, allow_errors=True, record_timing=False, coalesce_streams=True
    )
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(prefix="course-check-", ignore_cleanup_errors=True) as name:
        env = smoke_environment(Path(name) / "ipython")
        with client.setup_kernel(cleanup_kc=True, cwd=name, env=env, **silent):
            for place, cell in enumerate(cells):
                try:
                    client.execute_cell(made[place], place)
                except CellTimeoutError:
                    limit = _limit_of(made[place])
                    raise StoppedError(
                        cell, f"did not end within {limit:g} s: is there a loop without an end?"
                    ) from None
                except DeadKernelError:
                    raise StoppedError(cell, "ended Python itself (exit, out of memory, or a crash)") from None
    return [(cell, _told(one)) for cell, one in zip(cells, made, strict=True)]


def _timed(cell: Cell, limit_s: float) -> Any:
    return nbformat.v4.new_code_cell(
        cell.text, metadata={"limit_s": LESSON_LIMIT_S if cell.role == "lesson" else limit_s}
    )


def _limit_of(cell: Any) -> float:
    return float(cell.metadata["limit_s"])


def _told(cell: Any) -> Told:
    text = "".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout")
    errors = [out for out in cell.outputs if out.output_type == "error"]
    return Told(text, _in_words(errors[0], cell.execution_count) if errors else None)


def _in_words(error: Any, count: int | None) -> str:
    """`NameError: name 'x' is not defined (line 3)`, with the line of the cell itself where there is one."""
    trace = _COLOUR.sub("", "\n".join(error.traceback))
    lines = re.findall(rf"Cell In ?\[{count}\], line (\d+)", trace)
    if error.ename == "StdinNotImplementedError":
        return "an error: it asks for input(), and nobody is there to answer" + (
            f" (line {lines[-1]})" if lines else ""
        )
    words = _PLACE.sub("", error.evalue)
    return f"{error.ename}: {words}" + (f" (line {lines[-1]})" if lines else "")


def _finding(
    exercise: Exercise, answer: Answer, told: Sequence[tuple[Cell, Told]], ended: Mapping[str, str]
) -> Finding:
    """Put together what is to be said of an exercise."""
    if exercise.key in ended:
        return Finding(exercise.name, False, ended[exercise.key])
    if answer.in_markdown:
        return Finding(exercise.name, False, "its cell is not code any more: make it code again (Esc, then Y)")
    if answer.text.strip() == exercise.stub.strip():
        return Finding(exercise.name, False, "not answered yet")
    if not answer.text.strip():
        return Finding(exercise.name, False, "its cell is empty or gone: notebooks/ has it as it was")
    own = [(cell, what) for cell, what in told if cell.key == exercise.key]
    raised = [what.error for cell, what in own if cell.role == "answer" and what.error]
    if raised:
        return Finding(exercise.name, False, f"your cell raised {raised[0]}")
    if missing := answer.missing(exercise):
        return Finding(exercise.name, False, f"your cell does not define {' and '.join(missing)}")
    broken = [what.error for cell, what in told if cell.role == "lesson" and what.error]
    if broken:
        return Finding(exercise.name, False, f"not checked, since a cell of the lesson raised {broken[0]}")
    return _verdict(exercise.name, [what for cell, what in own if cell.role == "check"])


def _verdict(name: str, checks: Sequence[Told]) -> Finding:
    """What the check printed, without what it says to those who read on in the notebook."""
    lines = [line for what in checks for line in what.text.splitlines()]
    places = [place for place, line in enumerate(lines) if _VERDICT.match(line)]
    if not places:
        errors = [what.error for what in checks if what.error]
        return Finding(name, False, f"not right yet, its check ended with {errors[0]}" if errors else "not checked")
    match = _VERDICT.match(lines[places[-1]])
    assert match is not None
    return Finding(name, match[1] == "right", match[1], tuple(_details(lines[places[-1] + 1 :])))


def _details(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("  ") and not line.startswith(_KIT_FOLLOWS):
            yield line


def _chosen(root: Path, name: str, given: Path | None) -> tuple[Path, Path]:
    """The lesson's pristine copy, and the file with the answers."""
    if name.endswith(".ipynb"):  # a path, as a shell completes it
        given, name = given or Path(name), Path(name).stem
    found = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    matching = [path for path in found if name in (path.stem, path.stem[:2])]
    if not matching:
        known = ", ".join(path.stem for path in found) or f"none, there is nothing in {root / 'notebooks'}"
        raise ValueError(f"no notebook is called {name!r}; there are {known}")
    mine = root / OWN_FOLDER / matching[0].name
    own = given or (mine if mine.exists() else matching[0])
    if not own.is_file():
        raise ValueError(f"there is no file {own}: name the notebook to check, or leave --notebook out")
    return matching[0], own


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_utils check", description=__doc__)
    parser.add_argument("name", metavar="NOTEBOOK", help="its number, name or file: 11, or 11_bottleneck")
    parser.add_argument(
        "--notebook", type=Path, metavar="FILE", help="your copy (default: the one in my/, else notebooks/)"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="most for one cell (default: 60)"
    )
    parser.add_argument("--root", type=Path, help="the clone to work in (default: the one this package runs from)")
    return parser
