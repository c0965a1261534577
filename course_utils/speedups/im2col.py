"""Convolution by hand: loops, then one unfolding and one matrix product, to be compared with the library's own.

Exactness: exact

A convolution takes a scalar product of every patch of the image with every filter. Write the patches side by side as
the columns of a matrix (im2col) and all of these products become one matrix product, which every machine does well. The
price is the matrix: with a k x k kernel at stride 1 it repeats each number k * k times. Results differ from the
library's by the order of sums alone. Source: Chellapilla et al., High Performance Convolutional Neural Networks for
Document Processing (2006).

Shapes: x is (N, C, H, W), weight (O, C / groups, h, w), the answer (N, O, P, Q) with P x Q = L output positions; a
column holds C * h * w numbers. x may also lack N.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.speedups.layout import refuse_compiled

__all__ = ["Im2colConv2d", "conv2d_loops", "conv2d_unfold", "im2col", "im2col_bytes"]

Pair = int | Sequence[int]


def im2col(model: nn.Module) -> nn.Module:
    """Return a copy of `model` whose 2-D convolutions unfold and multiply; names, weights and hooks stay as they are.

    Convolutions in one or three dimensions, and lazy ones that have no weights yet, are left alone. Raises `ValueError`
    for a model without 2-D convolutions, one that is compiled or treated already, and a convolution with a `forward` of
    its own, which might not be one.
    """
    refuse_compiled(model, "im2col")
    if not _convolutions(model):
        raise ValueError("the model has no torch.nn.Conv2d, and im2col changes nothing else")
    for name, module in _convolutions(model).items():
        _refuse_special(name, module)
    treated = copy.deepcopy(model)
    for module in _convolutions(treated).values():
        module.__class__ = _unfolding(type(module))
    return treated


class Im2colConv2d(nn.Conv2d):
    """A `Conv2d` that computes by unfolding; every other property is inherited."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding: str | Pair = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return conv2d_unfold(input, weight, bias, self.stride, padding, self.dilation, self.groups)


def conv2d_loops(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: str | Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Compute `F.conv2d` as it is defined: visit each output position, take its patch, multiply it with each filter.

    It is differentiable and very slow. Raises `ValueError` as `conv2d_unfold` does.
    """
    if x.ndim == 3:
        return conv2d_loops(x[None], weight, bias, stride, padding, dilation, groups)[0]
    size = _sizes(x.shape, weight.shape, stride, padding, dilation, groups)
    x = F.pad(x, size.padding)
    filters = weight.reshape(groups, len(weight) // groups, -1)  # (groups, O / groups, K)
    out = x.new_zeros(len(x), len(weight), *size.out)
    (down, across), (height, width) = size.dilation, weight.shape[2:]
    for p in range(size.out[0]):
        for q in range(size.out[1]):
            top, left = p * size.stride[0], q * size.stride[1]
            patch = x[:, :, top : top + down * height : down, left : left + across * width : across]  # (N, C, h, w)
            patch = patch.unflatten(1, (groups, -1)).flatten(2)  # (N, groups, K)
            out[:, :, p, q] = torch.einsum("ngk,gok->ngo", patch, filters).flatten(1)
    return out if bias is None else out + bias[:, None, None]


def conv2d_unfold(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: str | Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Compute `F.conv2d` as one unfolding and one matrix product a group; the arguments are those of `F.conv2d`.

    Under autocast it computes and answers in autocast's type, as `F.conv2d` does. Raises `ValueError` where sizes do
    not fit together.
    """
    if x.ndim == 3:
        return conv2d_unfold(x[None], weight, bias, stride, padding, dilation, groups)[0]
    size = _sizes(x.shape, weight.shape, stride, padding, dilation, groups)
    x = _as_autocast_would(x)
    left, right, top, bottom = size.padding
    if (left, top) != (right, bottom):  # padding="same" around an even kernel
        x, left, top = F.pad(x, size.padding), 0, 0
    columns = F.unfold(x, weight.shape[2:], size.dilation, (top, left), size.stride)  # (N, C * h * w, L)
    if groups > 1:
        columns = columns.unflatten(1, (groups, -1))  # (N, groups, K, L)
    filters = weight.flatten(1) if groups == 1 else weight.reshape(groups, len(weight) // groups, -1)
    out = (filters @ columns).reshape(len(x), len(weight), *size.out)
    return out if bias is None else out + bias.to(out.dtype)[:, None, None]


def im2col_bytes(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Pair = 1,
    padding: str | Pair = 0,
    dilation: Pair = 1,
    *,
    itemsize: int = 4,
) -> int:
    """Bytes of the unfolded matrix: N * C * h * w * L numbers of `itemsize` bytes each, written once and then read.

    At stride 1 and `padding="same"` that is h * w times the input. Raises `ValueError` where sizes do not fit together.
    """
    groups = x_shape[1] // max(weight_shape[1], 1)
    size = _sizes(x_shape, weight_shape, stride, padding, dilation, groups)
    return x_shape[0] * x_shape[1] * weight_shape[2] * weight_shape[3] * size.out[0] * size.out[1] * itemsize


class _Sizes(NamedTuple):
    """Geometry of a convolution: `padding` is (left, right, top, bottom), the others are (vertical, horizontal)."""

    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    out: tuple[int, int]


def _sizes(
    x_shape: Sequence[int], weight_shape: Sequence[int], stride: Pair, padding: str | Pair, dilation: Pair, groups: int
) -> _Sizes:
    """Work out the geometry, refusing what does not fit together."""
    if len(x_shape) != 4 or len(weight_shape) != 4:
        seen = f"{tuple(x_shape)} and {tuple(weight_shape)}"
        raise ValueError(f"x must be (N, C, H, W) and weight (O, C / groups, h, w), got {seen}")
    if groups < 1 or weight_shape[0] % groups or x_shape[1] != weight_shape[1] * groups:
        raise ValueError(
            f"groups is {groups}: it must divide the {weight_shape[0]} filters, and {weight_shape[1]} channels a group "
            f"must make up the {x_shape[1]} of x"
        )
    steps, gaps = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    spans = [gap * (kernel - 1) + 1 for gap, kernel in zip(gaps, weight_shape[2:], strict=True)]
    (top, bottom), (left, right) = _margins(padding, spans, steps)
    heights = x_shape[2] + top + bottom, x_shape[3] + left + right
    if any(height < span for height, span in zip(heights, spans, strict=True)):
        raise ValueError(
            f"x is {heights[0]} x {heights[1]} once padded, smaller than its patches, {spans[0]} x {spans[1]}"
        )
    rows, columns = ((height - span) // step + 1 for height, span, step in zip(heights, spans, steps, strict=True))
    return _Sizes(steps, (left, right, top, bottom), gaps, (rows, columns))


def _margins(padding: str | Pair, spans: Sequence[int], stride: tuple[int, int]) -> list[tuple[int, int]]:
    """Zeros before and after, for each of the two directions; where "same" asks for an odd number, one more after."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(
                f'padding="same" needs stride 1, got {stride}: an answer of the same size has as many steps'
            )
        return [((span - 1) // 2, span // 2) for span in spans]
    if isinstance(padding, str):
        raise ValueError(f'padding must be "same", "valid", a number or two, got {padding!r}')
    return [(one, one) for one in _pair("padding", padding, 0)]


def _pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """Two numbers, (vertical, horizontal), from two or from one for both."""
    both = (value, value) if isinstance(value, int) else tuple(value)
    both = both * 2 if len(both) == 1 else both
    if len(both) != 2 or min(both) < least:
        raise ValueError(f"{name} must be a number of at least {least}, or two of them, got {value!r}")
    return both


def _as_autocast_would(x: Tensor) -> Tensor:
    """Under autocast, x in its type: narrowed before it is unfolded, it is narrowed once and not k * k times."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind) or x.dtype == torch.float64:
        return x
    return x.to(torch.get_autocast_dtype(kind))


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The 2-D convolutions of a model by name, without those that have no weights yet."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and not isinstance(module, nn.LazyConv2d)
    }


def _refuse_special(name: str, module: nn.Conv2d) -> None:
    kind = type(module)
    if isinstance(module, Im2colConv2d):
        raise ValueError("the model's convolutions unfold already: apply im2col once")
    if kind.forward is not nn.Conv2d.forward or kind._conv_forward is not nn.Conv2d._conv_forward:
        raise ValueError(f"{name or 'the model'} is a {kind.__name__} with a forward of its own: only Conv2d is known")


def _unfolding(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """The class in the place of `Conv2d`, or of one that a parametrization (weight_norm, say) has derived from it."""
    return Im2colConv2d if kind is nn.Conv2d else type(f"Im2col{kind.__name__}", (Im2colConv2d, kind), {})
