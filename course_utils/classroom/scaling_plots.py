"""Figures of the notebooks on several devices: messages by size, layouts of a step, and scaling to many processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from course_utils.classroom.style import color, figure
from course_utils.experiments.layouts import Scaling
from course_utils.measure.collectives import Forecast, Link, Messages
from course_utils.measure.gradient_noise import useful_share
from course_utils.measure.tables import bytes_text

__all__ = ["plot_forecast", "plot_layouts", "plot_messages"]


def plot_messages(messages: Messages, links: Mapping[str, Link], title: str = "") -> Figure:
    """Time of an all-reduce by message size, and what a link carried meanwhile; measured points, a line for each model.

    `links` maps a name to the link whose ring is drawn.
    """
    sizes = sorted(messages.seconds)
    along = np.geomspace(sizes[0], sizes[-1], 100)
    share = 2 * (messages.n - 1) / messages.n
    with figure(1, 2, width=9.0, height=3.4) as (made, (left, right)):
        for name, link in links.items():
            seconds = np.array([link.all_reduce_s(nbytes, messages.n) for nbytes in along])
            left.plot(along, 1e3 * seconds, color=color(name), label=name)
            right.plot(along, share * along / seconds / 1e9, color=color(name))
        measured: dict[str, Any] = {"color": color("measured"), "marker": "o", "linestyle": "none"}
        left.plot(sizes, [1e3 * messages.seconds[size] for size in sizes], **measured, label="measured")
        right.plot(sizes, [messages.bus_bytes_per_s(size) / 1e9 for size in sizes], **measured)
        left.set(xscale="log", yscale="log", xlabel="message", ylabel="time of an all-reduce (ms)")
        right.set(xscale="log", xlabel="message", ylabel="a link carries (GB/s)", ylim=(0, None))
        for ax in (left, right):
            ax.set_xticks(sizes[::2], [bytes_text(size).replace(".00", "") for size in sizes[::2]], fontsize=8)
            ax.xaxis.set_minor_formatter(NullFormatter())
        left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        left.legend()
        left.set_title(title or f"{messages.n} processes")
    return made


def plot_layouts(scaling: Scaling, title: str = "") -> Figure:
    """Images a second of each layout as bars, of the median step; whiskers span the middle half of the rounds."""
    names = [layout.name for layout in scaling.samples_s]
    rates = [[layout.images / taken for taken in samples] for layout, samples in scaling.samples_s.items()]
    low, middle, high = np.array([np.quantile(rate, [0.25, 0.5, 0.75]) for rate in rates]).T
    with figure(height=0.42 * len(names) + 1.1) as (made, (ax,)):
        ax.barh(names, middle, color=[color(name) for name in names])
        ax.errorbar(middle, names, xerr=[middle - low, high - middle], fmt="none", ecolor="#333333", capsize=3)
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="images a second")
        ax.set_title(title)
    return made


def plot_forecast(
    forecasts: Mapping[str, Forecast], critical: float | None = None, title: str = "Modelled, not measured"
) -> Figure:
    """Efficiency against the number of processes: weak scaling solid, strong dashed, a colour for each forecast.

    With a `critical` batch in images a dotted line says which share of the images of weak scaling a run needs; it is
    that of the first forecast's batch. Raises `ValueError` without any forecast.
    """
    if not forecasts:
        raise ValueError("forecasts is empty, wanted one for each link: {'NVLink 4': forecast(...)}.")
    with figure(height=3.8) as (made, (ax,)):
        for name, one in forecasts.items():
            ax.plot(one.ns, [100 * one.weak(n) for n in one.ns], color=color(name), label=f"{name}, weak")
            strong = [100 * one.strong(n) for n in one.ns]
            ax.plot(one.ns, strong, color=color(name), linestyle="--", label=f"{name}, strong")
        first = next(iter(forecasts.values()))
        if critical is not None:
            useful = [100 * useful_share(n * first.batch, critical) for n in first.ns]
            label = f"images needed, critical batch {critical:,.0f}"
            ax.plot(first.ns, useful, color="#000000", linestyle=":", label=label)
        ax.set(xscale="log", xlabel="processes", ylabel="useful (%)", ylim=(0, 105))
        shown = [n for n in first.ns if n in (1, 4, 16, 64, 256, 1024)] or list(first.ns)
        ax.set_xticks(shown, [f"{n:,}" for n in shown])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        ax.set_title(title)
    return made
