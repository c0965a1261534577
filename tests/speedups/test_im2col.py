"""Convolution by loops and by unfolding against the library's own, forward and backward."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18

from course_utils.diffusion import baseline
from course_utils.measure import count
from course_utils.speedups import conv2d_loops, conv2d_unfold, half_precision, im2col, im2col_bytes, layout
from course_utils.speedups.im2col import Im2colConv2d

BOTH = pytest.mark.parametrize("convolve", [conv2d_loops, conv2d_unfold])

GRID = [
    {},
    {"stride": 2},
    {"stride": (1, 3), "padding": 1},
    {"padding": (0, 2)},
    {"padding": "valid", "stride": 2},
    {"padding": "same"},
    {"padding": "same", "dilation": (2, 1)},
    {"dilation": 2, "padding": 2},
    {"stride": 2, "dilation": (1, 2), "padding": (2, 1)},
    {"groups": 2},
    {"groups": 4, "stride": 2, "padding": 1},
    {"groups": 2, "padding": "same", "dilation": 2},
]


def doubles(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def case(groups=1, kernel=(3, 2)):
    """x (2, 4, 8, 9), weight (8, 4 / groups, 3, 2), bias (8,)."""
    return doubles(2, 4, 8, 9), doubles(8, 4 // groups, *kernel, seed=1), doubles(8, seed=2)


def gradients(answer, *inputs):
    return torch.autograd.grad((answer * torch.arange(answer.numel()).reshape(answer.shape).cos()).sum(), inputs)


@BOTH
@pytest.mark.parametrize("options", GRID, ids=str)
def test_forward_and_backward_are_the_librarys(convolve, options):
    inputs = case(options.get("groups", 1))
    ours, theirs = convolve(*inputs, **options), F.conv2d(*inputs, **options)
    torch.testing.assert_close(ours, theirs)
    for mine, reference in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(mine, reference)


@BOTH
@pytest.mark.parametrize("kernel", [(1, 1), (7, 7), (8, 9)])
def test_kernels_of_one_pixel_and_of_the_whole_image(convolve, kernel):
    x, weight, _ = case(kernel=kernel)
    torch.testing.assert_close(convolve(x, weight), F.conv2d(x, weight))


@BOTH
def test_gradients_by_finite_differences(convolve):
    x, weight, bias = doubles(1, 2, 4, 3), doubles(2, 1, 2, 2, seed=1), doubles(2, seed=2)
    assert torch.autograd.gradcheck(lambda *inputs: convolve(*inputs, 2, (1, 0), 1, 2), (x, weight, bias))


@BOTH
def test_one_image_alone_and_none_at_all(convolve):
    x, weight, bias = case()
    torch.testing.assert_close(convolve(x[0], weight, bias), F.conv2d(x[0], weight, bias))
    assert convolve(x[:0], weight, bias, padding=1).shape == F.conv2d(x[:0], weight, bias, padding=1).shape


@BOTH
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"groups": 3}, r"groups is 3: it must divide the 8 filters"),
        ({"groups": 2}, r"4 channels a group must make up the 4 of x"),
        ({"stride": 0}, "stride must be a number of at least 1, or two of them, got 0"),
        ({"dilation": (1, 2, 3)}, r"dilation must be .* got \(1, 2, 3\)"),
        ({"padding": -1}, "padding must be a number of at least 0"),
        ({"padding": "full"}, 'padding must be "same", "valid", a number or two, got \'full\''),
        ({"padding": "same", "stride": 2}, r'padding="same" needs stride 1, got \(2, 2\)'),
        ({"dilation": 5}, "x is 8 x 9 once padded, smaller than its patches, 11 x 6"),
    ],
)
def test_sizes_that_do_not_fit_are_named(convolve, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        convolve(*case(), **change)


def test_other_shapes_are_named():
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\) and weight .* got \(4, 8\) and \(8, 4, 3, 2\)"):
        conv2d_unfold(torch.zeros(4, 8), case()[1])


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": "same", "dilation": 2}], ids=str)
def test_the_size_of_the_unfolded_matrix(options):
    x, weight, _ = case(kernel=(3, 3))
    padding = 2 if options.get("padding") == "same" else options.get("padding", 0)  # 3 x 3 at dilation 2 spans 5
    columns = F.unfold(x, (3, 3), options.get("dilation", 1), padding, options.get("stride", 1))
    assert im2col_bytes(x.shape, weight.shape, **options, itemsize=8) == columns.nbytes


def test_a_3_by_3_kernel_repeats_every_number_nine_times():
    assert im2col_bytes((16, 32, 32, 32), (64, 32, 3, 3), padding="same") == 9 * torch.zeros(16, 32, 32, 32).nbytes
    assert (
        im2col_bytes((16, 32, 32, 32), (32, 1, 3, 3), padding=1) == 9 * torch.zeros(16, 32, 32, 32).nbytes
    )  # by group


def test_the_operations_are_those_of_the_convolution():
    """2 N O K L by hand: the matrix costs bytes, not FLOP."""
    x, weight, _ = case()
    by_hand = 2 * 2 * 8 * (4 * 3 * 2) * (6 * 8)
    assert count(conv2d_unfold, x.detach(), weight.detach()).flop == by_hand
    assert count(F.conv2d, x.detach(), weight.detach()).flop == by_hand


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"padding": (2, 1), "stride": 2, "groups": 2},
        {"padding": "same", "dilation": 2},
        {"padding": "valid", "bias": False},
    ],
    ids=str,
)
def test_the_module_with_every_padding_mode(mode, options):
    theirs = nn.Conv2d(4, 8, (3, 2), padding_mode=mode, dtype=torch.float64, **options)
    ours, x = im2col(theirs), doubles(2, 4, 8, 9)
    torch.testing.assert_close(ours(x), theirs(x))
    (mine,), (reference,) = gradients(ours(x), x), gradients(theirs(x), x)
    torch.testing.assert_close(mine, reference)


def test_a_treated_resnet_is_the_same_function_and_the_given_one_stays():
    torch.manual_seed(0)
    model = resnet18().double().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    treated, x = im2col(model), doubles(2, 3, 40, 40)
    torch.testing.assert_close(treated(x), model(x))
    kinds = [type(module) for module in treated.modules() if isinstance(module, nn.Conv2d)]
    assert kinds == [Im2colConv2d] * 20
    assert [type(module) for module in model.modules() if isinstance(module, nn.Conv2d)] == [nn.Conv2d] * 20
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert treated.conv1.weight is not model.conv1.weight


def test_the_unet_forward_and_backward():
    model = baseline("smoke").model
    treated, x, t = im2col(model), torch.randn(2, 3, 32, 32), torch.tensor([3, 900])
    torch.testing.assert_close(treated(x, t), model(x, t), rtol=1e-4, atol=1e-5)
    for net in (model, treated):
        net(x, t).square().mean().backward()
    reference = dict(model.named_parameters())
    for name, parameter in treated.named_parameters():
        torch.testing.assert_close(parameter.grad, reference[name].grad, rtol=1e-3, atol=1e-5, msg=name)


def test_weights_travel_both_ways():
    model, other = (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 1)),
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 1)),
    )
    treated = im2col(other)
    assert list(treated.state_dict()) == list(model.state_dict())
    treated.load_state_dict(model.state_dict())
    other.load_state_dict(treated.state_dict())
    x = torch.randn(1, 2, 6, 6)
    assert torch.equal(other(x), model(x))
    for again in (copy.deepcopy(treated), pickle.loads(pickle.dumps(treated))):
        assert torch.equal(again(x), treated(x))


def test_under_autocast_it_answers_in_the_librarys_type_as_exactly():
    torch.manual_seed(0)
    model, x = nn.Conv2d(8, 4, 3, padding=1), torch.randn(2, 8, 9, 9)
    exact, treated = model.double()(x.double()), im2col(model.float())
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = treated(x), model(x)
        assert treated.double()(x.double()).dtype == model.double()(x.double()).dtype == torch.float64
    assert ours.dtype == theirs.dtype == torch.bfloat16
    errors = [(answer.double() - exact).abs().max() for answer in (ours, theirs)]
    assert errors[0] < 2 * errors[1] < 0.1


@pytest.mark.parametrize("prepare", [layout, half_precision, lambda model: half_precision(model, mode="pure")])
def test_it_composes_in_either_order(prepare):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 2, 3)), torch.randn(2, 3, 8, 8)
    first, second = im2col(prepare(model)), prepare(im2col(model))
    assert first(x).dtype == second(x).dtype == torch.float32
    torch.testing.assert_close(first(x), second(x), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(first(x), model(x), rtol=2e-2, atol=2e-2)
    assert [type(module) for module in second.modules() if isinstance(module, nn.Conv2d)] == [Im2colConv2d] * 2


def test_channels_last_images_give_the_same():
    model, x = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(im2col(layout(model))(x.to(memory_format=torch.channels_last)), model(x))


def test_hooks_and_parametrizations_stay():
    model, calls = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3)), []
    model.register_forward_hook(lambda *_: calls.append(1))
    treated, x = im2col(model), torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(treated(x), model(x))
    assert isinstance(treated, Im2colConv2d)
    assert len(calls) == 2


def test_other_dimensions_and_lazy_convolutions_are_left_alone():
    parts = [
        nn.Conv1d(1, 1, 1),
        nn.Conv3d(1, 1, 1),
        nn.ConvTranspose2d(1, 1, 1),
        nn.LazyConv2d(2, 1),
        nn.Conv2d(1, 1, 1),
    ]
    treated = im2col(nn.ModuleList(parts))
    assert [type(part) for part in treated[:4]] == [type(part) for part in parts[:4]]
    assert type(treated[4]) is Im2colConv2d


class Standardized(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight / self.weight.std(), self.bias)


def test_what_it_cannot_treat_is_refused():
    with pytest.raises(ValueError, match=r"the model has no torch\.nn\.Conv2d"):
        im2col(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="apply im2col once"):
        im2col(im2col(nn.Conv2d(1, 1, 1)))
    with pytest.raises(ValueError, match="1 is a Standardized with a forward of its own"):
        im2col(nn.Sequential(nn.Conv2d(1, 1, 1), Standardized(1, 1, 1)))
    with pytest.raises(ValueError, match="compiled already: compiled comes last, apply im2col before it"):
        im2col(torch.compile(nn.Conv2d(1, 1, 1), backend="eager"))
