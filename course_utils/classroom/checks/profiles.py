"""Visible check of 03_profile. Shape legend: N images, C channels, H, W pixels, K kernel size."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.classroom.checks.framework import Report, exercise

__all__ = ["conv_backward"]

Gradients = tuple[Tensor, Tensor]


def kit_conv_backward(x: Tensor, weight: Tensor, grad_out: Tensor) -> Gradients:
    """Gradients of a stride-1 "same" convolution, from autograd; -> (grad_x, grad_weight)."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    out = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    grad_x, grad_weight = torch.autograd.grad(out, (x, weight), grad_out)
    return grad_x, grad_weight


@exercise(own=kit_conv_backward)
def conv_backward(answer: Callable[[Tensor, Tensor, Tensor], Gradients], report: Report) -> None:
    """Check `conv_backward(x, weight, grad_out)` -> (grad_x, grad_weight) against autograd, for several shapes."""
    generator = torch.Generator().manual_seed(0)
    for n, c_in, c_out, size, k in ((1, 1, 1, 5, 3), (2, 3, 4, 6, 3), (2, 4, 2, 7, 1), (1, 2, 3, 8, 5)):
        x = torch.randn(n, c_in, size, size, generator=generator)
        weight = torch.randn(c_out, c_in, k, k, generator=generator)
        grad_out = torch.randn(n, c_out, size, size, generator=generator)
        got = report.call_for(("grad_x", "grad_weight"), answer, x, weight, grad_out)
        grad_x, grad_weight = kit_conv_backward(x, weight, grad_out)
        case = f"N={n}, C_in={c_in}, C_out={c_out}, {size}x{size}, {k}x{k} kernel"
        turned = "conv2d does not turn the kernel round, conv_transpose2d does; use the padding in both"
        good = report.close(f"grad_x, {case}", got[0], grad_x, rtol=1e-3, atol=1e-4, hint=turned)
        summed = "which axis is summed over, and do C_in and C_out stand where they belong?"
        good &= report.close(f"grad_weight, {case}", got[1], grad_weight, rtol=1e-3, atol=1e-4, hint=summed)
        if not good:
            return
