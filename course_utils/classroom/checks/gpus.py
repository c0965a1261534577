"""Visible checks of 23_gpus_compared."""

from __future__ import annotations

import math
from collections.abc import Callable

from course_utils.classroom.checks.framework import Report, exercise, number
from course_utils.classroom.step_model import Limits, StepWork

__all__ = ["crossover", "step_time", "traffic"]

DEVICE = Limits("a device", "fp32", 1e12, 1e11, 1e-5, "made up")
# batch, FLOP, bytes, kernels; seconds of arithmetic, memory, launches on DEVICE: the largest decides
CASES = (
    ("launches decide", StepWork(16, 2e9, 1e8, 1000), 0.01, "launch"),
    ("memory decides", StepWork(16, 2e9, 4e9, 1000), 0.04, "memory"),
    ("arithmetic decides", StepWork(16, 9e10, 4e9, 1000), 0.09, "compute"),
)
MS = 1e3


def kit_step_time(work: StepWork, limits: Limits) -> tuple[float, str]:
    """Seconds of a step, and the limit that decides them."""
    seconds = {
        "compute": work.flop / limits.flop_per_s,
        "memory": work.bytes_moved / limits.bytes_per_s,
        "launch": work.kernels * limits.launch_s,
    }
    slowest = max(seconds, key=lambda name: seconds[name])
    return seconds[slowest], slowest


@exercise(own=kit_step_time)
def step_time(answer: Callable[[StepWork, Limits], tuple[float, str]], report: Report) -> None:
    """Check `step_time(work, limits)` -> (seconds, "compute", "memory" or "launch")."""
    for what, work, seconds, limit in CASES:
        got = report.call_for(("seconds", "limit"), answer, work, DEVICE)
        good = report.close(f"{what}: seconds", got[0], seconds, hint="the three go on at once: the longest one counts")
        bad = f"{what}: expected the word {limit!r}, got {got[1]!r}"
        if not (report.expect(got[1] == limit, f"{what}: {limit}", bad) and good):
            return


def kit_traffic(small: StepWork, large: StepWork) -> tuple[float, float]:
    """Bytes of a step that do not depend on the batch, and bytes for each picture."""
    per_image = (large.bytes_moved - small.bytes_moved) / (large.batch - small.batch)
    return small.bytes_moved - per_image * small.batch, per_image


@exercise(own=kit_traffic)
def traffic(answer: Callable[[StepWork, StepWork], tuple[float, float]], report: Report) -> None:
    """Check `traffic(small, large)` -> (bytes that are always moved, bytes for each picture)."""
    for fixed, each, batches in ((2e9, 3e8, (16, 128)), (5e6, 1e6, (2, 4)), (0.0, 1e6, (1, 8))):
        small, large = (StepWork(batch, 1e9, fixed + each * batch, 10) for batch in batches)
        got = report.call_for(("fixed", "per_image"), answer, small, large)
        case = f"batches {batches[0]} and {batches[1]} move {small.bytes_moved:.4g} and {large.bytes_moved:.4g} bytes"
        good = report.close(f"for each picture, {case}", got[1], each, hint="the slope of the line through both")
        good &= report.close(f"always, {case}", got[0], fixed, atol=1.0, hint="what is left at batch 0")
        if not good:
            return


def kit_crossover(work: StepWork, fixed: float, per_image: float, limits: Limits) -> float:
    """Batch size from which the device, and no longer its launches, decides the time; not rounded."""
    launches_s = work.kernels * limits.launch_s
    by_memory = (launches_s * limits.bytes_per_s - fixed) / per_image
    by_compute = launches_s * limits.flop_per_s / (work.flop / work.batch)
    return max(0.0, min(by_memory, by_compute))


@exercise(own=kit_crossover)
def crossover(answer: Callable[[StepWork, float, float, Limits], float], report: Report) -> None:
    """Check `crossover(work, fixed, per_image, limits)`: just below it launches decide, just above something else."""
    for flop, fixed, each in ((1e9, 1e7, 1e6), (1e6, 1e8, 2e7), (1e9, 5e8, 1e7)):
        work = StepWork(8, 8 * flop, fixed + 8 * each, 1000)
        got = report.call(answer, work, fixed, each, DEVICE)
        case = f"{flop:.0e} FLOP and {each:.0e} bytes a picture, {fixed:.0e} bytes always"
        hint = "the first of two limits to overtake the launches counts; the fixed bytes take their share of the time"
        if not report.close(case, got, kit_crossover(work, fixed, each, DEVICE), hint=hint):
            return
    never = StepWork(8, 8e9, 3e9 + 8e7, 1000)
    got = report.call(answer, never, 3e9, 1e7, DEVICE)
    batch = number(got)
    good = batch is not None and math.isfinite(batch) and batch <= 0
    report.expect(good, "memory decides at any batch: 0", f"memory decides at any batch: expected 0, got {got!r}")
