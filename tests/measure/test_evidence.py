"""What evidence concludes and prints, when two functions are the same, and how far pictures are apart."""

import math
from collections import Counter

import pytest
import torch
from torch import nn

from course_utils.measure.quality.evidence import Evidence, ratio_evidence
from course_utils.measure.quality.functions import same_function
from course_utils.measure.quality.intervals import Estimate
from course_utils.measure.quality.pictures import same_pictures

# The conclusions and their words


@pytest.mark.parametrize(
    ("kind", "value", "low", "high", "outcome"),
    [
        ("same denoiser", 1.00, 0.99, 1.01, "preserved"),
        ("same denoiser", 1.01, 1.00, 1.02, "preserved"),  # at the tolerance is within it
        ("same denoiser", 1.02, 1.00, 1.04, "inconclusive"),
        ("same denoiser", 1.05, 1.02, 1.08, "inconclusive"),
        ("same distribution", 1.05, 1.021, 1.08, "worse"),
        ("same function", 0.5, 0.5, 0.5, "preserved"),
        ("same function", 1.5, 1.5, 1.5, "different"),
        ("same function", math.inf, math.inf, math.inf, "worse"),
    ],
)
def test_a_conclusion_needs_both_bounds_on_one_side(kind, value, low, high, outcome):
    assert Evidence(kind, "it", value, low, high, 1.02, 100).outcome == outcome


def test_it_prints_a_row_and_what_it_could_have_shown():
    shown = str(ratio_evidence("same denoiser", "loss", Estimate(0.01, 0.012, 19), tolerance=1.02, n=500, note="So."))
    *_, row, chances, note = shown.splitlines()
    assert row.split("  ")[0] == "same denoiser"
    assert "1.010 (0.989–1.031)" in row
    assert row.endswith("at most 1.02  500  inconclusive")
    assert chances == (
        "An equal variant with this much scatter would pass with probability 0.48;"
        " one 5.2 % worse would be caught 4 times in 5. About 1,300 images would let an equal one pass 4 times in 5."
    )
    assert note == "So."
    assert (
        "1.010 (0.989–1.031)"
        in ratio_evidence("same denoiser", "loss", Estimate(0.01, 0.012, 19), tolerance=1.02, n=500)._repr_html_()
    )


def test_a_sharp_gate_asks_for_no_more_images_and_a_blunt_one_says_times():
    sharp = ratio_evidence("same denoiser", "loss", Estimate(0.0, 0.001, 19), tolerance=1.02, n=500)
    assert sharp.chances() == (
        "An equal variant with this much scatter would pass with probability above 0.99;"
        " one 2.3 % worse would be caught 4 times in 5."
    )
    blunt = ratio_evidence("same distribution", "FD", Estimate(0.0, 0.4, 19), tolerance=1.05, n=500)
    assert "one 2.9 times as bad would be caught" in blunt.chances()


@pytest.mark.parametrize("tolerance", [1.0, 0.95, math.nan, math.inf])
def test_a_tolerance_that_allows_nothing_is_refused(tolerance):
    with pytest.raises(ValueError, match=f"tolerance is {tolerance}, wanted a ratio above 1"):
        ratio_evidence("same denoiser", "loss", Estimate(0.0, 0.01, 19), tolerance=tolerance, n=500)


# The same function


def agrees(reference, variant, **how):
    try:
        torch.testing.assert_close(variant, reference, **how)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.int64],
)
def test_the_same_function_is_what_torch_calls_close(dtype):
    dice = torch.Generator().manual_seed(0)
    seen = Counter()
    for exponent in torch.linspace(-9, 0, 60):
        wide = torch.randn(40, generator=dice, dtype=torch.float64) * 100
        off = wide * (1 + 10**exponent * torch.randn(40, generator=dice, dtype=torch.float64))
        a, b = wide.to(dtype), off.to(dtype)
        assert (same_function(a, b).outcome == "preserved") == agrees(a, b)
        assert (same_function(a, b, rtol=0.01, atol=0.5).outcome == "preserved") == agrees(a, b, rtol=0.01, atol=0.5)
        seen[agrees(a, b)] += 1
    assert min(seen[True], seen[False]) >= 5


def test_the_largest_difference_is_found_and_placed():
    a = torch.zeros(2, 3, 4)
    b = a.clone()
    b[1, 2, 0] = 0.25
    found = same_function(lambda x: {"mean": x, "rest": [x, x]}, lambda x: {"mean": x, "rest": [x, b]}, a)
    assert (found.value, found.low, found.high, found.n) == (0.25, 0.25, 0.25, 72)
    assert (found.outcome, found.tolerance) == ("different", pytest.approx(1e-5))
    assert "Largest refused difference at output['rest'][1][1, 2, 0]." in found.note
    assert (found.detectable, found.pass_probability, found.needed, found.chances()) == (None, None, None, "")


def test_a_refused_difference_counts_before_a_larger_one_that_is_allowed():
    found = same_function(torch.tensor([1e6, 1.0]), torch.tensor([1e6 + 1, 1.5]))
    assert (found.value, found.outcome) == (0.5, "different")
    assert same_function(torch.tensor([1e6, 1.0]), torch.tensor([1e6 + 1, 1.0])).value == 1.0


def test_values_that_are_no_numbers_are_worse_and_equal_infinities_equal():
    one = torch.tensor([1.0, math.inf])
    assert same_function(one, one).outcome == "preserved"
    for broken in ([math.nan, math.inf], [1.0, math.nan], [1.0, -math.inf], [1.0, 7.0]):
        assert same_function(one, torch.tensor(broken)).outcome == "worse"
    with pytest.raises(ValueError, match="wanted a reference that works"):
        same_function(torch.tensor([math.nan]), torch.tensor([1.0]))


def test_both_draw_the_same_random_numbers_and_leave_the_callers_alone():
    drop, x = nn.Dropout(), torch.ones(64)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert same_function(drop, drop, x).outcome == "preserved"
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("reference", "variant", "sentence"),
    [
        (torch.zeros(2), torch.zeros(3), r"\(2,\) float32 from the reference and \(3,\) float32 from the variant"),
        (torch.zeros(2), torch.zeros(2).half(), "wanted one shape and dtype"),
        (lambda: [torch.zeros(2)], lambda: (torch.zeros(2), 1), "output is list from the reference and tuple"),
        (lambda: 1.0, lambda: 1.0, "output is float from the reference"),
        (torch.zeros(0), torch.zeros(0), "without any element"),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused(reference, variant, sentence):
    with pytest.raises(ValueError, match=sentence):
        same_function(reference, variant)


def test_one_tolerance_without_the_other_is_refused():
    with pytest.raises(ValueError, match="wanted both or neither"):
        same_function(torch.zeros(1), torch.zeros(1), rtol=0.1)


# The same pictures


def test_picture_differences_are_those_counted_by_hand():
    a = torch.zeros(300, 3, 2, 2, dtype=torch.uint8)
    b = a.clone()
    b[0, 0, 0, 0], b[299, 2, 1, 1], b[7, 1, 0, 1] = 255, 2, 1
    found = same_pictures(a, b)
    assert found.rms == pytest.approx(math.sqrt((255**2 + 4 + 1) / 3600))
    assert (found.largest, found.share_off, found.n) == (255, 2 / 3600, 300)
    assert found.psnr_db == pytest.approx(10 * math.log10(255**2 / found.rms**2))
    assert same_pictures(b, a) == found


def test_equal_pictures_and_those_one_grey_level_off():
    a = torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8)
    assert same_pictures(a, a).psnr_db == math.inf
    assert "∞ dB" in str(same_pictures(a, a))
    off = same_pictures(a, a + 1)
    assert (off.rms, off.largest, off.share_off) == (1.0, 1, 0.0)
    assert "48.1 dB" in str(off)  # the known limit of 8-bit pictures that differ by one level


def test_other_pictures_are_refused():
    a = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    for wrong in (a.float(), a[0], a[:0]):
        with pytest.raises(ValueError, match=r"variant_images is .* wanted uint8 \(N, C, H, W\)"):
            same_pictures(a, wrong)
    with pytest.raises(ValueError, match="wanted the same images of both models"):
        same_pictures(a, a[:1])
