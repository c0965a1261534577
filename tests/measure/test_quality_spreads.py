"""The error of a distance against the jackknife done by hand, and against piles drawn anew."""

import numpy as np
import pytest
import torch

from course_utils.measure.quality import Features, frechet_distance, kernel_distance, reference_from
from course_utils.measure.quality.spreads import spread_of


def cloud(n, seed, shift=0.3):
    values = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Features(values + shift, "made up", "", f"cloud {seed}")


@pytest.fixture(scope="module")
def real():
    return reference_from(cloud(4_000, 1, shift=0.0), kept=300)


def test_values_are_the_distances_and_errors_those_of_leaving_groups_out(real):
    pile = cloud(143, 2)  # 20 groups of 7 or 8
    spread = spread_of(pile, real)
    by_hand = {"fd": [], "kd": []}
    sizes = []
    for group in range(20):
        rest = pile.without(slice(group, None, 20))
        sizes.append(pile.n / (pile.n - rest.n))
        by_hand["fd"].append(frechet_distance(rest, real.statistics, fewest=2))
        by_hand["kd"].append(kernel_distance(rest, real.features))
    whole = {"fd": frechet_distance(pile, real.statistics), "kd": kernel_distance(pile, real.features)}
    h = np.array(sizes)
    for name, without in by_hand.items():
        found, without = getattr(spread, name), np.array(without)
        pseudo = h * whole[name] - (h - 1) * without
        centre = 20 * whole[name] - ((1 - 1 / h) * without).sum()
        assert found.value == pytest.approx(whole[name], rel=1e-9)
        assert found.standard_error == pytest.approx(np.sqrt(((pseudo - centre) ** 2 / (h - 1)).mean()), rel=1e-6)
        assert found.low < found.value < found.high
    assert (spread.distances.fd, spread.distances.kd) == (whole["fd"], whole["kd"])


def test_the_error_is_how_far_piles_drawn_anew_scatter(real):
    fds, kds, errors = [], [], []
    for seed in range(100, 160):
        spread = spread_of(cloud(200, seed), real)
        fds.append(spread.fd.value)
        kds.append(spread.kd.value)
        errors.append((spread.fd.standard_error, spread.kd.standard_error))
    told = np.sqrt(np.square(errors).mean(0))
    # the spread of 60 values is itself known to 9 % or so, each error to 16 %
    assert told == pytest.approx([np.std(fds, ddof=1), np.std(kds, ddof=1)], rel=0.3)


def test_fewer_images_than_groups_are_refused(real):
    with pytest.raises(ValueError, match="groups is 20 for 15 rows"):
        spread_of(cloud(15, 3), real)
