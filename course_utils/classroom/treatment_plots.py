"""Figures of the notebooks on treatments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from course_utils.classroom.plots import seconds_axis
from course_utils.classroom.style import color, figure
from course_utils.measure import Comparison

__all__ = ["plot_break_even", "plot_by_size", "plot_cadence", "plot_stages"]


def plot_by_size(races: Mapping[int, Comparison], x: str, title: str = "") -> Figure:
    """Median time of every variant against a size, both on logarithmic axes; whiskers span the middle half.

    `races` maps each size to the comparison made there, `x` names the size with its unit. Raises `ValueError` without
    any.
    """
    if not races:
        raise ValueError("races is empty, wanted a comparison for each size: {16: compare(...), 32: compare(...)}.")
    longest = max(timing.median_s for race in races.values() for timing in race.timings.values())
    factor, unit = seconds_axis(longest)
    with figure() as (made, (ax,)):
        for name in next(iter(races.values())).timings:
            here = {size: race.timings[name] for size, race in races.items() if name in race.timings}
            medians = [timing.median_s * factor for timing in here.values()]
            half = [timing.iqr_s / 2 * factor for timing in here.values()]
            ax.errorbar(list(here), medians, yerr=half, marker="o", capsize=3, color=color(name), label=name)
        ax.set(xscale="log", yscale="log", xlabel=x, ylabel=f"time of a call ({unit})")
        ax.set_xticks(list(races), [f"{size:g}" for size in races])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.legend()
        ax.set_title(title)
    return made


def plot_break_even(eager_s: float, ways: Mapping[str, tuple[float, float]], title: str = "") -> Figure:
    """Time spent after so many steps: eager, and each way with its (first call, later calls) in seconds.

    The axis ends at twice the latest crossing, or at 100 steps where the lines never cross.
    """
    crossings = [(first - later) / (eager_s - later) for first, later in ways.values() if later < eager_s]
    last = max(10.0, 2 * max(crossings, default=50.0))
    with figure(height=3.2) as (made, (ax,)):
        ax.plot([0, last], [0, last * eager_s / 60], color=color("eager"), label="eager")
        for name, (first, later) in ways.items():
            ends = [first / 60, (first + (last - 1) * later) / 60]
            ax.plot([1, last], ends, color=color(name), label=name)
            if later < eager_s:
                at = (first - later) / (eager_s - later)
                ax.plot(at, at * eager_s / 60, "o", color=color(name))
                ax.annotate(
                    f"even after {at:,.0f} steps",
                    (at, at * eager_s / 60),
                    textcoords="offset points",
                    xytext=(8, -14),
                )
        ax.set(xlabel="steps", ylabel="time since the start (min)", xlim=(0, last), ylim=(0, None))
        ax.legend()
        ax.set_title(title)
    return made


def plot_cadence(shares: Mapping[str, Mapping[int, float]], most: float = 0.05, title: str = "") -> Figure:
    """Share of a run's time that evaluations take against the steps between two of them, a curve for each plan.

    `shares` maps a plan to {steps between: share from 0 to 1}; a dashed line shows what is allowed, `most`. Raises
    `ValueError` without any.
    """
    if not shares:
        raise ValueError("shares is empty, wanted a curve for each plan: {'8 pictures': {100: 0.2, 1000: 0.02}}.")
    with figure(height=3.2) as (made, (ax,)):
        for name, curve in shares.items():
            ax.plot(list(curve), [100 * share for share in curve.values()], color=color(name), label=name)
        ax.axhline(100 * most, color="#5F5F5F", linestyle="--", linewidth=1.2, label=f"{100 * most:g} % of the time")
        ax.set(xscale="log", xlabel="training steps between two evaluations", ylabel="time in evaluations (%)")
        ax.set_ylim(0, 102)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        ax.set_title(title)
    return made


def plot_stages(shares: Mapping[str, Sequence[float]], names: Sequence[str], title: str = "") -> Figure:
    """One bar a quantity, cut into the shares of a U-Net's stages, from the outside in.

    `shares` maps a quantity (FLOP, time, ...) to a share from 0 to 1 a stage, `names` says what each stage is. Raises
    `ValueError` where a bar has another number of shares than there are names.
    """
    for quantity, parts in shares.items():
        if len(parts) != len(names):
            raise ValueError(f"shares of {quantity!r} has {len(parts)} stages, wanted {len(names)}, as names has.")
    with figure(height=0.42 * len(shares) + 1.3) as (made, (ax,)):
        left = [0.0] * len(shares)
        for stage, name in enumerate(names):
            widths = [100 * parts[stage] for parts in shares.values()]
            ax.barh(list(shares), widths, left=left, color=color(name), label=name)
            for row, (start, width) in enumerate(zip(left, widths, strict=True)):
                if width >= 6:
                    ax.text(start + width / 2, row, f"{width:.0f}", ha="center", va="center", color="white", fontsize=9)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="share (%)", xlim=(0, 100))
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        ax.set_title(title)
    return made
