"""Verdicts: every pairing of speed and quality, what a claim has to bring, and what is said."""

import math
from dataclasses import replace

import pytest
import torch

from course_utils.measure import compare, rigged
from course_utils.measure.quality.evidence import Evidence, ratio_evidence
from course_utils.measure.quality.functions import same_function
from course_utils.measure.quality.intervals import Estimate
from course_utils.measure.ratios import Ratio
from course_utils.measure.verdicts import verdict

FASTER, SLOWER, UNSETTLED = Ratio(1.7, 1.6, 1.8, 21), Ratio(0.8, 0.7, 0.9, 21), Ratio(1.01, 0.97, 1.05, 21)
NOISY = Ratio(math.nan, math.nan, math.nan, 21, "noisy machine: the baseline's own spread is 40%")
ONE = torch.ones(3)
EQUAL, OTHER, BROKEN = (same_function(ONE, ONE * by) for by in (1, 2, math.nan))


def evidence(outcome, kind="same denoiser"):
    low, high = {"preserved": (0.99, 1.01), "worse": (1.1, 1.3), "inconclusive": (0.9, 1.2)}[outcome]
    return Evidence(kind, "held-out loss, variant / baseline", (low + high) / 2, low, high, 1.02, 500)


@pytest.mark.parametrize(
    ("speed", "quality", "outcome"),
    [
        (FASTER, "preserved", "preserved and faster"),
        (FASTER, "worse", "faster but worse"),
        (FASTER, "inconclusive", "inconclusive"),
        (SLOWER, "preserved", "not faster"),
        (SLOWER, "worse", "not faster"),
        (SLOWER, "inconclusive", "not faster"),
        (UNSETTLED, "preserved", "inconclusive"),
        (UNSETTLED, "worse", "inconclusive"),
        (NOISY, "preserved", "inconclusive"),
    ],
)
def test_each_pairing_of_speed_and_quality(speed, quality, outcome):
    assert verdict(speed, evidence(quality)).outcome == outcome


@pytest.mark.parametrize(
    ("outcomes", "finding"),
    [
        (("preserved", "preserved"), "preserved"),
        (("preserved", "inconclusive"), "inconclusive"),
        (("preserved", "worse"), "worse"),
        (("worse", "inconclusive"), "worse"),
    ],
)
def test_any_loss_is_a_loss_and_all_must_be_preserved(outcomes, finding):
    kinds = ("same denoiser", "same distribution")
    for order in (1, -1):
        given = [evidence(outcome, kind) for outcome, kind in zip(outcomes, kinds[::order], strict=True)]
        assert verdict(FASTER, given).finding == finding


@pytest.mark.parametrize("nothing", [None, []])
def test_without_evidence_nothing_is_concluded(nothing):
    found = verdict(FASTER, nothing)
    assert (found.outcome, found.strongest) == ("inconclusive", None)
    assert "Quality: not checked." in str(found)
    assert verdict(SLOWER, nothing).outcome == "not faster"


DENOISER, PILES = evidence("preserved"), evidence("preserved", "same distribution")


@pytest.mark.parametrize(
    ("exactness", "quality", "missing"),
    [
        ("exact", [EQUAL], ()),
        ("exact", [DENOISER, PILES], ("same function",)),
        ("approximate", [DENOISER], ()),
        ("approximate", [PILES], ("same denoiser",)),
        ("approximate", [EQUAL], ()),
        ("retrained", [DENOISER, PILES], ()),
        ("retrained", [DENOISER], ("same distribution",)),
        ("retrained", [OTHER], ("same denoiser", "same distribution")),
        ("retrained", [EQUAL], ()),
        ("retrained", [], ("same denoiser", "same distribution")),
        (None, [PILES], ()),
    ],
)
def test_a_claim_needs_its_evidence(exactness, quality, missing):
    found = verdict(FASTER, quality, exactness=exactness)
    assert found.missing == missing
    assert found.outcome == ("inconclusive" if missing else "preserved and faster")
    if missing:
        assert f"Missing for a treatment that is {exactness}: {' and '.join(missing)}." in found.reasons


def test_missing_evidence_excuses_no_loss():
    assert verdict(FASTER, evidence("worse"), exactness="retrained").outcome == "faster but worse"


SEEDS = replace(DENOISER, seed_spread=0.03), replace(PILES, seed_spread=0.01)


@pytest.mark.parametrize(
    ("exactness", "quality", "unknown"),
    [
        ("retrained", [DENOISER, PILES], "same denoiser and same distribution"),
        ("retrained", [SEEDS[0], PILES], "same distribution"),
        ("retrained", [replace(DENOISER, seed_spread=0.0), SEEDS[1]], "same denoiser"),  # no two trainings are alike
        ("retrained", [evidence("worse"), SEEDS[1]], "same denoiser"),
        ("retrained", SEEDS, None),
        ("retrained", [EQUAL, DENOISER], None),
        ("approximate", [DENOISER], None),
        (None, [DENOISER, PILES], None),
    ],
)
def test_of_a_retrained_variant_it_is_said_that_seeds_are_not_in_the_bounds(exactness, quality, unknown):
    found = [one for one in verdict(FASTER, quality, exactness=exactness).reasons if "between seeds" in one]
    if unknown is None:
        assert found == []
    else:
        (sentence,) = found
        assert sentence.startswith(f"Spread between seeds unknown, {unknown}: the bounds are over images alone")


def test_another_function_decides_only_what_is_claimed_exact():
    assert (EQUAL.outcome, OTHER.outcome, BROKEN.outcome) == ("preserved", "different", "worse")
    assert verdict(FASTER, EQUAL).outcome == "preserved and faster"
    alone = verdict(FASTER, OTHER)
    assert (alone.outcome, alone.strongest) == ("inconclusive", None)
    assert "which need not be worse" in str(alone)
    for exactness in (None, "approximate"):
        assert verdict(FASTER, [OTHER, DENOISER], exactness=exactness).outcome == "preserved and faster"
    exact = verdict(FASTER, [OTHER, DENOISER], exactness="exact")
    assert exact.outcome == "inconclusive"
    assert "which is what exact means" in str(exact)
    assert verdict(FASTER, [OTHER, evidence("worse")]).outcome == "faster but worse"
    assert verdict(FASTER, BROKEN).outcome == "faster but worse"


def test_it_names_its_strongest_evidence_and_what_that_could_have_shown():
    drawn = ratio_evidence(
        "same distribution", "FD (toy), variant / baseline", Estimate(0, 0.03, 19), tolerance=1.05, n=1000
    )
    loss = ratio_evidence("same denoiser", "loss, variant / baseline", Estimate(0, 0.005, 19), tolerance=1.02, n=1000)
    found = verdict(FASTER, [drawn, loss])
    assert found.strongest is loss
    assert found.reasons[-1] == (
        "Strongest evidence: same denoiser. An equal variant with this much scatter would pass with probability 0.98;"
        " one 3.3 % worse would be caught 4 times in 5."
    )
    assert verdict(FASTER, [drawn, EQUAL]).strongest is EQUAL


def test_it_prints_its_rows_and_reasons():
    lines = str(verdict(FASTER, [DENOISER, evidence("worse", "same distribution")])).splitlines()
    assert lines[0] == "Faster but worse"
    assert [line.split("  ")[0] for line in lines[3:6]] == ["speed-up", "same denoiser", "same distribution"]
    assert "1.70x (1.60–1.80)" in lines[3]
    assert lines[6] == "Faster: 1.70x (1.60–1.80)."
    assert lines[7].startswith("Preserved, same denoiser: held-out loss, variant / baseline is 1")
    assert lines[8].startswith("Worse, same distribution: ")
    assert "noisy machine" in str(verdict(NOISY, DENOISER))


def test_it_takes_what_a_comparison_measured():
    clock = rigged.RiggedClock()
    variants = {"base": lambda: clock.advance(0.06), "fast": lambda: clock.advance(0.03)}
    report = compare(variants, memory=False, clock=clock, synchronize=lambda: None, max_time_s=1e9)
    assert verdict(report.speedup("fast"), EQUAL, exactness="exact").outcome == "preserved and faster"
    assert verdict(report.speedup("base"), EQUAL).outcome == "inconclusive"
    with pytest.raises(ValueError, match=r"speed is a Comparison, .* give what compare\(...\).speedup\(name\) returns"):
        verdict(report, EQUAL)


@pytest.mark.parametrize(
    ("speed", "quality", "exactness", "sentence"),
    [
        (1.7, EQUAL, None, "speed is 1.7, wanted a ratio with its interval"),
        (FASTER, [EQUAL, "fine"], None, "quality holds a str, wanted evidence"),
        (FASTER, "fine", None, "quality holds a str, wanted evidence"),
        (FASTER, 12.3, None, "quality holds a float, wanted evidence"),
        (FASTER, EQUAL, "lossless", "exactness is 'lossless', wanted one of 'exact', 'approximate', 'retrained'"),
    ],
)
def test_what_decides_nothing_is_refused(speed, quality, exactness, sentence):
    with pytest.raises(ValueError, match=sentence):
        verdict(speed, quality, exactness=exactness)
