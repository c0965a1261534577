"""Half precision: what runs in 16 bits, what stays in 32, and why."""

import copy
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from course_utils.diffusion import EMA, baseline
from course_utils.speedups import half_precision, loss_scaler, needs_loss_scaling

BF16 = torch.bfloat16
MODES = pytest.mark.parametrize("mode", ["autocast", "pure"])


def unet():
    model = baseline("smoke").model.eval()
    return model, torch.randn(2, 3, 32, 32), torch.tensor([3, 900])


def convolution_types(model, *inputs):
    """The types in which the convolutions of a model answer."""
    seen = set()
    hooks = [
        module.register_forward_hook(lambda module, args, out: seen.add(out.dtype))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    answer = model(*inputs)
    for hook in hooks:
        hook.remove()
    return seen, answer


@MODES
@pytest.mark.parametrize("net", ["unet", "resnet18"])
def test_convolutions_run_in_16_bits_and_the_answer_comes_in_32(mode, net):
    torch.manual_seed(0)
    model, *inputs = unet() if net == "unet" else (resnet18().eval(), torch.randn(2, 3, 32, 32))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    treated = half_precision(model, mode=mode)
    with torch.no_grad():
        seen, answer = convolution_types(treated, *inputs)
        exact = model(*inputs)
    assert seen == {BF16}
    assert answer.dtype == torch.float32
    assert (answer - exact).norm() < 0.03 * exact.norm(), "about 8 significant bits through some 20 layers"
    assert not torch.equal(answer, exact)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.dtype == before[name].dtype
    assert not model._forward_hooks
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_autocast_keeps_the_weights_and_pure_only_what_is_kept():
    model, *_ = unet()
    assert {one.dtype for one in half_precision(model).parameters()} == {torch.float32}
    pure = half_precision(model, torch.float16, mode="pure")
    assert list(pure.state_dict()) == list(model.state_dict())
    for name, parameter in pure.named_parameters():
        assert parameter.dtype == (torch.float32 if name.startswith("time_mlp.") else torch.float16), name
    nothing = half_precision(model, mode="pure", keep=[])
    assert {one.dtype for one in nothing.parameters()} == {BF16}
    some = half_precision(model, mode="pure", keep=["downs.0", "final_conv"])
    assert {name.split(".")[0] for name, one in some.named_parameters() if one.dtype == torch.float32} == {
        "downs",
        "final_conv",
    }
    assert some.downs[1][0].block1.proj.weight.dtype == BF16


def test_what_stays_in_float32_and_why():
    model, x, t = unet()
    with pytest.raises(RuntimeError, match="same dtype"):
        copy.deepcopy(model).bfloat16()(x.bfloat16(), t)  # float32 sines meet 16-bit weights
    assert torch.arange(998, 1003).to(BF16).unique().tolist() == [1000], "five timesteps in one"
    kept = half_precision(model, mode="pure").time_mlp
    assert torch.equal(kept(t), model.time_mlp(t))


@MODES
def test_inputs_by_name_are_taken_as_well(mode):
    model, x, t = unet()
    treated = half_precision(model, mode=mode)
    with torch.no_grad():
        assert torch.equal(treated(x=x, time=t), treated(x, t))


class ByName(nn.Module):
    """Hands its part a tensor by name, as attention layers do."""

    def __init__(self):
        super().__init__()
        self.part = nn.Linear(2, 2)

    def forward(self, x):
        return self.part(input=x)


def test_inner_inputs_by_name_are_cast():
    assert half_precision(ByName(), mode="pure")(torch.ones(1, 2)).dtype == torch.float32


class Pair(NamedTuple):
    mean: Tensor
    count: Tensor


@dataclass(frozen=True)
class Answer:
    mean: Tensor
    words: str


class Answering(nn.Module):
    """Wraps the answer of a linear layer into something else."""

    def __init__(self, wrap):
        super().__init__()
        self.part, self.wrap = nn.Linear(2, 2), wrap

    def forward(self, x):
        return self.wrap(self.part(x))


@MODES
@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda y: (y, [y]), lambda a: a[1][0]),
        (lambda y: Pair(y, torch.tensor(3)), lambda a: a.mean),
        (lambda y: OrderedDict(mean=y), lambda a: a["mean"]),
        (lambda y: Answer(y, "two"), lambda a: a.mean),
        (lambda y: {"deep": (Answer(y, ""),)}, lambda a: a["deep"][0].mean),
    ],
    ids=["tuple and list", "named tuple", "mapping", "dataclass", "nested"],
)
def test_answers_of_any_shape_keep_their_type(mode, wrap, unwrap):
    model = Answering(wrap)
    treated, expected = half_precision(model, mode=mode), model(torch.ones(1, 2))
    found = treated(torch.ones(1, 2))
    assert type(found) is type(expected)
    assert unwrap(found).dtype == torch.float32
    torch.testing.assert_close(unwrap(found), unwrap(expected), rtol=0.02, atol=0.02)


@MODES
def test_other_types_in_an_answer_are_left_alone(mode):
    model = Answering(lambda y: (y.double(), y.argmax(1), "words", None))
    wide, index, words, nothing = half_precision(model, mode=mode)(torch.ones(1, 2))
    assert (wide.dtype, index.dtype, words, nothing) == (torch.float64, torch.int64, "words", None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_running_statistics_stay_in_float32_and_move_as_they_should(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.001), nn.Conv2d(4, 2, 1))
    treated, x = half_precision(model, dtype, mode="pure", keep=[]), 3 + torch.randn(8, 3, 6, 6)
    norm = treated[1]
    seen = []
    norm.register_forward_hook(lambda module, args, out: seen.append((args[0].dtype, out.dtype)))
    for _ in range(3):
        treated(x)
        model(x)
    assert seen[0] == (dtype, dtype), "the images themselves pass in 16 bits"
    assert norm.weight.dtype == norm.running_mean.dtype == torch.float32
    assert norm.num_batches_tracked.item() == 3
    torch.testing.assert_close(norm.running_mean, model[1].running_mean, rtol=0.02, atol=1e-5)
    assert treated.eval()(x).dtype == torch.float32


def test_small_updates_vanish_in_16_bit_weights():
    """Below 1 bfloat16 has steps of 1/256: Adam's updates, each of the size of lr, all round to nothing."""

    def after_a_hundred(dtype):
        weight = nn.Parameter(torch.ones(1, dtype=dtype))
        optimizer = torch.optim.Adam([weight], lr=1e-3)
        for _ in range(100):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        return weight.item()

    assert after_a_hundred(torch.float32) == pytest.approx(1 - 100 * 1e-3, rel=1e-4)
    assert after_a_hundred(BF16) == 1.0


def test_averages_of_16_bit_weights_are_float32():
    model = half_precision(nn.Linear(1, 1, bias=False), mode="pure")
    nn.init.ones_(model.weight)
    ema = EMA(model, 0.9)
    nn.init.constant_(model.weight, 1.0078125)  # the next one in bfloat16
    ema.update(model, 1_000)
    assert ema.tensors["weight"].dtype == torch.float32
    assert ema.tensors["weight"].item() == pytest.approx(1 + 0.1 * 0.0078125, rel=1e-6)


def test_small_gradients_need_a_scale_in_float16():
    """By hand: d loss / d weight = 1e-9 * input, below float16's smallest number, 6e-8, and above it times 65536."""
    model = half_precision(nn.Linear(1, 1, bias=False), torch.float16)
    weight, x = model.module.weight, torch.ones(1, 1)

    def gradient(scale):
        weight.grad = None
        (model(x).sum() * 1e-9 * scale).backward()
        return weight.grad.item() / scale

    assert gradient(1.0) == 0.0
    assert gradient(65536.0) == pytest.approx(1e-9, rel=2**-10)


def test_who_needs_loss_scaling():
    model = nn.Sequential(nn.Linear(2, 2))
    assert not needs_loss_scaling(model)
    for mode in ("autocast", "pure"):
        assert not needs_loss_scaling(half_precision(model, "bfloat16", mode))
        assert needs_loss_scaling(half_precision(model, "float16", mode))
    scaler = loss_scaler(torch.device("cpu"))
    assert scaler.is_enabled()
    assert scaler.get_scale() == 65536.0


@MODES
def test_copies_pickles_and_the_compiler_take_it(mode):
    model, x = half_precision(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), mode=mode), torch.randn(4, 2)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x), model(x))
    traced = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(x), model(x), rtol=0.02, atol=0.02)


def test_gradients_of_the_given_model_stay_its_own():
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    treated = half_precision(model, mode="pure")
    assert treated.weight.grad is None
    treated(torch.ones(1, 2)).sum().backward()
    assert treated.weight.grad.dtype == BF16
    assert model.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"dtype": torch.float32}, r"dtype must be torch.bfloat16 or torch.float16, got torch.float32"),
        ({"dtype": "half"}, "got 'half'"),
        ({"mode": "mixed"}, "mode must be autocast or pure, got 'mixed'"),
        ({"keep": ["part"]}, "keep is for mode='pure'"),
        ({"mode": "pure", "keep": ["parts"]}, "keep names 'parts', which the model has not; it has part$"),
        ({"mode": "pure", "keep": "part"}, r"keep must be a list of names, got 'part': write \['part'\]"),
    ],
)
def test_options_that_make_no_sense_are_named(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        half_precision(ByName(), **options)


@MODES
def test_what_cannot_be_halved_is_refused(mode):
    model, *_ = unet()
    with pytest.raises(ValueError, match="autocast already: apply half_precision once"):
        half_precision(half_precision(model), mode=mode)
    with pytest.raises(ValueError, match=r"parameters in torch\.bfloat16 already: apply half_precision once"):
        half_precision(half_precision(model, mode="pure"), mode=mode)
    with pytest.raises(ValueError, match=r"its parameters are torch\.float64"):
        half_precision(nn.Linear(1, 1).double(), mode=mode)
    with pytest.raises(ValueError, match="its parameters are none at all"):
        half_precision(nn.ReLU(), mode=mode)
    with pytest.raises(ValueError, match="compiled comes last, apply half_precision before it"):
        half_precision(torch.compile(nn.Linear(1, 1), backend="eager"), mode=mode)


def test_a_wrapper_offers_what_the_model_within_has():
    inner = nn.Linear(3, 2)
    inner.config = {"width": 2}
    wrapped = half_precision(inner)
    assert wrapped.config == {"width": 2}
    assert wrapped.in_features == 3
    assert copy.deepcopy(wrapped).config == {"width": 2}
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing
