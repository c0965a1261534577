"""The block explorer: what binds a block, where blocks stand, every block and phase."""

import pytest
import torch
from torch import nn

from course_utils.classroom.widgets import BlockExplorer
from course_utils.classroom.widgets.block_limits import blocks_of, levels_of
from course_utils.diffusion import baseline
from course_utils.measure import Ceilings, count, detect, profile
from course_utils.measure.profiling import Profile, ProfileRow
from course_utils.measure.traffic import Counts


@pytest.fixture(scope="module")
def ceilings():
    """1 GFLOP/s, 1 GB/s, 1 us a launch."""
    return Ceilings(detect("cpu"), {"fp32": 1e9}, 1e9, 4e9, 1e-6)


@pytest.fixture(scope="module")
def unet():
    return baseline("smoke").model, torch.randn(2, 3, 32, 32), torch.full((2,), 500)


@pytest.fixture(scope="module")
def measured(unet):
    return profile(*unet, rounds=1)


@pytest.fixture
def explorer(unet, measured, ceilings):
    return BlockExplorer(*unet, measured=measured, ceilings=ceilings)


def row(name, forward_s=1.0, backward_s=None):
    return ProfileRow(name, "Conv2d", 1, forward_s, backward_s, 0, 0, 0, 0, 1.0)


@pytest.mark.parametrize(
    ("counts", "bound", "least_s"),
    [
        (Counts(flop=3_000, bytes_moved=2_000, kernels=1), "compute", 3e-6),
        (Counts(flop=1_000, bytes_moved=5_000, kernels=1), "memory", 5e-6),
        (Counts(flop=1_000, bytes_moved=2_000, kernels=7), "launch", 7e-6),
    ],
)
def test_the_largest_limit_binds(ceilings, counts, bound, least_s):
    told = Profile((row("a"),), 1.0, None, 1.0, 1)
    (block,) = blocks_of(told, {"a": counts}, None, ceilings)
    part = block.parts["forward"]
    assert list(block.parts) == ["forward"]
    assert (part.bound, part.limits[bound]) == (bound, pytest.approx(least_s))
    assert part.intensity == counts.flop / counts.bytes_moved
    assert part.flop_per_s == counts.flop


def test_backward_is_what_forward_leaves_of_the_whole(ceilings):
    told = Profile((row("a", 1.0, 3.0),), 1.0, 3.0, 4.0, 1)
    forward, both = Counts(flop=10, bytes_moved=20, kernels=2), Counts(flop=30, bytes_moved=70, kernels=5)
    (block,) = blocks_of(told, {"a": forward}, {"a": both}, ceilings)
    parts = block.parts
    assert [(p.time_s, p.flop, p.bytes_moved, p.kernels) for p in parts.values()] == [
        (1.0, 10, 20, 2),
        (3.0, 20, 50, 3),
        (4.0, 30, 70, 5),
    ]


def test_counts_are_those_made_by_hand(ceilings):
    n, wide, narrow = 4, 16, 8
    model = nn.Sequential(nn.Linear(narrow, wide), nn.ReLU())
    shown = BlockExplorer(
        model, torch.randn(n, narrow), ceilings=ceilings, measured=profile(model, torch.randn(n, narrow), rounds=1)
    )
    linear, relu = (block.parts["forward"] for block in shown.blocks)
    assert linear.flop == 2 * n * wide * narrow
    assert linear.bytes_moved == 4 * (n * narrow + wide * narrow + wide + n * wide)
    assert (relu.flop, relu.bytes_moved, relu.kernels) == (0, 4 * 2 * n * wide, 1)


def test_a_unet_stands_in_two_arms_and_every_block_once(explorer):
    names = [block.name for block in explorer.blocks]
    levels = levels_of(names)
    assert [level.name for level in levels] == ["in and out", "level 1", "level 2", "middle"]
    assert sorted(i for level in levels for i in (*level.down, *level.middle, *level.up)) == list(range(len(names)))
    for level in levels[1:-1]:
        downs, ups = ({names[i].split(".")[1] for i in arm} for arm in (level.down, level.up))
        assert {int(down) + int(up) for down in downs for up in ups} == {1}, "level with level"
    assert [names[i] for i in levels[-1].middle] == ["mid_block1", "mid_attn", "mid_block2"]


def test_another_model_stands_by_its_prefixes():
    levels = levels_of(["stem", "layer1.0", "layer1.1", "layer2.0", "head"])
    told = [(level.name, level.middle) for level in levels]
    assert told == [("model", (0,)), ("layer1", (1, 2)), ("layer2", (3,)), ("model", (4,))]
    assert not any(level.down or level.up for level in levels)


def test_every_block_in_every_phase(explorer, unet):
    work = count(*unet)
    for phase in explorer.phases:
        explorer.phase = phase
        assert sum(one["share"] for one in explorer.shown) == pytest.approx(1)
        for i in range(len(explorer.blocks)):
            explorer.chosen = i
            assert explorer.detail["name"] == explorer.shown[i]["name"]
            assert explorer.shown[i]["bound"] in ("compute", "memory", "launch")
        assert phase in repr(explorer)
        assert len(explorer.figure().axes[0].patches) == len(explorer.blocks)
    assert sum(block.parts["forward"].flop for block in explorer.blocks) == work.flop
    assert explorer.detail["columns"] == ["forward", "backward", "both"]


def test_a_block_beyond_the_last_is_the_last_and_an_unknown_phase_is_refused(explorer):
    explorer.chosen = 10_000
    assert explorer.chosen == len(explorer.blocks) - 1
    explorer.chosen = -3
    assert explorer.chosen == 0
    with pytest.raises(ValueError, match="phase is 'sideways', wanted one of forward, backward, both"):
        explorer.phase = "sideways"


def test_a_profile_of_another_model_is_refused(unet, ceilings):
    other = profile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(1, 4), rounds=1)
    with pytest.raises(ValueError, match="measured has a block '0' that this model lacks"):
        BlockExplorer(*unet, measured=other, ceilings=ceilings)


def test_without_backward_there_is_one_phase(unet, ceilings):
    shown = BlockExplorer(*unet, measured=profile(*unet, backward=False, rounds=1), ceilings=ceilings)
    assert (shown.phases, shown.phase) == (["forward"], "forward")


def test_a_dtype_without_a_ceiling_is_refused(unet, measured, ceilings):
    with pytest.raises(ValueError, match="dtype is 'fp8', wanted one of those measured here: fp32"):
        BlockExplorer(*unet, measured=measured, ceilings=ceilings, dtype="fp8")
