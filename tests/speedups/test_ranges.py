"""What becomes of numbers in 16 bits, by hand."""

import math

import pytest
import torch
from torch import nn

from course_utils.speedups import range_report


def test_float16_by_hand():
    """65520 lies half-way between the largest number, 65504, and what would come next; 2**-24 is the smallest."""
    numbers = [70000.0, 65520.0, 65519.0, 65504.0, -3 * 2.0**-26, 2.0**-26, 1.0, 0.0, math.inf, math.nan]
    row = range_report(torch.tensor(numbers), torch.float16).total
    assert (row.count, row.overflow, row.subnormal, row.flushed) == (8, 2 / 8, 1 / 8, 1 / 8)
    # -3 * 2**-26 rounds to -2**-24, 2**-26 to zero; five more numbers are exact, zero, or infinite
    assert row.relative_error == pytest.approx((15 / 65519 + 0 + 1 / 3 + 1 + 0) / 5)


def test_bfloat16_has_the_range_of_float32_and_8_bits():
    numbers = torch.tensor([70000.0, 1e-30, 1e38, 1 + 2**-8])
    row = range_report(numbers, "bfloat16").total
    assert (row.overflow, row.subnormal, row.flushed) == (0, 0, 0)
    half_way = range_report(numbers[3:], "bfloat16").total.relative_error
    assert half_way == pytest.approx(2**-8 / (1 + 2**-8)), "half-way between 1 and 1 + 2**-7 goes to the even one"
    assert range_report(torch.tensor([1e-39]), "bfloat16").total.subnormal == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_errors_stay_below_half_a_unit(dtype):
    numbers = 1 + torch.rand(1000, generator=torch.Generator().manual_seed(0))
    error = range_report(numbers, dtype).total.relative_error
    spacing = torch.finfo(dtype).eps
    # |error| is uniform up to spacing / 2, and 1 / x averages ln 2 over [1, 2]
    assert error == pytest.approx(spacing / 4 * math.log(2), rel=0.1)


def test_a_model_shows_its_weights_and_gradients_and_what_scaling_does_to_them():
    model = nn.Linear(4, 4)
    nn.init.ones_(model.weight)
    (model(torch.ones(1, 4)).sum() * 1e-9).backward()
    report = range_report(model, torch.float16)
    assert [row.name for row in report.rows] == ["weight", "weight.grad", "bias", "bias.grad"]
    assert [row.flushed for row in report.rows][1::2] == [1.0, 1.0]
    assert report.total.count == 2 * (16 + 4)
    assert report.total.flushed == 20 / 40
    assert report.worst(1)[0].name == "weight.grad"
    scaled = range_report({"scaled": model.weight.grad * 65536}, torch.float16)
    assert scaled.total.flushed == scaled.total.subnormal == 0
    assert model.weight.dtype == torch.float32


def test_the_report_is_a_table():
    text = repr(
        range_report({"wide": torch.tensor([1.0, 1e5]), "whole": torch.arange(3), "b": torch.ones(2)}, "float16")
    )
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][:3] == ["in", "torch.float16", "numbers"]
    assert lines[1] == ["wide", "2", "50.00%", "0", "0", "0.0e+00"]
    assert lines[-1][:3] == ["all", "4", "25.00%"]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_nothing_to_report_is_refused():
    with pytest.raises(ValueError, match="at least one tensor of floating numbers"):
        range_report({"whole": torch.arange(3)}, "float16")
    with pytest.raises(ValueError, match="dtype must be"):
        range_report(torch.ones(1), torch.float64)
    assert range_report(torch.ones(0), "float16").total.overflow == 0
