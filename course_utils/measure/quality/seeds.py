"""What another seed would change: two trainings of one recipe differ too, and a treatment has to be told from that.

A variant that was trained anew and its baseline are one draw of the seed each, so the log of their ratio carries twice
the variance of a log loss between seeds, beside the error over images. Assumed: the variant's recipe scatters like the
baseline's, and log losses of seeds are about normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from course_utils.measure.quality.intervals import Estimate

__all__ = ["SeedSpread", "seed_spread_of", "seeds_note", "with_seeds"]


class SeedSpread(NamedTuple):
    """The standard deviation of a log loss between `seeds` trainings, 0 where its size was told and not estimated."""

    relative: float
    seeds: int = 0

    @property
    def error(self) -> float:
        """What two draws of the seed add to the standard error of a log ratio."""
        return math.sqrt(2) * self.relative


def seed_spread_of(given: float | Sequence[float] | Tensor) -> SeedSpread:
    """The spread between seeds: a relative standard deviation as it is told, or the losses of several seeds, (k,).

    Raises ValueError for a deviation that is not from 0 to below 1, fewer than two losses, or losses not above 0.
    """
    if isinstance(given, (int, float)):
        if not 0 <= given < 1:
            raise ValueError(f"seed_spread is {given}, wanted a relative standard deviation, such as 0.03 for 3 %.")
        return SeedSpread(float(given))
    losses = torch.as_tensor(given, dtype=torch.float64)
    if losses.ndim != 1 or len(losses) < 2 or not bool((losses.isfinite() & (losses > 0)).all()):
        raise ValueError(f"seed_spread is {given}, wanted the losses of at least two seeds, each above 0.")
    return SeedSpread(float(losses.log().std()), len(losses))


def with_seeds(log_ratio: Estimate, spread: SeedSpread) -> Estimate:
    """A log ratio whose error covers two draws of the seed; degrees of freedom by Welch and Satterthwaite (1947).

    With the losses of three seeds or more either bound holds in 94 to 96 cases of 100, whichever error is the larger;
    with those of two, in 92 at the least.
    """
    images, seeds = log_ratio.standard_error**2, spread.error**2
    if not seeds:
        return log_ratio
    doubt = images**2 / log_ratio.df + (seeds**2 / (spread.seeds - 1) if spread.seeds else 0.0)
    df = min((images + seeds) ** 2 / doubt, _ENDLESS) if doubt else _ENDLESS
    return Estimate(log_ratio.value, math.sqrt(images + seeds), df)


def seeds_note(spread: SeedSpread | None) -> str:
    """Whether the spread between seeds is in the bounds, in a sentence."""
    if spread is None:
        return "The spread between seeds is unknown: the bounds speak of these two sets of weights alone."
    if not spread.relative:
        return "The spread between seeds is taken to be 0, as where a variant keeps the weights."
    known = f"from {spread.seeds} seeds" if spread.seeds else "as told"
    return f"Seeds of one recipe scatter by {100 * spread.relative:.2g} % ({known}), which the bounds cover."


_ENDLESS = 1e6  # degrees of freedom: Student's t is normal to six digits
