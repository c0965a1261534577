"""Seeds in the bounds: two trainings of one recipe, simulated, and what the gates then say of recipes."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from course_utils.measure.quality.denoisers import same_denoiser
from course_utils.measure.quality.distributions import same_distribution
from course_utils.measure.quality.features import Features, Statistics
from course_utils.measure.quality.intervals import Estimate
from course_utils.measure.quality.seeds import seed_spread_of, with_seeds


def noise(rate, runs):
    """Four standard errors of a share that is `rate` in the long run."""
    return 4 * math.sqrt(rate * (1 - rate) / runs)


def trained(dice, ratio, spread, n=400):
    """Losses of one training of the baseline and one of a variant whose recipe is `ratio` times as bad."""
    images = torch.from_numpy(dice.lognormal(-3.0, 0.8, n))
    baseline = images * math.exp(dice.normal(0, spread))
    return baseline, images * ratio * math.exp(dice.normal(0, spread)) * torch.from_numpy(dice.lognormal(0, 0.05, n))


def shares(found, truth):
    """How often the lower and the upper bound hold a ratio."""
    return np.mean([one.low <= truth for one in found]), np.mean([one.high >= truth for one in found])


@pytest.mark.parametrize("seeds", [None, 5])
def test_the_bounds_hold_the_ratio_of_two_recipes_in_95_of_100_cases(seeds):
    dice, runs, spread, truth = np.random.default_rng(1), 400, 0.028, 1.02 * math.exp(0.05**2 / 2)
    found, without = [], []
    for _ in range(runs):
        pair = trained(dice, 1.02, spread)
        known = spread if seeds is None else np.exp(dice.normal(-2.8, spread, seeds)).tolist()
        found.append(same_denoiser(*pair, seed_spread=known))
        without.append(same_denoiser(*pair))
    assert shares(found, truth) == pytest.approx((0.95, 0.95), abs=noise(0.05, runs))
    assert max(shares(without, truth)) < 0.7  # over images alone, they are bounds of these weights


def test_with_the_baseline_and_one_more_seed_the_bounds_are_wide_and_hold():
    dice, runs, spread = np.random.default_rng(2), 400, 0.028
    found = []
    for _ in range(runs):
        baseline, variant = trained(dice, 1.0, spread)
        other = float(baseline.mean()) * math.exp(dice.normal(0, spread) - dice.normal(0, spread))
        found.append(same_denoiser(baseline, variant, seed_spread=[float(baseline.mean()), other]))
    low, high = shares(found, math.exp(0.05**2 / 2))
    assert min(low, high) > 0.92 - noise(0.08, runs)
    assert np.median([one.high / one.low for one in found]) > 1.2


@pytest.mark.parametrize(("seeds", "least"), [(2, 0.92), (3, 0.94)])
@pytest.mark.parametrize("times", [1.0, 3.0])
def test_welchs_degrees_of_freedom_hold_whichever_error_is_larger(seeds, least, times):
    dice, runs = np.random.default_rng(3), 1500
    held = 0
    for _ in range(runs):
        images = Estimate(dice.normal(0, math.sqrt(1 + 2 * times**2)), math.sqrt(dice.chisquare(19) / 19), 19)
        logs = dice.normal(0, times / 1000, seeds)
        spread = seed_spread_of(np.exp(logs).tolist())
        scaled = with_seeds(
            images._replace(value=images.value / 1000, standard_error=images.standard_error / 1000), spread
        )
        held += scaled.high >= 0
    assert held / runs > least - noise(1 - least, runs)


def test_two_draws_of_the_seed_add_twice_its_variance():
    images = Estimate(0.01, 0.004, 19)
    whole = with_seeds(images, seed_spread_of(0.003))
    assert whole.standard_error == pytest.approx(math.sqrt(0.004**2 + 2 * 0.003**2))
    assert whole.df == pytest.approx((0.004**2 + 2 * 0.003**2) ** 2 / (0.004**4 / 19))
    losses = [0.060, 0.063, 0.061]
    found = seed_spread_of(losses)
    assert found == pytest.approx((np.std(np.log(losses), ddof=1), 3))
    assert seed_spread_of(torch.tensor(losses, dtype=torch.float64)) == found
    assert with_seeds(images, seed_spread_of(0.0)) == images
    alone = with_seeds(Estimate(0.0, 0.0, 19), found)  # the same losses: the seeds' error and their freedom are left
    assert (alone.standard_error, alone.df) == pytest.approx((math.sqrt(2) * found.relative, 2))
    endless = with_seeds(Estimate(0.0, 0.0, 19), seed_spread_of(0.01))
    assert endless.high == pytest.approx(stats.norm.ppf(0.95) * math.sqrt(2) * 0.01, rel=1e-5)


def test_without_a_spread_nothing_is_added_and_the_note_says_what_is_known():
    base, variant = trained(np.random.default_rng(4), 1.0, 0.0)
    unknown, kept = same_denoiser(base, variant), same_denoiser(base, variant, seed_spread=0.0)
    assert (unknown.low, unknown.high) == (kept.low, kept.high)
    assert (unknown.seed_spread, kept.seed_spread) == (None, 0.0)
    assert "spread between seeds is unknown: the bounds speak of these two sets of weights alone" in unknown.note
    assert "taken to be 0, as where a variant keeps the weights" in kept.note
    told = same_denoiser(base, variant, seed_spread=0.028)
    assert "Seeds of one recipe scatter by 2.8 % (as told), which the bounds cover." in told.note
    assert "(from 2 seeds)" in same_denoiser(base, variant, seed_spread=[0.06, 0.063]).note


def test_where_seeds_scatter_too_much_no_number_of_images_is_asked_for():
    base, variant = trained(np.random.default_rng(5), 1.0, 0.0)
    found = same_denoiser(base, variant, seed_spread=0.03)
    assert found.needed is None
    assert found.pass_probability < 0.2
    assert found.chances().endswith(
        "No number of images changes that: seeds alone scatter too much for this tolerance."
    )
    assert (
        "About"
        in same_denoiser(*(one.repeat(3)[:500] for one in (base, variant * base.flip(0))), seed_spread=0.001).chances()
    )


def test_the_gate_of_the_distribution_takes_the_spread_of_its_own_distance():
    dice = np.random.default_rng(6)
    one = dice.normal(size=(500, 8)) + 1.0
    piles = [Features(torch.from_numpy(rows), "toy", "", "drawn") for rows in (one, one + 0.01)]
    known = Statistics(torch.zeros(8).double(), torch.eye(8).double(), 50_000, "toy", "", "all")
    alone, whole = same_distribution(*piles, known), same_distribution(*piles, known, seed_spread=[8.0, 8.2, 8.1])
    assert (alone.value, alone.seed_spread) == (whole.value, None)
    assert whole.seed_spread == pytest.approx(np.log([8.0, 8.2, 8.1]).std(ddof=1))
    assert whole.low < alone.low < alone.high < whole.high
    assert "spread between seeds is unknown" in alone.note
    assert "(from 3 seeds)" in whole.note


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (-0.01, "seed_spread is -0.01, wanted a relative standard deviation, such as 0.03"),
        (3.0, "seed_spread is 3.0, wanted a relative standard deviation"),
        (math.nan, "seed_spread is nan, wanted"),
        ([0.06], "wanted the losses of at least two seeds"),
        ([0.06, 0.0], "wanted the losses of at least two seeds, each above 0"),
        ([0.06, math.inf], "each above 0"),
        (torch.ones(2, 2), "wanted the losses of at least two seeds"),
    ],
)
def test_what_is_no_spread_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        same_denoiser(torch.ones(200), torch.ones(200), seed_spread=given)
