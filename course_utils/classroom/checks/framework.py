"""How a visible check talks: plain words, no traceback of ours, and the lesson goes on whatever the answer was."""

from __future__ import annotations

import functools
import math
import traceback
from collections.abc import Callable
from numbers import Real
from types import EllipsisType
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor

__all__ = ["Report", "exercise", "number"]

Answer = Callable[..., Any]


class Unanswered(Exception):
    """The stub still stands."""


class Stopped(Exception):
    """A finding after which going on makes no sense."""


class Report:
    """What a check found, line by line: `call` runs the answer, `close` and `expect` compare, each adds one line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.passed = True

    def call(self, answer: Answer, *args: Any, **kwargs: Any) -> Any:
        """Run the answer; None or `...` means that it is still a stub, an exception is told by its class and words."""
        own = [arg.clone() if isinstance(arg, Tensor) and not arg.requires_grad else arg for arg in args]
        try:  # an answer that works in place spoils its own copies alone
            result = answer(*own, **kwargs)
        except Unanswered:
            raise  # an answer in a file, which has seen its placeholder
        except Exception as error:
            raised = f"raised {type(error).__name__}: {error}"
            if type(error).__name__ == "StdinNotImplementedError":
                raised = "asks for input(), and nobody is there to answer"
            self.fail(f"it {raised}{where_in(answer, error)}")
            raise Stopped from error
        if result is None or isinstance(result, EllipsisType):
            if not self.lines:
                raise Unanswered
            self.fail("it returned nothing for the next case: does every branch return?")
            raise Stopped
        return result

    def call_for(self, names: tuple[str, ...], answer: Answer, *args: Any) -> tuple[Any, ...]:
        """Run an answer that returns several values, named for the message; a missing one stops the check."""
        result = self.call(answer, *args)
        if isinstance(result, Tensor | ndarray) and result.ndim:
            result = list(result)
        if not isinstance(result, tuple | list) or len(result) != len(names):
            self.fail(f"return {len(names)} values: {', '.join(names)}")
            raise Stopped
        missing = [name for name, value in zip(names, result, strict=True) if value is None or value is ...]
        if len(missing) == len(names):
            raise Unanswered
        if missing:
            self.fail(f"still missing: {', '.join(missing)}")
            raise Stopped
        return tuple(result)

    def expect(self, condition: bool, good: str, bad: str) -> bool:
        """One line for a yes-or-no finding."""
        if condition:
            self.lines.append(f"ok    {good}")
        else:
            self.fail(bad)
        return condition

    def fail(self, text: str) -> None:
        """One line for what is wrong."""
        self.passed = False
        self.lines.append(f"not yet    {text}")

    def close(
        self, what: str, got: Any, wanted: float | Tensor, *, rtol: float = 1e-4, atol: float = 1e-6, hint: str = ""
    ) -> bool:
        """Compare a number or a tensor with the wanted one; a difference is told by where and how much."""
        problem = difference(got, wanted, rtol, atol)
        return self.expect(problem is None, f"{what}", f"{what}: {problem}{'; ' + hint if hint else ''}")


def number(got: Any) -> float | None:
    """A number as a float, whether Python's, NumPy's or a tensor of one value; None for anything else."""
    single = isinstance(got, Tensor | ndarray) and math.prod(got.shape) == 1
    return float(got) if single or isinstance(got, Real) else None


def where_in(answer: Answer, error: Exception) -> str:
    """The line of the answer's own cell that an error came from, in brackets; nothing where it came earlier."""
    code = getattr(answer, "__code__", None)
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code is code]
    return f" (line {lines[-1]} of its cell)" if lines else ""


def difference(got: Any, wanted: float | Tensor, rtol: float, atol: float) -> str | None:
    """What separates two values, in words, or None where they agree."""
    if isinstance(wanted, Tensor):
        if not isinstance(got, Tensor):
            return f"expected a tensor of shape {tuple(wanted.shape)}, got {type(got).__name__}"
        if got.shape != wanted.shape:
            shape = f"shape {tuple(wanted.shape)}" if wanted.ndim else "a single number, shape ()"
            return f"expected {shape}, got {tuple(got.shape)}"
        apart = ~torch.isclose(got.detach().to(wanted.dtype), wanted, rtol=rtol, atol=atol)
        if not apart.any():
            return None
        if wanted.numel() == 1:
            return f"expected {wanted.item():.4g}, got {got.item():.4g}"
        where = tuple(int(i) for i in apart.nonzero()[0])
        return (
            f"{int(apart.sum())} of {apart.numel()} values differ, first at {where}: "
            f"expected {wanted[where].item():.4g}, got {got[where].item():.4g}"
        )
    try:
        value = float(got)
    except (TypeError, ValueError):
        return f"expected a number near {wanted:.6g}, got {type(got).__name__}"
    return None if abs(value - wanted) <= atol + rtol * abs(wanted) else f"expected {wanted:.6g}, got {value:.6g}"


def exercise(own: Answer) -> Callable[[Callable[[Answer, Report], None]], Callable[[Answer], Answer]]:
    """Turn `check(answer, report)` into a visible check that prints its findings and returns what to go on with.

    That is the answer where it passed, and the kit's `own` implementation where it did not or is not there yet.
    """

    def decorate(body: Callable[[Answer, Report], None]) -> Callable[[Answer], Answer]:
        @functools.wraps(body)
        def run(answer: Answer) -> Answer:
            report = Report()
            name = getattr(answer, "__name__", body.__name__)
            try:
                if not callable(answer):
                    raise Unanswered
                body(answer, report)
            except Unanswered:
                print(f"{body.__name__}: not answered yet, it returns nothing; the cells below use the kit's own.")
                return own
            except Stopped:
                pass  # the report already says why
            print(f"{name}: {'right' if report.passed else 'not right yet'}")
            print("\n".join(f"  {line}" for line in report.lines))
            if not report.passed:
                print("  The cells below use the kit's own until yours passes.")
            return answer if report.passed else own

        del run.__wrapped__
        return run

    return decorate
