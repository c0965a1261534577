"""A timeline as a static figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from course_utils.classroom.plots import seconds_axis
from course_utils.classroom.style import figure
from course_utils.classroom.widgets.trace_file import KINDS, Timeline
from course_utils.classroom.widgets.trace_numbers import LANES, Summary, reduced, summary

__all__ = ["draw_trace"]

SHOWN = 6  # rows of the bars


def draw_trace(
    timeline: Timeline, low_s: float = 0.0, high_s: float | None = None, *, colors: Mapping[str, str], title: str = ""
) -> Figure:
    """A window of a timeline, all of it by default, above its most expensive kernels."""
    high_s = timeline.span_s if high_s is None else high_s
    found = summary(timeline, low_s, high_s)
    lanes = sum(min(track.lanes, LANES) for track in timeline.tracks)
    bars = min(SHOWN, len(found.costs))
    heights = (0.28 * (lanes + len(timeline.tracks)) + 0.8, 0.26 * bars + 0.7)
    with figure(2, width=9.0, height=sum(heights)) as (made, (top, bottom)):
        if (spec := top.get_gridspec()) is not None:
            spec.set_height_ratios(heights)
        _draw_lanes(top, timeline, low_s, high_s, colors)
        top.set_title(title or timeline.title)
        _draw_costs(bottom, found, colors)
    return made


def _draw_lanes(ax: Axes, timeline: Timeline, low_s: float, high_s: float, colors: Mapping[str, str]) -> None:
    """Every lane of every track as bars coloured by kind."""
    factor, unit = seconds_axis(high_s - low_s)
    events = reduced(timeline, low_s, high_s, columns=900)
    left = (low_s + np.asarray(events.left) * (high_s - low_s)) * factor
    width = np.maximum(events.width, 1 / 900) * (high_s - low_s) * factor
    kinds = timeline.kind[events.event.astype(int)]
    row, ticks = 0.0, {}
    lane = 0
    for track in timeline.tracks:
        shown = min(track.lanes, LANES)
        ticks[row + (shown - 1) / 2] = track.name
        for depth in range(shown):
            for kind in np.unique(kinds[events.lane == lane + depth]):
                own = (events.lane == lane + depth) & (kinds == kind)
                spans = list(zip(left[own], width[own], strict=True))
                ax.broken_barh(spans, (row + depth - 0.42, 0.84), color=colors[KINDS[kind]], linewidth=0)
        row, lane = row + shown + 0.6, lane + shown
    ax.set_yticks(list(ticks), [name[:34] for name in ticks.values()], fontsize=8)
    ax.set(xlim=(low_s * factor, high_s * factor), ylim=(row - 0.2, -0.8), xlabel=f"time ({unit})")
    ax.grid(axis="y", visible=False)
    present = [KINDS[kind] for kind in np.unique(kinds)]
    handles = [Patch(color=colors[kind], label=kind) for kind in present]
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=len(present), fontsize=8)


def _draw_costs(ax: Axes, found: Summary, colors: Mapping[str, str]) -> None:
    """The most expensive names as bars, longest on top."""
    rows = found.costs[:SHOWN]
    factor, unit = seconds_axis(max((row.total_s for row in rows), default=1.0))
    shade = colors["kernel" if found.counted == "kernels" else "operator"]
    ax.barh([row.name[:34] for row in rows], [row.total_s * factor for row in rows], color=shade)
    for index, row in enumerate(rows):
        ax.annotate(f" {row.share:.0%}, {row.calls:,} calls", (row.total_s * factor, index), va="center", fontsize=8)
    ax.invert_yaxis()
    ax.tick_params(axis="y", labelsize=8)
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.2)
    dry = "" if found.dry is None else f", waiting for launches {found.dry:.0%}"
    ax.set_title(f"{found.counted} by own time; idle {found.idle:.0%}{dry}", fontsize=10)
    ax.set(xlabel=f"time ({unit})")
