"""Evidence on one pile of drawn images against another: both distances to a reference, from the same seeds.

Shapes: n images in each pile, of which row i began with the same noise; m of the reference; D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from course_utils.measure.quality.distances import fewest_images, frechet_distance, name_of
from course_utils.measure.quality.evidence import Evidence, ratio_evidence
from course_utils.measure.quality.features import Features, Statistics, refuse_unlike
from course_utils.measure.quality.intervals import GROUPS, Estimate, interleaved, jackknife
from course_utils.measure.quality.seeds import seed_spread_of, seeds_note

if TYPE_CHECKING:
    from course_utils.measure.quality.references import Reference

__all__ = [
    "DISTANCE_TOLERANCE",
    "FEWEST_IMAGES",
    "discrepancy_without",
    "distance_without",
    "kernel_difference",
    "same_distribution",
]

DISTANCE_TOLERANCE = 1.05
FEWEST_IMAGES = 500  # 25 in each of the 20 groups; what is left without one outnumbers 128 features
_BLOCK = 1_024  # rows of a block of the kernel matrix


def same_distribution(
    baseline: Features,
    variant: Features,
    reference: Reference | Statistics,
    *,
    tolerance: float = DISTANCE_TOLERANCE,
    groups: int = GROUPS,
    seed_spread: float | Sequence[float] | Tensor | None = None,
) -> Evidence:
    """Ratio of the Fréchet distances of two piles to a reference, row i of both drawn from the same seed.

    The jackknife leaves the same rows out of both, and takes the reference as given. With n images either distance is
    too large; what is added stands in both and pulls the ratio towards 1. The bounds hold of the ratio at n images, not
    of that of endless ones, and where little but the addition is left they are wider than they need be. A reference
    with features adds the difference of the kernel distances, which has no such bias, to the note. For a network that
    was trained anew, `seed_spread` adds what seeds of one recipe differ by, as `same_denoiser` says: a relative
    standard deviation, or the distances of several seeds at this n. Raises ValueError for unlike counts or extractors,
    for fewer than 500 images or than a Fréchet distance takes, for a pile at distance 0 and for what is no such spread.
    """
    known = reference if isinstance(reference, Statistics) else reference.statistics
    _refuse_unlike_piles(baseline, variant)
    distances = [distance_without(pile, known) for pile in (variant, baseline)]

    def log_ratio(left_out: Tensor) -> float:
        above, below = (distance(left_out) for distance in distances)
        return math.log(above / below)

    nothing = torch.empty(0, dtype=torch.int64)
    found = [distance(nothing) for distance in distances]
    if 0.0 in found:
        raise ValueError(f"a pile is at distance 0 from {known.of!r}: give drawn images, not the reference itself.")
    name, n = name_of("frechet", known.extractor), baseline.n
    notes = [
        f"{name} {found[1]:.4g} and {found[0]:.4g}, {n:,} images against {known.n:,} of {known.of}; what a finite"
        " count adds to both pulls the ratio towards 1."
    ]
    if not isinstance(reference, Statistics):
        notes.append(_kernel_note(kernel_difference(baseline, variant, reference.features, groups=groups), known))
    spread = None if seed_spread is None else seed_spread_of(seed_spread)
    notes.append(seeds_note(spread))
    estimate = jackknife(log_ratio, interleaved(n, groups))
    what, note = f"{name}, variant / baseline", "\n".join(notes)
    return ratio_evidence("same distribution", what, estimate, tolerance=tolerance, n=n, note=note, spread=spread)


def kernel_difference(baseline: Features, variant: Features, reference: Features, *, groups: int = GROUPS) -> Estimate:
    """Kernel distance of the variant to the reference minus that of the baseline, both unbiased, over all pairs.

    The jackknife leaves blocks of paired images out of both (for U-statistics: Arvesen 1969), the reference is taken
    as given. Each bound holds in 95 cases of 100 for piles about equally far off; for a variant that is many standard
    errors worse, value and error rise together, and the upper bound holds in some 91, the lower in 98. Raises
    ValueError for unlike counts or extractors.
    """
    if baseline.n != variant.n:
        raise ValueError(f"the piles have {baseline.n:,} and {variant.n:,} images, wanted the same seeds in both.")
    for pile in (baseline, variant):
        refuse_unlike(pile, reference)
    of_variant, of_baseline = (discrepancy_without(pile.values, reference.values) for pile in (variant, baseline))
    return jackknife(lambda out: of_variant(out) - of_baseline(out), interleaved(baseline.n, groups))


def _kernel_note(difference: Estimate, known: Statistics) -> str:
    name = name_of("kernel", known.extractor)
    bounds = f"{difference.low:+.2g} to {difference.high:+.2g}"
    return f"{name}, variant - baseline: {difference.value:+.2g} ({bounds}), without that bias."


def _refuse_unlike_piles(baseline: Features, variant: Features) -> None:
    refuse_unlike(baseline, variant)
    if baseline.n != variant.n:
        raise ValueError(
            f"baseline has {baseline.n:,} images and variant {variant.n:,}, wanted the same number from the same seeds:"
            " a Fréchet distance depends on the count."
        )
    fewest = max(FEWEST_IMAGES, fewest_images(baseline.width))
    if baseline.n < fewest:
        raise ValueError(
            f"the piles have {baseline.n:,} images of {baseline.width:,} features, wanted at least {fewest:,}: draw"
            " more."
        )


def distance_without(pile: Features, known: Statistics) -> Callable[[Tensor], float]:
    """The Fréchet distance of a pile to `known` without the rows (k,) that it is given, by taking them off the sums."""
    whole = pile.statistics()
    centred = pile.values - whole.mean  # (n, D); centred, so that little cancels
    scatter = whole.covariance * (pile.n - 1)

    def distance(left_out: Tensor) -> float:
        gone, kept = centred[left_out], pile.n - len(left_out)
        shift = -gone.sum(0) / kept  # (D,)
        covariance = (scatter - gone.T @ gone - kept * torch.outer(shift, shift)) / (kept - 1)
        rest = Statistics(whole.mean + shift, covariance, kept, pile.extractor, pile.sha256, pile.of)
        return frechet_distance(known, rest, fewest=2)

    return distance


def discrepancy_without(x: Tensor, y: Tensor) -> Callable[[Tensor], float]:
    """The kernel distance of x (n, D) to y (m, D) without rows of x, but for the pairs within y.

    The sums over each row's pairs are taken once; leaving rows out costs the pairs among those rows alone.
    """
    alone = _kernel_rows(x, x) - (x.square().sum(1) / x.shape[1] + 1).pow(3)  # (n,)
    across = _kernel_rows(x, y)  # (n,)

    def discrepancy(left_out: Tensor) -> float:
        gone, kept = x[left_out], len(x) - len(left_out)
        among = _kernel_rows(gone, gone).sum() - (gone.square().sum(1) / x.shape[1] + 1).pow(3).sum()
        pairs = alone.sum() - 2 * alone[left_out].sum() + among
        crossed = across.sum() - across[left_out].sum()
        return float(pairs / (kept * (kept - 1)) - 2 * crossed / (kept * len(y)))

    return discrepancy


def _kernel_rows(x: Tensor, y: Tensor) -> Tensor:
    """Sums of the kernel (x·y / D + 1)^3 of each row of x (n, D) with all rows of y (m, D), (n,)."""
    blocks = [(rows @ y.T / x.shape[1] + 1).pow(3).sum(1) for rows in x.split(_BLOCK)]
    return torch.cat(blocks) if blocks else x.new_zeros(0)
