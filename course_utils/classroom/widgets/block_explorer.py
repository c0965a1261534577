"""A model as blocks: as wide as they take time, coloured by what binds them, each open to a click or an arrow key."""

from __future__ import annotations

from typing import Any

import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from course_utils.classroom.plots import seconds_axis
from course_utils.classroom.style import figure
from course_utils.classroom.widgets.block_limits import Block, Level, blocks_of, levels_of
from course_utils.classroom.widgets.page import IN_ORDER, LIMIT_COLORS, Page, duration, ink_on, script
from course_utils.measure import Ceilings, Profile, calibrate, count, profile
from course_utils.measure.tables import si_text
from course_utils.measure.traffic import tensors_in

__all__ = ["BlockExplorer", "draw_blocks"]


class BlockExplorer(Page):
    """Explore what each block of `model(*args, **kwargs)` costs, forward and backward, and what binds it.

    `measured` is a `profile` of that very call where you have one, so that nothing is timed again; `ceilings` default
    to those of the device of the first tensor, and `dtype` to the arithmetic that torch's convolutions use there. The
    page sets `phase` (forward, backward, both) and `chosen`, the number of a block. Raises ValueError for a profile
    with other blocks than the model has.
    """

    _esm = script("drawing", "blocks")
    title = traitlets.Unicode().tag(sync=True)
    phases: traitlets.List[Any] = traitlets.List().tag(sync=True)
    phase = traitlets.Unicode("forward").tag(sync=True)
    levels: traitlets.List[Any] = traitlets.List().tag(sync=True)
    shown: traitlets.List[Any] = traitlets.List().tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    detail: traitlets.Dict[Any, Any] = traitlets.Dict().tag(sync=True)
    colors: traitlets.Dict[Any, Any] = traitlets.Dict(LIMIT_COLORS).tag(**IN_ORDER)
    inks: traitlets.Dict[Any, Any] = traitlets.Dict({name: ink_on(shade) for name, shade in LIMIT_COLORS.items()}).tag(
        sync=True
    )

    def __init__(
        self,
        model: Any,
        *args: Any,
        ceilings: Ceilings | None = None,
        measured: Profile | None = None,
        dtype: str | None = None,
        **kwargs: Any,
    ) -> None:
        known = calibrate(_device_of((args, kwargs))) if ceilings is None else ceilings
        told = profile(model, *args, **kwargs) if measured is None else measured
        both = any(row.backward_s is not None for row in told.rows)
        forward = count(model, *args, **kwargs).per_module
        total = count(model, *args, backward=True, **kwargs).per_module if both else None
        if missing := [row.name for row in told.rows if row.name not in forward]:
            raise ValueError(f"measured has a block {missing[0]!r} that this model lacks: profile this very model.")
        chosen_dtype = dtype or ("tf32" if "tf32" in known.flop_per_s else "fp32")
        self.blocks: list[Block] = blocks_of(told, forward, total, known, chosen_dtype)
        self.layout_rows: list[Level] = levels_of([block.name for block in self.blocks])
        phases = list(self.blocks[0].parts)
        super().__init__(
            title=f"Blocks of {type(model).__name__} on {known.device.name}, limits for {chosen_dtype}",
            phases=phases,
            phase=phases[-1],
            levels=[[row.name, list(row.down), list(row.middle), list(row.up)] for row in self.layout_rows],
        )
        self.chosen = max(range(len(self.blocks)), key=lambda i: self.blocks[i].parts[self.phase].time_s)
        self._show()
        self._open()

    def told(self) -> str:
        """How the time splits by what binds it, in one line."""
        return f"{self.title}: {shares_text(self.blocks, self.phase)}"

    def figure(self) -> Figure:
        """The phase shown as a static figure."""
        return draw_blocks(self.blocks, self.layout_rows, self.phase, title=self.title)

    @traitlets.validate("phase")
    def _known_phase(self, proposal: Any) -> str:
        if self.phases and proposal["value"] not in self.phases:
            raise ValueError(f"phase is {proposal['value']!r}, wanted one of {', '.join(self.phases)}.")
        return str(proposal["value"])

    @traitlets.validate("chosen")
    def _known_block(self, proposal: Any) -> int:
        return min(max(0, int(proposal["value"])), max(0, len(self.blocks) - 1))

    @traitlets.observe("phase")
    def _show(self, _: Any = None) -> None:
        whole = sum(block.parts[self.phase].time_s for block in self.blocks)
        self.shown = [
            {
                "name": block.name,
                "share": block.parts[self.phase].time_s / whole if whole else 0.0,
                "time": duration(block.parts[self.phase].time_s),
                "bound": block.parts[self.phase].bound,
            }
            for block in self.blocks
        ]
        self._open()

    @traitlets.observe("chosen")
    def _open(self, _: Any = None) -> None:
        block = self.blocks[self.chosen]
        whole = {name: sum(one.parts[name].time_s for one in self.blocks) for name in block.parts}
        columns = {name: _rows(part, whole[name]) for name, part in block.parts.items()}
        quantities = list(next(iter(columns.values())))
        rows = [[what, *(column[what] for column in columns.values())] for what in quantities]
        self.detail = {"name": block.name, "kind": block.kind, "columns": list(columns), "rows": rows,
                       "split": shares_text(self.blocks, self.phase)}  # fmt: skip


def shares_text(blocks: list[Block], phase: str) -> str:
    """The share of time in blocks that each limit binds: `compute 71%, memory 22%, launch 7%`."""
    whole = sum(block.parts[phase].time_s for block in blocks) or 1.0
    bound = dict.fromkeys(("compute", "memory", "launch"), 0.0)
    for block in blocks:
        bound[block.parts[phase].bound] += block.parts[phase].time_s / whole
    return f"{phase}, time of blocks bound by " + ", ".join(f"{name} {share:.0%}" for name, share in bound.items())


def draw_blocks(blocks: list[Block], levels: list[Level], phase: str, title: str = "") -> Figure:
    """The rows of `levels_of` as bars: way down to the left, way up to the right, as wide as a block takes time."""
    longest = max(block.parts[phase].time_s for block in blocks)
    factor, unit = seconds_axis(longest)
    words = "forward and backward" if phase == "both" else phase
    with figure(width=8.6, height=0.5 * len(levels) + 1.3) as (made, (ax,)):
        for row, level in enumerate(levels):
            _bars(ax, [blocks[i] for i in reversed(level.down)], phase, row, factor, -1.0, 0.0)
            _bars(ax, [blocks[i] for i in level.up], phase, row, factor, 1.0, 0.0)
            half = sum(blocks[i].parts[phase].time_s for i in level.middle) * factor / 2
            _bars(ax, [blocks[i] for i in level.middle], phase, row, factor, 1.0, -half)
        _drop_narrow(ax)
        ax.axvline(0, color="#333333", linewidth=0.8)
        ax.set_yticks(range(len(levels)), [level.name for level in levels])
        ax.set(
            ylim=(len(levels) - 0.4, -0.6), xlabel=f"time of {words} ({unit}): way down to the left, up to the right"
        )
        ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        ax.grid(axis="y", visible=False)
        handles = [Patch(color=shade, label=f"bound by {name}") for name, shade in LIMIT_COLORS.items()]
        ax.legend(handles=handles, ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22))
        ax.set_title(f"{title}\n{shares_text(blocks, phase)}" if title else shares_text(blocks, phase), fontsize=10)
    return made


def _bars(ax: Axes, blocks: list[Block], phase: str, row: int, factor: float, sign: float, start: float) -> None:
    """Bars one after the other from `start`, to the right (sign 1) or to the left (-1), each with its name."""
    for block in blocks:
        width = sign * block.parts[phase].time_s * factor
        shade = LIMIT_COLORS[block.parts[phase].bound]
        ax.barh(row, width, left=start, height=0.8, color=shade, edgecolor="white", linewidth=0.8)
        name: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "fontsize": 7,
            "color": ink_on(shade),
            "gid": f"{abs(width)}",
        }
        ax.text(start + width / 2, row, block.name, **name)
        start += width


def _drop_narrow(ax: Axes) -> None:
    """Take away the names of blocks that are narrower than their name."""
    low, high = ax.get_xlim()
    for text in list(ax.texts):
        if float(text.get_gid() or 0) < 0.011 * len(text.get_text()) * (high - low):
            text.remove()


def _rows(part: Any, whole_s: float) -> dict[str, str]:
    """A phase of a block in words and numbers."""
    slowest = part.limits[part.bound]
    limits = {f"least for {name}": duration(part.limits[name]) for name in ("compute", "memory", "launch")}
    return {
        "time measured": duration(part.time_s),
        "share of all blocks": f"{part.time_s / whole_s:.1%}" if whole_s else "–",
        "work": si_text(part.flop, "FLOP"),
        "traffic": si_text(part.bytes_moved, "B"),
        "intensity": f"{part.intensity:.2f} FLOP/byte",
        "kernels": f"{part.kernels:,}",
        "reached": si_text(part.flop_per_s, "FLOP/s"),
        **limits,
        "bound by": part.bound,
        "measured ÷ largest limit": f"{part.time_s / slowest:.1f}x" if slowest else "–",
    }


def _device_of(inputs: Any) -> torch.device:
    """The device of the first tensor, the CPU without one."""
    return next((tensor.device for tensor in tensors_in(inputs)), torch.device("cpu"))
