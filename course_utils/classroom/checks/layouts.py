"""Visible checks of 14_layout_and_compile."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor

from course_utils.classroom.checks.framework import Report, exercise

__all__ = ["break_even", "run_quietly", "strides"]

READS = {"item", "tolist", "numpy", "__float__", "cpu", "__int__", "__bool__", "__repr__", "__format__", "__index__"}


def kit_strides(shape: tuple[int, int, int, int], channels_last: bool = False) -> tuple[int, ...]:
    """What PyTorch itself says of a tensor of this shape in that layout."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    return tuple(torch.empty(shape, memory_format=order).stride())


@exercise(own=kit_strides)
def strides(answer: Callable[..., tuple[int, ...]], report: Report) -> None:
    """Check `strides(shape, channels_last)` against PyTorch's own tensors."""
    for shape in ((2, 3, 4, 5), (8, 64, 32, 32)):
        for last in (False, True):
            got, wanted = report.call(answer, shape, last), kit_strides(shape, last)
            what = f"{shape}, {'channels last' if last else 'default'}"
            innermost = "the channel" if last else "the column"
            bad = f"{what}: expected {wanted}, got {got!r}; {innermost} has stride 1"
            if not report.expect(isinstance(got, tuple | list | ndarray | Tensor) and tuple(got) == wanted, what, bad):
                return


class Watched(Tensor):
    """A loss that counts how often a number is fetched from it or from what is made of it."""

    reads = 0

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what makes a program wait, and go on."""
        name = getattr(func, "__name__", "")
        Watched.reads += name in READS
        result = super().__torch_function__(func, types, args, kwargs or {})
        return result.as_subclass(Tensor) if name == "cpu" else result  # fetched: to read on costs nothing


def kit_run_quietly(step: Callable[[], Tensor], n: int, every: int) -> list[float]:
    """Call step n times and read its losses in batches of `every`."""
    losses: list[float] = []
    for start in range(0, n, every):
        losses += torch.stack([step() for _ in range(min(every, n - start))]).tolist()
    return losses


@exercise(own=kit_run_quietly)
def run_quietly(answer: Callable[[Callable[[], Tensor], int, int], list[float]], report: Report) -> None:
    """Check `run_quietly(step, n, every)`: the losses, the number of steps, the number of reads."""
    for n, every in ((6, 3), (7, 3), (3, 10), (5, 1)):
        made: list[Tensor] = []

        def step(made: list[Tensor] = made) -> Tensor:
            made.append(torch.tensor(0.5 * len(made)).as_subclass(Watched))
            return made[-1]

        Watched.reads = 0
        got = report.call(answer, step, n, every)
        reads, what = Watched.reads, f"{n} steps, read every {every}"
        if not report.expect(len(made) == n, f"{what}: {n} steps done", f"{what}: step was called {len(made)} times"):
            return
        wanted = [0.5 * i for i in range(n)]
        plain = isinstance(got, list) and all(type(one) is float for one in got)
        bad = f"{what}: expected {wanted} as plain numbers, got {got!r}"
        if not report.expect(plain and got == wanted, f"{what}: all losses, in order", bad):
            return
        fewest = math.ceil(n / every)
        bad = f"{what}: the device was asked {reads} times, {fewest} would do; stack the unread losses, then tolist()"
        if not report.expect(reads <= fewest, f"{what}: {fewest} reads", bad):
            return


def kit_break_even(first_s: float, eager_s: float, compiled_s: float) -> float:
    """Steps after which a compiled loop has caught up, infinite where it never does."""
    return math.inf if compiled_s >= eager_s else (first_s - compiled_s) / (eager_s - compiled_s)


@exercise(own=kit_break_even)
def break_even(answer: Callable[[float, float, float], float], report: Report) -> None:
    """Check `break_even(first_s, eager_s, compiled_s)`: at that many steps both loops have taken equally long."""
    for first_s, eager_s, compiled_s in ((61.0, 3.0, 1.0), (10.0, 0.5, 0.4), (2.0, 2.0, 1.0)):
        got = report.call(answer, first_s, eager_s, compiled_s)
        what = f"first {first_s} s, then {compiled_s} s, eager {eager_s} s"
        wanted = kit_break_even(first_s, eager_s, compiled_s)
        if not report.close(what, got, wanted, hint="not rounded; the first call is also one step"):
            return
    for compiled_s in (1.0, 1.5):
        got = report.call(answer, 30.0, 1.0, compiled_s)
        report.expect(got == math.inf, "never faster: infinite", f"never faster: expected inf, got {got!r}")
