"""Checks of 23: right answers of another make pass, planted wrong ones are told apart in plain words."""

import numpy as np
import pytest
import torch
from asked_checks import assert_right, assert_wrong, run

NAMES = ("step_time", "traffic", "crossover")


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_answered_yet_and_the_kits_own_passes(capsys, name):
    for stub in (..., lambda *_: None, lambda *_: ...):
        own, said = run(capsys, name, stub)
        assert "not answered yet" in said
    assert_right(capsys, name, own)


def test_step_time(capsys):
    def answer(combine=max, words=("compute", "memory", "launch")):
        def step_time(work, limits):
            times = [work.flop / limits.flop_per_s, work.bytes_moved / limits.bytes_per_s]
            times.append(limits.launch_s * work.kernels)
            return combine(times), words[int(np.argmax(times))]

        return step_time

    assert_right(capsys, "step_time", answer())
    assert_wrong(capsys, "step_time", answer(combine=sum), "the three go on at once")
    wrong = answer(words=("arithmetic", "memory", "launch"))
    assert_wrong(capsys, "step_time", wrong, "arithmetic decides: expected the word 'compute', got 'arithmetic'")
    assert_wrong(capsys, "step_time", lambda work, limits: work.flop, "return 2 values: seconds, limit")


def test_traffic(capsys):
    def line(small, large):
        each, fixed = np.polyfit([small.batch, large.batch], [small.bytes_moved, large.bytes_moved], 1)
        return fixed, each

    assert_right(capsys, "traffic", line)
    assert_wrong(capsys, "traffic", lambda small, large: line(small, large)[::-1], "the slope of the line")
    proportional = lambda small, large: (0.0, large.bytes_moved / large.batch)  # noqa: E731
    assert_wrong(capsys, "traffic", proportional, "for each picture, batches 16 and 128")
    at_small = lambda small, large: (small.bytes_moved, line(small, large)[1])  # noqa: E731
    assert_wrong(capsys, "traffic", at_small, "what is left at batch 0")


def test_crossover(capsys):
    def by_halving(work, fixed, per_image, limits):
        """Where the largest of the other two times passes the floor, found without solving anything."""
        low, high = 0.0, 1e9
        for _ in range(200):
            n = (low + high) / 2
            others = (n * work.flop / work.batch / limits.flop_per_s, (fixed + n * per_image) / limits.bytes_per_s)
            low, high = (low, n) if max(others) >= work.kernels * limits.launch_s else (n, high)
        return high

    assert_right(capsys, "crossover", lambda *case: round(by_halving(*case), 9))

    def without(*, fixed_too=True, both=True):
        def answer(work, fixed, per_image, limits):
            floor_s = work.kernels * limits.launch_s
            by_memory = (floor_s * limits.bytes_per_s - fixed * fixed_too) / per_image
            by_compute = floor_s * limits.flop_per_s / (work.flop / work.batch)
            return min(by_memory, by_compute) if both else by_compute

        return answer

    assert_right(capsys, "crossover", lambda *case: torch.tensor(max(0.0, without()(*case)), dtype=torch.float64))
    assert_right(capsys, "crossover", lambda *case: np.float32(max(0.0, without()(*case))))
    assert_wrong(capsys, "crossover", lambda *case: torch.zeros(2), "expected a number near")
    assert_wrong(capsys, "crossover", without(fixed_too=False), "the fixed bytes take their share")
    assert_wrong(capsys, "crossover", without(both=False), "the first of two limits to overtake")
    never = lambda *case: abs(without()(*case))  # noqa: E731
    assert_wrong(capsys, "crossover", never, "memory decides at any batch: expected 0")
