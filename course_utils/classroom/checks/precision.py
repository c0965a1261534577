"""Visible checks of 10_half_precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.speedups.half_precision import Autocast

__all__ = ["Halved", "scaled_gradients", "spacing"]


def kit_spacing(value: float, mantissa_bits: int) -> float:
    """Distance of a positive value to the next one in a format with so many bits of mantissa."""
    exponent: float = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1
    return float(2.0 ** (exponent - mantissa_bits))


@exercise(own=kit_spacing)
def spacing(answer: Callable[[float, int], float], report: Report) -> None:
    """Check `spacing(value, mantissa_bits)` against torch's own neighbours, `torch.nextafter`."""
    for dtype, bits in ((torch.bfloat16, 7), (torch.float16, 10), (torch.float32, 23)):
        for value in (1.0, 1.5, 3.0, 1000.0, 0.125):
            here = torch.tensor(value, dtype=dtype)
            wanted = (torch.nextafter(here, torch.tensor(torch.inf, dtype=dtype)).double() - here.double()).item()
            name = str(dtype).removeprefix("torch.")
            hint = "2^e equal steps of size 1 would need a mantissa of e bits"
            if not report.close(f"{name} at {value:g}", report.call(answer, value, bits), wanted, rtol=1e-9, hint=hint):
                return


class Probe(nn.Module):
    """A denoiser that tells in which type it computed, and answers in it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.seen: torch.dtype | None = None

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Convolve, and remember the type of what came out."""
        y: Tensor = self.conv(x_t)
        self.seen = y.dtype
        return y


@exercise(own=Autocast)
def Halved(answer: Callable[..., Any], report: Report) -> None:
    """Check the class `Halved(module, dtype)`: what runs in 16 bits, what comes out, what stays as it was."""
    x_t, t = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 999])
    for dtype in (torch.bfloat16, torch.float16):
        probe, name = Probe(), str(dtype).removeprefix("torch.")
        got = report.call(report.call(answer, probe, dtype), x_t, t)
        inside = f"the convolution ran in {probe.seen}, wanted {name}: is the call inside the autocast block?"
        if not report.expect(probe.seen == dtype, f"{name}: convolutions compute in {name}", inside):
            return
        is_float = isinstance(got, Tensor) and got.dtype == torch.float32
        seen = got.dtype if isinstance(got, Tensor) else type(got).__name__
        if not report.expect(is_float, f"{name}: the answer is float32", f"{name}: the answer is {seen}, not float32"):
            return
        kept = probe.conv.weight.dtype == torch.float32
        cast = "the weights were cast: autocast casts for itself"
        if not report.expect(kept, f"{name}: the weights stay float32", cast):
            return
        report.close(f"{name}: close to float32", got, probe.conv(x_t), rtol=0.05, atol=0.02)
    if torch.cuda.is_available():  # pragma: no cover - CUDA
        probe = Probe().cuda()
        report.call(report.call(answer, probe, torch.bfloat16), x_t.cuda(), t.cuda())
        bad = f"on the GPU the convolution ran in {probe.seen}: take the kind of device from the input"
        report.expect(probe.seen == torch.bfloat16, "on the GPU: convolutions compute in bfloat16", bad)
    after = torch.is_autocast_enabled("cpu")
    report.expect(not after, "autocast ends with the call", "autocast is still on after the call: use a with block")


def kit_scaled_gradients(loss: Tensor, parameters: Sequence[Tensor], factor: float) -> list[Tensor] | None:
    """Gradients by way of a scaled loss, None after an overflow."""
    gradients = [one.float() / factor for one in torch.autograd.grad(loss * factor, list(parameters))]
    return gradients if all(bool(one.isfinite().all()) for one in gradients) else None


def in_half(weight: Tensor, times: float, after: float) -> Tensor:
    """A loss whose way back passes fp16 with gradients of size `after`; its true gradient is times x after."""
    return (weight.half() * torch.tensor(times).half()).float().sum() * after


@exercise(own=kit_scaled_gradients)
def scaled_gradients(answer: Callable[..., Any], report: Report) -> None:
    """Check `scaled_gradients(loss, parameters, factor)` on gradients that are plain, too small for fp16, too large."""
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    for what, times, after, factor, hint in (
        ("no scale needed", 0.5, 0.25, 1.0, "one gradient a parameter, in a list"),
        ("a scale changes nothing else", 0.5, 0.25, 1024.0, "multiply the loss, divide its gradients"),
        ("too small for fp16, saved", 2.0**-10, 2.0**-20, 2.0**16, "multiply the loss before taking gradients"),
    ):
        got = report.call(answer, in_half(weight, times, after), [weight], factor)
        if not report.expect(len(got) == 1, f"{what}: one gradient", f"{what}: {len(got)} gradients for one parameter"):
            return
        wanted = torch.full((2,), times * after)
        if not report.close(what, got[0], wanted, rtol=1e-5, atol=0.0, hint=hint):
            return
        if not report.expect(got[0].dtype == torch.float32, f"{what}: float32", f"{what}: it is {got[0].dtype}"):
            return
    other = torch.tensor([1.0, 2.0], requires_grad=True)
    for order, where in (([weight, other], "the second"), ([other, weight], "the first")):
        loss = in_half(weight, 0.5, 0.25) + in_half(other, 4.0, 256.0)  # only the gradient of `other` overflows
        (got,) = report.call(lambda *args: (answer(*args),), loss, order, 2.0**10)
        bad = f"after an overflow the answer must be None, also where only {where} of two gradients overflows"
        if not report.expect(got is None, f"an overflow of {where} of two gradients answers None", bad):
            return
