"""`fewer_blocks` against the library's own Unets with fewer multipliers, and counts by hand."""

import copy
import inspect
import json

import pytest
import torch
from denoising_diffusion_pytorch import Unet
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import Attention, ResnetBlock
from torch import nn

from course_utils.diffusion import Batches, baseline, load_weights, procedural_images, save_weights, train
from course_utils.measure import count
from course_utils.speedups import (
    STRUCTURAL,
    bottleneck,
    evaluation_share,
    fewer_blocks,
    half_precision,
    im2col,
    layout,
    treat,
)
from course_utils.speedups.fewer_blocks import Shortcut

T = torch.tensor([3, 900])
OPTIONS = [
    {},
    {
        "dim_mults": (2, 1, 3),
        "init_dim": 12,
        "out_dim": 5,
        "channels": 2,
        "attn_heads": (2, 3, 4),
        "attn_dim_head": (8, 16, 4),
        "dropout": 0.2,
        "self_condition": True,
    },
    {"full_attn": (False, True, True), "random_fourier_features": True, "learned_variance": True},
    {"full_attn": (False, False, False), "flash_attn": False},
]


def net(**options):
    torch.manual_seed(0)
    return Unet(**{"dim": 8, "dim_mults": (1, 2, 4), **options})


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "uneven", "fourier", "linear"])
@pytest.mark.parametrize("stages", [1, 2])
def test_the_outer_stages_are_the_librarys_shorter_unet(options, stages):
    """Names, shapes, FLOP and, with the same weights, the answer are those of a Unet built with fewer multipliers."""
    model = net(**options)
    treated = fewer_blocks(model, stages=stages)
    shorter = dict(options)
    for name in ("dim_mults", "attn_heads", "attn_dim_head"):
        if name in options:
            shorter[name] = options[name][:stages]
    if any(options.get("full_attn", ())):
        shorter["full_attn"] = (*options["full_attn"][: stages - 1], True)
    elif "full_attn" in options:
        shorter["full_attn"] = options["full_attn"][:stages]
    wanted = net(**{"dim_mults": (1, 2, 4)[:stages], **shorter}).eval()
    assert {name: p.shape for name, p in treated.state_dict().items()} == {
        name: p.shape for name, p in wanted.state_dict().items()
    }
    wanted.load_state_dict(treated.state_dict())
    x = torch.randn(2, model.channels, 16, 16)
    with torch.no_grad():
        assert torch.equal(treated.eval()(x, T), wanted(x, T))
    assert count(treated, x, T).flop == count(wanted, x, T).flop
    rates = [[part.p for part in each.modules() if isinstance(part, nn.Dropout)] for each in (treated, wanted)]
    assert rates[0] == rates[1]


def test_weights_stay_with_their_role():
    model = net()
    treated = fewer_blocks(model, stages=2)
    for name in ("init_conv", "time_mlp", "final_res_block", "final_conv"):
        same(getattr(treated, name), getattr(model, name))
    for part in range(4):
        same(treated.downs[0][part], model.downs[0][part])
        same(treated.ups[1][part], model.ups[2][part])
    for part in (0, 1):
        same(treated.downs[1][part], model.downs[1][part])
        same(treated.ups[0][part], model.ups[1][part])
    same(treated.ups[0][3], model.ups[1][3])
    assert isinstance(treated.downs[1][2], Attention)
    assert not isinstance(model.downs[1][2], Attention)


def same(one, other):
    ones, others = one.state_dict(), other.state_dict()
    assert ones.keys() == others.keys()
    assert all(torch.equal(ones[name], others[name]) for name in ones)


def test_one_block_a_stage_by_hand():
    """What goes is two 3x3 convolutions and the time's linear layer of each second block; its shortcut stays."""
    model, x = baseline("laptop").model, torch.randn(1, 3, 32, 32)
    treated = fewer_blocks(model, blocks=1)
    widths, flop, parameters = (32, 32, 64, 128), 0, 0
    for stage in range(3):
        outer, inner, pixels = widths[stage], widths[stage + 1], (32 >> stage) ** 2
        for c_in, c_out in ((outer, outer), (inner + outer, inner)):
            flop += 2 * 9 * (c_in + c_out) * c_out * pixels + 2 * (4 * 32) * (2 * c_out)
            parameters += 9 * (c_in + c_out) * c_out + 2 * c_out + 2 * c_out  # weights, biases, norms
            parameters += (4 * 32 + 1) * (2 * c_out)
    assert count(model, x, T[:1]).flop - count(treated, x, T[:1]).flop == flop
    sizes = [sum(one.numel() for one in each.parameters()) for each in (model, treated)]
    assert sizes[0] - sizes[1] == parameters
    assert sum(isinstance(part, ResnetBlock) for part in treated.modules()) == 3 + 3 + 2 + 1


def test_a_shortcut_is_the_block_with_a_silent_second_half():
    """With the norm of its last convolution at zero a residual block adds nothing, and is its shortcut."""
    model = net().eval()
    for stage in (*model.downs, *model.ups):
        nn.init.zeros_(stage[1].block2.norm.g)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(fewer_blocks(model, blocks=1)(x, T), model(x, T))


@pytest.mark.parametrize("params", ["stages=1", "blocks=1", "stages=1, blocks=1"])
def test_the_patient_is_untouched_trains_and_comes_back_from_its_file(params, tmp_path):
    patient = baseline("smoke")
    kept = copy.deepcopy(patient.model.state_dict())
    treated = treat(patient, f"fewer_blocks({params})")
    assert treated.num_parameters < patient.num_parameters
    assert all(torch.equal(tensor, kept[name]) for name, tensor in patient.model.state_dict().items())
    assert not {id(one) for one in treated.model.parameters()} & {id(one) for one in patient.model.parameters()}
    small = procedural_images(n=16).images[..., ::2, ::2]
    before = {name: tensor.clone() for name, tensor in treated.model.state_dict().items()}
    state = train(treated, Batches(small, 4), num_steps=2, seed=0)
    assert len(state.losses) == 2
    assert all(0 < loss < 10 for loss in state.losses)
    for name, tensor in state.diffusion.model.state_dict().items():
        assert tensor.isfinite().all(), name
        assert not torch.equal(tensor, before[name]), name
    loaded = load_weights(save_weights(tmp_path / "w.safetensors", state.diffusion), treatments=STRUCTURAL)
    assert loaded.recipe == treated.recipe
    assert json.loads(loaded.recipe.to_json())["treatments"][0][0] == "fewer_blocks"
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.model(x, T), state.diffusion.model.eval()(x, T))


def test_both_at_once_or_one_after_the_other():
    model = net()
    torch.manual_seed(1)
    both = fewer_blocks(model, stages=2, blocks=1)
    torch.manual_seed(1)
    same(both, fewer_blocks(fewer_blocks(model, blocks=1), stages=2))
    torch.manual_seed(1)
    same(both, fewer_blocks(fewer_blocks(model, stages=2), blocks=1))
    same(fewer_blocks(model, stages=3, blocks=1), fewer_blocks(model, blocks=1))
    assert both(torch.randn(2, 3, 16, 16), T).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("params", [{"stages": 2}, {"blocks": 1}], ids=str)
def test_it_follows_layout_half_precision_and_im2col(params):
    model, x = net(), torch.randn(2, 3, 16, 16)
    for first in (layout, half_precision, im2col, lambda net: half_precision(net, mode="pure")):
        torch.manual_seed(0)
        one = fewer_blocks(first(model), **params)
        torch.manual_seed(0)
        other = first(fewer_blocks(model, **params))
        kinds = [{name: type(part) for name, part in each.named_modules()} for each in (one, other)]
        assert kinds[0] == kinds[1]
        assert [(p.dtype, p.stride()) for p in one.parameters()] == [(p.dtype, p.stride()) for p in other.parameters()]
        with torch.no_grad():
            assert torch.equal(one(x, T), other(x, T))


def test_with_bottlenecks():
    model, x = net(), torch.randn(2, 3, 16, 16)
    for where in ("between", "inside"):
        for params in ({"stages": 2}, {"blocks": 1}, {"stages": 1, "blocks": 1}):
            assert bottleneck(fewer_blocks(model, **params), where)(x, T).shape == x.shape
        assert fewer_blocks(bottleneck(model, where), blocks=1)(x, T).shape == x.shape
    assert fewer_blocks(bottleneck(model, "between"), stages=2)(x, T).shape == x.shape
    with pytest.raises(ValueError, match=r"apply fewer_blocks\(stages=...\) before bottleneck"):
        fewer_blocks(bottleneck(model, "inside"), stages=2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "give stages, fewer than the model's 3, or blocks=1"),
        ({"stages": 3}, "stages must be from 1 to 2 for a model that has 3, got 3"),
        ({"stages": 0}, "got 0"),
        ({"stages": True}, "got True"),
        ({"stages": 4, "blocks": 1}, "stages must be from 1 to 3 for a model that has 3, got 4"),
        ({"blocks": 2}, "blocks must be 1 or left out .*, got 2"),
        ({"blocks": 0}, "got 0"),
    ],
)
def test_wrong_values(params, message):
    with pytest.raises(ValueError, match=message):
        fewer_blocks(net(), **params)


def test_other_models_and_second_helpings_are_refused():
    with pytest.raises(ValueError, match="must be the Unet of denoising-diffusion-pytorch, got a Conv2d"):
        fewer_blocks(half_precision(nn.Conv2d(3, 3, 3)), blocks=1)
    with pytest.raises(ValueError, match=r"compiled already: .*apply fewer_blocks before"):
        fewer_blocks(torch.compile(net()), blocks=1)
    with pytest.raises(ValueError, match="one block already"):
        fewer_blocks(fewer_blocks(net(), blocks=1), blocks=1)
    with pytest.raises(ValueError, match="stages must be left out for a model that has 1, got 1"):
        fewer_blocks(fewer_blocks(net(), stages=1), stages=1)


def test_a_shortcut_alone():
    x = torch.randn(2, 4, 8, 8)
    assert Shortcut(nn.Identity())(x, T) is x
    conv = nn.Conv2d(4, 6, 1)
    assert torch.equal(Shortcut(conv)(x), conv(x))


def test_the_librarys_evaluation_takes_a_thousand_times_the_training():
    """Every 1,000 steps of batch 16 (a backward pass is two forwards), 50,000 pictures of 1,000 calls."""
    share = evaluation_share(1000, 50_000, 1000, call_s=0.01, step_s=16 * 3 * 0.01)
    assert share / (1 - share) == pytest.approx(50_000 * 1000 / (1000 * 16 * 3))
    assert share == pytest.approx(0.99904, abs=1e-5)
    assert evaluation_share(10, 0, 50, 1.0, 1.0) == 0
    assert evaluation_share(30, 5, 2, 3.0, 1.0) == 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"every": 0}, "every must be above 0, got 0"),
        ({"images": -1}, "images must be at least 0, got -1"),
        ({"nfe": -2}, "nfe must be at least 0, got -2"),
        ({"call_s": float("nan")}, "call_s must be at least 0, got nan"),
        ({"step_s": 0.0}, "step_s must be above 0, got 0.0"),
    ],
)
def test_an_impossible_cadence_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        evaluation_share(**({"every": 1000, "images": 64, "nfe": 20, "call_s": 0.1, "step_s": 0.2} | changed))


def test_the_module_says_how_exact_it_is():
    assert "Exactness: retrained" in inspect.getdoc(inspect.getmodule(fewer_blocks))
