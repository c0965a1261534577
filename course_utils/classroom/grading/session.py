"""A grading run: every student's notebooks through the engine, a few at a time, each result kept as it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from course_utils.classroom.grading.exams import Exam
from course_utils.classroom.grading.handing_in import HandedIn, handed_in
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.marking import Bench, Graded, Prints, grade, reference_prints
from course_utils.classroom.grading.records import Records
from course_utils.classroom.grading.running import Stopped, remove_left_overs
from course_utils.classroom.grading.sandbox import Sandbox
from course_utils.classroom.grading.submissions import find_submissions

__all__ = ["Results", "grade_all"]

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} notebooks [{elapsed}, {remaining} left]"


@dataclass
class Results:
    """What a grading run found: the lessons it graded, what students handed in, and results by student and lesson.

    `failed` tells, by student and lesson, why something could not be graded; `ignored` what lay beside the submissions.
    """

    exams: list[Exam]
    students: list[HandedIn]
    graded: dict[tuple[str, str], Graded] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    fresh: int = 0


def grade_all(
    submissions: Path, exams: Sequence[Exam], records: Records, *, sandbox: Sandbox, limits: Limits, workers: int = 2
) -> Results:
    """Grade all that is not graded yet, with a progress bar; what is done is kept when it is interrupted.

    Raises ValueError where there are no submissions, RuntimeError where a reference solution fails.
    """
    remove_left_overs()
    found, ignored = find_submissions(submissions)
    students = [handed_in(submission, exams) for submission in found]
    begun = {name for told in students for name in (*told.answers, *told.unreadable)}
    wanted = [exam for exam in exams if exam.name in (begun or {name for told in students for name in told.untouched})]
    results = Results(wanted, students, ignored=ignored)
    jobs = [(told, exam) for exam in wanted for told in students if exam.name in told.answers]
    bench = Bench(sandbox, limits, records.secret)
    often_s = 0.1 if sys.stderr.isatty() else 30.0  # into a file, a line now and then
    with tqdm(total=len(wanted) + len(jobs), bar_format=BAR, smoothing=0.1, mininterval=often_s) as bar:
        left = []
        for told, exam in jobs:
            known = records.graded(told.student, exam, told.answers[exam.name])
            if known is None:
                left.append((told, exam))
            else:
                results.graded[told.student, exam.name] = known
                bar.update()
        _work(left, wanted, results, records, bench, workers, bar)
    return results


def _work(
    left: Sequence[tuple[HandedIn, Exam]],
    exams: Sequence[Exam],
    results: Results,
    records: Records,
    bench: Bench,
    workers: int,
    bar: Any,
) -> None:
    """Run the references, then the submissions, on a few threads; Ctrl-C ends what is running and is raised again."""
    todo = {exam.name for _, exam in left}
    with ThreadPoolExecutor(workers, thread_name_prefix="grading") as pool:
        try:
            prints = {}
            made = {pool.submit(_reference, exam, records, bench): exam for exam in exams if exam.name in todo}
            for future in _finished(made):
                prints[made[future].name] = future.result()
                bar.update()
            bar.update(len(exams) - len(todo))
            graded = {
                pool.submit(_grade, told, exam, prints[exam.name], records, bench): (told, exam) for told, exam in left
            }
            for future in _finished(graded):
                told, exam = graded[future]
                bar.set_description(f"{exam.name} · {told.student}"[:40])
                _keep(results, told, exam, future)
                bar.update()
        except BaseException:
            bench.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _keep(results: Results, told: HandedIn, exam: Exam, future: Future[Graded]) -> None:
    try:
        results.graded[told.student, exam.name] = future.result()
        results.fresh += 1
    except RuntimeError as error:
        results.failed[told.student, exam.name] = str(error).splitlines()[0]


def _reference(exam: Exam, records: Records, bench: Bench) -> Prints:
    prints = records.reference(exam)
    if prints is None:
        prints = reference_prints(exam, bench)
        records.keep_reference(exam, prints)
    return prints


def _grade(told: HandedIn, exam: Exam, prints: Prints, records: Records, bench: Bench) -> Graded:
    answers: Mapping[str, Any] = told.answers[exam.name]
    try:
        graded = grade(exam, answers, prints, bench)
    except Stopped:
        raise
    except RuntimeError:  # no kernel came up: a crowded machine may need a second try
        graded = grade(exam, answers, prints, bench)
    records.keep(told.student, exam, answers, graded)
    return graded


def _finished(futures: Mapping[Future[Any], Any]) -> Iterator[Future[Any]]:
    """The futures as they end; waiting in short turns lets Ctrl-C through."""
    open_ones = set(futures)
    while open_ones:
        done, open_ones = wait(open_ones, timeout=0.5, return_when=FIRST_COMPLETED)
        yield from done
