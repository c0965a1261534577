"""Visible checks of 04_roofline. Shape legend: N images, C channels, H, W pixels, K kernel size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.measure import count
from course_utils.measure.ceilings import attainable as kit_attainable

__all__ = ["attainable", "conv_work"]

# N, C_in, C_out, size, K, bytes a value
CONVOLUTIONS = ((1, 1, 1, 8, 1, 4), (1, 3, 5, 8, 3, 4), (4, 64, 64, 32, 3, 4), (16, 128, 64, 16, 1, 2))


def kit_conv_work(n: int, c_in: int, c_out: int, size: int, k: int, bytes_per_value: int = 4) -> tuple[int, int]:
    """FLOP and bytes of a "same" convolution without bias, counted by running it; -> (flop, bytes)."""
    conv = nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False)
    with torch.no_grad():
        work = count(conv, torch.zeros(n, c_in, size, size), per_module=False)
    return work.flop, work.bytes_moved * bytes_per_value // 4


@exercise(own=kit_conv_work)
def conv_work(answer: Callable[..., tuple[float, float]], report: Report) -> None:
    """Check `conv_work(n, c_in, c_out, size, k, bytes_per_value)` -> (flop, bytes) against the counted ones."""
    for n, c_in, c_out, size, k, width in CONVOLUTIONS:
        got = report.call_for(("flop", "bytes"), answer, n, c_in, c_out, size, k, width)
        flop, moved = kit_conv_work(n, c_in, c_out, size, k, width)
        case = f"N={n}, {c_in}->{c_out} channels, {size}x{size}, {k}x{k} kernel, {width} bytes a value"
        once = "input, weight and output each cross memory once, at the bytes of one value"
        good = report.close(f"FLOP, {case}", got[0], flop, hint="one multiply-add counts as 2 FLOP")
        good &= report.close(f"bytes, {case}", got[1], moved, hint=once)
        if not good:
            return


@exercise(own=kit_attainable)
def attainable(answer: Callable[[float, float, float], float], report: Report) -> None:
    """Check `attainable(intensity, flop_per_s, bytes_per_s)` below, at and beyond the ridge."""
    for intensity, wanted, what in (
        (1.0, 50e9, "below the ridge memory decides"),
        (4.0, 200e9, "at the ridge both agree"),
        (400.0, 200e9, "beyond the ridge compute decides"),
    ):
        report.close(what, report.call(answer, intensity, 200e9, 50e9), wanted)
