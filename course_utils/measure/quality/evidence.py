"""What is known about a variant's quality: a number, how sure it is, how much was allowed, what it could have shown.

Three kinds, the strongest first: the variant computes the same function; it is the same denoiser, judged by losses on
the same noisy images; it draws from the same distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from course_utils.measure.quality.intervals import Estimate
from course_utils.measure.quality.power import POWER, power_of
from course_utils.measure.quality.seeds import SeedSpread, with_seeds
from course_utils.measure.tables import Table, Tabular

__all__ = ["KINDS", "Evidence", "Finding", "Kind", "ratio_evidence"]

Kind = Literal["same function", "same denoiser", "same distribution"]
Finding = Literal["preserved", "worse", "different", "inconclusive"]
KINDS: tuple[Kind, ...] = ("same function", "same denoiser", "same distribution")
"""The strongest first."""


@dataclass(frozen=True, repr=False)
class Evidence(Tabular):
    """One measured comparison of a variant with its baseline: `value` of `what`, from `n` numbers or images.

    Of a ratio variant / baseline, 1 says equal and more says worse; `low` and `high` are one-sided 95 % bounds each. A
    variant at the very tolerance is therefore passed one time in 20, one beyond it more rarely, and none within it is
    called worse more often. That is said of the ratio at this count of images: a Fréchet distance is too large at any
    count, what is added pulls the ratio towards 1, and so a variant whose distance from endless images would be just
    beyond the tolerance is passed more often. `seed_spread` is the relative standard deviation between seeds that the
    bounds cover; None where it is unknown, and they cover images alone. `pass_probability`, `detectable` and `needed`
    are those of `Power`; None where the outcome is no matter of chance, `needed` also where no number is enough.
    """

    kind: Kind
    what: str
    value: float
    low: float
    high: float
    tolerance: float
    n: int
    detectable: float | None = None
    pass_probability: float | None = None
    needed: int | None = None
    note: str = ""
    seed_spread: float | None = None

    @property
    def outcome(self) -> Finding:
        """`preserved` or `worse` when both bounds are on one side of the tolerance, `inconclusive` otherwise.

        Another function is `different`: whether its pictures are worse, the other kinds must tell. What is no finite
        number is worse.
        """
        if self.high <= self.tolerance:
            return "preserved"
        if not math.isfinite(self.value):
            return "worse"
        if self.kind == "same function":
            return "different"
        return "worse" if self.low > self.tolerance else "inconclusive"

    def text(self) -> str:
        """The value with its bounds, `1.012 (0.998–1.026)`; a difference alone where there are none."""
        if self.detectable is None:
            return f"{self.value:.2g}"
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"

    def limit(self) -> str:
        """The tolerance, `at most 1.02`."""
        return f"at most {self.tolerance:.3g}"

    def chances(self) -> str:
        """What it could have shown, in a sentence or two; empty where that is no matter of chance."""
        if self.detectable is None or self.pass_probability is None:
            return ""
        passes = "above 0.99" if self.pass_probability > 0.99 else f"{self.pass_probability:.2f}"
        equal = f"An equal variant with this much scatter would pass with probability {passes}"
        sentence = f"{equal}; one {_worse(self.detectable)} would be caught 4 times in 5."
        if self.pass_probability >= POWER or (self.needed is None and not self.seed_spread):
            return sentence
        if self.needed is None:
            return f"{sentence} No number of images changes that: seeds alone scatter too much for this tolerance."
        return f"{sentence} About {_rounded_up(self.needed):,} images would let an equal one pass 4 times in 5."

    def table(self) -> Table:
        """One row; below it what the comparison could have shown."""
        columns = ["kind", "what", "value", "wanted", "n", "outcome"]
        row = [self.kind, self.what, self.text(), self.limit(), f"{self.n:,}", self.outcome]
        return Table(columns, [row], note="\n".join(filter(None, [self.chances(), self.note])) or None)


def ratio_evidence(
    kind: Kind,
    what: str,
    log_ratio: Estimate,
    *,
    tolerance: float,
    n: int,
    note: str = "",
    spread: SeedSpread | None = None,
) -> Evidence:
    """Evidence from the log of variant / baseline with its jackknife error over `n` images and a `spread` of seeds.

    Raises ValueError for a tolerance that is not above 1.
    """
    if not 1 < tolerance < math.inf:
        raise ValueError(f"tolerance is {tolerance}, wanted a ratio above 1, such as 1.02 for 2 % worse.")
    whole = log_ratio if spread is None else with_seeds(log_ratio, spread)
    value, low, high = (math.exp(bound) for bound in (whole.value, whole.low, whole.high))
    passes, detectable, needed = power_of(whole, tolerance, n, floor=spread.error if spread else 0.0)
    seeds = spread.relative if spread else None
    return Evidence(kind, what, value, low, high, tolerance, n, detectable, passes, needed, note, seeds)


def _worse(ratio: float) -> str:
    """`6 % worse`, `2.4 % worse`, `3.1 times as bad`."""
    if ratio >= 2:
        return f"{ratio:.1f} times as bad"
    percent = 100 * (ratio - 1)
    return f"{percent:.1f} % worse" if percent < 9.95 else f"{percent:.0f} % worse"


def _rounded_up(count: int) -> int:
    """A count with two digits that tell: 2,341 -> 2,400."""
    unit = 10 ** max(len(str(count)) - 2, 0)
    return math.ceil(count / unit) * unit
