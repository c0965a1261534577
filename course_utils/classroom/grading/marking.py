"""Points for a submission: its paper is run, and what hidden checks print is compared with the reference's prints."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from course_utils.classroom.authoring.copies import uses_secret
from course_utils.classroom.grading.comparison import agree
from course_utils.classroom.grading.exams import Cell, Exam, Exercise, paper, reference_answers
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.running import Outcome, Run, run_cells
from course_utils.classroom.grading.sandbox import Sandbox
from course_utils.classroom.grading.splicing import Answer

__all__ = [
    "ENDED",
    "NOT_HERE",
    "Bench",
    "Graded",
    "Mark",
    "Prints",
    "checked_prints",
    "grade",
    "judge",
    "reference_prints",
]

ENDED = ("stopped", "timed out")  # how a mark may end that a crowded machine can give to a right answer too
NOT_HERE = ["not graded here"]  # what a hidden check prints that needs hardware this machine lacks
KILLED = {
    "memory": "it took more memory than is allowed",
    "output": "it printed more than is allowed",
    "processes": "it started more processes than are allowed",
    "files": "it left files where none belong",
    "time": "the notebook took longer than is allowed",
}
_CHECK_LINE = re.compile(r"^  (ok|not yet)    (\S.*)$")
_PLACE = re.compile(r" ?\((?:<\w+>|[\w-]+\.py), (line \d+)\)")  # the name that IPython gives a cell says nothing
_NAME = re.compile(r"[A-Za-z_]\w{0,39}")

Prints = dict[str, list[list[str]]]


@dataclass(frozen=True)
class Bench:
    """What one grading run uses throughout: the confinement, the limits and the secret."""

    sandbox: Sandbox
    limits: Limits
    secret: int
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Mark:
    """What an exercise got: `status`, the points (None: not graded here), and words for the student."""

    status: str
    points: float | None
    words: str = ""
    check_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graded:
    """A student's notebook, graded: a mark for each exercise by its key, wall seconds, the kernel's peak memory."""

    marks: dict[str, Mark]
    seconds: float
    peak_bytes: int


def reference_prints(exam: Exam, bench: Bench) -> Prints:
    """What the reference solution prints, by exercise and hidden check.

    Raises RuntimeError where the reference itself fails, or prints another thing than the lesson's source expects.
    """
    mark = secrets.token_hex(6)
    run = _run(exam, {key: Answer(tuple(cells)) for key, cells in reference_answers(exam).items()}, bench, mark)
    if not run.lived:
        raise RuntimeError(f"the reference solution of {exam.name} ended its kernel: {run.trouble or 'it died'}")
    return checked_prints(exam, run.ran, mark)


def checked_prints(exam: Exam, ran: Sequence[tuple[Cell, Outcome]], mark: str) -> Prints:
    """What hidden checks printed for the reference solution, by exercise.

    Raises RuntimeError where a cell failed, a check printed nothing, or not what its source says.
    """
    prints: Prints = {one.key: [] for one in exam.exercises}
    for cell, outcome in ran:
        if outcome.error or outcome.timed_out:
            why = f"{outcome.error}: {outcome.message}" if outcome.error else "it takes too long"
            raise RuntimeError(f"the reference solution of {exam.name} fails in cell {cell.id}: {why}")
        if cell.role == "hidden":
            prints[str(cell.key)].append(_lines(outcome, mark))
            _check_print(exam, cell, prints[str(cell.key)][-1])
    return prints


def grade(exam: Exam, answers: Mapping[str, Answer], wanted: Prints, bench: Bench) -> Graded:
    """Run a student's answers and mark every exercise.

    Where a kernel dies, each exercise that is not right is run again in a kernel of its own, the others left out, so
    that one answer cannot take another with it. Raises RuntimeError where a kernel does not even start.
    """
    mark = secrets.token_hex(6)
    run = _run(exam, answers, bench, mark)
    runs, marks = [run], _marks(exam.exercises, answers, wanted, run, mark)
    doubtful = [one for one in exam.exercises if marks[one.key].status != "right"]
    for one in doubtful if not run.lived and len(exam.exercises) > 1 else ():
        runs.append(_run(exam, {one.key: answers[one.key]}, bench, mark, only=[one.key]))
        marks |= _marks([one], answers, wanted, runs[-1], mark)
    return Graded(marks, sum(run.wall_s for run in runs), max(run.peak_bytes for run in runs))


def _run(
    exam: Exam, answers: Mapping[str, Answer], bench: Bench, mark: str, *, only: Sequence[str] | None = None
) -> Run:
    given = {key: one.cells for key, one in answers.items()}
    cells = paper(exam, given, secret=bench.secret, mark=mark, only=only)
    run = run_cells(cells, sandbox=bench.sandbox, limits=bench.limits, stop=bench.stop)
    if not run.started:
        raise RuntimeError(f"no kernel came up for {exam.name}: {run.trouble or 'it took too long to start'}")
    return run


def _check_print(exam: Exam, cell: Cell, printed: list[str]) -> None:
    """Raise RuntimeError where a hidden check prints nothing, or not what its source says whatever the secret is."""
    source = next(one for one in exam.source.cells if one.id == cell.id)
    if not printed:
        raise RuntimeError(f"{exam.name}, cell {cell.id}: it prints nothing for the reference: nothing to compare")
    fixed = source.expect is not None and not uses_secret(source.text) and printed != NOT_HERE
    if fixed and not agree(printed, str(source.expect).splitlines()):
        raise RuntimeError(f"{exam.name}, cell {cell.id}: the reference prints {printed}, not {source.expect!r}")


def judge(
    exercise: Exercise, answer: Answer, wanted: list[list[str]], mine: Sequence[tuple[Cell, Outcome]], mark: str
) -> Mark:
    """The mark of one exercise, from the outcomes of its cells and what the reference printed in the hidden ones."""
    if wanted[0] == NOT_HERE:
        return Mark("not graded here", None, "It needs hardware that the grading machine does not have.")
    got = [_lines(outcome, mark) for cell, outcome in mine if cell.role == "hidden"]
    if len(got) == len(wanted) and all(map(agree, got, wanted)):
        return Mark("right", exercise.points)
    checks = [outcome for cell, outcome in mine if cell.role == "check"]
    failure = replace(_failure(exercise, answer, mine), check_lines=_check_lines(checks))
    nothing = f"{exercise.name}: not answered yet, it returns nothing"
    if failure.status.startswith("raised") and any(nothing in outcome.stdout for outcome in checks):
        return replace(failure, status="not right", words="It returns nothing: does it end with `return`?")
    return failure


def _marks(
    exercises: Sequence[Exercise], answers: Mapping[str, Answer], wanted: Prints, run: Run, mark: str
) -> dict[str, Mark]:
    return {one.key: judge(one, answers[one.key], wanted[one.key], run.of(one.key), mark) for one in exercises}


def _failure(exercise: Exercise, answer: Answer, mine: Sequence[tuple[Cell, Outcome]]) -> Mark:
    """What to tell where an answer is not right, the most helpful thing first."""
    if answer.in_markdown:
        return Mark("not answered", 0.0, "Your answer stands in a Markdown cell: turn it into a code cell again.")
    if answer.is_stub:
        return Mark("not answered", 0.0, "The placeholder still stands, or the cell is empty.")
    own = [(cell, outcome) for cell, outcome in mine if cell.role != "check" and not cell.id.endswith("--stub")]
    for _, outcome in own:
        if outcome.ended in KILLED:
            return Mark("timed out" if outcome.ended == "time" else "stopped", 0.0, f"{KILLED[outcome.ended]}.")
        if not outcome.alive:
            return Mark("stopped", 0.0, "Running it ended the whole Python process.")
        if outcome.timed_out:
            return Mark("timed out", 0.0, "It did not come to an end in the time that a cell has.")
    raised = [(cell, outcome) for cell, outcome in own if outcome.error]
    if raised and raised[0][0].role == "answer":
        return Mark(f"raised {_class(raised[0][1])}", 0.0, f"Your cell stops with {_sentence(raised[0][1])}")
    if missing := answer.missing(exercise):
        return Mark(
            "not right", 0.0, f"Your cell does not define {' and '.join(missing)}, which the exercise asks for."
        )
    if raised:
        return Mark(f"raised {_class(raised[0][1])}", 0.0, "It raises an error for some input that the lesson allows.")
    if not own:
        return Mark("stopped", 0.0, "The kernel ended before this exercise was reached.")
    return Mark("not right", 0.0, "It runs, but for some input that the lesson allows it gives another result.")


def _lines(outcome: Outcome, mark: str) -> list[str]:
    """The lines that a hidden check itself printed; what an answer printed in between does not count."""
    return [line[len(mark) :] for line in outcome.stdout.split("\n") if line.startswith(mark)]


def _check_lines(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """What a visible check found, in its own form alone: an answer may print there too."""
    found = [_CHECK_LINE.match(line) for outcome in outcomes for line in outcome.stdout.splitlines()]
    return tuple(f"{line[1]}: {line[2]}"[:200] for line in [line for line in found if line][:8])


def _class(outcome: Outcome) -> str:
    """The class of an error, where it is a name that a person would give one."""
    name = outcome.error or ""
    return name if _NAME.fullmatch(name) else "an error"


def _sentence(outcome: Outcome) -> str:
    """The error of a student's own cell: class and first line of its words."""
    words = _PLACE.sub(r" (\1)", (outcome.message.strip().splitlines() or [""])[0])[:160]
    return f"{_class(outcome)}: {words}" if words else f"{_class(outcome)}."
