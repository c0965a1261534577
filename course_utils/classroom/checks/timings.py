"""Visible checks of 02_timing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

from course_utils.classroom.checks.framework import Report, exercise, number
from course_utils.measure import measure, rigged

__all__ = ["suspects", "timer"]

Clock = Callable[[], float]
Timer = Callable[[Callable[[], object], Clock, Callable[[], None]], float]
Pair = tuple[str, str]
Rows = Mapping[str, tuple[float, float]]


def kit_timer(fn: Callable[[], object], clock: Clock, synchronize: Callable[[], None]) -> float:
    """The kit's own timer on a given clock; -> median seconds of a call."""
    return measure(fn, clock=clock, synchronize=synchronize).median_s


class Counted:
    """A clock that knows how often it was read."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reads = 0

    def __call__(self) -> float:
        """The time now, in seconds."""
        self.reads += 1
        return self.clock()


@exercise(own=kit_timer)
def timer(answer: Timer, report: Report) -> None:
    """Check `my_timer(fn, clock, synchronize)` -> seconds on rigged operations, and name the trap it fell into."""
    for operation in rigged.traps():
        clock = Counted(operation.clock)
        told = report.call(answer, operation, clock, operation.synchronize)
        seconds = number(told)
        if seconds is None:
            report.fail(f"return one number of seconds, not {type(told).__name__}")
            return
        if not clock.reads:
            report.fail("read the time with the clock you are given, clock(): another clock does not see rigged work")
            return
        trap = operation.diagnose(seconds)
        report.expect(trap is None, operation.name, trap or "")


def kit_suspects(rows: Rows, tolerance: float) -> list[Pair]:
    """Every pair of names whose device times agree within `tolerance`."""
    return [
        (a, b)
        for a, b in combinations(rows, 2)
        if abs(rows[a][1] - rows[b][1]) <= tolerance * max(rows[a][1], rows[b][1])
    ]


@exercise(own=kit_suspects)
def suspects(answer: Callable[[Rows, float], list[Pair]], report: Report) -> None:
    """Check `suspects(rows, tolerance)` -> pairs of names on tables whose twins are known."""
    cases: tuple[tuple[str, Rows, float, set[frozenset[str]]], ...] = (
        ("no twins", {"a": (9.0, 1.0), "b": (9.0, 2.0), "c": (9.0, 4.0)}, 0.02, set()),
        ("one pair of twins", {"a": (9.0, 1.00), "b": (3.0, 5.0), "c": (7.0, 1.01)}, 0.02, {frozenset("ac")}),
        ("the tolerance counts", {"a": (9.0, 100.0), "b": (9.0, 104.0)}, 0.05, {frozenset("ab")}),
        ("a share of the larger one", {"a": (9.0, 100.0), "b": (9.0, 104.5)}, 0.044, {frozenset("ab")}),
        ("wall time is not what is compared", {"a": (9.0, 1.0), "b": (9.0, 3.0)}, 0.02, set()),
    )
    for what, rows, tolerance, wanted in cases:
        answered = report.call(answer, rows, tolerance)
        pairs = list(answered) if isinstance(answered, Iterable) else [answered]
        if not all(isinstance(pair, list | tuple | set | frozenset) for pair in pairs):
            report.fail(f"{what}: return a list of pairs such as [('a', 'b')], not {answered!r}")
            return
        got = {frozenset(pair) for pair in pairs}
        shown = sorted("-".join(sorted(map(str, pair))) for pair in got) or "none"
        hoped = sorted("-".join(sorted(pair)) for pair in wanted) or "none"
        report.expect(got == wanted, what, f"{what}: expected {hoped}, got {shown}")
