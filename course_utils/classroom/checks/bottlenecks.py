"""Visible checks of 11_bottleneck. Shape legend: N images, C channels in, O out, H x W pixels; m in the narrow part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.speedups.bottleneck import low_rank as kit_kernels

__all__ = ["bottleneck_flop", "inside", "low_rank"]


def kit_bottleneck_flop(c_in: int, c_out: int, m: int, pixels: int, where: str) -> int:
    """FLOP of a 3x3 convolution with m channels in its narrow part, on so many pixels."""
    parts = {
        "between": ((1, c_in, m), (9, m, c_out)),
        "inside": ((1, c_in, m), (9, m, m), (1, m, c_out)),
    }
    return 2 * pixels * sum(taps * before * after for taps, before, after in parts[where])


def kit_inside(conv: nn.Conv2d, m: int) -> nn.Sequential:
    """Narrow, convolve, widen: (N, C, H, W) -> (N, O, H, W)."""
    return nn.Sequential(
        nn.Conv2d(conv.in_channels, m, 1, bias=False),
        nn.Conv2d(m, m, 3, padding=1, bias=False),
        nn.Conv2d(m, conv.out_channels, 1),
    )


def kit_low_rank(weight: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """The nearest kernel of rank m as two: (O, C, h, w) -> (m, C, 1, 1) and (O, m, h, w)."""
    narrow, core = (kernel.to(weight.dtype) for kernel in kit_kernels(weight, "between", m))
    return narrow, core


@exercise(own=kit_bottleneck_flop)
def bottleneck_flop(answer: Callable[..., float], report: Report) -> None:
    """Check `bottleneck_flop(c_in, c_out, m, pixels, where)` on hand counts."""
    for what, arguments, wanted, hint in (
        ("between, one channel everywhere", (1, 1, 1, 1, "between"), 20, "a 1x1 and a 3x3, and a multiply-add is 2"),
        ("between, unlike widths", (6, 4, 3, 1, "between"), 252, "6 x 3 for the 1x1, 9 x 3 x 4 for the 3x3"),
        ("between, many pixels", (6, 4, 3, 10, "between"), 2520, "each pixel costs the same"),
        ("inside, one channel everywhere", (1, 1, 1, 1, "inside"), 22, "a 1x1, a 3x3 and another 1x1"),
        ("inside, unlike widths", (6, 4, 3, 1, "inside"), 222, "the 3x3 has m channels on both sides"),
        ("inside, many pixels", (64, 64, 32, 1024, "inside"), 27_262_976, "each pixel costs the same"),
    ):
        if not report.close(what, report.call(answer, *arguments), wanted, rtol=1e-9, hint=hint):
            return


@exercise(own=kit_inside)
def inside(answer: Callable[[nn.Conv2d, int], nn.Module], report: Report) -> None:
    """Check `inside(conv, m)`: shapes, parameters, and that it is one 3x3 convolution of rank m, at the border too."""
    for c_in, c_out, m in ((4, 4, 2), (6, 3, 2), (3, 6, 1)):
        case = f"{c_in} -> {c_out} channels, m = {m}"
        made = report.call(answer, nn.Conv2d(c_in, c_out, 3, padding=1), m)
        kind = type(made).__name__
        whole = isinstance(made, nn.Sequential)
        if not report.expect(whole, f"{case}: an nn.Sequential", f"return an nn.Sequential, not {kind}"):
            return
        if not _is_narrow(made, case, c_in, c_out, m, report) or not _is_one_convolution(made, case, c_in, report):
            return


def _is_narrow(made: nn.Module, case: str, c_in: int, c_out: int, m: int, report: Report) -> bool:
    """Compare the shape of the answer and the number of weights and biases with those by hand."""
    with torch.no_grad():
        got = report.call(made, torch.ones(2, c_in, 5, 7))
    if not report.expect(
        isinstance(got, Tensor) and got.shape == (2, c_out, 5, 7),
        f"{case}: the picture keeps its size",
        f"{case}: (2, {c_in}, 5, 7) became {_shape(got)}, wanted (2, {c_out}, 5, 7): does the 3x3 have its padding?",
    ):
        return False
    weights = sum(one.numel() for one in made.parameters() if one.ndim == 4)
    biases = sum(one.numel() for one in made.parameters() if one.ndim == 1)
    wanted = c_in * m + 9 * m * m + m * c_out
    good = report.close(f"{case}: weights", weights, wanted, hint="1x1 to m, 3x3 from m to m, 1x1 to c_out")
    return good and report.close(f"{case}: biases", biases, c_out, hint="a bias in the last part, and only there")


def _is_one_convolution(made: nn.Module, case: str, c_in: int, report: Report) -> bool:
    """Compare the answer with the one 3x3 convolution that its responses to single dots say it is."""
    x = torch.randn(2, c_in, 5, 7, generator=torch.Generator().manual_seed(11))
    dots = torch.zeros(c_in, c_in, 5, 5)
    dots[:, :, 2, 2] = torch.eye(c_in)
    with torch.no_grad():
        nothing = made(torch.zeros(1, c_in, 5, 5))  # (1, O, 5, 5)
        kernel = (made(dots) - nothing)[:, :, 1:4, 1:4].flip(2, 3).transpose(0, 1)  # (O, C, 3, 3)
        wanted, got = F.conv2d(x, kernel, nothing[0, :, 2, 2], padding=1), made(x)
    hint = "no activation between the parts, and the padding belongs to the 3x3"
    return report.close(f"{case}: one linear map, at the border too", got, wanted, rtol=1e-3, atol=1e-4, hint=hint)


@exercise(own=kit_low_rank)
def low_rank(answer: Callable[[Tensor, int], tuple[Tensor, Tensor]], report: Report) -> None:
    """Check `low_rank(weight, m)`: shapes, exact where the rank allows it, and never worse than the best there is."""
    generator = torch.Generator().manual_seed(11)
    drawn = torch.randn(5, 8, 3, 3, generator=generator, dtype=torch.float64)
    core, narrow = drawn[:, :2], torch.randn(2, 8, generator=generator, dtype=torch.float64)
    for what, weight, m, hint in (
        ("all ranks kept", drawn, 8, "the product of the parts is the kernel, if nothing was cut off"),
        ("a kernel of rank 2", torch.einsum("omhw,mc->ochw", core, narrow), 2, "unfold with the input channels first"),
        ("half of the ranks", drawn, 4, "keep the largest singular values, and give them to one of the two parts"),
        ("more channels out than in", drawn.transpose(0, 1), 2, "take the sizes from the weight"),
    ):
        parts = report.call_for(("narrow", "core"), answer, weight, m)
        if not _fit(parts, what, weight, m, report):
            return
        off = (torch.einsum("omhw,mc->ochw", parts[1], parts[0][:, :, 0, 0]) - weight).norm().item()
        best = torch.linalg.svdvals(weight.transpose(0, 1).flatten(1))[m:].norm().item()
        if not report.close(f"{what}: distance to the kernel", off, best, rtol=1e-4, atol=1e-6, hint=hint):
            return


def _fit(parts: tuple[Any, ...], what: str, weight: Tensor, m: int, report: Report) -> bool:
    """Check that both parts have the shapes of convolution kernels."""
    c_out, c_in = weight.shape[:2]
    wanted = {"narrow": (m, c_in, 1, 1), "core": (c_out, m, 3, 3)}
    seen = {name: _shape(part) for name, part in zip(wanted, parts, strict=True)}
    wrong = [f"{name} is {seen[name]}, wanted {shape}" for name, shape in wanted.items() if seen[name] != str(shape)]
    return report.expect(not wrong, f"{what}: shapes", f"{what}: {'; '.join(wrong)}")


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"
