"""Where the blocks of a U-Net stand under the roofs of a device, and how long they should take, calculated.

A block takes the largest of three times, for its arithmetic, its traffic and its launches; the network takes the sum.
16-bit formats are taken as stored ones: every number half as wide, weights and activations alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from course_utils.classroom.step_model import Limits
from course_utils.classroom.style import figure
from course_utils.classroom.widgets.page import LIMIT_COLORS
from course_utils.classroom.widgets.unet_counts import Structure, unet_work
from course_utils.measure.ceilings import attainable
from course_utils.measure.tables import si_text

__all__ = ["BYTES", "REACH", "Setting", "Spot", "draw_scene", "network", "spots"]

BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
REACH = (0.1, 2000.0)  # FLOP/byte, of the drawing
DEEP = 3e4  # from the flat roof down to the lower end of the drawing, as a factor
SLOWEST = 1e6 / 20  # FLOP a kernel of what is bound by launches and still drawn where it stands


@dataclass(frozen=True)
class Setting:
    """What the sliders say: batch, width, number format, reduction of the bottleneck (1: none), im2col or not."""

    batch: int
    width: int
    dtype: str = "fp32"
    reduction: int = 1
    unfold: bool = False


@dataclass(frozen=True)
class Spot:
    """A block on the plane: its work, its calculated seconds and what binds it (compute, memory or launch)."""

    name: str
    flop: float
    bytes_moved: float
    seconds: float
    bound: str

    @property
    def intensity(self) -> float:
        """FLOP/byte."""
        return self.flop / self.bytes_moved if self.bytes_moved else 0.0

    @property
    def flop_per_s(self) -> float:
        """FLOP/s at the calculated time."""
        return self.flop / self.seconds if self.seconds else 0.0


def spots(setting: Setting, mults: tuple[int, ...], limits: Limits) -> list[Spot]:
    """Every block of the forward pass under the limits of a device, in the order of the network."""
    work = unet_work(Structure(mults, setting.reduction, setting.unfold)).at(setting.width, setting.batch)
    found = []
    for name, one in work.items():
        moved = one.bytes_moved * BYTES[setting.dtype] / 4
        times = {
            "compute": one.flop / limits.flop_per_s,
            "memory": moved / limits.bytes_per_s,
            "launch": one.kernels * limits.launch_s,
        }
        bound = max(times, key=lambda each: times[each])
        found.append(Spot(name, one.flop, moved, times[bound], bound))
    return found


def network(blocks: Sequence[Spot]) -> Spot:
    """All blocks as one spot; what binds it is what binds most of its time."""
    by_bound = {name: sum(one.seconds for one in blocks if one.bound == name) for name in LIMIT_COLORS}
    bound = max(by_bound, key=lambda name: by_bound[name])
    seconds = sum(one.seconds for one in blocks)
    return Spot("whole network", sum(b.flop for b in blocks), sum(b.bytes_moved for b in blocks), seconds, bound)


def heights(limits: Limits) -> tuple[float, float]:
    """Lower and upper end of the drawing in FLOP/s."""
    return min(limits.flop_per_s / DEEP, SLOWEST / limits.launch_s), limits.flop_per_s * 3


def draw_scene(
    blocks: Sequence[Spot],
    before: Sequence[Spot],
    limits: Limits,
    *,
    cache_bytes_per_s: float | None = None,
    measured_s: float | None = None,
    title: str = "",
) -> Figure:
    """The plane as a static figure: roofs, blocks (area: share of the time), where they stood before, the whole."""
    low, high = heights(limits)
    with figure(width=8.0, height=4.8) as (made, (ax,)):
        _draw_roofs(ax, limits, cache_bytes_per_s)
        _scatter(ax, before, low, hollow=True)
        _scatter(ax, blocks, low, hollow=False)
        whole = network(blocks)
        ax.plot(whole.intensity, max(low, whole.flop_per_s), "D", color="black", markersize=8, zorder=5)
        if measured_s is not None:
            ax.plot(whole.intensity, max(low, whole.flop / measured_s), "X", color="black", markersize=9, zorder=5)
        ax.set(xscale="log", yscale="log", xlim=REACH, ylim=(low, high))
        ax.set(xlabel="arithmetic intensity (FLOP/byte)", ylabel="FLOP/s, calculated")
        ax.legend(handles=_entries(measured_s is not None), fontsize=8, loc="lower right")
        ax.set_title(title or f"Calculated for {limits.name}, {limits.dtype}")
    return made


def _draw_roofs(ax: Axes, limits: Limits, cache_bytes_per_s: float | None) -> None:
    span = np.geomspace(*REACH, 200)
    roof = attainable(span, limits.flop_per_s, limits.bytes_per_s)
    ax.plot(span, roof, color="#333333", linewidth=1.6)
    name = f"{limits.dtype} {si_text(limits.flop_per_s, 'FLOP/s')} "
    ax.annotate(name, (REACH[1], limits.flop_per_s), ha="right", va="bottom", fontsize=8)
    ax.annotate(f"memory {si_text(limits.bytes_per_s, 'B/s')}", (0.12, 0.12 * limits.bytes_per_s), va="top", fontsize=8)
    if cache_bytes_per_s:
        above = attainable(span, limits.flop_per_s, cache_bytes_per_s)
        ax.plot(span, above, color="#888888", linewidth=1.2, linestyle="--")


def _scatter(ax: Axes, blocks: Sequence[Spot], low: float, *, hollow: bool) -> None:
    whole = sum(one.seconds for one in blocks) or 1.0
    for one in blocks:
        if one.flop and one.intensity:
            size = 20 + 900 * one.seconds / whole
            shade = LIMIT_COLORS[one.bound]
            look: dict[str, Any] = {"facecolor": "none", "edgecolor": "#999999"} if hollow else {"color": shade}
            ax.scatter(one.intensity, max(low, one.flop_per_s), s=size, alpha=0.8, zorder=3, **look)


def _entries(measured: bool) -> list[Line2D]:
    made = [
        Line2D([], [], marker="o", linestyle="", color=shade, label=f"block bound by {name}")
        for name, shade in LIMIT_COLORS.items()
    ]
    made.append(Line2D([], [], marker="o", linestyle="", color="#999999", fillstyle="none", label="at the start"))
    made.append(Line2D([], [], marker="D", linestyle="", color="black", label="whole network, calculated"))
    return [*made, *([Line2D([], [], marker="X", linestyle="", color="black", label="measured")] if measured else [])]
