"""Visible checks of 05_quality. Shape legend: D features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.linalg import sqrtm
from torch import Tensor

from course_utils.classroom.checks.framework import Report, exercise

__all__ = ["decide", "frechet"]


def kit_frechet(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """Fréchet distance of two Gaussians, means (D,) and covariances (D, D), by SciPy's general matrix root."""
    root = torch.from_numpy(sqrtm((cov_a @ cov_b).numpy()).real)
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * root.trace()


def kit_decide(low: float, high: float, tolerance: float) -> str:
    """Say what an interval of a ratio means against a tolerance."""
    if high <= tolerance:
        return "preserved"
    return "worse" if low > tolerance else "inconclusive"


def matrix(*rows: list[float]) -> Tensor:
    """A small float64 matrix."""
    return torch.tensor(rows, dtype=torch.float64)


@exercise(own=kit_frechet)
def frechet(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], report: Report) -> None:
    """Check `frechet(mean_a, cov_a, mean_b, cov_b)` where the answer is known by hand, and on two skewed clouds."""
    zero, one = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    skewed, turned = matrix([2.0, 1.2], [1.2, 1.0]), matrix([1.0, -0.7], [-0.7, 3.0])
    cases = (
        ("a cloud and itself", zero, skewed, zero, skewed, 0.0, "add both traces, take away twice the overlap"),
        ("the same cloud, moved by (3, 4)", zero, one, zero + matrix([3.0, 4.0])[0], one, 25.0, "square the distance"),
        ("twice as wide in two directions", zero, one, zero, 4 * one, 2.0, "widths are roots: (2 - 1)² a direction"),
        (
            "two clouds that are skewed differently",
            zero,
            skewed,
            zero,
            turned,
            float(kit_frechet(zero, skewed, zero, turned)),
            "the root of one covariance stands on both sides of the other",
        ),
    )
    for what, mean_a, cov_a, mean_b, cov_b, wanted, hint in cases:
        got = report.call(answer, mean_a, cov_a, mean_b, cov_b)
        if not report.close(what, got, wanted, rtol=1e-6, atol=1e-6, hint=hint):
            return


@exercise(own=kit_decide)
def decide(answer: Callable[[float, float, float], str], report: Report) -> None:
    """Check `decide(low, high, tolerance)` on intervals on either side of the tolerance, across it and on it."""
    for low, high, wanted, why in (
        (0.98, 1.03, "preserved", "the whole interval is within the tolerance"),
        (1.02, 1.04, "preserved", "a little worse, but surely within the tolerance"),
        (1.08, 1.30, "worse", "the whole interval is beyond the tolerance"),
        (0.80, 1.40, "inconclusive", "the tolerance lies inside the interval"),
        (1.01, 1.05, "preserved", "at the tolerance is still within it"),
    ):
        got = report.call(answer, low, high, 1.05)
        said = f"{low} to {high} against 1.05"
        report.expect(got == wanted, f"{said}: {wanted}", f"{said}: expected {wanted!r}, got {got!r}; {why}")
