"""`bottleneck` against hand counts, numpy's SVD, and kernels whose rank is known because they were made that way."""

import copy
import inspect
import itertools
import json

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from course_utils.diffusion import Batches, baseline, load_weights, procedural_images, save_weights, train
from course_utils.measure import count
from course_utils.speedups import STRUCTURAL, bottleneck, bottleneck_flop, half_precision, im2col, layout, treat
from course_utils.speedups.bottleneck import Between, Inside, low_rank

FORMS = ["between", "inside"]
PARTS = {"between": "proj.narrow", "inside": "proj.widen"}


def saved_by_hand(c_in, c_out, size, where, reduction, stride=1):
    """FLOP that a bottleneck saves at one convolution of a size x size picture; a multiply-add is 2 FLOP."""
    out = (size // stride) ** 2
    if where == "between":
        m = c_in // reduction
        return 2 * (9 * c_in * c_out * out - c_in * m * size**2 - 9 * m * c_out * out)
    m = min(c_in, c_out) // reduction
    return 2 * (9 * c_in * c_out * out - c_in * m * size**2 - 9 * m * m * out - m * c_out * out)


def unet_convolutions(dim, mults, size):
    """(c_in, c_out, pixels a side) of the 3x3 convolutions of the library's Unet, as its figure shows them."""
    widths = [dim, *[dim * mult for mult in mults]]
    last, middle = len(mults) - 1, widths[-1]
    found = [(middle, middle, size >> last)] * 4
    for stage, (outer, inner) in enumerate(itertools.pairwise(widths)):
        side = size >> stage
        found += [(outer, outer, side)] * 4
        found += [(inner + outer, inner, side), (inner, inner, side)] * 2
        found += [(inner, outer, side if stage == 0 else 2 * side)]
        if stage == last:
            found += [(outer, inner, side)]
    return [*found, (2 * dim, dim, size), (dim, dim, size)]


@pytest.mark.parametrize("where", FORMS)
@pytest.mark.parametrize("reduction", [2, 4])
def test_flop_of_the_laptop_unet_by_hand(where, reduction):
    model, inputs = baseline("laptop").model, (torch.randn(1, 3, 32, 32), torch.tensor([500]))
    convolutions = unet_convolutions(32, (1, 2, 4), 32)
    treated = [one for one in convolutions if where == "inside" or one[0] > one[1]]
    saved = sum(saved_by_hand(*one, where, reduction) for one in treated)
    assert saved > 0
    assert count(bottleneck(model, where, reduction), *inputs).flop == count(model, *inputs).flop - saved


@pytest.mark.parametrize("reduction", [2, 4])
def test_flop_of_resnet18_by_hand(reduction):
    model, x = torchvision.models.resnet18().eval(), torch.randn(1, 3, 64, 64)
    saved = 4 * saved_by_hand(64, 64, 16, "inside", reduction)
    for c_in, side in ((64, 16), (128, 8), (256, 4)):
        saved += saved_by_hand(c_in, 2 * c_in, side, "inside", reduction, stride=2)
        saved += 3 * saved_by_hand(2 * c_in, 2 * c_in, side // 2, "inside", reduction)
    treated = bottleneck(model, "inside", reduction)
    assert count(treated, x).flop == count(model, x).flop - saved
    assert treated(x).shape == (1, 1000)
    assert isinstance(treated.conv1, nn.Conv2d)  # 7x7


@pytest.mark.parametrize(("where", "c_in", "c_out"), [("between", 24, 16), ("inside", 16, 24), ("inside", 24, 16)])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_formula_says_what_is_counted(where, c_in, c_out, stride):
    conv, x = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1), torch.randn(1, c_in, 8, 12)
    before, after = bottleneck_flop(c_in, c_out, 8, 12, where=where, reduction=2, stride=(stride, stride))
    treated = bottleneck(conv, where)
    assert (count(conv, x).flop, count(treated, x).flop) == (before, after)
    assert treated(x).shape == conv(x).shape
    assert [part.bias is not None for part in treated] == [False] * (len(treated) - 1) + [True]


GEOMETRIES = [
    {"padding": 1},
    {"padding": 1, "stride": 2},
    {"padding": (0, 2), "dilation": (1, 2), "stride": (2, 1)},
    {"padding": "same", "bias": False},
    {"padding": 1, "padding_mode": "circular"},
]


@pytest.mark.parametrize("where", FORMS)
@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_low_rank_start_is_exact_where_the_rank_is_low(where, options):
    """A kernel made of m = 8 maps is found again, whatever the geometry; a random start is another function."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    conv = nn.Conv2d(16, 12, 3, dtype=torch.float64, **options)
    m = 8 if where == "between" else 6
    kernel = torch.einsum("omhw,mi->oihw", drawn(12, m, 3, 3), drawn(m, 16))
    if where == "inside":
        kernel = torch.einsum("pn,no,oihw->pihw", drawn(12, m), drawn(m, 12), kernel)
    conv.weight.data.copy_(kernel)
    x = drawn(2, 16, 9, 9)
    torch.testing.assert_close(bottleneck(conv, where, start="low_rank")(x), conv(x), rtol=1e-9, atol=1e-9)
    other = bottleneck(conv, where)(x)
    assert other.shape == conv(x).shape
    assert not torch.allclose(other, conv(x), rtol=0.1)


@pytest.mark.parametrize("where", FORMS)
def test_full_rank_keeps_any_kernel(where):
    weight, x = torch.randn(16, 16, 3, 3), torch.randn(1, 16, 8, 8, dtype=torch.float64)
    answer = x
    for kernel in low_rank(weight, where, 16):
        answer = F.conv2d(answer, kernel, padding=kernel.shape[-1] // 2)
    torch.testing.assert_close(answer, F.conv2d(x, weight.double(), padding=1))


def test_between_is_the_nearest_kernel_by_numpys_svd():
    """Eckart and Young: no kernel of rank m is nearer than the truncated SVD of the unfolding."""
    weight = torch.randn(10, 24, 3, 3)
    unfolding = weight.numpy().astype(np.float64).transpose(0, 2, 3, 1).reshape(90, 24)
    u, s, vt = np.linalg.svd(unfolding, full_matrices=False)
    nearest = ((u[:, :7] * s[:7]) @ vt[:7]).reshape(10, 3, 3, 24).transpose(0, 3, 1, 2)
    narrow, core = low_rank(weight, "between", 7)
    assert (narrow.shape, core.shape) == ((7, 24, 1, 1), (10, 7, 3, 3))
    composed = torch.einsum("omhw,mi->oihw", core, narrow[:, :, 0, 0])
    np.testing.assert_allclose(composed.numpy(), nearest, atol=1e-10)


def test_inside_projects_inputs_and_outputs_as_numpys_svd_does():
    weight = torch.randn(10, 24, 3, 3)
    kernel = weight.numpy().astype(np.float64)
    outputs = np.linalg.svd(kernel.reshape(10, -1), full_matrices=False)[0][:, :5]
    inputs = np.linalg.svd(kernel.transpose(1, 0, 2, 3).reshape(24, -1), full_matrices=False)[0][:, :5]
    wanted = np.einsum("po,oihw,ij->pjhw", outputs @ outputs.T, kernel, inputs @ inputs.T)
    narrow, core, widen = low_rank(weight, "inside", 5)
    composed = torch.einsum("pn,nmhw,mi->pihw", widen[:, :, 0, 0], core, narrow[:, :, 0, 0])
    np.testing.assert_allclose(composed.numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize("where", FORMS)
@pytest.mark.parametrize("start", ["random", "low_rank"])
def test_the_patient_is_untouched_trains_and_comes_back_from_its_file(where, start, tmp_path):
    patient = baseline("smoke")
    kept, recipe = copy.deepcopy(patient.model.state_dict()), patient.recipe
    treated = treat(patient, f"bottleneck(where={where}, reduction=2, start={start})")
    assert treated.num_parameters < patient.num_parameters
    assert patient.recipe == recipe
    for name, tensor in patient.model.state_dict().items():
        assert torch.equal(tensor, kept[name]), name
    assert not {id(one) for one in treated.model.parameters()} & {id(one) for one in patient.model.parameters()}
    before = {
        name: tensor.clone() for name, tensor in treated.model.state_dict().items() if f".{PARTS[where]}." in name
    }
    state = train(treated, Batches(procedural_images(n=16), 4), num_steps=1, seed=0)
    assert before
    for name, tensor in state.diffusion.model.state_dict().items():
        assert name not in before or not torch.equal(tensor, before[name]), name
    loaded = load_weights(save_weights(tmp_path / "w.safetensors", state.diffusion), treatments=STRUCTURAL)
    assert json.loads(loaded.recipe.to_json())["treatments"] == [
        ["bottleneck", {"where": where, "reduction": 2, "start": start}]
    ]
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 900])
    with torch.no_grad():
        assert torch.equal(loaded.model(x, t), state.diffusion.model.eval()(x, t))


def test_random_weights_are_those_of_plain_convolutions():
    """The default generator alone decides, and each part is drawn as `nn.Conv2d` draws it."""
    torch.manual_seed(3)
    treated = bottleneck(nn.Conv2d(16, 16, 3, padding=1), "inside")
    torch.manual_seed(3)
    nn.Conv2d(16, 16, 3)
    wanted = [nn.Conv2d(16, 8, 1, bias=False), nn.Conv2d(8, 8, 3, bias=False), nn.Conv2d(8, 16, 1)]
    for part, plain in zip(treated, wanted, strict=True):
        assert torch.equal(part.weight, plain.weight)
    assert torch.equal(treated.widen.bias, wanted[-1].bias)


def test_it_follows_layout_half_precision_and_im2col():
    model, inputs = baseline("smoke").model, (torch.randn(2, 3, 32, 32), torch.tensor([3, 900]))
    for first in (layout, half_precision, im2col):
        torch.manual_seed(0)
        one = bottleneck(first(model), "inside")
        torch.manual_seed(0)
        other = first(bottleneck(model, "inside"))
        kinds = [{name: type(part) for name, part in each.named_modules()} for each in (one, other)]
        assert kinds[0] == kinds[1], first
        assert [p.stride() for p in one.parameters()] == [p.stride() for p in other.parameters()], first
        with torch.no_grad():
            assert torch.equal(one(*inputs), other(*inputs)), first


def test_it_follows_pure_half_precision():
    model, inputs = baseline("smoke").model, (torch.randn(2, 3, 32, 32), torch.tensor([3, 900]))
    treated = bottleneck(half_precision(model, mode="pure"), "inside", start="low_rank")
    other = half_precision(bottleneck(model, "inside", start="low_rank"), mode="pure")
    assert {name: p.dtype for name, p in treated.named_parameters()} == {
        name: p.dtype for name, p in other.named_parameters()
    }
    with torch.no_grad():
        answer, wanted = treated(*inputs), other(*inputs)
    assert answer.dtype == torch.float32
    assert (answer - wanted).norm() < 0.1 * wanted.norm()  # bfloat16 weights have 8 bits


def test_a_convolution_used_twice_stays_one():
    conv = nn.Conv2d(16, 16, 3, padding=1)
    treated = bottleneck(nn.Sequential(conv, nn.SiLU(), conv), "inside")
    assert treated[0] is treated[2]
    assert isinstance(treated[0], Inside)


def test_what_is_left_alone():
    class Own(nn.Conv2d):
        pass

    left = {
        "groups": nn.Conv2d(16, 16, 3, groups=2),
        "pixels": nn.Conv2d(3, 16, 3),
        "1x1": nn.Conv2d(16, 16, 1),
        "own": Own(16, 16, 3),
        "parametrized": nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 16, 3)),
    }
    with pytest.raises(ValueError, match="no 3x3 convolution without groups"):
        bottleneck(nn.ModuleDict(left), "inside")
    treated = bottleneck(nn.ModuleDict({**left, "plain": nn.Conv2d(16, 16, 3)}), "inside")
    assert [name for name, part in treated.items() if isinstance(part, Inside)] == ["plain"]
    with pytest.raises(ValueError, match="reduction=16 would make cheaper"):
        bottleneck(nn.Conv2d(12, 12, 3), "inside", reduction=16)


def test_between_needs_more_inputs_than_outputs_and_a_gain():
    with pytest.raises(ValueError, match="where='inside'"):
        bottleneck(torchvision.models.resnet18())
    with pytest.raises(ValueError, match="more inputs than outputs"):
        bottleneck(nn.Conv2d(8 * 10, 8, 3))  # 80 * 40 + 9 * 40 * 8 multiply-adds are more than 9 * 80 * 8
    assert isinstance(bottleneck(nn.Conv2d(8 * 8, 8, 3)), Between)


def test_both_forms_once_each():
    model = baseline("smoke").model
    both = bottleneck(bottleneck(model, "between"), "inside")
    forms = [part for part in both.modules() if isinstance(part, Between | Inside)]
    assert {type(part) for part in forms} == {Between, Inside}
    assert not any(isinstance(inner, Between | Inside) for part in forms for inner in part.children())
    assert both(torch.randn(1, 3, 32, 32), torch.tensor([5])).shape == (1, 3, 32, 32)
    for where in FORMS:
        with pytest.raises(ValueError, match=f"bottlenecks {where} already"):
            bottleneck(both, where, reduction=4)
    with pytest.raises(ValueError, match="not in a bottleneck yet"):
        bottleneck(bottleneck(model, "inside"), "between")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"where": "after"}, "where must be between or inside, got 'after'"),
        ({"reduction": 1}, "reduction must be a whole number of at least 2, got 1"),
        ({"reduction": 2.0}, "got 2.0"),
        ({"start": "warm"}, "start must be random or low_rank, got 'warm'"),
    ],
)
def test_wrong_values(params, message):
    with pytest.raises(ValueError, match=message):
        bottleneck(nn.Conv2d(32, 16, 3), **params)


def test_compiled_models_are_refused():
    with pytest.raises(ValueError, match=r"compiled already: .*apply bottleneck before"):
        bottleneck(torch.compile(nn.Conv2d(32, 16, 3)))


def test_the_module_says_how_exact_it_is():
    assert "Exactness: retrained" in inspect.getdoc(inspect.getmodule(bottleneck))
