"""What a gate of a given sharpness can see: the power of a one-sided t-test on a log ratio.

A variant passes when the upper bound of log(variant / baseline) is at most the log of the tolerance, and is called
worse when the lower bound is above it. With a normal estimate and an independent chi-square error, the distance from
the tolerance in standard errors follows Student's noncentral t, of which the common t + z is the short form. Assumed:
the standard error seen is the true one, the same for a better or worse variant, and falls like 1 / sqrt(n) down to what
no further row takes away (`floor`: the spread between seeds). The ratio that was seen does not enter: the answers say
what the measurement could show, not what it happened to show.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from course_utils.measure.quality.intervals import CONFIDENCE, Estimate

__all__ = ["POWER", "Power", "power_of"]

POWER = 0.8  # "4 times in 5"
BEYOND_DOUBT = 1e3  # standard errors; the noncentral t is 1 to the last bit long before


class Power(NamedTuple):
    """Chances of a gate.

    `pass_probability`: that an equal variant (true ratio 1) passes. `detectable`: the smallest true ratio that is
    called worse 4 times in 5. `needed`: the number of rows at which an equal variant passes 4 times in 5; None where no
    number is enough.
    """

    pass_probability: float
    detectable: float
    needed: int | None


def power_of(log_ratio: Estimate, tolerance: float, n: int, *, floor: float = 0.0) -> Power:
    """Chances of a gate whose log ratio has this standard error from `n` rows; ratios above `tolerance` are worse.

    `floor` is the part of the standard error that more rows do not lower.
    """
    error, df, room = log_ratio.standard_error, log_ratio.df, math.log(tolerance)
    away = min(room / error, BEYOND_DOUBT) if error > 0 else BEYOND_DOUBT
    distance = _needed_distance(df)
    spare = (room / distance) ** 2 - floor**2  # the variance that rows may leave
    needed = max(math.ceil(n * max(error**2 - floor**2, 0.0) / spare), 1) if spare > 0 else None
    return Power(_chance(away, df), tolerance * math.exp(distance * error), needed)


def _chance(away: float, df: float) -> float:
    """Chance that a bound clears the tolerance when the truth is so many standard errors on the right side of it."""
    from scipy import stats  # takes half a second, which who asks for no power need not wait

    return float(stats.nct.sf(stats.t.ppf(CONFIDENCE, df), df, away))


@cache
def _needed_distance(df: float) -> float:
    """Standard errors between truth and tolerance for a chance of 4 in 5; near t(0.95) + z(0.8)."""
    from scipy import optimize

    return float(optimize.brentq(lambda away: _chance(away, df) - POWER, 0, 1000))
