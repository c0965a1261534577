"""The jackknife against closed forms and scipy, its bounds against the truth, and the power of a gate by simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from course_utils.measure.quality.distances import frechet_distance
from course_utils.measure.quality.features import Features
from course_utils.measure.quality.intervals import Estimate, interleaved, jackknife
from course_utils.measure.quality.power import power_of


def mean_of(values):
    return lambda left_out: float(np.delete(values, left_out.numpy()).mean())


def test_groups_deal_out_every_row_once():
    groups = interleaved(103, 20)
    assert sorted(torch.cat(groups).tolist()) == list(range(103))
    assert {len(group) for group in groups} == {5, 6}
    assert groups[3].tolist() == [3, 23, 43, 63, 83]


@pytest.mark.parametrize("groups", [1, 11])
def test_groups_without_rows_are_refused(groups):
    with pytest.raises(ValueError, match=f"groups is {groups} for 10 rows"):
        interleaved(10, groups)


def test_of_a_mean_it_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=57)
    found = jackknife(mean_of(values), interleaved(57, 57))
    assert found == pytest.approx((values.mean(), stats.sem(values), 56))


def test_of_a_mean_in_equal_groups_it_is_that_of_the_groups_and_its_bounds_are_students():
    values = np.random.default_rng(1).gamma(2.0, size=200)
    means = values.reshape(-1, 20).mean(0)
    found = jackknife(mean_of(values), interleaved(200, 20))
    assert found.standard_error == pytest.approx(stats.sem(means))
    both = stats.ttest_1samp(means, 0).confidence_interval(0.9)  # 5 % beyond each end
    assert (found.low, found.high) == pytest.approx((both.low, both.high))


def test_of_a_mean_in_unlike_groups_it_weighs_them_by_size():
    values = np.random.default_rng(2).normal(size=9)
    groups = [torch.tensor(rows) for rows in ([0, 1, 2, 3], [4, 5, 6], [7, 8])]
    sizes, means = np.array([4, 3, 2]), np.array([values[:4].mean(), values[4:7].mean(), values[7:].mean()])
    expected = ((means - values.mean()) ** 2 * sizes / (9 - sizes)).sum() / 3
    found = jackknife(mean_of(values), groups)
    assert found == pytest.approx((values.mean(), math.sqrt(expected), 2))


def test_of_a_log_ratio_it_agrees_with_the_delta_method_and_the_bootstrap():
    dice = np.random.default_rng(3)
    below = dice.gamma(3.0, size=1000)
    above = below * dice.lognormal(0.1, 0.2, size=1000)

    def log_ratio(a, b, axis=-1):
        return np.log(a.mean(axis) / b.mean(axis))

    def statistic(left_out):
        return float(log_ratio(np.delete(above, left_out), np.delete(below, left_out)))

    found = jackknife(statistic, interleaved(1000, 1000)).standard_error
    assert found == pytest.approx(stats.sem(above / above.mean() - below / below.mean()), rel=0.01)
    boot = stats.bootstrap((above, below), log_ratio, paired=True, n_resamples=2000, method="basic", rng=dice)
    assert found == pytest.approx(boot.standard_error, rel=0.08)  # five standard errors of 2,000 resamples
    assert jackknife(statistic, interleaved(1000)).standard_error == pytest.approx(
        found, rel=0.65
    )  # four, of 20 groups


def test_each_bound_holds_the_truth_in_95_of_100_cases():
    dice, runs, low, high = np.random.default_rng(4), 1500, 0, 0
    groups = interleaved(100)
    for _ in range(runs):
        found = jackknife(mean_of(dice.gamma(4.0, 0.25, size=100)), groups)
        low, high = low + (found.low <= 1.0), high + (found.high >= 1.0)
    assert low / runs == pytest.approx(0.95, abs=0.0225)  # four standard errors
    assert high / runs == pytest.approx(0.95, abs=0.0225)


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="wanted finite numbers"):
        jackknife(lambda left_out: math.nan if 3 in left_out else 1.0, interleaved(40))


def test_resampling_with_replacement_misses_a_frechet_distance_that_leaving_out_holds():
    dice = torch.Generator().manual_seed(5)
    points = torch.randn(200, 16, generator=dice, dtype=torch.float64)
    reference = Features(torch.randn(20_000, 16, generator=dice, dtype=torch.float64), "toy", "", "all").statistics()
    pile = Features(points, "toy", "", "pile")
    value = frechet_distance(pile, reference)
    repeated = [
        frechet_distance(Features(points[torch.randint(200, (200,), generator=dice)], "toy", "", "again"), reference)
        for _ in range(100)
    ]
    assert min(repeated) > value
    found = jackknife(lambda left_out: frechet_distance(pile.without(left_out), reference), interleaved(200))
    assert found.low < value < found.high


@pytest.mark.parametrize(("error", "tolerance"), [(0.004, 1.02), (0.008, 1.02), (0.03, 1.05)])
def test_power_is_what_a_simulated_gate_does(error, tolerance):
    dice, runs, df, n = np.random.default_rng(6), 100_000, 19, 1000
    room, t = math.log(tolerance), stats.t.ppf(0.95, df)
    power = power_of(Estimate(0.0, error, df), tolerance, n)

    def gate(truth, error):
        value = dice.normal(truth, error, runs)
        margin = t * error * np.sqrt(dice.chisquare(df, runs) / df)
        return (value + margin <= room).mean(), (value - margin > room).mean()

    noise = 4 * 0.5 / math.sqrt(runs)
    assert gate(0.0, error)[0] == pytest.approx(power.pass_probability, abs=noise)
    assert gate(math.log(power.detectable), error)[1] == pytest.approx(0.8, abs=noise)
    if power.needed > 30:  # below, one image more or less is seen
        assert gate(0.0, error * math.sqrt(n / power.needed))[0] == pytest.approx(0.8, abs=2 * noise)
    assert gate(room, error)[0] == pytest.approx(0.05, abs=noise)
    assert gate(room, error)[1] == pytest.approx(0.05, abs=noise)


def test_power_is_near_its_short_form():
    error, df = 0.01, 19
    short = stats.t.ppf(0.95, df) + stats.norm.ppf(0.8)
    power = power_of(Estimate(0.2, error, df), 1.05, 400)
    assert math.log(power.detectable / 1.05) == pytest.approx(short * error, rel=0.01)
    assert power.needed == pytest.approx(400 * (short * error / math.log(1.05)) ** 2, rel=0.02)


@pytest.mark.parametrize(("error", "floor"), [(0.012, 0.004), (0.02, 0.006)])
def test_rows_that_are_needed_beside_an_error_that_none_takes_away(error, floor):
    df, n, tolerance = 19, 1000, 1.02
    needed = power_of(Estimate(0.0, error, df), tolerance, n, floor=floor).needed
    left = math.sqrt((error**2 - floor**2) * n / needed + floor**2)
    assert power_of(Estimate(0.0, left, df), tolerance, n).pass_probability == pytest.approx(0.8, abs=0.002)
    assert needed > power_of(Estimate(0.0, error, df), tolerance, n).needed


def test_no_number_of_rows_is_enough_where_the_rest_alone_is_too_large():
    assert power_of(Estimate(0.0, 0.012, 19), 1.02, 1000, floor=0.0119).needed is None


def test_power_without_any_error_is_certain():
    assert power_of(Estimate(0.0, 0.0, 19), 1.02, 500) == (1.0, 1.02, 1)
    assert power_of(Estimate(0.0, 1e-30, 19), 1.02, 500).pass_probability == 1.0
    assert power_of(Estimate(0.0, 5.0, 19), 1.02, 500).pass_probability == pytest.approx(0.05, abs=0.001)
