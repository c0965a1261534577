"""The doses of the calibration: real images, damaged or not, from the mildest of each family to the strongest.

Shapes: n images, 3 channels, H x W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from course_utils.diffusion import ImageSet
from course_utils.experiments.damage import add_noise, blur, drop_classes, duplicate, jpeg
from course_utils.measure.quality import Features, Reference, Statistics, refuse_unlike

__all__ = ["FAMILIES", "Dose", "doses", "held_apart", "less"]

FAMILIES = ("undamaged", "blur", "noise", "classes", "duplicates", "JPEG", "training")


@dataclass(frozen=True)
class Dose:
    """Images of one family of damage: `strength` grows with the damage, 0 is none; `label` says it with its unit."""

    family: str
    strength: float
    label: str
    images: Callable[[], Tensor]


def doses(test: ImageSet, n: int) -> list[Dose]:
    """Every dose, each of `n` images (n, 3, H, W) made of the test images when it is asked for.

    Raises `ValueError` where half the classes leave fewer than `n` test images: distances are compared at equal counts.
    """
    left = int((test.labels >= 5).sum())
    if n > left:
        raise ValueError(f"n is {n:,}, but without 5 classes {left:,} of the test images are left: ask for as many.")
    pile = test.images[:n]
    made = [Dose("undamaged", 0, "test images", lambda: pile)]
    made += [Dose("blur", sigma, f"sigma {sigma:g} px", partial(blur, pile, sigma)) for sigma in (0.5, 1.0, 2.0)]
    made += [Dose("noise", grey, f"{grey} grey levels", partial(add_noise, pile, grey)) for grey in (2, 8, 24)]
    made += [Dose("classes", count, f"{count} of 10 missing", partial(_without, test, count, n)) for count in (1, 3, 5)]
    made += [Dose("duplicates", k, f"each {k} times", partial(duplicate, pile, k)) for k in (2, 10, 50)]
    made += [
        Dose("JPEG", 100 - quality, f"quality {quality}", partial(jpeg, pile, quality)) for quality in (90, 50, 10)
    ]
    return made


def held_apart(train: ImageSet, reference: Reference, n: int) -> Dose:
    """`n` training images behind those whose features the reference keeps: to be held against the others, see `less`.

    Raises `ValueError` where the reference is not of these training images, or too few are left.
    """
    start = reference.features.n
    if len(train) != reference.n or len(train) < start + n + 2:
        raise ValueError(
            f"there are {len(train):,} training images, for a reference of {reference.n:,} that keeps {start:,}: to "
            f"hold {n:,} apart takes the images of that reference, and more than {start + n:,} of them."
        )
    return Dose("undamaged", 0, "training images held apart", lambda: train.images[start : start + n])


def less(statistics: Statistics, features: Features) -> Statistics:
    """The statistics of all images but those of `features`, which must be among them.

    Sums and sums of squares are what they are; nothing is extracted again. Raises `ValueError` for another extractor.
    """
    refuse_unlike(statistics, features)
    gone, kept = features.statistics(), statistics.n - features.n
    mean = (statistics.n * statistics.mean - gone.n * gone.mean) / kept  # (D,)
    scatter = (statistics.n - 1) * statistics.covariance - (gone.n - 1) * gone.covariance  # (D, D)
    for weight, other in ((statistics.n, statistics.mean), (-gone.n, gone.mean)):
        scatter = scatter + weight * torch.outer(other - mean, other - mean)
    of = f"{statistics.of}, without {features.n:,} held apart"
    return replace(statistics, mean=mean, covariance=scatter / (kept - 1), n=kept, of=of)


def _without(test: ImageSet, count: int, n: int) -> Tensor:
    """The first `n` test images of all classes but the first `count`."""
    return drop_classes(test.images, test.labels, range(count))[:n]
