"""Figures of what the instruments measured: timings as they came, time by block, loss over a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from course_utils.classroom.style import color, figure
from course_utils.measure import Profile, Timing

__all__ = ["plot_losses", "plot_profile", "plot_samples_s"]


def seconds_axis(largest_s: float) -> tuple[float, str]:
    """The factor and the unit in which seconds of this size read best."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if largest_s * factor >= 1:
            return factor, unit
    return 1e9, "ns"


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """Running mean over the last `window` values, shorter at the start; (N,) -> (N,)."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def draw_losses(ax: Axes, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str) -> None:
    """Loss curves on an axis: raw faint and smoothed bold; points where there are few."""
    for name, (where, losses) in curves.items():
        if len(losses) <= 20:
            joined = "-" if len(losses) > 3 else "none"  # a line between two points would claim what was not measured
            ax.plot(where, losses, marker="o", linestyle=joined, color=color(name), label=name)
            continue
        ax.plot(where, losses, color=color(name), alpha=0.25, linewidth=1)
        ax.plot(where, smooth(losses, max(5, len(losses) // 20)), color=color(name), label=name)
    ax.set(xlabel=x, ylabel="denoising loss (mean squared error)")
    if curves:
        ax.legend()


def plot_losses(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str = "", *, x: str = "images seen"
) -> Figure:
    """Loss over a run: `curves` maps names to (positions, losses); many points turn faint under their running mean."""
    with figure() as (made, (ax,)):
        draw_losses(ax, curves, x)
        ax.set_title(title)
    return made


def plot_samples_s(timings: Mapping[str, Timing | Sequence[float]], title: str = "") -> Figure:
    """Each single duration in the order it was taken, one colour a timing, its median as a line; y in s, ms or µs."""
    series = {name: np.asarray(t.samples_s if isinstance(t, Timing) else t) for name, t in timings.items()}
    factor, unit = seconds_axis(max(float(np.median(values)) for values in series.values()))
    with figure() as (made, (ax,)):
        for name, values in series.items():
            ax.plot(np.arange(1, len(values) + 1), values * factor, "o", markersize=4, color=color(name), label=name)
            ax.axhline(float(np.median(values)) * factor, color=color(name), linewidth=1)
        ax.set(xlabel="repeat", ylabel=f"duration ({unit}), line: median", ylim=(0, None))
        ax.legend()
        ax.set_title(title)
    return made


def plot_profile(profile: Profile, title: str = "", *, n: int | None = None) -> Figure:
    """Time by block as stacked bars, forward and backward, in the model's order; the `n` slowest where given."""
    rows = list(profile.rows)
    if n is not None:
        slowest = sorted(rows, key=lambda row: row.forward_s + (row.backward_s or 0.0), reverse=True)[:n]
        rows = [row for row in rows if row in slowest]
    forward = np.array([row.forward_s for row in rows])
    backward = np.array([row.backward_s or 0.0 for row in rows])
    factor, unit = seconds_axis(float((forward + backward).max()))
    with figure(height=0.24 * len(rows) + 1.0) as (made, (ax,)):
        labels = [f"{row.name}  {row.kind}" for row in rows]
        ax.barh(labels, forward * factor, color=color("forward"), label="forward")
        if backward.any():
            ax.barh(
                labels,
                backward * factor,
                left=forward * factor,
                color=color("backward"),
                label="backward",
            )
        for index, row in enumerate(rows):
            ax.annotate(
                f" {row.share:.0%}",
                ((forward + backward)[index] * factor, index),
                va="center",
                fontsize=8,
                color="#444444",
            )
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set(xlabel=f"time ({unit}) and share of the sum")
        ax.margins(x=0.08)
        ax.legend(loc="lower right")
        ax.set_title(title)
    return made
