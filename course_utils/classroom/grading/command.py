"""Grades a folder of submissions: `python -m course_utils grade SUBMISSIONS -o GRADES`.

Interrupted or killed, the same command goes on where it stopped. GRADES gets gradebook.csv, feedback/STUDENT.html,
review.txt and points.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.authoring.source import read_sources
from course_utils.classroom.grading.exams import Exam
from course_utils.classroom.grading.feedback import write_feedback
from course_utils.classroom.grading.gradebook import summary, write_gradebook
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.points_figure import write_figure
from course_utils.classroom.grading.records import opened
from course_utils.classroom.grading.review import write_review
from course_utils.classroom.grading.sandbox import Sandbox, find_sandbox
from course_utils.classroom.grading.session import grade_all
from course_utils.entry import StatedDefaults

__all__ = ["exams_of", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Grade; return 0, or 1 where a submission could not be graded at all (run it again).

    Raises ValueError for a folder or a notebook that is not there, and where the sources with solutions are missing.
    """
    options = _parser().parse_args(argv)
    if missing := [name for name in ("nbval", "pytest") if find_spec(name) is None]:
        raise ValueError(f"{' and '.join(missing)} not installed in {sys.executable}: type `make check` first")
    exams = exams_of(find_folders(options.root).sources, options.notebooks)
    sandbox = Sandbox(None, "--unconfined was given") if options.unconfined else find_sandbox()
    if sandbox.warning:
        print(sandbox.warning, file=sys.stderr)
    limits = replace(
        Limits(),
        cell_s=options.cell_limit,
        notebook_s=options.notebook_limit,
        memory_bytes=round(options.memory_limit * 2**30),
    )
    with opened(options.out, limits) as records:
        try:
            results = grade_all(
                options.submissions, exams, records, sandbox=sandbox, limits=limits, workers=options.workers
            )
        except KeyboardInterrupt:
            print("\nInterrupted: the same command goes on where it stopped.", file=sys.stderr)
            return 130
        except RuntimeError as error:
            print(f"Nothing was graded further: {error}", file=sys.stderr)
            return 1
        write_gradebook(results, options.out)
        write_feedback(results, options.out)
        write_review(results, options.out, sandbox)
        write_figure(results, options.out)
    print(summary(results, options.out))
    return 1 if results.failed else 0


def exams_of(sources: Path, names: Sequence[str]) -> list[Exam]:
    """The lessons with exercises, or those of them that are named, by number or in full.

    Raises ValueError without sources, and for a name that is none.
    """
    if not sources.is_dir():
        raise ValueError(f"there is no folder {sources}: grading needs a clone that has the sources with solutions")
    exams = [exam for exam in map(Exam, read_sources(sources)) if exam.exercises]
    chosen = [exam for exam in exams if not names or exam.name in names or exam.name[:2] in names]
    known = {part for exam in exams for part in (exam.name, exam.name[:2])}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"no notebook is called {unknown}: there are {[exam.name for exam in exams]}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m course_utils grade", description=__doc__, formatter_class=StatedDefaults
    )
    parser.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help="a folder or an archive for each student")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="GRADES", help="where the grades go")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NN", help="grade these alone, such as 02 12")
    parser.add_argument("--workers", type=int, default=2, choices=range(1, 65), metavar="N", help="notebooks at once")
    parser.add_argument("--cell-limit", type=float, default=Limits.cell_s, metavar="S", help="seconds for a cell")
    parser.add_argument(
        "--notebook-limit", type=float, default=Limits.notebook_s, metavar="S", help="seconds for a notebook"
    )
    memory = Limits.memory_bytes / 2**30
    parser.add_argument("--memory-limit", type=float, default=memory, metavar="GIB", help="GiB for a kernel")
    parser.add_argument(
        "--unconfined", action="store_true", help="run without bubblewrap: submissions can do as they please"
    )
    parser.add_argument(
        "--root", type=Path, help="the clone with the sources (default: the one this package runs from)"
    )
    return parser
