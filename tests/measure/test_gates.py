"""The two gates that chance has a say in: against brute force and closed forms, and their errors by simulation."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from course_utils.measure.quality.denoisers import same_denoiser
from course_utils.measure.quality.distances import frechet_distance, kernel_distance
from course_utils.measure.quality.distributions import kernel_difference, same_distribution
from course_utils.measure.quality.features import Features, Statistics
from course_utils.measure.quality.references import reference_from


def noise(rate, runs):
    """Four standard errors of a share that is `rate` in the long run."""
    return 4 * math.sqrt(rate * (1 - rate) / runs)


# The same denoiser


def losses(dice, ratio, spread, n=400):
    """Losses of two denoisers whose long-run ratio is `ratio`: they share the scatter that timesteps bring."""
    base = torch.from_numpy(dice.lognormal(-3.0, 0.8, n))
    return base, base * ratio * torch.from_numpy(dice.lognormal(-(spread**2) / 2, spread, n))


def test_the_loss_ratio_and_its_error_are_those_of_the_delta_method():
    base, variant = losses(np.random.default_rng(0), 1.03, 0.1, n=20_000)
    found = same_denoiser(base, variant)
    assert found.value == pytest.approx(float(variant.mean() / base.mean()))
    error = stats.sem(variant / variant.mean() - base / base.mean())
    margin = math.log(found.high / found.low) / 2 / stats.t.ppf(0.95, 19)
    assert margin == pytest.approx(error, rel=0.65)  # four standard errors of an error from 20 groups
    assert (found.n, found.tolerance, found.kind) == (20_000, 1.02, "same denoiser")


def test_the_loss_gate_errs_as_often_as_it_says():
    dice, runs = np.random.default_rng(1), 1000
    spread = 0.11
    at = [same_denoiser(*losses(dice, 1.02, spread)) for _ in range(runs)]
    seen = Counter(one.outcome for one in at)
    assert seen["preserved"] / runs == pytest.approx(0.05, abs=noise(0.05, runs))  # false passes on the tolerance
    assert seen["worse"] / runs == pytest.approx(0.05, abs=noise(0.05, runs))
    assert np.mean([one.low <= 1.02 for one in at]) == pytest.approx(0.95, abs=noise(0.05, runs))
    assert np.mean([one.high >= 1.02 for one in at]) == pytest.approx(0.95, abs=noise(0.05, runs))


def test_the_loss_gate_has_the_power_that_it_says():
    dice, runs = np.random.default_rng(2), 600
    spread = 0.11
    equal = [same_denoiser(*losses(dice, 1.0, spread)) for _ in range(runs)]
    passed = np.mean([one.outcome == "preserved" for one in equal])
    assert 0.4 < passed < 0.95
    assert np.mean([one.pass_probability for one in equal]) == pytest.approx(passed, abs=noise(passed, runs) + 0.02)
    detectable = float(np.median([one.detectable for one in equal]))
    caught = np.mean([same_denoiser(*losses(dice, detectable, spread)).outcome == "worse" for _ in range(runs)])
    assert caught == pytest.approx(0.8, abs=noise(0.8, runs) + 0.03)
    needed = int(np.median([one.needed for one in equal]))
    settled = [same_denoiser(*losses(dice, 1.0, spread, n=needed)).outcome == "preserved" for _ in range(runs)]
    assert np.mean(settled) == pytest.approx(0.8, abs=noise(0.8, runs) + 0.03)


def test_equal_losses_are_preserved_and_unpaired_ones_raise_a_doubt():
    base, _ = losses(np.random.default_rng(3), 1.0, 0.1)
    same = same_denoiser(base, base.clone())
    assert (same.value, same.low, same.high, same.outcome) == (1.0, 1.0, 1.0, "preserved")
    assert "correlate" not in same.note
    assert "were both taken at the same timesteps and noise?" in same_denoiser(base, base.flip(0)).note


@pytest.mark.parametrize(
    ("variant", "sentence"),
    [
        (torch.ones(150), "baseline_losses has 200 losses and variant_losses 150"),
        (torch.ones(99), "variant_losses has 99 losses, wanted at least 100"),
        (torch.ones(200, 1), r"variant_losses is \(200, 1\), wanted a tensor \(N,\)"),
        ([1.0] * 200, "variant_losses is list, wanted a tensor"),
        (torch.tensor([1.0] * 199 + [math.nan]), r"variant_losses\[199\] is nan, wanted finite losses"),
        (
            torch.tensor([-1.0] + [1.0] * 199),
            r"\[0\] is -1.0, wanted finite losses that are not negative",
        ),
        (torch.zeros(200), "variant_losses are all 0"),
    ],
)
def test_losses_that_cannot_be_compared_are_refused(variant, sentence):
    with pytest.raises(ValueError, match=sentence):
        same_denoiser(torch.ones(200), variant)


# The same distribution


def pile(values, of="drawn", extractor="toy"):
    return Features(torch.as_tensor(values, dtype=torch.float64), extractor, "", of)


def standard(width):
    """The statistics of endless images with independent features."""
    return Statistics(torch.zeros(width).double(), torch.eye(width).double(), 50_000, "toy", "", "all")


def paired(dice, shifts, width=8, n=500, correlation=0.9):
    """Two piles whose rows correlate, their first feature moved by `shifts`."""
    one = dice.normal(size=(n, width))
    other = correlation * one + math.sqrt(1 - correlation**2) * dice.normal(size=(n, width))
    one[:, 0] += shifts[0]
    other[:, 0] += shifts[1]
    return pile(one), pile(other)


def shift_for(ratio, shift, width=8, n=500):
    """The shift that makes the expected distance of n images `ratio` times that at `shift`, to first order in 1 / n."""
    bias = width / n + width * (width + 1) / (4 * n)
    return math.sqrt(ratio * (shift**2 + bias) - bias)


def test_the_distance_ratio_and_its_bounds_are_those_of_leaving_rows_out_by_hand():
    base, variant = paired(np.random.default_rng(0), (1.0, 1.1), n=510)
    known = pile(np.random.default_rng(1).normal(size=(3000, 8)), "all").statistics()
    found = same_distribution(base, variant, known, groups=10)

    def log_ratio(x, y):
        return math.log(frechet_distance(y, known) / frechet_distance(x, known))

    parts = [slice(first, None, 10) for first in range(10)]
    left = np.array([log_ratio(base.without(rows), variant.without(rows)) for rows in parts])
    error = math.sqrt(9 / 10 * ((left - left.mean()) ** 2).sum())
    value, t = log_ratio(base, variant), stats.t.ppf(0.95, 9)
    expected = [math.exp(value + sign * t * error) for sign in (0, -1, 1)]
    assert [found.value, found.low, found.high] == pytest.approx(expected, rel=1e-9)
    assert (found.n, found.tolerance, found.what) == (510, 1.05, "FD (toy), variant / baseline")


def test_the_distance_gate_errs_as_often_as_it_says():
    dice, runs = np.random.default_rng(2), 250
    shifts = (2.0, shift_for(1.05, 2.0))
    found = [same_distribution(*paired(dice, shifts), standard(8)) for _ in range(runs)]
    assert np.mean([math.log(one.value) for one in found]) == pytest.approx(math.log(1.05), abs=4 * 0.019 / runs**0.5)
    passed = np.mean([one.outcome == "preserved" for one in found])
    assert passed == pytest.approx(0.05, abs=noise(0.05, runs))
    assert np.mean([one.low <= 1.05 for one in found]) == pytest.approx(0.95, abs=noise(0.05, runs))
    assert np.mean([one.high >= 1.05 for one in found]) == pytest.approx(0.95, abs=noise(0.05, runs))


def test_the_distance_gate_has_the_power_that_it_says():
    dice, runs = np.random.default_rng(3), 200
    equal = [same_distribution(*paired(dice, (2.0, 2.0)), standard(8)) for _ in range(runs)]
    passed = np.mean([one.outcome == "preserved" for one in equal])
    assert 0.4 < passed < 0.95
    assert np.mean([one.pass_probability for one in equal]) == pytest.approx(passed, abs=noise(passed, runs))
    detectable = float(np.median([one.detectable for one in equal]))
    worse = (2.0, shift_for(detectable, 2.0))
    caught = [same_distribution(*paired(dice, worse), standard(8)).outcome == "worse" for _ in range(runs)]
    assert np.mean(caught) == pytest.approx(0.8, abs=noise(0.8, runs))


def test_of_endless_piles_the_distance_gate_passes_more_than_it_says_of_n_images():
    dice, runs, shift = np.random.default_rng(10), 200, 0.5
    shifts = (shift, shift * math.sqrt(1.05))  # 1.05 times as far, but for what 500 images add to both
    found = [same_distribution(*paired(dice, shifts, correlation=0.999), standard(8)) for _ in range(runs)]
    assert np.mean([one.value for one in found]) < 1.05
    passed = np.mean([one.outcome == "preserved" for one in found])
    assert passed > 0.05 + noise(0.05, runs)
    assert "pulls the ratio towards 1" in found[0].note


def test_where_little_but_sampling_error_is_left_the_bounds_are_wide_not_narrow():
    dice, runs = np.random.default_rng(4), 150
    found = [same_distribution(*paired(dice, (0.0, 0.0)), standard(8)) for _ in range(runs)]
    floor = 0.95 - noise(0.05, runs)
    assert np.mean([one.low <= 1.0 for one in found]) >= floor
    assert np.mean([one.high >= 1.0 for one in found]) >= floor
    errors = [math.log(one.high / one.low) / 2 / stats.t.ppf(0.95, 19) for one in found]
    assert np.median(errors) > np.std([math.log(one.value) for one in found])


def test_the_note_gives_counts_the_bias_and_the_kernel_distances_where_it_can():
    dice = np.random.default_rng(5)
    base, variant = paired(dice, (1.0, 1.1))
    whole = reference_from(pile(dice.normal(size=(2000, 8)), "all"))
    told = same_distribution(base, variant, whole)
    silent = same_distribution(base, variant, whole.statistics)
    assert "500 images against 2,000 of all" in silent.note
    assert "pulls the ratio towards 1" in silent.note
    assert "KD (toy), variant - baseline: +" in told.note
    assert "KD" not in silent.note
    assert told.value == silent.value


def test_the_kernel_difference_is_that_of_leaving_rows_out_by_hand():
    dice = np.random.default_rng(6)
    base, variant = paired(dice, (0.0, 0.5), n=205)
    known = pile(dice.normal(size=(1500, 8)), "all")

    def difference(x, y):
        return kernel_distance(y, known) - kernel_distance(x, known)

    found = kernel_difference(base.first(200), variant.first(200), known)
    parts = [slice(first, None, 20) for first in range(20)]
    first_200 = base.first(200), variant.first(200)
    left = np.array([difference(*(one.without(rows) for one in first_200)) for rows in parts])
    assert found.value == pytest.approx(difference(*first_200))
    assert found.standard_error == pytest.approx(math.sqrt(19 / 20 * ((left - left.mean()) ** 2).sum()))
    assert kernel_difference(base, variant, known).value == pytest.approx(difference(base, variant))


def mean_kernel(shift, width, other):
    """The kernel's mean for normal features around `shift` along the first, with the rows of `other` or, where that is
    None, with one another; from the moments of normal numbers."""
    if other is None:
        m = shift
        first, second = m**2 / width, (width + 2 * m**2 + m**4) / width**2
        third = (m**3 * (m**3 + 3 * m) + 3 * m * (m**3 + 3 * m + m * (width - 1))) / width**3
        return 1 + 3 * first + 3 * second + third
    a, variance = shift * other[:, 0] / width, (other**2).sum(1) / width**2
    return (1 + 3 * a + 3 * (a**2 + variance) + a**3 + 3 * a * variance).mean()


@pytest.mark.parametrize("shifts", [(0.0, 0.0), (0.3, 0.35), (0.3, 0.6)])
def test_the_kernel_difference_has_no_bias_and_holds_the_truth(shifts):
    dice, runs = np.random.default_rng(7), 300
    points = np.random.default_rng(8).normal(size=(300, 4))
    below, above = (mean_kernel(shift, 4, None) - 2 * mean_kernel(shift, 4, points) for shift in shifts)
    truth = above - below
    found = [kernel_difference(*paired(dice, shifts, width=4, n=200), pile(points, "all")) for _ in range(runs)]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(truth, abs=4 * stats.sem(values))
    error = math.sqrt(np.mean([one.standard_error**2 for one in found]))
    assert 0.83 < error / values.std() < (1.5 if shifts == (0.0, 0.0) else 1.17)  # if at all, too large
    if shifts[1] < 0.5:  # far off, the two tails are known to be unlike
        assert np.mean([one.low <= truth for one in found]) == pytest.approx(0.95, abs=noise(0.05, runs))
        assert np.mean([one.high >= truth for one in found]) == pytest.approx(0.95, abs=noise(0.05, runs))


def test_piles_that_cannot_be_compared_are_refused():
    dice = np.random.default_rng(9)
    base, variant = paired(dice, (1.0, 1.0), n=600)
    with pytest.raises(ValueError, match="baseline has 600 images and variant 500, wanted the same number"):
        same_distribution(base, variant.first(500), standard(8))
    with pytest.raises(ValueError, match="499 images of 8 features, wanted at least 500"):
        same_distribution(base.first(499), variant.first(499), standard(8))
    with pytest.raises(ValueError, match="600 images of 700 features, wanted at least 701"):
        same_distribution(*paired(dice, (1.0, 1.0), width=700, n=600), standard(700))
    with pytest.raises(ValueError, match="another extractor"):
        same_distribution(base, pile(variant.values, extractor="other"), standard(8))
    with pytest.raises(ValueError, match="another width"):
        same_distribution(base, variant, standard(7))
    with pytest.raises(ValueError, match="at distance 0 from 'drawn'"):
        same_distribution(variant, base, base.statistics())
    with pytest.raises(ValueError, match="600 and 500 images"):
        kernel_difference(base, variant.first(500), base)
