"""Visible checks of 05_quality. Shape legend: D features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.measure.quality import Statistics, frechet_distance

__all__ = ["decide", "frechet"]


def kit_frechet(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """Squared Fréchet distance of two Gaussians, means (D,) and covariances (D, D), by the kit's own instrument."""
    clouds = [Statistics(mean, cov, 10_000, "", "", "a cloud") for mean, cov in ((mean_a, cov_a), (mean_b, cov_b))]
    return torch.tensor(frechet_distance(*clouds, fewest=2), dtype=torch.float64)


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
    zero, one = torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    skewed = matrix([2.0, 1.2, 0.3], [1.2, 1.0, -0.2], [0.3, -0.2, 1.5])
    turned = matrix([1.0, -0.7, 0.1], [-0.7, 3.0, 0.4], [0.1, 0.4, 0.6])
    moved = matrix([3.0, 4.0, 0.0])[0]
    flat = torch.ones(3, 3, dtype=torch.float64)
    apart = float(kit_frechet(zero, skewed, zero, turned))
    whole = "add both traces, take away twice the overlap; stay in float64"
    cases = (
        ("a cloud and itself", zero, skewed, zero, skewed, 0.0, whole),
        ("the same cloud, moved by (3, 4, 0)", zero, one, moved, one, 25.0, "square the distance of the means"),
        ("twice as wide in three directions", zero, one, zero, 4 * one, 3.0, "widths are roots: (2 - 1)² a direction"),
        ("two clouds that are skewed differently", zero, skewed, zero, turned, apart, "V diag(λ) Vᵀ, in this order"),
        ("a cloud as flat as a sheet", zero, flat, zero, flat, 0.0, "clamp what rounding left below zero, then root"),
    )
    for what, mean_a, cov_a, mean_b, cov_b, wanted, hint in cases:
        got = report.call(answer, mean_a, cov_a, mean_b, cov_b)
        if not report.close(what, got, wanted, rtol=1e-6, atol=1e-6, hint=hint):
            return


@exercise(own=kit_decide)
def decide(answer: Callable[[float, float, float], str], report: Report) -> None:
    """Check `decide(low, high, tolerance)` on intervals on either side of the tolerance, across it and on it."""
    for low, high, tolerance, wanted, why in (
        (0.98, 1.03, 1.05, "preserved", "the whole interval is within the tolerance"),
        (1.02, 1.04, 1.05, "preserved", "a little worse, but surely within the tolerance"),
        (1.08, 1.30, 1.05, "worse", "the whole interval is beyond the tolerance"),
        (0.80, 1.40, 1.05, "inconclusive", "the tolerance lies inside the interval"),
        (1.02, 1.09, 1.05, "inconclusive", "surely worse than 1, but not surely beyond the tolerance"),
        (1.01, 1.05, 1.05, "preserved", "at the tolerance is still within it"),
        (1.05, 1.20, 1.05, "inconclusive", "its lower end is still within the tolerance"),
        (1.03, 1.04, 1.02, "worse", "another tolerance, and the whole interval is beyond it"),
    ):
        got = report.call(answer, low, high, tolerance)
        said = f"{low} to {high} against {tolerance}"
        report.expect(got == wanted, f"{said}: {wanted}", f"{said}: expected {wanted!r}, got {got!r}; {why}")
