"""Timing against rigged operations, whose time is known; no test here looks at the real time."""

import math

import numpy as np
import pytest
import torch

from course_utils.measure import measure, rigged
from course_utils.measure.timing import MAX_CALLS, Stopwatch, Timing


def timed(op, **how):
    return measure(op, clock=op.clock, synchronize=op.synchronize, **{"min_time_s": 0.05, **how})


@pytest.mark.parametrize("op", [*rigged.traps(), rigged.tiny()], ids=lambda op: op.name)
def test_measure_is_right_on_every_trap(op):
    assert op.diagnose(timed(op).median_s, tolerance=0.02) is None


def test_first_call_is_reported_apart():
    timing = timed(rigged.first_call(true_s=0.01, first_s=2.0))
    assert timing.first_s == 2.0
    assert max(timing.samples_s) == pytest.approx(0.01)


def test_heavy_tail_is_reported_and_steady_work_has_none():
    assert timed(rigged.heavy_tail(share=0.2), min_time_s=2.0).tail > 5
    assert timed(rigged.steady()).tail == pytest.approx(1.0)


def test_drift_equals_the_slope_that_was_rigged():
    op = rigged.drift(true_s=0.01, per_call=0.001)
    timing = timed(op, min_time_s=0.0, max_time_s=0.5)
    exact = 0.01 * 0.001 * (timing.n - 1) / timing.median_s
    assert timing.drift == pytest.approx(exact, rel=1e-6)
    assert any("drift" in doubt for doubt in timing.doubts) == (exact > 0.05)


def test_random_noise_is_no_drift():
    noise = np.random.default_rng(0).normal(1.0, 0.05, size=(200, 30))
    drifting = sum(Timing(tuple(row), 1.0).drift != 0.0 for row in noise)
    assert drifting <= 6  # p < 0.01: two of 200 expected


def test_no_op_is_at_the_floor_and_real_work_is_not():
    timing = timed(rigged.no_op())
    assert timing.at_floor
    assert timing.calls == MAX_CALLS
    assert not timed(rigged.tiny()).at_floor
    assert measure(lambda: None, min_time_s=0.01).at_floor


def test_fast_operations_are_called_often_between_two_readings():
    op = rigged.tiny(true_s=2e-8, read_s=1e-6)
    assert timed(op).calls * op.true_s >= 1e-3  # a reading is at most 0.1 % of a sample


def test_a_coarse_clock_does_not_dominate():
    now = rigged.RiggedClock(read_s=1e-6)

    def coarse():
        return math.floor(now() / 1e-5) * 1e-5

    timing = measure(lambda: now.advance(1e-6), clock=coarse, synchronize=lambda: None, min_time_s=0.05)
    assert timing.median_s == pytest.approx(1e-6, rel=0.01)


def test_samples_stop_at_the_time_budget_but_are_at_least_three():
    op = rigged.steady(true_s=30.0)
    assert timed(op, max_time_s=1.0).n == 3
    noisy = rigged.drift(true_s=0.01, per_call=0.05)
    timed(noisy, max_time_s=2.0)
    assert noisy.clock.now_s < 4.0


def test_noise_prolongs_the_run():
    dice = np.random.default_rng(1)
    clock = rigged.RiggedClock()
    noisy = measure(
        lambda: clock.advance(0.01 * dice.lognormal(0, 0.3)), clock=clock, synchronize=lambda: None, max_time_s=60.0
    )
    assert noisy.n > timed(rigged.steady()).n
    assert noisy.noisy
    assert 0.93 * noisy.iqr_s / math.sqrt(noisy.n) <= 0.0101 * noisy.median_s


def test_summary_of_known_samples():
    timing = Timing((1.0, 2.0, 3.0, 4.0, 5.0), first_s=9.0)
    assert (timing.median_s, timing.iqr_s, timing.n) == (3.0, 2.0, 5)
    assert timing.per_second(6) == 2.0
    assert timing.noisy
    assert "median 3.00 s, IQR 2.00 s, n=5" in repr(timing)
    assert "noisy" in str(timing)
    assert "noisy" in timing._repr_html_()
    assert "under observation: coverage" in repr(Timing((1.0,), 1.0, marks=("coverage",)))


def test_work_is_waited_for_before_and_after():
    events = []
    Stopwatch(lambda: events.append("clock") or 0.0, lambda: events.append("wait")).sample(
        lambda: events.append("run"), calls=2
    )
    assert events == ["wait", "clock", "run", "run", "wait", "clock"]


def test_arguments_reach_the_function():
    seen = []
    measure(lambda a, b: seen.append((a, b)), 1, torch.ones(2), min_time_s=0.0, max_time_s=0.01)
    assert seen[0][0] == 1
    assert torch.equal(seen[0][1], torch.ones(2))


@pytest.mark.parametrize("how", [{"warmup": 0}, {"min_time_s": 2.0, "max_time_s": 1.0}, {"min_time_s": -1.0}])
def test_wrong_arguments_are_named(how):
    with pytest.raises(ValueError, match=next(iter(how))):
        measure(lambda: None, **how)
