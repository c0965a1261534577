"""How sure a distance of one pile of images is: what it does when every twentieth image is left out, in turn.

Shapes: n images of the pile, m of the reference, D features.
"""

from __future__ import annotations

from typing import NamedTuple

from course_utils.measure.quality.distances import Distances, distances
from course_utils.measure.quality.distributions import discrepancy_without, distance_without
from course_utils.measure.quality.features import Features
from course_utils.measure.quality.intervals import GROUPS, Estimate, interleaved, jackknife
from course_utils.measure.quality.references import Reference

__all__ = ["Spread", "spread_of"]


class Spread(NamedTuple):
    """Both distances of a pile to a reference, each with its jackknife error."""

    distances: Distances
    fd: Estimate
    kd: Estimate


def spread_of(features: Features, reference: Reference, *, groups: int = GROUPS) -> Spread:
    """The distances of `features` to a reference and how far they scatter from one pile of n images to the next.

    The reference is taken as given. The error says nothing of the Fréchet distance's bias, which belongs to n: the
    interval is that of piles of n images. Raises `ValueError` as `distances` does, and for fewer images than `groups`.
    """
    found, parts = distances(features, reference), interleaved(features.n, groups)
    fd = jackknife(distance_without(features, reference.statistics), parts)
    kd = jackknife(discrepancy_without(features.values, reference.features.values), parts)
    # the jackknifed kernel distance lacks the pairs within the reference, a constant that leaves its error as it is
    return Spread(found, fd._replace(value=found.fd), kd._replace(value=found.kd))
