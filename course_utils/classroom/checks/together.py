"""Visible checks of 90_all_together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from course_utils.classroom.checks.framework import Report, Unanswered, exercise

__all__ = ["best", "whole_gain"]


def kit_whole_gain(shares: Sequence[float], gains: Sequence[float]) -> float:
    """Amdahl's law for any number of parts: the gain of the whole."""
    return 1 / sum(share / gain for share, gain in zip(shares, gains, strict=True))


@exercise(own=kit_whole_gain)
def whole_gain(answer: Callable[[list[float], list[float]], float], report: Report) -> None:
    """Check `whole_gain(shares, gains)` on parts whose times are easy to add."""
    for what, shares, gains, wanted, hint in (
        ("everything twice as fast", [0.5, 0.5], [2.0, 2.0], 2.0, "the shares add up to 1"),
        ("half of it without a limit", [0.5, 0.5], [1e12, 1.0], 2.0, "the other half stays"),
        ("nothing faster", [0.2, 0.8], [1.0, 1.0], 1.0, "time after is share / gain"),
        ("one part slower", [0.5, 0.5], [0.5, 1.0], 2 / 3, "a gain below 1 takes longer"),
        ("three parts", [0.6, 0.3, 0.1], [3.0, 1.0, 1.0], 1 / 0.6, "add all the parts' times"),
    ):
        if not report.close(what, report.call(answer, shares, gains), wanted, rtol=1e-6, hint=hint):
            return


def kit_best(verdicts: Mapping[str, Any]) -> tuple[str | None]:
    """The fastest variant that is preserved and faster, in a tuple of one; (None,) where there is none."""
    kept = {name: one.speed.value for name, one in verdicts.items() if one.outcome == "preserved and faster"}
    return (max(kept, key=lambda name: kept[name]) if kept else None,)


@exercise(own=kit_best)
def best(answer: Callable[[dict[str, Any]], tuple[str | None]], report: Report) -> None:
    """Check `best(verdicts)` on made-up verdicts of every outcome."""

    def one(outcome: str, value: float) -> SimpleNamespace:
        return SimpleNamespace(outcome=outcome, speed=SimpleNamespace(value=value))

    fine, worse, slow, open_ = "preserved and faster", "faster but worse", "not faster", "inconclusive"
    for what, outcomes, wanted in (
        ("one that may stay", {"a": one(fine, 1.3)}, "a"),
        ("the faster of two", {"a": one(fine, 1.3), "b": one(fine, 1.8)}, "b"),
        ("speed does not excuse", {"a": one(fine, 1.3), "b": one(worse, 5.0)}, "a"),
        ("not settled is not kept", {"a": one(open_, 2.5), "b": one(fine, 1.1)}, "b"),
        ("none may stay", {"a": one(slow, 0.4), "b": one(worse, 2.0)}, None),
    ):
        got = report.call(answer, outcomes)
        if got == (...,):
            raise Unanswered
        told = "None" if wanted is None else repr(wanted)
        if not report.expect(got == (wanted,), f"{what}: {told}", f"{what}: expected {told}, got {got!r}"):
            return
