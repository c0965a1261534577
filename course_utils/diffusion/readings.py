"""What a training loop learns of its steps, read from the device a few at a time, and refused where not finite."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LEAST_SCALE", "NotFiniteError", "Readings", "StepInfo"]

LEAST_SCALE = 1.0
"""A loss scale below this has collapsed: gradients overflow in float16 even where the loss is not enlarged at all."""


class NotFiniteError(ValueError):
    """A loss, gradient or weight became NaN or infinite; `step` says when, counted from 1."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} at step {step}: lower the learning rate, clip gradients, or compute in float32")
        self.step = step


@dataclass(frozen=True)
class StepInfo:
    """What `on_step` learns after each step.

    `loss` and `img_per_s` (since the last reading) are None at steps whose loss is not read. `seconds` counts from the
    start of this call of `train`. `skipped` says how many steps since the last reading changed no weights, since their
    gradients overflowed under a loss scaler, whose `loss_scale` for the coming step is read with the loss.
    """

    step: int
    loss: float | None
    img_per_s: float | None
    images_seen: int
    seconds: float
    skipped: int = 0
    loss_scale: float | None = None


class Readings:
    """Reads losses from the device a few at a time, and names the step at which one is not finite.

    `average` gives the mean of a tensor over all processes of a run, so that each reads the loss of the global batch.
    """

    def __init__(self, every: int, images_seen: int, average: Callable[[Tensor], Tensor] | None = None) -> None:
        self.every = every
        self.average = average
        self.unread: list[Tensor] = []
        self.losses: list[float] = []
        self.started = self.last_time = time.perf_counter()
        self.last_images = images_seen

    def add(self, loss: Tensor, norm: Tensor, scale: Tensor | None = None) -> None:
        """Keep the numbers of a step on the device; `scale` is that of a loss scaler after the step."""
        row = [loss, norm] if scale is None else [loss, norm, scale]
        self.unread.append(torch.stack([number.float() for number in row]))

    def info(self, step: int, images_seen: int, *, read: bool) -> StepInfo:
        """Describe the step just done, reading the losses when it is time or `read` asks for it."""
        if not read and step % self.every != 0:
            return StepInfo(step, None, None, images_seen, time.perf_counter() - self.started)
        loss, skipped, scale = self._read(step)
        now = time.perf_counter()
        rate = (images_seen - self.last_images) / (now - self.last_time)
        self.last_time, self.last_images = now, images_seen
        return StepInfo(step, loss, rate, images_seen, now - self.started, skipped, scale)

    def taken(self) -> list[float]:
        """The losses read since the last call, oldest first."""
        taken, self.losses = self.losses, []
        return taken

    def _read(self, last: int) -> tuple[float, int, float | None]:
        """Fetch all unread numbers with one wait for the device; -> (last loss, steps skipped, last scale)."""
        unread = torch.stack(self.unread)
        rows: list[list[float]] = (self.average(unread) if self.average else unread).tolist()
        self.unread.clear()
        for step, row in enumerate(rows, last - len(rows) + 1):
            _refuse(step, *row)
            self.losses.append(row[0])
        scaled = len(rows[-1]) == 3
        skipped = sum(not math.isfinite(row[1]) for row in rows)
        return rows[-1][0], skipped, rows[-1][2] if scaled else None


def _refuse(step: int, loss: float, norm: float, scale: float | None = None) -> None:
    """Raise for a loss that is not finite, a gradient that is not, or, where those are skipped, a collapsed scale."""
    if not math.isfinite(loss):
        raise NotFiniteError(f"the loss is {loss}", step)
    if scale is None and not math.isfinite(norm):
        raise NotFiniteError(f"the gradient norm is {norm}", step)
    if scale is not None and scale < LEAST_SCALE:
        raise NotFiniteError(f"the loss scale has fallen to {scale}", step)
