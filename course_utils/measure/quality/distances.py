"""How far apart two piles of images are, in an extractor's features: the Fréchet and the kernel distance.

Both are squared distances, without a unit. With the published Inception weights they are called FID and KID, with any
other extractor FD and KD with its name. Shapes: n and m images, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.measure.quality.features import Features, Statistics, refuse_unlike
from course_utils.measure.quality.references import Reference
from course_utils.measure.tables import Table, Tabular

__all__ = ["INCEPTION", "Distances", "distances", "fewest_images", "frechet_distance", "kernel_distance", "name_of"]

INCEPTION = "inception-v3"  # the extractor whose distances are FID and KID: Inception with the published weights
_ENOUGH = 1_000
_BLOCK = 1_024  # rows of a block of the kernel matrix: 8 MiB
_NEGATIVE = 1e-6  # of the largest eigenvalue; below minus this it is no rounding


def frechet_distance(a: Features | Statistics, b: Features | Statistics, *, fewest: int | None = None) -> float:
    """Squared Fréchet distance of two Gaussians with the means and covariances of `a` and `b`.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, eq. 6). The trace
    of the root is the sum of the roots of the eigenvalues of the symmetric L' C_b L with C_a = L L'. Biased upwards,
    more so the fewer images: compare at equal counts only. Raises `ValueError` for unlike extractors and for fewer
    images than `fewest`, by default `fewest_images(D)`.
    """
    refuse_unlike(a, b)
    for one in (a, b):
        _refuse_too_few(one, fewest_images(one.width) if fewest is None else fewest)
    many, few = sorted((a, b), key=lambda one: one.n, reverse=True)  # many images: a covariance of full rank
    x, y = (one.statistics() if isinstance(one, Features) else one for one in (many, few))
    root = _root_trace(x.covariance, y.covariance)
    squared = (x.mean - y.mean).square().sum() + x.covariance.trace() + y.covariance.trace() - 2 * root
    return max(float(squared), 0.0)


def fewest_images(width: int) -> int:
    """How many images a Fréchet distance of `width` features takes at least: one more than features, or 1,000.

    Up to D images leave the covariance singular, and the distance then tells more about their number than about them.
    For wide extractors 1,000 is allowed all the same, since FID-1k is in use: comparable at the same count, no more.
    """
    return min(width + 1, _ENOUGH)


def kernel_distance(a: Features, b: Features) -> float:
    """Unbiased squared maximum mean discrepancy of two sets under the kernel (x·y / D + 1)^3, over all their pairs.

    Gretton et al. 2012, eq. 3, with the kernel of Bińkowski et al. 2018 (KID). It may fall a little below zero and has
    no bias in the number of images. Memory does not grow with the number of pairs. Raises `ValueError` for unlike
    extractors or a single image.
    """
    refuse_unlike(a, b)
    for one in (a, b):
        _refuse_too_few(one, 2)
    x, y = a.values, b.values
    across = _kernel_sum(x, y) / (a.n * b.n)
    return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * across


@dataclass(frozen=True, repr=False)
class Distances(Tabular):
    """Fréchet (`fd`) and kernel distance (`kd`) of `n` images to a reference of `reference_n` images.

    The kernel distance was taken against `kept` of these. `of` and `reference_of` say in words which images.
    """

    fd: float
    kd: float
    n: int
    reference_n: int
    kept: int
    extractor: str
    sha256: str
    of: str
    reference_of: str

    @property
    def fd_name(self) -> str:
        """What the Fréchet distance is to be called: `FID-1k`, or `FD (cifar-cnn)`."""
        return name_of("frechet", self.extractor, self.n)

    @property
    def kd_name(self) -> str:
        """What the kernel distance is to be called: `KID`, or `KD (cifar-cnn)`."""
        return name_of("kernel", self.extractor)

    def text(self) -> str:
        """Both in one sentence, with counts and reference."""
        against = f"{self.n:,} images against {self.reference_n:,} of {self.reference_of}"
        return f"{self.fd_name} {self.fd:.3g}, {self.kd_name} {self.kd:.3g} · {against}"

    def table(self) -> Table:
        """A row for each distance."""
        rows = [
            [name, f"{value:.4g}", f"{self.n:,}", f"{count:,} of {self.reference_of}"]
            for name, value, count in ((self.fd_name, self.fd, self.reference_n), (self.kd_name, self.kd, self.kept))
        ]
        return Table(["distance", "value", "images", "against"], rows, title=self.of)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__


def distances(features: Features, reference: Reference, *, fewest: int | None = None) -> Distances:
    """Both distances of `features` to a reference. Raises `ValueError` as `frechet_distance` does."""
    known, kept = reference.statistics, reference.features
    fd, kd = frechet_distance(features, known, fewest=fewest), kernel_distance(features, kept)
    return Distances(fd, kd, features.n, known.n, kept.n, features.extractor, features.sha256, features.of, known.of)


def name_of(distance: str, extractor: str, n: int | None = None) -> str:
    """What a distance, `frechet` or `kernel`, is called: FID and KID with Inception, FD and KD with another extractor.

    FID carries the number of images, if given: `FID-1k`.
    """
    inception, other = {"frechet": ("FID", "FD"), "kernel": ("KID", "KD")}[distance]
    if extractor != INCEPTION:
        return f"{other} ({extractor})"
    counted = "" if n is None or distance == "kernel" else f"-{n // 1000}k" if n % 1000 == 0 else f"-{n}"
    return f"{inception}{counted}"


def _refuse_too_few(one: Features | Statistics, fewest: int) -> None:
    if one.n < fewest:
        raise ValueError(
            f"{one.of!r} is {one.n:,} images, too few for this distance of {one.width:,} features: "
            f"give at least {fewest:,}."
        )


def _root_trace(a: Tensor, b: Tensor) -> Tensor:
    """The trace of the root of a product of covariances (D, D), which may be singular."""
    factor = _factor(a)
    if factor.shape[1] == 0:
        return a.new_zeros(())
    return _not_negative(torch.linalg.eigvalsh(factor.T @ b @ factor)).sqrt().sum()


def _factor(a: Tensor) -> Tensor:
    """A matrix (D, rank) whose product with its own transpose is the covariance `a`, as (D, D).

    Cholesky's where there is one; a singular covariance is taken apart into eigenvalues, and those that are zero but
    for rounding are left out.
    """
    factor, failed = torch.linalg.cholesky_ex(a)
    if not failed:
        return factor
    values, vectors = torch.linalg.eigh(a)
    kept = _not_negative(values) > values[-1] * a.shape[0] * torch.finfo(a.dtype).eps
    return vectors[:, kept] * values[kept].sqrt()


def _not_negative(values: Tensor) -> Tensor:
    """Rising eigenvalues, with what rounding left below zero at zero. Raises `ValueError` for more than that."""
    if values[0] < -_NEGATIVE * values[-1].abs():
        raise ValueError(
            f"a covariance has the eigenvalue {float(values[0]):.3g} beside {float(values[-1]):.3g}, wanted none below "
            "zero: it was not made of features."
        )
    return values.clamp(min=0)


def _mean_of_pairs(x: Tensor) -> float:
    """The kernel's mean over all pairs of two different rows of x (n, D)."""
    n, width = x.shape
    same = float((x.square().sum(1) / width + 1).pow(3).sum())
    return (_kernel_sum(x, x) - same) / (n * (n - 1))


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """The kernel's sum over all rows of x (n, D) with all rows of y (m, D), block by block."""
    width = x.shape[1]
    return sum(
        float((rows @ columns.T / width + 1).pow(3).sum()) for rows in x.split(_BLOCK) for columns in y.split(_BLOCK)
    )
