"""Visible checks of 22_scaling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.measure.collectives import Link, fit_link
from course_utils.measure.collectives import step_s as kit_step_s

__all__ = ["fit_ring", "ring_s", "step_s"]


def kit_ring_s(nbytes: float, n: int, alpha_s: float, bytes_per_s: float) -> float:
    """Seconds of an all-reduce in one ring."""
    return Link("ring", alpha_s, bytes_per_s).all_reduce_s(nbytes, n)


@exercise(own=kit_ring_s)
def ring_s(answer: Callable[[float, int, float, float], float], report: Report) -> None:
    """Check `ring_s(nbytes, n, alpha_s, bytes_per_s)` on hand counts."""
    for what, arguments, wanted, hint in (
        ("2 processes, no latency", (1e6, 2, 0.0, 1e9), 1e-3, "two steps, each with half the message"),
        ("4 processes, no latency", (1e6, 4, 0.0, 1e9), 1.5e-3, "six steps, each with a quarter of the message"),
        ("4 processes, an empty message", (0, 4, 1e-5, 1e9), 6e-5, "each step takes alpha_s before its first byte"),
        ("100 processes, both", (5e7, 100, 1e-5, 1e10), 198 * (1e-5 + 5e-5), "2 (n - 1) steps"),
        ("a process alone", (1e6, 1, 1e-5, 1e9), 0.0, "nobody to exchange with"),
    ):
        if not report.close(what, report.call(answer, *arguments), wanted, rtol=1e-9, atol=1e-12, hint=hint):
            return


def kit_fit_ring(nbytes: Sequence[float], seconds: Sequence[float], n: int) -> tuple[float, float]:
    """The alpha_s and bytes_per_s whose ring comes nearest to measured times."""
    link = fit_link({round(size): taken for size, taken in zip(nbytes, seconds, strict=True)}, n)
    return link.alpha_s, link.bytes_per_s


SIZES = [4.0**power for power in range(5, 13)]
WOBBLE = (1.06, 0.95, 1.03, 0.96, 1.05, 0.94, 1.04, 0.97)


@exercise(own=kit_fit_ring)
def fit_ring(answer: Callable[[list[float], list[float], int], tuple[float, float]], report: Report) -> None:
    """Check `fit_ring(nbytes, seconds, n)` -> (alpha_s, bytes_per_s) on times of known rings, exact and wobbling."""
    names = ("alpha_s", "bytes_per_s")
    for n, alpha_s, bytes_per_s in ((2, 4e-5, 1e9), (8, 1e-5, 2.5e10)):
        exact = [kit_ring_s(nbytes, n, alpha_s, bytes_per_s) for nbytes in SIZES]
        got = report.call_for(names, answer, SIZES, exact, n)
        what = f"{n} processes, exact times"
        steps = f"the line's constant is {2 * (n - 1)} alpha_s, its slope {2 * (n - 1)} / {n} / bytes_per_s"
        good = report.close(f"{what}: alpha_s", got[0], alpha_s, rtol=1e-3, atol=0.0, hint=steps)
        if not good or not report.close(f"{what}: bytes_per_s", got[1], bytes_per_s, rtol=1e-3, hint=steps):
            return
    wobbling = [kit_ring_s(nbytes, 2, 4e-5, 1e9) * wobble for nbytes, wobble in zip(SIZES, WOBBLE, strict=True)]
    alpha_s, bytes_per_s = report.call_for(names, answer, SIZES, wobbling, 2)
    hint = "a few per cent of the longest time are more than the shortest: weigh each error by its time (w=1 / seconds)"
    report.close("wobbling times: alpha_s", alpha_s, 4e-5, rtol=0.15, atol=0.0, hint=hint)
    report.close("wobbling times: bytes_per_s", bytes_per_s, 1e9, rtol=0.15, hint=hint)


@exercise(own=kit_step_s)
def step_s(answer: Callable[[float, float, float], float], report: Report) -> None:
    """Check `step_s(compute_s, exchange_s, hidden)` where the exchange fits beside the compute, and where not."""
    for what, arguments, wanted in (
        ("nothing hidden: one after the other", (0.3, 0.2, 0.0), 0.5),
        ("it fits beside: the compute alone", (0.3, 0.1, 0.5), 0.3),
        ("it fits just so", (0.3, 0.15, 0.5), 0.3),
        ("what does not fit is waited for", (0.3, 0.5, 2 / 3), 0.6),
        ("no exchange", (0.3, 0.0, 2 / 3), 0.3),
    ):
        got = report.call(answer, *arguments)
        if not report.close(what, got, wanted, rtol=1e-9, hint="hidden is a share of compute_s; never below compute_s"):
            return
