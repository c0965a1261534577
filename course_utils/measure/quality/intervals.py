"""Intervals without resampling: what a statistic does when a group of its rows is left out, group after group.

The delete-a-group jackknife (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 11), for groups of
unlike size after Busing, Meijer and van der Leeden ("Delete-m jackknife for unequal m", Statistics and Computing 9,
1999, equation 6). A bootstrap repeats rows; a Fréchet distance takes the repeats for a loss of variety, so that its
bootstrap interval lies beside the point. Leaving rows out keeps all rows different. For smooth statistics the standard
error errs, if at all, towards too large (Efron and Stein 1981).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor

__all__ = ["CONFIDENCE", "GROUPS", "Estimate", "interleaved", "jackknife"]

GROUPS = 20
CONFIDENCE = 0.95  # of each one-sided bound


class Estimate(NamedTuple):
    """A value with its standard error and the degrees of freedom that the error rests on."""

    value: float
    standard_error: float
    df: float

    @property
    def low(self) -> float:
        """What the truth exceeds with 95 % confidence; one-sided, by Student's t."""
        return self.value - self._margin()

    @property
    def high(self) -> float:
        """What the truth stays below with 95 % confidence; one-sided, by Student's t."""
        return self.value + self._margin()

    def _margin(self) -> float:
        return float(special.stdtrit(self.df, CONFIDENCE)) * self.standard_error


def interleaved(n: int, groups: int = GROUPS) -> list[Tensor]:
    """Rows 0 to n - 1 dealt out like cards: int64 indices of each group, whose sizes differ by at most one.

    Raises ValueError for fewer than two groups or fewer rows than groups.
    """
    if not 2 <= groups <= n:
        raise ValueError(f"groups is {groups} for {n} rows, wanted at least 2 and at most one a row.")
    return [torch.arange(first, n, groups) for first in range(groups)]


def jackknife(statistic: Callable[[Tensor], float], groups: Sequence[Tensor]) -> Estimate:
    """A statistic of all rows with its delete-a-group standard error; G groups give G - 1 degrees of freedom.

    `statistic(left_out)` computes from all rows but those whose indices it is given (at first none); `groups` hold the
    indices of the rows, each row in one group. Raises ValueError where a value is not finite.
    """
    value = statistic(torch.empty(0, dtype=torch.int64))
    without = np.array([statistic(group) for group in groups])
    if not (math.isfinite(value) and np.isfinite(without).all()):
        raise ValueError(f"a statistic is {value} of all rows and {without} without each group, wanted finite numbers.")
    sizes = np.array([len(group) for group in groups])
    weight = sizes.sum() / sizes  # h of Busing et al.: n over the size of the group
    pseudo = weight * value - (weight - 1) * without
    centre = len(groups) * value - ((1 - 1 / weight) * without).sum()
    variance = ((pseudo - centre) ** 2 / (weight - 1)).mean()
    return Estimate(float(value), float(math.sqrt(variance)), len(groups) - 1)
