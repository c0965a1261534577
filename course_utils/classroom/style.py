"""One look for every figure: colour-blind safe, a unit on each axis, one colour for a variant wherever it appears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["PALETTE", "color", "figure", "style"]

# Okabe and Ito, "Color Universal Design" (2008), without its yellow, which is too faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5F5F5F", "#000000")

FIXED = {
    "fp32": PALETTE[0],
    "baseline": PALETTE[0],
    "forward": PALETTE[0],
    "ddpm": PALETTE[0],
    "memory": PALETTE[0],
    "backward": PALETTE[1],
    "bf16": PALETTE[1],
    "compute": PALETTE[1],
    "launch": PALETTE[2],
    "ddim": PALETTE[1],
    "train": PALETTE[0],
    "held-out": PALETTE[1],
}
_given: dict[str, str] = {}

STYLE: Any = {
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "axes.prop_cycle": cycler(color=PALETTE),
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "image.interpolation": "nearest",
    "svg.hashsalt": "course",
}


def color(name: str) -> str:
    """The colour of a variant, the same in every figure of the course for as long as the kernel lives."""
    if name in FIXED:
        return FIXED[name]
    if name not in _given:
        taken = set(_given.values())
        free = [c for c in PALETTE if c not in taken]
        _given[name] = free[0] if free else PALETTE[len(_given) % len(PALETTE)]
    return _given[name]


@contextmanager
def style() -> Iterator[None]:
    """The course's matplotlib settings, for the length of a `with` block; the reader's own settings stay untouched."""
    with mpl.rc_context(STYLE):
        yield


@contextmanager
def figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.0, height: float = 3.6
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A styled figure and its axes (row by row), taken off pyplot's list so that a cell shows it once."""
    with style():
        made, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
        try:
            yield made, list(axes.flat)
        finally:
            plt.close(made)
