"""Pictures on the screen: grids and film strips. Shape legend: N images, C = 3 channels, H, W pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.classroom.style import figure
from course_utils.diffusion import ImageSet, to_uint8

__all__ = ["as_pixels", "film_strip", "show_images"]


def as_pixels(images: Tensor) -> Tensor:
    """Pictures as uint8: floats in [-1, 1] are converted, uint8 passes; (N, C, H, W) or (C, H, W) -> (N, C, H, W)."""
    images = images.detach().cpu()
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be (N, 3, H, W), seen {tuple(images.shape)}: pass RGB pictures, channels first.")
    return images if images.dtype == torch.uint8 else to_uint8(images.float())


def tile(images: Tensor, columns: int, gap: int = 2) -> Tensor:
    """Pictures side by side on white, (N, C, H, W) uint8 -> (rows * (H + gap), columns * (W + gap), C) uint8."""
    n, c, h, w = images.shape
    rows = math.ceil(n / columns)
    sheet = torch.full((rows, columns, c, h + gap, w + gap), 255, dtype=torch.uint8)
    sheet.view(rows * columns, c, h + gap, w + gap)[:n, :, gap // 2 : gap // 2 + h, gap // 2 : gap // 2 + w] = images
    return sheet.permute(0, 3, 1, 4, 2).reshape(rows * (h + gap), columns * (w + gap), c)


def show_images(images: Tensor | ImageSet, title: str = "", *, columns: int = 8, n: int | None = None) -> Figure:
    """A grid of pictures, from (N, 3, H, W) uint8 or floats in [-1, 1], or from an `ImageSet`, whose label is shown."""
    if isinstance(images, ImageSet):
        title = f"{title}  ({images.label})" if title else images.label
        images = images.images
    sheet = tile(as_pixels(images[:n]), columns)
    rows, width = sheet.shape[0] / sheet.shape[1], 0.85 * columns
    with figure(width=width, height=width * rows + (0.35 if title else 0.0)) as (made, (ax,)):
        ax.imshow(sheet.numpy())
        ax.set_axis_off()
        ax.set_title(title)
    return made


def film_strip(rows: dict[str, Sequence[Tensor]], labels: Sequence[str], title: str = "") -> Figure:
    """Named rows of pictures over time, one column a moment: each row holds one (3, H, W) picture a label."""
    for name, pictures in rows.items():
        if len(pictures) != len(labels):
            raise ValueError(f"row {name!r} has {len(pictures)} pictures for {len(labels)} labels: pass one a label.")
    columns = len(labels)
    with figure(len(rows), columns, width=1.05 * columns, height=1.15 * len(rows) + 0.35) as (made, axes):
        for index, (name, pictures) in enumerate(rows.items()):
            for column, picture in enumerate(pictures):
                ax = axes[index * columns + column]
                ax.imshow(as_pixels(picture)[0].permute(1, 2, 0).numpy())
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
                for spine in ax.spines.values():
                    spine.set_visible(False)
                if index == 0:
                    ax.set_title(labels[column], fontsize=9, fontweight="normal", loc="center")
                if column == 0:
                    ax.set_ylabel(name, fontsize=9)
        made.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return made
