"""Figures of quality: what damage does to each measure, quality over a training run, by sampler, in small samples.

A file of records keeps what an older classifier or older weights were given. The latest records decide what a figure
shows: those judged like them, of the same weights, and of as many pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from course_utils.classroom.style import PALETTE, color, figure
from course_utils.experiments.row_files import alike, judged_alike
from course_utils.measure.records import Record

__all__ = ["plot_calibration", "plot_quality_curve", "plot_sampler_sweep", "plot_small_samples"]

INK = "#333333"
REAL = "real test images"
HELDOUT = "held-out loss"
STEEP = 20  # values that differ by more than this factor are drawn on a logarithmic axis
DRAWN = ("n", "sampler", "num_steps", "seed")
FREE = ("num-steps", "checkpoint-every", "keep", "log-every", "heldout", "device")  # change no weight of a step
DOT: dict[str, Any] = {"markersize": 5, "capsize": 2, "elinewidth": 1.2}
DOSE = "a dose, with one-sided 95 % bounds"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FAMILIES = {
    "undamaged": "Undamaged",
    "blur": "Gaussian blur",
    "noise": "Noise",
    "classes": "Classes missing",
    "duplicates": "Duplicated images",
    "JPEG": "JPEG",
    "training": "Drawn by the base after",
}


def plot_calibration(records: Sequence[Record], title: str = "") -> Figure:
    """Every dose of damage on each distance, the mildest of a family on top; lines: as many undamaged test images.

    The axes are logarithmic; that of a kernel distance is linear where bounds reach zero. Raises `ValueError` where the
    records hold no distance of a dose.
    """
    records = judged_alike(records)
    kinds, groups = [kind for kind in dict.fromkeys(one.kind for one in records) if kind != HELDOUT], _groups(records)
    if not kinds or not groups:
        raise ValueError("records hold no dose of damage: run `python -m course_utils.experiments.calibration`.")
    height = sum(len(doses) for doses in groups.values()) + 1.6 * len(groups)
    with figure(1, len(kinds), width=4.4 * len(kinds) + 1.2, height=0.19 * height + 1.2) as (made, axes):
        for ax, kind in zip(axes, kinds, strict=True):
            _draw_doses(ax, [one for one in records if one.kind == kind], groups)
            ax.set_xlabel(f"{kind}, no unit; lower is better")
        for ax in axes[1:]:
            ax.tick_params(axis="y", labelleft=False)
        entries = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
        made.legend(entries.values(), entries.keys(), loc="outside upper right", ncols=2, fontsize=9)
        _entitle(made, title or "Which distance notices which damage?")
    return made


def plot_quality_curve(records: Sequence[Record], title: str = "") -> Figure:
    """Each measure against images seen, one colour and marker a run; the dashed line is what real images get.

    Raises `ValueError` for records without a checkpoint.
    """
    records = judged_alike(records)
    drawn = _of_last_training(alike([one for one in records if one.config["run"] != REAL], DRAWN))
    if not drawn:
        raise ValueError(
            f"records hold no checkpoint, only {REAL} or nothing: score some with `python -m "
            "course_utils.experiments.quality_curve RUN_FOLDER`."
        )
    n, kinds = drawn[-1].config["n"], list(dict.fromkeys(one.kind for one in drawn))
    floor = {one.kind: one.value for one in records if (one.config["run"], one.config["n"]) == (REAL, n)}
    with figure(1, len(kinds), width=3.5 * len(kinds), height=3.5) as (made, axes):
        for ax, kind in zip(axes, kinds, strict=True):
            _draw_curves(ax, [one for one in drawn if one.kind == kind], "run", "images_seen")
            if kind != HELDOUT and ax.get_yscale() == "linear":
                ax.set_ylim(0, None)
            if kind in floor:
                ax.axhline(floor[kind], color=INK, linestyle="--", linewidth=1.2, label=REAL)
            ax.set(xlabel="training images seen", ylabel=_quantity(kind))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count_text(value)))
        axes[0].legend(fontsize=9)
        told = drawn[-1].config
        how = f"{n:,} pictures, {told['sampler']}, {told['num_steps']} steps"
        _entitle(made, title or f"Quality over a training run ({how})")
    return made


def plot_sampler_sweep(records: Sequence[Record], title: str = "") -> Figure:
    """Each distance against model calls an image, one colour and marker a sampler.

    Raises `ValueError` where there are no records.
    """
    records = alike(judged_alike(records), ("model", "weights", "n", "seed"))
    if not records:
        raise ValueError("records are empty: run `python -m course_utils.experiments.sampler_sweep`.")
    kinds = list(dict.fromkeys(one.kind for one in records))
    steps = sorted({one.config["num_steps"] for one in records})
    with figure(1, len(kinds), width=4.0 * len(kinds), height=3.5) as (made, axes):
        for ax, kind in zip(axes, kinds, strict=True):
            _draw_curves(ax, [one for one in records if one.kind == kind], "sampler", "num_steps")
            ax.set(xlabel="steps = model calls an image", ylabel=_quantity(kind))
            ax.xaxis.set(major_locator=FixedLocator(steps))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes[0].legend()
        told = records[-1].config
        _entitle(made, title or f"What more steps buy ({told['model']}, {told['n']:,} pictures a point)")
    return made


def plot_small_samples(
    counts: Sequence[int],
    values: Mapping[str, Sequence[float]],
    title: str = "",
    *,
    extractor: str = "cifar-cnn",
) -> Figure:
    """The Fréchet distance of piles of growing size, one line a name: `values` maps names to a distance for each count.

    The legend says by what factor the distance at the first count exceeds that at the last. Raises `ValueError` where a
    name has another number of distances.
    """
    for name, line in values.items():
        if len(line) != len(counts):
            raise ValueError(f"{name!r} has {len(line)} distances for {len(counts)} counts, wanted one for each.")
    with figure() as (made, (ax,)):
        for index, (name, line) in enumerate(values.items()):
            look: dict[str, Any] = {"color": color(name), "marker": MARKERS[index % len(MARKERS)]}
            grown = f"{line[0] / line[-1]:.1f}x from {counts[-1]:,} to {counts[0]:,}"
            ax.plot(counts, line, label=f"{name}: {grown}", **look)
        _plain_log(ax)
        ax.set(xlabel="pictures in the pile", ylabel=f"FD ({extractor}), no unit", xlim=(0, None))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.legend()
        ax.set_title(title or "The same pictures, counted in smaller piles")
    return made


def _draw_doses(ax: Axes, records: Sequence[Record], groups: Mapping[tuple[str, int], Sequence[str]]) -> None:
    """One distance: a dot with its bounds for each dose, group under group, and a line at each group's floor."""
    y, ticks = 0.0, {}
    for index, ((family, n), doses) in enumerate(groups.items()):
        ticks[y] = f"$\\bf{{{_bold(FAMILIES.get(family, family))}}}$  ({n:,} images)"
        floor = _undamaged(records, n)
        if floor is not None:
            ends = (y + 0.5, y + len(doses) + 0.5)
            ax.vlines(floor, *ends, color=INK, linewidth=1.4, label="undamaged test images, as many")
        for dose in doses:
            y += 1
            ticks[y] = dose
            _draw_dose(ax, _latest(records, family, dose, n), y, PALETTE[index % len(PALETTE)])
        y += 1.6
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(axis="y", length=0)
    ax.set(ylim=(y - 0.6, -0.8))
    ax.grid(axis="y", visible=False)
    _scale_doses(ax, [one.value if one.low is None else one.low for one in records], max(one.value for one in records))


def _draw_dose(ax: Axes, one: Record | None, y: float, shade: str) -> None:
    """A dot and its bounds; nothing where this dose was not measured."""
    if one is not None:
        ax.errorbar(one.value, y, xerr=_bars([one]), color=shade, marker="o", label=DOSE, **DOT)


def _draw_curves(ax: Axes, records: Sequence[Record], name: str, where: str) -> None:
    """A line with bounds for each value that the configuration has under `name`, over what it has under `where`."""
    for index, each in enumerate(sorted({one.config[name] for one in records})):
        latest = {one.config[where]: one for one in records if one.config[name] == each}
        own, shade, marker = [latest[at] for at in sorted(latest)], color(each), MARKERS[index % len(MARKERS)]
        values = [one.value for one in own]
        ax.errorbar(sorted(latest), values, yerr=_bars(own), label=each, color=shade, marker=marker, **DOT)
    ax.set(xscale="log")
    ax.xaxis.set_minor_locator(NullLocator())
    values = [one.value for one in records]
    if min(values) > 0 and max(values) > STEEP * min(values):
        _plain_log(ax)


def _of_last_training(records: Sequence[Record]) -> list[Record]:
    """For each run the records of its latest training, where one of that name was trained anew in another way."""

    def training(one: Record) -> list[str]:
        options = one.config.get("training", "").split(" --")
        return sorted(each for each in options if each.split(" ")[0] not in FREE)

    latest = {one.config["run"]: training(one) for one in records}
    return [one for one in records if training(one) == latest[one.config["run"]]]


def _groups(records: Sequence[Record]) -> dict[tuple[str, int], list[str]]:
    """Labels of the doses of each (family, number of images), by growing damage; the test images are no dose."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for one in records:
        told = one.config
        if told["family"] != "undamaged" or not told["images"].endswith("test"):
            found.setdefault((told["family"], told["n"]), {})[told["label"]] = told["strength"]
    order = list(FAMILIES)
    keys = sorted(found, key=lambda key: order.index(key[0]) if key[0] in order else len(order))
    return {key: sorted(found[key], key=found[key].__getitem__) for key in keys}


def _latest(records: Sequence[Record], family: str, label: str, n: int) -> Record | None:
    wanted = {"family": family, "label": label, "n": n}
    return next((one for one in reversed(records) if wanted.items() <= one.config.items()), None)


def _undamaged(records: Sequence[Record], n: int) -> float | None:
    """The latest value of `n` undamaged test images."""
    wanted = {"family": "undamaged", "n": n}
    alike = (one for one in reversed(records) if wanted.items() <= one.config.items())
    return next((one.value for one in alike if one.config["images"].endswith("test")), None)


def _bars(records: Sequence[Record]) -> np.ndarray:
    """How far the bounds lie below and above the values, (2, N); nothing where a record has none."""
    below = [0.0 if one.low is None else max(one.value - one.low, 0.0) for one in records]
    above = [0.0 if one.high is None else max(one.high - one.value, 0.0) for one in records]
    return np.array([below, above])


def _scale_doses(ax: Axes, bounds: Sequence[float], top: float) -> None:
    """A logarithmic axis; where some lower bounds are not positive it is linear up to a thousandth of the top."""
    if min(bounds) > 0:
        ax.set(xscale="log")
        return
    decade = int(np.floor(np.log10(top)))
    ax.set_xscale("symlog", linthresh=10.0 ** (decade - 3), linscale=0.6)
    ax.set_xlim(min(1.5 * min(bounds), -(10.0 ** (decade - 4))), 2 * top)
    ax.xaxis.set(major_locator=FixedLocator([0, *(10.0**power for power in range(decade - 3, decade + 1))]))
    ax.xaxis.set_minor_locator(NullLocator())


def _plain_log(ax: Axes) -> None:
    """A logarithmic y axis with plain numbers, three a decade: equal factors are equally long."""
    ax.set(yscale="log")
    ax.yaxis.set(major_locator=LogLocator(subs=(1.0, 2.0, 5.0)), minor_locator=NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _quantity(kind: str) -> str:
    """A measure as an axis names it, with its unit."""
    return f"{kind} (mean squared error)" if kind == HELDOUT else f"{kind}, no unit"


def _count_text(value: float) -> str:
    """`250 k`, `1.5 M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def _bold(text: str) -> str:
    return text.replace(" ", "\\ ")


def _entitle(made: Figure, title: str) -> None:
    made.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
