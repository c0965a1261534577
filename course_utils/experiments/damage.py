"""Damage done to pictures on purpose, in known doses, to see which measure of quality notices.

Every function takes pictures, uint8 (N, 3, H, W), and returns new ones of the same kind; nothing is changed in place.
Shapes: N pictures, H x W pixels; a grey level is one of the 256 values of a channel.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from course_utils.diffusion.seeds import ImageNoise

__all__ = ["add_noise", "blur", "drop_classes", "duplicate", "jpeg"]

REACH = 4.0  # standard deviations after which the Gaussian is cut off


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of standard deviation `sigma` in pixels, the edges mirrored; 0 leaves all as it is.

    The kernel is sampled at whole pixels up to 4 `sigma`. Raises `ValueError` for pictures of another kind or a
    negative `sigma`.
    """
    _check_pictures(images)
    _check_dose("sigma", sigma)
    height, width = (_blur_matrix(size, sigma).to(images.device) for size in images.shape[2:])
    chunks = [height @ chunk.double() @ width.T for chunk in images.split(500)]  # (N, 3, H, W)
    return _rounded(torch.cat(chunks))


def add_noise(images: Tensor, levels: float, *, seed: int = 0) -> Tensor:
    """Add Gaussian noise with a standard deviation of `levels` grey levels to every channel of every pixel.

    Picture i gets the noise of (`seed`, i). What leaves 0 to 255 is clamped. Raises `ValueError` for pictures of
    another kind or negative `levels`.
    """
    _check_pictures(images)
    _check_dose("levels", levels)
    noise = ImageNoise(seed, 0, len(images))(torch.empty_like(images, dtype=torch.float32))
    return _rounded(images + levels * noise)


def drop_classes(images: Tensor, labels: Tensor, classes: Iterable[int]) -> Tensor:
    """Leave out every picture whose label, int64 (N,), is one of `classes`; the others keep their order.

    Raises `ValueError` where the labels are not one a picture, or no picture would be left.
    """
    _check_pictures(images)
    if labels.shape != (len(images),):
        raise ValueError(f"labels are {tuple(labels.shape)} for {len(images):,} pictures, wanted one a picture.")
    dropped = sorted(set(classes))
    kept = ~torch.isin(labels, torch.tensor(dropped, dtype=labels.dtype, device=labels.device))
    if not bool(kept.any()):
        raise ValueError(f"without the classes {dropped} no picture is left: drop fewer classes.")
    return images[kept]


def duplicate(images: Tensor, copies: int) -> Tensor:
    """As many pictures as before, but only the first N / `copies` of them, over and over: A B C A B C.

    Where `copies` does not divide N the last round is cut short. Raises `ValueError` for `copies` below 1.
    """
    _check_pictures(images)
    if copies < 1:
        raise ValueError(f"copies must be at least 1, got {copies}: 1 leaves every picture once.")
    different = -(-len(images) // copies)
    return images[torch.arange(len(images), device=images.device) % different]


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Save as JPEG and read again; `quality` from 95 (hardly visible) down to 1, as Pillow counts it.

    Colour is kept at half the resolution, as in most JPEG files. Raises `ValueError` for pictures of another kind or a
    quality outside 1 to 95.
    """
    _check_pictures(images)
    if not 1 <= quality <= 95:
        raise ValueError(f"quality must be between 1 and 95, got {quality}.")
    pixels = images.permute(0, 2, 3, 1).cpu().numpy()  # (N, H, W, 3)
    again = np.stack([_through_jpeg(picture, quality) for picture in pixels])
    return torch.from_numpy(again).permute(0, 3, 1, 2).contiguous().to(images.device)


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """The blur of one row of pixels as a matrix, float64 (size, size), whose rows sum to 1."""
    if sigma == 0:
        return torch.eye(size, dtype=torch.float64)
    offsets = torch.arange(-int(REACH * sigma + 0.5), int(REACH * sigma + 0.5) + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    seen = (torch.arange(size)[:, None] + offsets) % (2 * size)  # (size, offsets): beyond an edge lies the mirror
    seen = torch.where(seen < size, seen, 2 * size - 1 - seen)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, seen, (weights / weights.sum()).expand(size, -1))


def _rounded(pixels: Tensor) -> Tensor:
    """Grey levels as uint8, to the nearest, within 0 to 255."""
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """One picture, uint8 (H, W, 3), as it comes back from a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="jpeg", quality=quality)
    return np.asarray(Image.open(file))


def _check_pictures(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(
            f"images are {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}, wanted uint8 (N, 3, H, W) "
            "with at least one picture: to_uint8 turns floats in [-1, 1] into pixels."
        )


def _check_dose(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be 0 or larger, and finite, got {value}.")
