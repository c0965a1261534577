"""The roofline on this machine's measured ceilings (Williams, Waterman, Patterson: Roofline, CACM 2009)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_utils.classroom.style import color, figure
from course_utils.measure import Ceilings, Device, Profile, Timing, Work, calibrate
from course_utils.measure.ceilings import attainable

__all__ = ["Point", "plot_predicted", "plot_roofline", "points_of"]


@dataclass(frozen=True)
class Point:
    """One dot of a roofline: what gives it its colour, FLOP/byte, FLOP/s, and its share of the time (0 to 1)."""

    kind: str
    intensity: float
    flop_per_s: float
    share: float | None = None


def points_of(measured: Mapping[str, tuple[Work, Timing]] | Profile) -> list[Point]:
    """The dots of a roofline: one a named (work, timing) pair, or one a block of a profile (forward pass)."""
    if isinstance(measured, Profile):
        return [
            Point(row.kind, row.forward_flop / row.forward_bytes, row.forward_flop / row.forward_s, row.share)
            for row in measured.rows
            if row.forward_flop and row.forward_bytes and row.forward_s
        ]
    return [
        Point(name, work.flop / work.bytes_moved, work.flop / timing.median_s)
        for name, (work, timing) in measured.items()
        if work.flop
    ]


def draw_roofs(ax: Axes, ceilings: Ceilings, dtypes: list[str], reach: tuple[float, float]) -> None:
    """The roofs of a device over intensities `reach`: memory and cache slopes, one flat roof a dtype, all measured."""
    span = np.geomspace(*reach, 200)
    top = max(ceilings.flop_per_s[name] for name in dtypes)
    ax.plot(span, attainable(span, top, ceilings.bytes_per_s), color="#333333", linewidth=1.6)
    if ceilings.cache_bytes_per_s:
        ax.plot(span, attainable(span, top, ceilings.cache_bytes_per_s), color="#888888", linewidth=1.2, linestyle="--")
    for name in dtypes:
        peak = ceilings.flop_per_s[name]
        start = peak / (ceilings.cache_bytes_per_s or ceilings.bytes_per_s)
        ax.plot([start, reach[1]], [peak, peak], color="#333333", linewidth=1.2)
        ax.annotate(f"{name} {peak / 1e9:,.0f} GFLOP/s", (reach[1], peak), ha="right", va="bottom", fontsize=8)
    left = reach[0] * 1.3
    ax.annotate(
        f"memory {ceilings.bytes_per_s / 1e9:.0f} GB/s",
        (left, left * ceilings.bytes_per_s),
        va="top",
        fontsize=8,
        xytext=(8, -4),
        textcoords="offset points",
    )
    if ceilings.cache_bytes_per_s:
        ax.annotate(
            f"cache {ceilings.cache_bytes_per_s / 1e9:.0f} GB/s",
            (left, left * ceilings.cache_bytes_per_s),
            va="bottom",
            ha="left",
            fontsize=8,
            xytext=(-4, 8),
            textcoords="offset points",
            color="#666666",
        )


def plot_roofline(
    measured: Mapping[str, tuple[Work, Timing]] | Profile,
    device: Device | Ceilings | None = None,
    title: str = "",
    *,
    dtypes: tuple[str, ...] | None = None,
) -> Figure:
    """Measured points under this device's measured roofs, both axes logarithmic; a dot's area is its share of the time.

    `measured` maps names to (Work, Timing), or is a `Profile`, whose blocks become dots; `device` defaults to this one.
    """
    ceilings = device if isinstance(device, Ceilings) else calibrate(device)
    shown = [name for name in (dtypes or useful_dtypes(ceilings)) if name in ceilings.flop_per_s]
    points = points_of(measured)
    if not points:
        raise ValueError("nothing to draw: no FLOP was counted in what was given; pass work with matrix products.")
    reach = (min(0.1, *(p.intensity for p in points)) / 1.5, max(1000.0, *(p.intensity for p in points)) * 1.5)
    with figure(width=7.6, height=4.8) as (made, (ax,)):
        draw_roofs(ax, ceilings, shown, reach)
        draw_points(ax, points)
        ax.set(xscale="log", yscale="log", xlim=reach)
        ax.set(xlabel="arithmetic intensity (FLOP/byte)", ylabel="FLOP/s")
        ax.set_title(title or f"Roofline of {ceilings.device.name}, roofs measured here")
    return made


def useful_dtypes(ceilings: Ceilings) -> tuple[str, ...]:
    """The dtypes whose roof is at least that of fp32: a CPU's fp16, a hundred times slower, would squash the plot."""
    least = ceilings.flop_per_s["fp32"]
    return tuple(name for name, rate in ceilings.flop_per_s.items() if rate >= least)


def draw_points(ax: Axes, points: list[Point]) -> None:
    """The dots, one colour and one legend entry a kind; their area grows with their share of the time."""
    for kind in dict.fromkeys(point.kind for point in points):
        alike = [point for point in points if point.kind == kind]
        ax.scatter(
            [point.intensity for point in alike],
            [point.flop_per_s for point in alike],
            s=[70 if point.share is None else 20 + 900 * point.share for point in alike],
            color=color(kind),
            alpha=0.8,
            edgecolor="white",
            zorder=3,
        )
        ax.scatter([], [], s=50, color=color(kind), label=kind)
    ax.legend(loc="lower right", fontsize=8)


def plot_predicted(profile: Profile, ceilings: Ceilings, dtype: str = "fp32", title: str = "") -> Figure:
    """Forward time of each block as the roofline predicts it (x) against the measured one (y), both in ms."""
    rows = [row for row in profile.rows if row.forward_flop and row.forward_bytes]
    peak, bandwidth = ceilings.flop_per_s[dtype], ceilings.bytes_per_s
    predicted = np.array([max(row.forward_flop / peak, row.forward_bytes / bandwidth) for row in rows])
    measured = np.array([row.forward_s for row in rows])
    ends = np.array([min(predicted.min(), measured.min()) / 1.5, max(predicted.max(), measured.max()) * 1.5]) * 1e3
    with figure(width=5.6, height=4.6) as (made, (ax,)):
        ax.plot(ends, ends, color="#333333", linewidth=1.2, label="as predicted")
        ax.plot(ends, 2 * ends, color="#888888", linewidth=1, linestyle="--", label="twice as slow")
        for kind in dict.fromkeys(row.kind for row in rows):
            alike = [index for index, row in enumerate(rows) if row.kind == kind]
            where: dict[str, Any] = {
                "color": color(kind),
                "label": kind,
                "alpha": 0.8,
                "edgecolor": "white",
                "zorder": 3,
            }
            ax.scatter(predicted[alike] * 1e3, measured[alike] * 1e3, **where)
        ax.set(xscale="log", yscale="log", xlim=ends, ylim=(ends[0], ends[1] * 2))
        ax.set(xlabel="predicted by the roofline (ms)", ylabel="measured (ms)")
        ax.legend(loc="upper left", fontsize=8)
        ax.set_title(title or "Forward time of each block")
    return made
