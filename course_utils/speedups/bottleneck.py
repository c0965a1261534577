"""Bottlenecks: a 1x1 convolution narrows the channels, so that the 3x3 one has fewer of them to work on.

Exactness: retrained

A 3x3 convolution does 9 * c_in * c_out multiply-adds a pixel, a 1x1 convolution a ninth of it. `between` narrows what
goes in (Szegedy et al., Going Deeper with Convolutions, 2015); `inside` narrows, convolves and widens again (He et al.,
Deep Residual Learning, 2016). No nonlinearity and no bias stand between the parts, unlike in both papers: so they still
compute one linear map, zeros at the border stay zeros, and a start from trained weights can be exact where these have a
low rank (Kim et al., Compression of Deep Convolutional Neural Networks, 2016).

Shapes: a kernel is (c_out, c_in, h, w), m is the number of channels in the narrow part.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from course_utils.speedups.im2col import Im2colConv2d
from course_utils.speedups.layout import refuse_compiled
from course_utils.speedups.replacement import carry_hooks, match, swap

__all__ = ["Between", "Inside", "bottleneck", "bottleneck_flop", "low_rank"]

STARTS = ("random", "low_rank")
MIN_CHANNELS = 8  # below, a convolution reads or writes pixels rather than features


class Between(nn.Sequential):
    """A 1x1 convolution c_in -> m (`narrow`), then the 3x3 one m -> c_out (`conv`)."""


class Inside(nn.Sequential):
    """A 1x1 convolution c_in -> m (`narrow`), a 3x3 one m -> m (`conv`), a 1x1 one m -> c_out (`widen`)."""


FORMS: dict[str, type[nn.Sequential]] = {"between": Between, "inside": Inside}


def bottleneck(model: nn.Module, where: str = "between", reduction: int = 2, start: str = "random") -> nn.Module:
    """Return a copy of `model` whose 3x3 convolutions have a bottleneck; it must be trained before it is judged.

    `where="between"` treats those with more inputs than outputs, as after a concatenated skip connection, and leaves
    m = c_in // reduction; `"inside"` treats all, with m = min(c_in, c_out) // reduction. Left alone are convolutions
    with groups, with fewer than 8 channels on a side, of a class or with a parametrization of their own, and those that
    would not get cheaper. `start="random"` draws new weights as PyTorch does, from its default generator; `"low_rank"`
    approximates the old kernels, as the function `low_rank` says.

    Raises `ValueError` for other values, a model without such convolutions, and one that is compiled or has these
    bottlenecks already.
    """
    _check(where, reduction)
    if start not in STARTS:
        raise ValueError(f"start must be {' or '.join(STARTS)}, got {start!r}")
    refuse_compiled(model, "bottleneck")
    if any(isinstance(module, FORMS[where]) for module in model.modules()):
        raise ValueError(f"the model has bottlenecks {where} already: apply bottleneck(where={where!r}) once")
    treated = copy.deepcopy(model)
    found = _eligible(treated, where, reduction)
    if not found:
        raise ValueError(_nothing_to_treat(where, reduction))
    return swap(treated, {conv: _narrowed(conv, where, reduction, start) for conv in found})


def bottleneck_flop(
    c_in: int, c_out: int, height: int, width: int, *, where: str, reduction: int, stride: tuple[int, int] = (1, 1)
) -> tuple[int, int]:
    """FLOP of a 3x3 convolution without and with a bottleneck, for one image of height x width pixels.

    The answer has height // stride x width // stride pixels. Raises `ValueError` as `bottleneck` does.
    """
    _check(where, reduction)
    pixels, out = height * width, (height // stride[0]) * (width // stride[1])
    m = _channels_left(c_in, c_out, where, reduction)
    if where == "between":
        return 2 * 9 * c_in * c_out * out, 2 * (c_in * m * pixels + 9 * m * c_out * out)
    return 2 * 9 * c_in * c_out * out, 2 * (c_in * m * pixels + 9 * m * m * out + m * c_out * out)


def low_rank(weight: Tensor, where: str, m: int) -> list[Tensor]:
    """Take a kernel (c_out, c_in, h, w) apart into those of a bottleneck with m channels, in order, float64.

    Between: (m, c_in, 1, 1) and (c_out, m, h, w), whose product is the nearest to the kernel there is, by a truncated
    SVD of the kernel unfolded as (c_in, c_out * h * w). Inside: (m, c_in, 1, 1), (m, m, h, w) and (c_out, m, 1, 1) by
    one such SVD for the inputs and one for the outputs: Tucker-2, Kim et al., 2016. Exact where m is no less than the
    ranks of the unfoldings.
    """
    kernel = weight.detach().double()
    inputs = _leading(kernel.transpose(0, 1).flatten(1), m)  # (c_in, m)
    narrow, core = inputs.T[:, :, None, None], torch.einsum("oihw,im->omhw", kernel, inputs)
    if where == "between":
        return [narrow, core]
    outputs = _leading(kernel.flatten(1), m)  # (c_out, m)
    return [narrow, torch.einsum("omhw,on->nmhw", core, outputs), outputs[:, :, None, None]]


def _leading(unfolding: Tensor, m: int) -> Tensor:
    """The m leading left singular vectors of (c, n), as columns (c, m).

    They are the eigenvectors of the c x c matrix of scalar products, which costs much less than an SVD of the whole; in
    float64 that loses nothing of float32 weights.
    """
    return torch.linalg.eigh(unfolding @ unfolding.T).eigenvectors.flip(1)[:, :m]


def _check(where: str, reduction: int) -> None:
    if where not in FORMS:
        raise ValueError(f"where must be {' or '.join(FORMS)}, got {where!r}")
    if type(reduction) is not int or reduction < 2:
        raise ValueError(f"reduction must be a whole number of at least 2, got {reduction!r}")


def _channels_left(c_in: int, c_out: int, where: str, reduction: int) -> int:
    return (c_in if where == "between" else min(c_in, c_out)) // reduction


def _eligible(model: nn.Module, where: str, reduction: int) -> list[nn.Conv2d]:
    """The convolutions to be treated, none of them part of a bottleneck."""
    treated = {
        part for module in model.modules() if isinstance(module, tuple(FORMS.values())) for part in module.modules()
    }
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module not in treated and _gains(module, where, reduction)
    ]


def _gains(conv: nn.Conv2d, where: str, reduction: int) -> bool:
    """Whether a bottleneck can stand for this convolution and makes it cheaper."""
    plain = type(conv) in (nn.Conv2d, Im2colConv2d) and set(dict(conv.named_parameters())) <= {"weight", "bias"}
    c_in, c_out = conv.in_channels, conv.out_channels
    if not plain or conv.kernel_size != (3, 3) or conv.groups > 1 or min(c_in, c_out) < MIN_CHANNELS:
        return False
    if where == "between" and c_in <= c_out:
        return False
    stride = (conv.stride[0], conv.stride[1])
    before, after = bottleneck_flop(c_in, c_out, *stride, where=where, reduction=reduction, stride=stride)
    return after < before and _channels_left(c_in, c_out, where, reduction) > 0


def _narrowed(conv: nn.Conv2d, where: str, reduction: int, start: str) -> nn.Sequential:
    """The bottleneck that stands for one convolution; the bias is that of its last part."""
    c_in, c_out, kind = conv.in_channels, conv.out_channels, type(conv)
    m, biased = _channels_left(c_in, c_out, where, reduction), conv.bias is not None
    between = where == "between"
    made = FORMS[where]()
    made.add_module("narrow", kind(c_in, m, 1, bias=False))
    made.add_module("conv", _three_by_three(conv, m, c_out if between else m, biased and between))
    if not between:
        made.add_module("widen", kind(m, c_out, 1, bias=biased))
    match(made, conv)
    if start == "low_rank":
        _start_low(made, conv, where, m)
    carry_hooks(conv, made[0], made[-1])
    return made


def _three_by_three(conv: nn.Conv2d, c_in: int, c_out: int, bias: bool) -> nn.Conv2d:
    """A convolution over as many channels as wanted that is otherwise like `conv`."""
    geometry = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation}
    return type(conv)(c_in, c_out, conv.kernel_size, **geometry, bias=bias, padding_mode=conv.padding_mode)  # type: ignore[arg-type]


@torch.no_grad()
def _start_low(made: nn.Sequential, conv: nn.Conv2d, where: str, m: int) -> None:
    """Set the weights of a bottleneck from those of the convolution that it stands for."""
    own = dict(made.named_parameters())
    for part, kernel in zip(("narrow", "conv", "widen"), low_rank(conv.weight, where, m), strict=False):
        own[f"{part}.weight"].copy_(kernel)
        if conv.bias is not None and f"{part}.bias" in own:
            own[f"{part}.bias"].copy_(conv.bias)


def _nothing_to_treat(where: str, reduction: int) -> str:
    size = f"of at least {max(MIN_CHANNELS, reduction)} channels and not in a bottleneck yet"
    if where == "between":
        return (
            f"the model has no 3x3 convolution with more inputs than outputs, {size}: where='inside' takes others too"
        )
    return f"the model has no 3x3 convolution without groups, {size}, that reduction={reduction} would make cheaper"
