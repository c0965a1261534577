"""A roofline with sliders: batch, width, format, bottleneck and im2col move blocks under the roofs of any device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import traitlets
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from course_utils.classroom.step_model import Limits, limits_here, limits_of
from course_utils.classroom.widgets.page import IN_ORDER, LIMIT_COLORS, Page, duration, script
from course_utils.classroom.widgets.roofline_scene import (
    BYTES,
    REACH,
    Setting,
    Spot,
    draw_scene,
    heights,
    network,
    spots,
)
from course_utils.classroom.widgets.unet_counts import REDUCTIONS, Structure, built, unet_work
from course_utils.diffusion import scale
from course_utils.measure import DATASHEETS, Ceilings, calibrate, measure
from course_utils.measure.tables import ratio_text, si_text
from course_utils.speedups import half_precision

__all__ = ["RooflineExplorer"]

BATCHES = [2**power for power in range(10)]
WIDTHS = [16, 24, 32, 48, 64, 96, 128]
ASSUMED_LAUNCH_S = 5e-6  # of a GPU that is not here; see notebook 23
LONGEST_S = 3.0  # calculated, of a call that may still be measured from a button
TOP = 6  # rows of the table
LONG = {"bf16": torch.bfloat16, "fp16": torch.float16}


class RooflineExplorer(Page):
    """Move the blocks of the course's U-Net (forward pass) under the roofs of this device or of any data sheet.

    `ceilings` are those of this device, measured where not given; `mults` the factors of the network's levels, by
    default this scale's; `reductions` those of the bottleneck to choose from. All structures are counted before a
    slider moves (those of the three scales are shipped), so that it answers at once. The page sets `batch`, `width`,
    `dtype`, `reduction`, `unfold` and `device`; the answer is `scene`.
    """

    _esm = script("drawing", "roofline")
    batches: traitlets.List[Any] = traitlets.List(BATCHES).tag(sync=True)
    widths: traitlets.List[Any] = traitlets.List(WIDTHS).tag(sync=True)
    reductions: traitlets.List[Any] = traitlets.List().tag(sync=True)
    dtypes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    devices: traitlets.List[Any] = traitlets.List().tag(sync=True)
    colors: traitlets.Dict[Any, Any] = traitlets.Dict(LIMIT_COLORS).tag(**IN_ORDER)
    batch = traitlets.Int(16).tag(sync=True)
    width = traitlets.Int(32).tag(sync=True)
    dtype = traitlets.Unicode("fp32").tag(sync=True)
    reduction = traitlets.Int(1).tag(sync=True)
    unfold = traitlets.Bool(False).tag(sync=True)
    device = traitlets.Unicode().tag(sync=True)
    scene: traitlets.Dict[Any, Any] = traitlets.Dict().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        ceilings: Ceilings | None = None,
        *,
        mults: tuple[int, ...] | None = None,
        reductions: tuple[int, ...] | None = None,
        **options: Any,
    ) -> None:
        size = scale()
        self.ceilings = calibrate() if ceilings is None else ceilings
        self.mults = size.dim_mults if mults is None else tuple(mults)
        given = reductions or REDUCTIONS
        wanted = [Structure(self.mults, one, unfold) for one in given for unfold in (False, True)]
        for structure in tqdm(wanted, desc="counting U-Nets", leave=False, delay=1):
            unet_work(structure)
        self.here = f"{self.ceilings.device.name} (measured here)"
        self.measured: dict[Setting, float] = {}
        options = {"batch": size.batch_size, "width": max(WIDTHS[0], size.dim)} | options
        super().__init__(reductions=list(given), devices=[self.here, *DATASHEETS], device=self.here,
                         dtypes=self._formats(self.here), **options)  # fmt: skip
        self.start = self.setting
        self.on_msg(lambda _, content, __: self.act(str(content.get("action"))))
        self._draw()

    @property
    def setting(self) -> Setting:
        """What the sliders say."""
        return Setting(self.batch, self.width, self.dtype, self.reduction, self.unfold)

    @property
    def limits(self) -> Limits:
        """The chosen device in the chosen format."""
        return self._limits(self.device, self.dtype) or self._fp32(self.device)

    @property
    def spots(self) -> list[Spot]:
        """The blocks as they stand now."""
        return spots(self.setting, self.mults, self.limits)

    def told(self) -> str:
        """Setting, calculated time and what binds it, in one line."""
        whole, s = network(self.spots), self.setting
        told = f"batch {s.batch}, width {s.width}, {s.dtype}"
        return f"Roofline explorer on {self.device}: {told}: {duration(whole.seconds)}, bound by {whole.bound}"

    def figure(self) -> Figure:
        """The scene as a static figure."""
        title = f"{self.device}: batch {self.batch}, width {self.width}, {self.dtype}"
        cache = self.ceilings.cache_bytes_per_s if self.device == self.here else None
        before = spots(
            self._start_here(), self.mults, self._limits(self.device, self._start_here().dtype) or self.limits
        )
        return draw_scene(self.spots, before, self.limits, cache_bytes_per_s=cache,
                          measured_s=self._measured_s(), title=title)  # fmt: skip

    def act(self, action: str) -> None:
        """What a button asks for: `measure`, `start` (all as at first). Raises ValueError for anything else."""
        if action == "measure":
            self.measure_here()
        elif action == "start":
            told, self.device = self.start, self.here  # the device first: it decides which formats there are
            with self.hold_trait_notifications():
                self.batch, self.width, self.dtype = told.batch, told.width, told.dtype
                self.reduction, self.unfold = told.reduction, told.unfold
        else:
            raise ValueError(f"action is {action!r}, wanted measure or start.")

    def measure_here(self) -> None:
        """Time the network of the sliders on this device, unless it would take too long; the answer joins the scene."""
        calculated = network(self.spots).seconds
        if self.device != self.here:
            self.note = f"{self.device} is not here: choose {self.here} to measure."
        elif calculated > LONGEST_S:
            self.note = f"One call would take {duration(calculated)} or more: choose a smaller batch or width."
        else:
            self.note = "measuring …"
            self.measured[self.setting] = measured_s(self.setting, self.mults, self.ceilings.device.kind)
            self.note = ""
            self._draw()

    @traitlets.validate("batch", "width", "reduction", "dtype", "device")
    def _offered(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        offered = {"batch": self.batches, "width": self.widths, "reduction": self.reductions, "dtype": self.dtypes,
                   "device": self.devices}[name]  # fmt: skip
        if offered and value not in offered:
            raise ValueError(f"{name} is {value!r}, wanted one of {', '.join(map(str, offered))}.")
        return value

    @traitlets.observe("device")
    def _other_device(self, _: Any = None) -> None:
        self.dtypes = self._formats(self.device)
        if self.dtype not in self.dtypes:
            self.dtype = "fp32"

    @traitlets.observe("batch", "width", "dtype", "reduction", "unfold", "device")
    def _draw(self, _: Any = None) -> None:
        if not hasattr(self, "start"):
            return
        blocks, start = self.spots, self._start_here()
        before = spots(start, self.mults, self._limits(self.device, start.dtype) or self.limits)
        self.note = ""
        self.scene = self._roofs() | {
            "spots": [_dot(one, network(blocks).seconds) for one in blocks if one.flop],
            "before": [_dot(one, network(before).seconds) for one in before if one.flop],
            "whole": _dot(network(blocks), network(blocks).seconds),
            "measured": self._measured_dot(network(blocks)),
            "figures": list(self._figures(network(blocks), network(before)).items()),
            "rows": _rows(blocks),
            "can_measure": self.device == self.here,
        }

    def _roofs(self) -> dict[str, Any]:
        limits, here = self.limits, self.device == self.here
        cache = self.ceilings.cache_bytes_per_s if here else 0.0
        source = "measured here" if here else f"data sheet, {duration(limits.launch_s)} a launch assumed"
        return {"reach": list(REACH), "heights": list(heights(limits)), "flop_per_s": limits.flop_per_s,
                "bytes_per_s": limits.bytes_per_s, "cache_bytes_per_s": cache, "source": source}  # fmt: skip

    def _figures(self, whole: Spot, before: Spot) -> dict[str, str]:
        """The large figures: calculated and measured time, and against the start, image for image."""
        measured = self._measured_s()
        gain = before.seconds / self.start.batch / (whole.seconds / self.batch)
        found = {
            "calculated": duration(whole.seconds),
            "measured": "–" if measured is None else duration(measured),
            "an image, against the start": ratio_text(gain),
            "work": si_text(whole.flop, "FLOP"),
            "traffic": si_text(whole.bytes_moved, "B"),
            "most time bound by": whole.bound,
        }
        return found if measured is None else found | {"measured ÷ calculated": ratio_text(measured / whole.seconds)}

    def _measured_s(self) -> float | None:
        return self.measured.get(self.setting) if self.device == self.here else None

    def _measured_dot(self, whole: Spot) -> dict[str, Any] | None:
        seconds = self._measured_s()
        return None if seconds is None else _dot(replace(whole, name="measured", seconds=seconds), seconds)

    def _start_here(self) -> Setting:
        """The setting at the start, in a format that the chosen device has."""
        return self.start if self.start.dtype in self._formats(self.device) else replace(self.start, dtype="fp32")

    def _formats(self, device: str) -> list[str]:
        return [dtype for dtype in BYTES if self._limits(device, dtype) is not None]

    def _limits(self, device: str, dtype: str) -> Limits | None:
        if device == self.here:
            return limits_here(self.ceilings, dtype)
        return limits_of(device, dtype, launch_s=ASSUMED_LAUNCH_S)

    def _fp32(self, device: str) -> Limits:
        found = self._limits(device, "fp32")
        assert found is not None, "every device has fp32"
        return found


def measured_s(setting: Setting, mults: tuple[int, ...], kind: str) -> float:
    """Median seconds of the forward pass of a setting on a kind of device (cpu, cuda, mps)."""
    net = built(Structure(mults, setting.reduction, setting.unfold), setting.width).eval()
    if setting.dtype in LONG:
        net = half_precision(net, LONG[setting.dtype], mode="pure")
    x_t = torch.randn(setting.batch, 3, 32, 32, device=kind)  # (N, C, H, W)
    t = torch.full((setting.batch,), 500, device=kind)
    with torch.no_grad():
        return measure(net.to(kind), x_t, t).median_s


def _dot(one: Spot, whole_s: float) -> dict[str, Any]:
    return {"name": one.name, "x": one.intensity, "y": one.flop_per_s, "bound": one.bound,
            "share": one.seconds / whole_s if whole_s else 0.0, "time": duration(one.seconds)}  # fmt: skip


def _rows(blocks: list[Spot]) -> list[list[str]]:
    """The slowest blocks as cells of a table."""
    whole = sum(one.seconds for one in blocks) or 1.0
    slowest = sorted(blocks, key=lambda one: -one.seconds)[:TOP]
    return [
        [one.name, duration(one.seconds), f"{one.seconds / whole:.0%}", f"{one.intensity:.1f}",
         si_text(one.bytes_moved, "B"), one.bound]
        for one in slowest
    ]  # fmt: skip
