"""Watch a training run from a notebook: the loss grows in one figure that is redrawn, and the last one stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from IPython.display import display
from matplotlib.figure import Figure

from course_utils.classroom.plots import plot_losses
from course_utils.diffusion import StepInfo

__all__ = ["LiveTraining", "live_training"]


class LiveTraining:
    """The `on_step` of a training run: keeps every loss that was read and redraws the curve every `every_s` seconds."""

    def __init__(self, title: str, num_steps: int, every_s: float, clock: Callable[[], float]) -> None:
        self.title, self.num_steps, self.every_s, self.clock = title, num_steps, every_s, clock
        self.images_seen: list[int] = []
        self.losses: list[float] = []
        self.img_per_s = 0.0
        self.drawn_s = clock()
        self.screen: Any = None

    def __call__(self, info: StepInfo) -> None:
        """Take in one step; draw when it is time, and at the end of the run."""
        if info.loss is None:
            return
        self.images_seen.append(info.images_seen)
        self.losses.append(info.loss)
        self.img_per_s = info.img_per_s or self.img_per_s
        if self.clock() - self.drawn_s >= self.every_s or info.step >= self.num_steps:
            self.draw(info.step)

    def draw(self, step: int) -> None:
        """Redraw the curve in place."""
        left_s = (self.num_steps - step) * (self.images_seen[-1] / step) / self.img_per_s if self.img_per_s else 0.0
        state = f"{left_s / 60:.1f} min left" if step < self.num_steps else "done"
        made = self.figure(f"{self.title}: step {step:,} of {self.num_steps:,}, {self.img_per_s:,.0f} img/s, {state}")
        if self.screen is None:
            self.screen = display(made, display_id=True)
        else:
            self.screen.update(made)
        self.drawn_s = self.clock()

    def figure(self, title: str = "") -> Figure:
        """The curve so far."""
        return plot_losses({"train": (self.images_seen, self.losses)}, title or self.title)


def live_training(
    title: str, num_steps: int, *, every_s: float = 5.0, clock: Callable[[], float] = time.monotonic
) -> LiveTraining:
    """An `on_step` for `train` that draws the loss every `every_s` seconds, up to step `num_steps`."""
    return LiveTraining(title, num_steps, every_s, clock)
