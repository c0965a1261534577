"""Blocks are a partition, and what they are called with is recorded as it was."""

from functools import partial

import pytest
import torch
from denoising_diffusion_pytorch import Unet
from torch import nn

from course_utils.measure.blocks import blocks, captured_calls, module_of


def test_the_unet_falls_into_its_blocks():
    model = Unet(8, dim_mults=(1, 2))
    stages = [f"{side}.{stage}.{part}" for side in ("downs", "ups") for stage in (0, 1) for part in range(4)]
    ends = ["init_conv", "time_mlp", "mid_block1", "mid_attn", "mid_block2", "final_res_block", "final_conv"]
    assert sorted(blocks(model)) == sorted(stages + ends)


@pytest.mark.parametrize(
    "model",
    [
        Unet(8, dim_mults=(1, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))),
        nn.ModuleDict({"a": nn.ModuleList([nn.Linear(1, 1), nn.ModuleList([nn.Linear(1, 1)])]), "b": nn.Tanh()}),
    ],
)
def test_every_leaf_is_in_exactly_one_block(model):
    inside = [id(leaf) for block in blocks(model).values() for leaf in block.modules() if not list(leaf.children())]
    leaves = [id(m) for m in model.modules() if not list(m.children())]
    assert sorted(inside) == sorted(leaves)


def test_a_module_under_two_names_is_one_block():
    model = nn.Module()
    model.first = model.second = nn.Linear(2, 2)
    model.third = nn.Linear(2, 2)
    assert list(blocks(model)) == ["first", "third"]


def test_wrappers_are_opened_and_a_leaf_is_its_own_block():
    inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    wrapper = nn.Module()
    wrapper.module = inner
    assert list(blocks(wrapper)) == ["module.0", "module.1"]
    leaf = nn.Linear(2, 2)
    assert blocks(leaf) == {"Linear": leaf}


def test_the_module_behind_a_callable():
    model = nn.Linear(2, 2)
    assert module_of(model) is module_of(model.forward) is module_of(partial(partial(model), None)) is model
    assert module_of(lambda x: model(x) + 1) is None
    assert module_of([].append) is None


def test_calls_keep_inputs_and_modes_and_skip_calls_within_calls():
    inner = nn.Linear(2, 2)
    outer = nn.Sequential(inner, nn.Tanh())
    x = torch.randn(1, 2)
    with captured_calls({"outer": outer, "inner": inner}) as calls:
        outer(x)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            inner(input=x.requires_grad_())
    assert [call.name for call in calls] == ["outer", "inner"]
    assert [call.grad_enabled for call in calls] == [True, False]
    assert not calls[0].args[0].requires_grad
    assert calls[1].kwargs["input"].requires_grad
    with calls[1].modes():
        assert inner(x).dtype == torch.bfloat16
    assert inner(x).dtype == torch.float32


def test_a_failing_block_leaves_no_hook():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 3))
    with pytest.raises(RuntimeError), captured_calls(blocks(model)):
        model(torch.randn(1, 2))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
