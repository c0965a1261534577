"""The staircase as a figure: how many times faster each treatment is, and whether quality held."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from course_utils.classroom.staircase import Step, Steps, rate_text, steps
from course_utils.classroom.style import PALETTE, figure
from course_utils.measure import Evidence
from course_utils.measure.quality.evidence import KINDS, Finding, Kind
from course_utils.measure.verdicts import Decision

__all__ = ["draw_staircase", "plot_staircase"]

INK = "#333333"
LOOKS: dict[Decision, tuple[str, str]] = {
    "preserved and faster": (PALETTE[2], ""),
    "faster but worse": (PALETTE[1], "///"),
    "not faster": (PALETTE[6], "..."),
    "inconclusive": (PALETTE[5], "xx"),
}
"""Colour and hatch of an outcome."""
FINDINGS: dict[Finding, str] = {
    "preserved": PALETTE[2],
    "worse": PALETTE[1],
    "inconclusive": PALETTE[5],
    "different": PALETTE[6],
}
MARKERS: dict[Kind, str] = {"same function": "D", "same denoiser": "o", "same distribution": "s"}
WIDEST = 0.35  # a quality ratio farther than this from 1 is drawn at the edge, with its value
LEAST = 0.03


def plot_staircase(found: Steps | Iterable[Step] | None = None, title: str = "") -> Figure | Steps:
    """Speed-up and quality of each step, the fastest on top; without `found` the steps kept on this machine.

    Colour and hatch say the verdict. On the right stand the quality ratios with their bounds and tolerances, or that
    the function is the same. Where nothing has been kept yet, what `steps()` says comes back in place of a figure.
    Raises ValueError for an empty `found`.
    """
    kept = steps() if found is None else found
    if isinstance(kept, Steps) and not kept.kept:
        return kept
    return draw_staircase(list(kept), title, kept.note() if isinstance(kept, Steps) else "")


def draw_staircase(found: Sequence[Step], title: str = "", note: str = "") -> Figure:
    """The figure of `plot_staircase` with a small `note` below. Raises ValueError without a step."""
    if not found:
        raise ValueError("found is empty, wanted at least one step, as keep_step returns it.")
    rows = sorted(found, key=lambda one: -1.0 if math.isnan(one.speed.value) else one.speed.value)
    judged = any(one.quality for one in rows)
    names = [_wrapped(one.label) for one in rows]
    lines = sum(max(1.6, 1 + name.count("\n")) for name in names)
    with figure(1, 2 if judged else 1, width=9.0 if judged else 7.0, height=1.75 + 0.3 * lines) as (made, axes):
        _draw_speeds(axes[0], rows, names)
        if judged:
            _draw_quality(axes[1], rows)
        made.legend(
            handles=_legend(rows),
            title=textwrap.fill(note, 120 if judged else 90) or None,
            title_fontsize=8.5,
            alignment="left",
            loc="outside lower left",
            ncols=4 if judged else 3,
            fontsize=8.5,
        )
        made.suptitle(title or "The staircase: faster, and as good?", fontsize=11, fontweight="bold", x=0.01, ha="left")
    return made


def _draw_speeds(ax: Axes, rows: Sequence[Step], names: Sequence[str]) -> None:
    """A bar a step from 0 to its speed-up, the interval on it, the numbers behind it; a line at the baseline."""
    tops = [max(one.speed.value, one.speed.high, 1.0) for one in rows if not math.isnan(one.speed.value)]
    for y, one in enumerate(rows):
        shade, hatch = LOOKS[one.outcome]
        value = 0.0 if math.isnan(one.speed.value) else one.speed.value
        ax.barh(y, value, height=0.62, color=shade, hatch=hatch, edgecolor="white", linewidth=0)
        ends = [one.speed.low, one.speed.high]
        if all(map(math.isfinite, ends)):
            ax.plot(ends, [y, y], color=INK, linewidth=1.4, marker="|", markersize=8)
        at = max([value, 1.0, *filter(math.isfinite, ends)])
        _write(ax, _numbers(one), at, y)
    ax.axvline(1, color=INK, linewidth=1.2, linestyle="--")
    ax.set_yticks(range(len(rows)), names)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set(xlim=(0, 1.55 * max(tops, default=1.0)), ylim=(-0.6, len(rows) - 0.4))
    ax.set_xlabel("speed-up, baseline = 1 (dashed), with 95 % interval")
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))


def _draw_quality(ax: Axes, rows: Sequence[Step]) -> None:
    """Each evidence as a mark with its bounds, and a tick at its tolerance; words where there is no ratio to draw."""
    ratios = [one for step in rows for one in step.quality if one.kind != KINDS[0]]
    reach = _reach(ratios)
    for y, step in enumerate(rows):
        for place, one in zip(_places(len(step.quality)), step.quality, strict=True):
            _draw_evidence(ax, one, y + place, reach)
        if not step.quality:
            _write(ax, "not checked", 1, y)
    ax.axvline(1, color=INK, linewidth=1.2, linestyle="--")
    ax.set_yticks(range(len(rows)), [""] * len(rows))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set(xlim=(1 - reach, 1 + 1.12 * reach), ylim=(-0.6, len(rows) - 0.4))
    ax.set_xlabel("quality, variant / baseline; more is worse")
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _draw_evidence(ax: Axes, one: Evidence, y: float, reach: float) -> None:
    """A mark with bounds and tolerance; one beyond the axis is an arrow at its edge with the value."""
    shade, marker = FINDINGS[one.outcome], MARKERS[one.kind]
    if one.kind == KINDS[0]:
        exact = one.outcome == "preserved"
        ax.plot(1, y, marker=marker if exact else "x", color=shade, markersize=7)
        _write(ax, "exact: same function" if exact else "another function", 1, y)
        return
    ax.plot([one.tolerance] * 2, [y - 0.17, y + 0.17], color=INK, linewidth=2)
    if not one.value <= 1 + reach:
        ax.plot(1 + reach, y, marker=">", color=shade, markersize=8)
        told = f"{one.value:.2f}" if math.isfinite(one.value) else "not finite"
        _write(ax, told, 1 + reach, y, before=True)
        return
    ends = [max(one.low, 1 - 2 * reach), min(one.high, 1 + 2 * reach)]
    ax.plot(ends, [y, y], color=shade, linewidth=1.6, marker="|", markersize=6)
    ax.plot(max(one.value, 1 - reach), y, marker=marker, color=shade, markersize=7)


def _write(ax: Axes, text: str, x: float, y: float, *, before: bool = False) -> None:
    """Small words behind a point, or before it; they take no room from the axes."""
    offset, side = ((-8, 0), "right") if before else ((8, 0), "left")
    said = ax.annotate(text, (x, y), offset, textcoords="offset points", va="center", ha=side, fontsize=8.5, color=INK)
    said.set_in_layout(False)


def _legend(rows: Sequence[Step]) -> list[Any]:
    """What stands in the figure: outcomes, kinds of evidence, and the tolerance."""
    outcomes = {one.outcome for one in rows}
    kinds = {one.kind for step in rows for one in step.quality}
    made: list[Any] = [
        Patch(facecolor=shade, hatch=hatch, edgecolor="white", linewidth=0, label=outcome)
        for outcome, (shade, hatch) in LOOKS.items()
        if outcome in outcomes
    ]
    bare: dict[str, Any] = {"linestyle": "none", "color": INK}
    made += [Line2D([], [], marker=MARKERS[kind], label=kind, **bare) for kind in KINDS if kind in kinds]
    if kinds - {KINDS[0]}:
        made.append(Line2D([], [], marker="|", markersize=11, markeredgewidth=2, label="tolerance", **bare))
    return made


def _reach(ratios: Sequence[Evidence]) -> float:
    """How far on either side of 1 the axis of quality goes: tolerances, and all bounds but those too far to draw."""
    near = [one for one in ratios if abs(one.value - 1) <= WIDEST]
    ends = [end for one in near for end in (one.value, one.low, one.high)] + [one.tolerance for one in ratios]
    farthest = max((abs(end - 1) for end in ends if math.isfinite(end)), default=LEAST)
    return min(max(1.15 * farthest, LEAST), WIDEST)


def _places(count: int) -> list[float]:
    """Heights around 0 for several marks in one row, the first on top."""
    return [0.22 * ((count - 1) / 2 - index) * 2 for index in range(count)] if count < 3 else [0.24, 0.0, -0.24]


def _numbers(one: Step) -> str:
    """`1.72x (1.65–1.80)`, and below it the throughput where it is known."""
    rate = "" if one.img_per_s is None else f"\n{rate_text(one.img_per_s)}"
    return f"{one.speed.text()}{rate}" if math.isfinite(one.speed.value) else "no speed-up reported"


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, 26, break_long_words=True))
