"""Images as points: an extractor turns each into D numbers, and a pile of images into a mean and a covariance.

Shapes: N images, 3 channels, H x W pixels, n rows of D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from course_utils.measure.precision import float32_arithmetic
from course_utils.measure.tables import Table, Tabular

__all__ = ["Extractor", "Features", "Statistics", "extract", "extractor_from", "refuse_other_images", "refuse_unlike"]


class Extractor(Protocol):
    """Whatever turns uint8 images (N, 3, H, W) into features, float32 (N, D) on the CPU.

    `name` and `sha256` (of its weights; empty where it has none) say which features these are: only those of one
    extractor are compared.
    """

    @property
    def name(self) -> str:
        """What the extractor is called in every printed value."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights in hexadecimal."""

    def __call__(self, images: Tensor) -> Tensor:
        """Features of uint8 images (N, 3, H, W): float32 (N, D) on the CPU."""


@dataclass(frozen=True)
class _Extractor:
    name: str
    function: Callable[[Tensor], Tensor] = field(repr=False)
    sha256: str = ""

    def __call__(self, images: Tensor) -> Tensor:
        with torch.inference_mode(), float32_arithmetic():
            made = self.function(images).to("cpu", torch.float32)
        return made.clone()  # an ordinary tensor, which may be changed and differentiated


def extractor_from(name: str, function: Callable[[Tensor], Tensor], sha256: str = "") -> Extractor:
    """Make an extractor of any function from uint8 images (N, 3, H, W) to features (N, D).

    It runs without gradients and in true float32: TF32 would make features of a GPU differ from those of a CPU.
    """
    return _Extractor(name, function, sha256)


@dataclass(frozen=True, repr=False, eq=False)
class Statistics(Tabular):
    """What a Fréchet distance needs of n images: `mean` (D,) and unbiased `covariance` (D, D), both float64.

    `of` says in words which images. Raises `ValueError` for other shapes, NaN, infinity or fewer than 2 images.
    """

    mean: Tensor
    covariance: Tensor
    n: int
    extractor: str
    sha256: str
    of: str

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.covariance.shape != (self.width, self.width):
            shapes = f"{tuple(self.mean.shape)} and {tuple(self.covariance.shape)}"
            raise ValueError(f"mean and covariance of {self.of!r} have shapes {shapes}, wanted (D,) and (D, D)")
        if self.n < 2:
            raise ValueError(f"{self.of!r} is {self.n} image, which has no covariance; give at least 2")
        _refuse_other_dtype(self.mean, self.of)
        _refuse_other_dtype(self.covariance, self.of)
        _refuse_not_finite(self.mean, self.of)
        _refuse_not_finite(self.covariance, self.of)
        if not torch.allclose(
            self.covariance, self.covariance.T, rtol=1e-6, atol=1e-9 * float(self.covariance.abs().max())
        ):
            raise ValueError(f"the covariance of {self.of!r} is not symmetric: it was not made of features")

    @property
    def width(self) -> int:
        """How many features an image has, D."""
        return self.mean.shape[0]

    def table(self) -> Table:
        """One row."""
        row = [self.of, f"{self.n:,}", self.width, self.extractor]
        return Table(["statistics of", "images", "features", "extractor"], [row])


@dataclass(frozen=True, repr=False, eq=False)
class Features(Tabular):
    """The features of n images, `values` float64 (n, D), by which extractor, and in words `of` which images.

    Raises `ValueError` for another shape or dtype, no rows, NaN or infinity.
    """

    values: Tensor
    extractor: str
    sha256: str
    of: str

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise ValueError(
                f"features of {self.of!r} have shape {tuple(self.values.shape)}, wanted (n, D) with n, D > 0"
            )
        _refuse_other_dtype(self.values, self.of)
        _refuse_not_finite(self.values, self.of)

    @property
    def n(self) -> int:
        """How many images."""
        return self.values.shape[0]

    @property
    def width(self) -> int:
        """How many features an image has, D."""
        return self.values.shape[1]

    def first(self, n: int) -> Features:
        """The first `n` images alone. Raises `ValueError` if there are fewer."""
        if not 1 <= n <= self.n:
            raise ValueError(f"there are {self.n:,} images of {self.of!r}, the first {n:,} were asked for")
        return replace(self, values=self.values[:n])

    def without(self, rows: slice | Tensor) -> Features:
        """All images but those of `rows`: a slice, their numbers (k,) or a mask, bool (n,)."""
        keep = torch.ones(self.n, dtype=torch.bool)
        keep[rows] = False
        return replace(self, values=self.values[keep])

    def statistics(self) -> Statistics:
        """Their mean and unbiased covariance. Raises `ValueError` for a single image."""
        mean = self.values.mean(0)
        centred = self.values - mean
        covariance = centred.T @ centred / max(self.n - 1, 1)
        return Statistics(mean, covariance, self.n, self.extractor, self.sha256, self.of)

    def table(self) -> Table:
        """One row."""
        row = [self.of, f"{self.n:,}", self.width, self.extractor]
        return Table(["features of", "images", "features", "extractor"], [row])


def extract(
    extractor: Extractor,
    images: Tensor,
    *,
    of: str,
    batch_size: int = 250,
    progress: Callable[[int], object] | None = None,
) -> Features:
    """Features of uint8 `images` (N, 3, H, W), a batch at a time; `of` says in words which images these are.

    `progress` is told after each batch how many images it had, as `tqdm.update` wants it. Raises `ValueError` for other
    images and for features that are not finite numbers (N, D).
    """
    refuse_other_images(images)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    parts = []
    for batch in images.split(batch_size):
        parts.append(_of_batch(extractor, batch))
        if progress is not None:
            progress(len(batch))
    return Features(torch.cat(parts), extractor.name, extractor.sha256, of)


def refuse_unlike(a: Features | Statistics, b: Features | Statistics) -> None:
    """Raise `ValueError` unless both come from one extractor with the same weights and number of features."""
    for what in ("extractor", "sha256", "width"):
        x, y = getattr(a, what), getattr(b, what)
        if x != y:
            shown = f"{x[:8] or 'none'} and {y[:8] or 'none'}" if what == "sha256" else f"{x} and {y}"
            raise ValueError(
                f"{a.of!r} and {b.of!r} have features of another {what}, {shown}, and cannot be compared: extract both "
                "with the same extractor."
            )


def _of_batch(extractor: Extractor, batch: Tensor) -> Tensor:
    """Features of a batch, float64 (N, D) on the CPU."""
    made = extractor(batch)
    if made.ndim != 2 or len(made) != len(batch):
        raise ValueError(
            f"{extractor.name} made {tuple(made.shape)} of {len(batch)} images, wanted a row of features for each"
        )
    return made.to("cpu", torch.float64)


def refuse_other_images(images: Tensor) -> None:
    """Raise `ValueError` unless these are uint8 images (N, 3, H, W)."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        seen = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        raise ValueError(
            f"features are taken of uint8 images (N, 3, H, W) with grey levels 0 to 255, got {seen}; "
            "a sampler's output becomes that by `to_uint8`."
        )


def _refuse_other_dtype(values: Tensor, of: str) -> None:
    if values.dtype != torch.float64:
        raise ValueError(f"features of {of!r} are {str(values.dtype).removeprefix('torch.')}, wanted float64")


def _refuse_not_finite(values: Tensor, of: str) -> None:
    wrong = int((~values.isfinite()).sum())
    if wrong:
        raise ValueError(
            f"features of {of!r} hold NaN or infinity in {wrong:,} of {values.numel():,} places; "
            "look at the images and the extractor's weights."
        )
