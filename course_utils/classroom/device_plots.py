"""Figures of the notebooks on clusters and on other devices."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from course_utils.classroom.plots import seconds_axis
from course_utils.classroom.style import color, figure
from course_utils.measure import Timing

__all__ = ["plot_batches", "plot_calculated", "plot_use"]

MARKERS = {"launch": "o", "memory": "s", "compute": "^"}


def plot_use(shares: Mapping[str, float], title: str = "") -> Figure:
    """One bar a resource: the share (0 to 1) of a reservation that was used. Raises `ValueError` without any."""
    if not shares:
        raise ValueError("shares is empty, wanted a share for each resource: {'cores': 0.12}.")
    with figure(height=0.5 * len(shares) + 1.2) as (made, (ax,)):
        ax.barh(list(shares), [100] * len(shares), color="#ececec", label="reserved")
        ax.barh(list(shares), [100 * share for share in shares.values()], color=color("baseline"), label="used")
        for row, share in enumerate(shares.values()):
            ax.text(100 * share + 1, row, f"{100 * share:.3g} %", va="center")
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="share of the reservation (%)", xlim=(0, 112))
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        ax.set_title(title)
    return made


def plot_batches(timings: Mapping[int, Timing], title: str = "") -> Figure:
    """Measured time of a call against the batch size, on logarithmic axes, beside what it would be if time were
    proportional to the batch. Raises `ValueError` without any."""
    if not timings:
        raise ValueError("timings is empty, wanted a Timing for each batch size: {1: measure(...), 2: measure(...)}.")
    largest = max(timings)
    factor, unit = seconds_axis(timings[largest].median_s)
    medians = [timing.median_s * factor for timing in timings.values()]
    half = [timing.iqr_s / 2 * factor for timing in timings.values()]
    with figure(height=3.2) as (made, (ax,)):
        ax.errorbar(list(timings), medians, yerr=half, marker="o", capsize=3, color=color("baseline"), label="measured")
        proportional = [timings[largest].median_s * factor * batch / largest for batch in timings]
        ax.plot(list(timings), proportional, color="#888888", linestyle="--", linewidth=1.2, label="proportional")
        ax.set(xscale="log", yscale="log", xlabel="pictures in a batch", ylabel=f"time of a call ({unit})")
        ax.set_xticks(list(timings), [f"{batch:g}" for batch in timings])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.legend()
        ax.set_title(title)
    return made


def plot_calculated(times: Mapping[str, Mapping[int, tuple[float, str]]], title: str = "") -> Figure:
    """Calculated throughput of each device against the batch size; the marker says which limit decides.

    `times` maps a device to {batch size: (seconds of a step, "launch", "memory" or "compute")}. Raises `ValueError`
    without any device.
    """
    if not times:
        raise ValueError("times is empty, wanted {device: {batch size: (seconds, limit)}}.")
    with figure(width=7.6, height=4.4) as (made, (ax,)):
        for name, row in times.items():
            rates = {batch: batch / seconds for batch, (seconds, _) in row.items()}
            ax.plot(list(rates), list(rates.values()), color=color(name), linewidth=1.4, label=name)
            for limit, marker in MARKERS.items():
                there = [batch for batch, (_, bound) in row.items() if bound == limit]
                ax.plot(there, [rates[batch] for batch in there], marker, color=color(name), markersize=6)
        batches = list(next(iter(times.values())))
        ax.set(xscale="log", yscale="log", xlabel="pictures in a batch", ylabel="pictures a second, calculated")
        ax.set_xticks(batches, [f"{batch:g}" for batch in batches])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        limits = [
            Line2D([], [], marker=mark, color="#444444", linestyle="", label=name) for name, mark in MARKERS.items()
        ]
        devices = ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        ax.add_artist(devices)
        ax.legend(handles=limits, loc="lower left", bbox_to_anchor=(1, 0), title="decided by")
        ax.set_title(title or "Calculated from data sheets, not measured")
    return made
