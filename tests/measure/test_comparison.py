"""Comparison on rigged clocks: known ratios, order, outcomes, and the coverage of the interval."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.measure import Variant, compare, largest_difference, rigged
from course_utils.measure.comparison import paired_ratio


def race(costs, *, rounds=21, seed=0, **how):
    """Compare variants that take `costs[name]()` seconds on an injected clock."""
    clock = rigged.RiggedClock()
    variants = {name: (lambda cost=cost: clock.advance(cost())) for name, cost in costs.items()}
    return compare(
        variants, rounds=rounds, seed=seed, memory=False, clock=clock, synchronize=lambda: None, max_time_s=1e9, **how
    )


def lognormal(median_s, sigma, dice):
    return lambda: median_s * dice.lognormal(0.0, sigma)


def test_a_known_ratio_is_found():
    report = race({"slow": lambda: 0.06, "fast": lambda: 0.03, "same": lambda: 0.06})
    ratio = report.speedup("fast")
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2.0, 2.0, 2.0))
    assert ratio.n == 21
    outcomes = {name: report.outcome(name) for name in report.timings}
    assert outcomes == {"slow": "baseline", "fast": "faster", "same": "inconclusive"}
    assert race({"a": lambda: 0.03, "b": lambda: 0.06}).outcome("b") == "slower"
    assert race({"a": lambda: 0.03, "b": lambda: 0.06}, baseline="b").speedup("a").value == pytest.approx(2.0)


def test_slow_drift_of_the_machine_cancels_in_paired_ratios():
    clock = rigged.RiggedClock()

    def heat():
        return 1 + 0.0005 * clock.now_s

    variants = {"a": lambda: clock.advance(0.4 * heat()), "b": lambda: clock.advance(0.2 * heat())}
    report = compare(variants, rounds=31, memory=False, clock=clock, synchronize=lambda: None, max_time_s=1e9)
    assert report.speedup("b").value == pytest.approx(2.0, rel=0.002)


def test_intervals_hold_the_truth_at_about_their_nominal_rate():
    truth, hits, runs = 1.3, 0, 300
    dice = np.random.default_rng(2026)
    for seed in range(runs):
        costs = {"base": lognormal(0.065, 0.06, dice), "variant": lognormal(0.05, 0.06, dice)}
        ratio = race(costs, seed=seed, warmup=1).speedup("variant")
        hits += ratio.low <= truth <= ratio.high
    assert 0.91 <= hits / runs <= 0.985  # nominal 0.95, four standard errors either way


def test_equal_variants_are_rarely_called_unequal():
    dice = np.random.default_rng(7)
    wrong = sum(
        paired_ratio(dice.lognormal(0, 0.05, 21), dice.lognormal(0, 0.05, 21)).outcome != "inconclusive"
        for _ in range(300)
    )
    assert wrong / 300 <= 0.085  # nominal 0.05


def test_no_ratio_is_reported_on_a_noisy_machine():
    dice = np.random.default_rng(0)
    report = race({"base": lognormal(0.05, 0.4, dice), "variant": lambda: 0.01})
    ratio = report.speedup("variant")
    assert report.spread > 0.15
    assert math.isnan(ratio.value)
    assert ratio.outcome == "inconclusive"
    assert "baseline's own spread" in str(ratio)
    assert "noisy machine" in str(report)


def test_rounds_are_interleaved_and_no_variant_always_goes_first():
    report = race({"a": lambda: 0.02, "b": lambda: 0.02, "c": lambda: 0.02}, rounds=30)
    assert all(sorted(names) == ["a", "b", "c"] for names in report.order)
    first = Counter(names[0] for names in report.order)
    assert min(first[name] for name in "abc") >= 4
    assert report.order == race({"a": lambda: 0.02, "b": lambda: 0.02, "c": lambda: 0.02}, rounds=30).order


def test_the_time_budget_ends_the_rounds_after_five():
    clock = rigged.RiggedClock()
    variants = {name: (lambda: clock.advance(10.0)) for name in "ab"}
    report = compare(variants, memory=False, clock=clock, synchronize=lambda: None, max_time_s=1.0)
    assert report.rounds == 5


def test_reset_runs_before_every_call_and_is_not_timed():
    clock = rigged.RiggedClock()
    events = []

    def run():
        events.append("run")
        clock.advance(0.001)

    def reset():
        events.append("reset")
        clock.advance(5.0)

    variants = {"a": Variant("a", run, reset), "b": lambda: clock.advance(0.02)}
    report = compare(variants, memory=False, clock=clock, synchronize=lambda: None, max_time_s=1e9)
    assert events[::2] == ["reset"] * (len(events) // 2)
    assert events[1::2] == ["run"] * (len(events) // 2)
    assert report.timings["a"].median_s == pytest.approx(0.001)


def test_modules_outputs_memory_and_printing():
    torch.manual_seed(0)
    net, x = nn.Linear(8, 4), torch.randn(16, 8)
    half = torch.tensor(0.5)
    shifted = Variant("shifted", lambda x: (net(x) + half, 1), output=lambda result: result[0])
    silent = Variant("silent", net)
    report = compare({"net": net, "shifted": shifted, "silent": silent}, x, rounds=5, images_per_call=16)
    assert report.difference["net"] is None
    assert report.difference["shifted"] == pytest.approx(0.5, abs=1e-6)
    assert report.difference["silent"] is None
    assert report.peak_bytes["net"] == 16 * 4 * 4
    assert report.peak_bytes["shifted"] == 2 * 16 * 4 * 4
    for text in (str(report), report._repr_html_()):
        assert "quality: not checked" in text
        assert "img/s" in text
    assert "img/s" not in str(race({"a": lambda: 0.02, "b": lambda: 0.02}))


def test_random_variants_are_compared_on_the_same_random_numbers():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    report = compare({"a": lambda: torch.randn(5), "b": lambda: torch.randn(5) + 1}, rounds=5, memory=False)
    assert report.difference["b"] == pytest.approx(1.0, abs=1e-6)
    assert not torch.equal(before, torch.get_rng_state())  # the timed calls themselves draw as they always do


def test_largest_difference_looks_into_nested_outputs():
    a = {"x": (torch.tensor([1.0, 2.0]), 3.0), "y": [torch.tensor([1 + 1j])]}
    b = {"x": (torch.tensor([1.0, 2.5]), 3.0), "y": [torch.tensor([1 + 3j])]}
    assert largest_difference(a, b) == 2.0
    assert largest_difference(torch.zeros(2), torch.zeros(3)) is None
    assert largest_difference((1.0, "text"), (1.0, "text")) is None
    assert largest_difference([], []) is None
    assert largest_difference(torch.zeros(0), torch.zeros(0)) == 0.0
    assert math.isnan(largest_difference((torch.tensor(float("nan")), torch.ones(1)), (torch.ones(()), torch.ones(1))))
    assert largest_difference(torch.ones(1, dtype=torch.bfloat16), torch.full((1,), 1.5)) == 0.5


@pytest.mark.parametrize(
    ("variants", "how", "message"),
    [
        ({"a": abs}, {}, "at least two"),
        ({"a": abs, "b": abs}, {"baseline": "c"}, "baseline is 'c'"),
        ({"a": abs, "b": abs}, {"rounds": 2}, "rounds is 2"),
    ],
)
def test_wrong_arguments_are_named(variants, how, message):
    with pytest.raises(ValueError, match=message):
        compare(variants, 1, **how)


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="no variant is called 'z'"):
        race({"a": lambda: 0.02, "b": lambda: 0.02}).speedup("z")
