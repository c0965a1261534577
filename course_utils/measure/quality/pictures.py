"""How much pictures from the same noise differ, pixel by pixel: something to look at, not a gate.

Shapes: N images, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.measure.tables import Table, Tabular

__all__ = ["PictureDistance", "same_pictures"]

_BLOCK = 256  # images at a time


@dataclass(frozen=True, repr=False)
class PictureDistance(Tabular):
    """Differences of `n` pairs of 8-bit pictures: `rms` and `largest` in grey levels, 0 to 255.

    `share_off` is the share of values that are more than one grey level apart.
    """

    rms: float
    largest: int
    share_off: float
    n: int

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio of all pictures together, 20 log10(255 / rms), in dB; infinite for equal ones."""
        return 20 * math.log10(255 / self.rms) if self.rms else math.inf

    def table(self) -> Table:
        """One row."""
        psnr = f"{self.psnr_db:.1f} dB" if self.rms else "∞ dB"
        columns = ["pictures", "RMS difference", "largest", "off by more than 1", "PSNR"]
        row = [f"{self.n:,}", f"{self.rms:.3g}", self.largest, f"{self.share_off:.2%}", psnr]
        note = "In grey levels, 0 to 255, of pictures from the same noise. Other pictures need not be worse ones."
        return Table(columns, [row], note=note)


def same_pictures(baseline_images: Tensor, variant_images: Tensor) -> PictureDistance:
    """Compare uint8 images (N, C, H, W) that two models drew from the same noise, pair by pair.

    Raises ValueError for other dtypes, unlike shapes or no images.
    """
    for name, images in (("baseline_images", baseline_images), ("variant_images", variant_images)):
        if images.dtype != torch.uint8 or images.ndim != 4 or not images.numel():
            seen = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise ValueError(f"{name} is {seen}, wanted uint8 (N, C, H, W) with N at least 1.")
    if baseline_images.shape != variant_images.shape:
        shapes = f"{tuple(baseline_images.shape)} and {tuple(variant_images.shape)}"
        raise ValueError(f"the images have shapes {shapes}, wanted the same images of both models.")
    squares = off = largest = 0
    for a, b in zip(baseline_images.cpu().split(_BLOCK), variant_images.cpu().split(_BLOCK), strict=True):
        gap = (a.int() - b.int()).abs()
        squares += int(gap.square().sum())
        off += int((gap > 1).sum())
        largest = max(largest, int(gap.max()))
    values = baseline_images.numel()
    return PictureDistance(math.sqrt(squares / values), largest, off / values, len(baseline_images))
