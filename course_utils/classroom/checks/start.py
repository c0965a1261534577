"""Visible check of 00_start."""

from __future__ import annotations

from collections.abc import Callable

from course_utils.classroom.checks.framework import Report, exercise

__all__ = ["seconds_per_picture"]


def kit_seconds_per_picture(call_s: float, num_steps: int, batch_size: int) -> float:
    """Seconds of one picture, by adding up the calls of a batch one by one and sharing them out."""
    return sum([call_s] * num_steps) / batch_size


@exercise(own=kit_seconds_per_picture)
def seconds_per_picture(answer: Callable[[float, int, int], float], report: Report) -> None:
    """Check `seconds_per_picture(call_s, num_steps, batch_size)` on cases whose answer is known."""
    for call_s, num_steps, batch_size, wanted, what in (
        (0.5, 1, 1, 0.5, "one call, one picture"),
        (0.02, 1000, 1, 20.0, "1,000 calls of 20 ms"),
        (0.25, 1000, 64, 3.90625, "a batch of 64 shares its calls"),
        (0.25, 50, 64, 0.1953125, "50 steps in place of 1,000"),
    ):
        report.close(what, report.call(answer, call_s, num_steps, batch_size), wanted)
