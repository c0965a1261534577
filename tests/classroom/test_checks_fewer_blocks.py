"""The checks and figures of 13_fewer_blocks: right answers pass, planted wrong ones are told apart in plain words."""

import copy
import math

import numpy as np
import pytest
import torch
from asked_checks import assert_right, assert_wrong, run
from torch import nn

from course_utils.classroom import check
from course_utils.classroom.treatment_plots import plot_cadence, plot_stages

NAMES = ("stage_share", "one_block", "evaluation_share", "cadence")


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_answered_yet_and_the_kits_own_passes(capsys, name):
    for stub in (lambda *_: None, lambda *_: ..., ...):
        own, said = run(capsys, name, stub)
        assert "not answered yet" in said
        assert own is not stub
        assert_right(capsys, name, own)


def by_resolution(costs, stages, *, ups_from_outside=False, middle=-1, rest=0):
    """Another way to the shares: sort names by the side of the picture, and add up each pile."""
    piles = {32 >> stage: 0 for stage in range(stages)}
    sides = list(piles)
    for name, cost in costs.items():
        words = name.split(".")
        order = {"downs": sides, "ups": sides if ups_from_outside else sides[::-1]}.get(words[0])
        at = order[int(words[1])] if order else sides[middle if "mid_" in name else rest]
        piles[at] += cost
    return [pile / sum(costs.values()) for pile in piles.values()]


def test_stage_share(capsys):
    assert_right(capsys, "stage_share", by_resolution)
    assert_right(capsys, "stage_share", lambda c, n: torch.tensor(by_resolution(c, n)))
    assert_right(capsys, "stage_share", lambda c, n: np.array(by_resolution(c, n)))
    assert_wrong(capsys, "stage_share", lambda c, n: by_resolution(c, n, ups_from_outside=True), "`ups.0` is the inner")
    assert_wrong(capsys, "stage_share", lambda c, n: by_resolution(c, n, middle=0), "it is the innermost's")
    assert_wrong(capsys, "stage_share", lambda c, n: by_resolution(c, n, rest=-1), "the rest is the outermost stage's")
    assert_wrong(capsys, "stage_share", lambda c, n: [50 * s for s in by_resolution(c, n)], "the number after downs")
    assert_wrong(capsys, "stage_share", lambda c, n: by_resolution(c, n)[:1], "return 2 values")


class Left(nn.Module):
    """A shortcut of its own making."""

    def __init__(self, shortcut):
        super().__init__()
        self.shortcut = shortcut

    def forward(self, x, time_emb):
        return self.shortcut(x)


def cut(unet, sides=("downs", "ups"), place=1, make=lambda block: Left(block.res_conv)):
    """The U-Net with the block at one place of its stages made into something else, in place."""
    for side in sides:
        for stage in getattr(unet, side):
            stage[place] = make(stage[place])
    return unet


def test_one_block(capsys):
    assert_right(capsys, "one_block", lambda unet: cut(copy.deepcopy(unet)))
    assert_wrong(capsys, "one_block", cut, "work on a deep copy")
    assert_wrong(capsys, "one_block", lambda unet: unet.mid_block1, "work on a deep copy")
    assert_wrong(capsys, "one_block", lambda unet: cut(copy.deepcopy(unet), ("downs",)), "in `downs` and in `ups`")
    assert_wrong(capsys, "one_block", lambda unet: cut(copy.deepcopy(unet), place=0), "its answer: ")
    assert_wrong(
        capsys, "one_block", lambda unet: cut(copy.deepcopy(unet), make=lambda _: nn.Identity()), "parameters: expected"
    )
    assert_wrong(
        capsys, "one_block", lambda unet: cut(copy.deepcopy(unet), make=lambda b: b.res_conv), "it raised TypeError"
    )
    assert_wrong(capsys, "one_block", lambda unet: [unet], "return the copy, not list")


def test_the_weights_that_go_are_those_of_a_hand_count():
    """The smoke U-Net, dim 8 and mults (1, 2): 79,787 weights, of which the f of its four second blocks are 12,592."""
    from course_utils.diffusion import baseline

    def inner(c_in, c_out, time=32):
        """Weights of f: two convolutions, two norms, and the time's linear layer."""
        return (9 * c_in * c_out + c_out) + (9 * c_out * c_out + c_out) + 2 * c_out + (time * 2 * c_out + 2 * c_out)

    gone = inner(8, 8) + inner(8, 8) + inner(24, 16) + inner(16, 8)
    whole = baseline("smoke").model
    kept = sum(weight.numel() for weight in check.one_block(...)(whole).parameters())
    assert gone == 12_592
    assert kept == sum(weight.numel() for weight in whole.parameters()) - gone


def test_evaluation_share(capsys):
    assert_right(capsys, "evaluation_share", lambda k, n, nfe, c, s: 1 - k * s / (k * s + n * nfe * c))
    assert_wrong(capsys, "evaluation_share", lambda k, n, nfe, c, s: n * nfe * c / (k * s), "a part of the whole")
    assert_wrong(capsys, "evaluation_share", lambda k, n, nfe, c, s: nfe * c / (nfe * c + k * s), "expected 0.5")
    ratio = lambda k, n, nfe, c, s: 1 / (1 + k * s / (n * nfe * c))  # noqa: E731
    assert_wrong(capsys, "evaluation_share", ratio, "ZeroDivisionError")


def test_cadence(capsys):
    def by_trying(most, images, nfe, call_s, step_s):
        every, drawing_s = 1, images * nfe * call_s
        while drawing_s > most * (drawing_s + every * step_s):
            every += 1
        return every

    assert_right(capsys, "cadence", by_trying)
    exact = lambda m, n, nfe, c, s: n * nfe * c * (1 - m) / (m * s)  # noqa: E731
    assert_wrong(capsys, "cadence", exact, "round up")
    assert_wrong(capsys, "cadence", lambda *a: math.floor(exact(*a)), "14 are too few")
    assert_wrong(capsys, "cadence", lambda *a: math.floor(exact(*a)) + 1, "expected 6, got 7")
    assert_wrong(capsys, "cadence", lambda m, n, nfe, c, s: math.ceil(n * nfe * c / (m * s)), "expected 6, got 12")


def test_bars_of_stages_are_as_long_as_the_shares():
    made = plot_stages({"FLOP": [0.25, 0.75], "time": [0.6, 0.4]}, ["32 x 32", "16 x 16"])
    ax = made.axes[0]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([25, 60, 75, 40])
    assert [bar.get_x() for bar in ax.patches] == pytest.approx([0, 0, 25, 60])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["FLOP", "time"]
    assert [text.get_text() for text in ax.texts] == ["25", "60", "75", "40"]
    assert ax.get_xlabel() == "share (%)"
    with pytest.raises(ValueError, match="shares of 'FLOP' has 1 stages, wanted 2"):
        plot_stages({"FLOP": [1.0]}, ["32 x 32", "16 x 16"])


def test_cadence_curves_are_the_shares_in_percent():
    ax = plot_cadence({"few": {10: 0.5, 100: 0.05}, "many": {10: 1.0, 100: 0.9}}, most=0.1).axes[0]
    curves = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert curves["few"] == pytest.approx([50, 5])
    assert curves["many"] == pytest.approx([100, 90])
    assert curves["10 % of the time"] == pytest.approx([10, 10])
    assert list(ax.lines[0].get_xdata()) == [10, 100]
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "time in evaluations (%)"
    with pytest.raises(ValueError, match="shares is empty"):
        plot_cadence({})


def test_a_check_leaves_random_numbers_alone(capsys):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    check.one_block(lambda unet: cut(copy.deepcopy(unet)))
    assert torch.equal(torch.rand(2), wanted)
