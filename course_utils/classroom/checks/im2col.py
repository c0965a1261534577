"""Visible checks of 12_im2col. Shape legend: N images, C channels, O outputs, H x W pixels, K x K kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks.framework import Report, exercise

__all__ = ["conv_im2col", "conv_loops", "im2col_work"]

Shape = tuple[int, ...]


def kit_conv_loops(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution without padding, one output position after the other; -> (N, O, H - K + 1, W - K + 1)."""
    k, rows, columns = weight.shape[-1], x.shape[2] - weight.shape[-1] + 1, x.shape[3] - weight.shape[-1] + 1
    y = x.new_empty(len(x), len(weight), rows, columns)
    for i in range(rows):
        for j in range(columns):
            y[:, :, i, j] = torch.einsum("ncij,ocij->no", x[:, :, i : i + k, j : j + k], weight)
    return y


def kit_conv_im2col(x: Tensor, weight: Tensor, padding: int = 1) -> Tensor:
    """A convolution as unfold and one matrix product."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    columns = F.unfold(x, weight.shape[-1], padding=padding)
    return (weight.flatten(1) @ columns).unflatten(2, (rows, -1))


def kit_im2col_work(n: int, c_in: int, c_out: int, side: int, k: int, bytes_per_value: int = 4) -> tuple[int, int]:
    """FLOP of the convolution, and the bytes that unfold and product move."""
    pictures = n * side * side
    values = pictures * c_in + 2 * pictures * c_in * k * k + c_out * c_in * k * k + pictures * c_out
    return 2 * pictures * c_out * c_in * k * k, values * bytes_per_value


def drawn(x: Shape, weight: Shape) -> tuple[Tensor, Tensor]:
    """An input and a weight of these shapes, float64, always the same."""
    generator = torch.Generator().manual_seed(12)
    made = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in (x, weight))
    return next(made), next(made)


@exercise(own=kit_conv_loops)
def conv_loops(answer: Callable[[Tensor, Tensor], Tensor], report: Report) -> None:
    """Check `conv_loops(x, weight)` against PyTorch's convolution on square, oblong and pointwise cases."""
    for what, x, weight, hint in (
        ("one picture, one channel", (1, 1, 4, 4), (1, 1, 3, 3), "which patch belongs to output (0, 0)?"),
        ("many channels and filters", (2, 3, 5, 5), (4, 3, 3, 3), "sum over the channels too"),
        ("more wide than high", (2, 3, 4, 7), (4, 3, 3, 3), "rows go with height, columns with width"),
        ("a 1x1 kernel", (2, 3, 4, 4), (5, 3, 1, 1), "k comes from the weight"),
    ):
        tensors = drawn(x, weight)
        got = report.call(answer, *tensors)
        if not report.close(what, got, F.conv2d(*tensors), rtol=1e-6, atol=1e-9, hint=hint):
            return


@exercise(own=kit_conv_im2col)
def conv_im2col(answer: Callable[[Tensor, Tensor, int], Tensor], report: Report) -> None:
    """Check `conv_im2col(x, weight, padding)` against PyTorch's convolution."""
    for what, x, weight, padding, hint in (
        ("one picture, one channel", (1, 1, 4, 4), (1, 1, 3, 3), 1, "flatten the weight from its second axis on"),
        ("many channels and filters", (2, 3, 5, 5), (4, 3, 3, 3), 1, "the weight goes on the left of the columns"),
        ("more wide than high", (2, 3, 4, 7), (4, 3, 3, 3), 1, "split positions into `rows` and the rest"),
        ("no padding", (2, 3, 6, 6), (4, 3, 3, 3), 0, "pass padding on to F.unfold"),
        ("a 5x5 kernel", (1, 2, 6, 6), (3, 2, 5, 5), 2, "the kernel's size comes from the weight"),
    ):
        tensors = drawn(x, weight)
        got = report.call(answer, *tensors, padding)
        wanted = F.conv2d(*tensors, padding=padding)
        if not report.close(what, got, wanted, rtol=1e-6, atol=1e-9, hint=hint):
            return


@exercise(own=kit_im2col_work)
def im2col_work(answer: Callable[..., tuple[int, int]], report: Report) -> None:
    """Check `im2col_work(n, c_in, c_out, side, k, bytes_per_value)` on hand counts."""
    for what, arguments, wanted, hint in (
        ("one value, 1x1", (1, 1, 1, 1, 1, 1), 5, "input, columns twice, weight, output: one value each"),
        ("one channel, 3x3", (1, 1, 1, 4, 3, 1), 16 + 2 * 144 + 9 + 16, "every input value is copied 9 times"),
        ("two pictures", (2, 3, 5, 4, 3, 4), 4 * (96 + 2 * 864 + 135 + 160), "the weight is read once for all"),
        ("bytes count", (1, 7, 2, 6, 1, 2), 2 * (252 + 2 * 252 + 14 + 72), "multiply by bytes_per_value"),
    ):
        flop, moved = report.call_for(("flop", "moved"), answer, *arguments)
        good = report.close(f"{what}: FLOP", flop, kit_im2col_work(*arguments)[0])
        if not (good and report.close(f"{what}: bytes", moved, wanted, hint=hint)):
            return
