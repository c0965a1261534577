"""Visible checks of 01_baseline. Shape legend: N images, C = 3 channels, H, W pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.diffusion import Process, alphas_cumprod, baseline, denoising_loss, linear_betas, sigmoid_betas

__all__ = ["add_noise", "training_loss"]


def a_batch(seed: int = 0, n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """A small batch: x_0 (N, C, H, W), t (N,), eps (N, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    x_0 = torch.rand(n, 3, 8, 8, generator=generator) * 2 - 1
    eps = torch.randn(n, 3, 8, 8, generator=generator)
    return x_0, torch.randint(0, 1000, (n,), generator=generator), eps


def process() -> Process:
    """The library's default process: sigmoid schedule, v objective."""
    return Process(alphas_cumprod(sigmoid_betas(1000)), "pred_v")


def kit_add_noise(x_0: Tensor, t: Tensor, eps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """The kit's q(x_t | x_0)."""
    return Process(alphas_cumprod, "pred_v").add_noise(x_0, t, eps)


@exercise(own=kit_add_noise)
def add_noise(answer: Callable[..., Tensor], report: Report) -> None:
    """Check `add_noise(x_0, t, eps, alphas_cumprod)` against the kit's process and at both ends of the schedule."""
    x_0, t, eps = a_batch()
    schedule = alphas_cumprod(sigmoid_betas(1000))
    got = report.call(answer, x_0, t, eps, schedule)
    hint = "does every image use its own t, reshaped to (N, 1, 1, 1), and a square root on both factors?"
    if report.close("every image at its own t", got, process().add_noise(x_0, t, eps), rtol=1e-4, atol=1e-5, hint=hint):
        report.expect(
            got.dtype == x_0.dtype,
            "it has the dtype of x_0",
            f"x_t is {got.dtype}, because the schedule is; the network reads {x_0.dtype}: turn a_t into x_0.dtype",
        )
        other = alphas_cumprod(linear_betas(1000))
        wanted = Process(other, "pred_v").add_noise(x_0, t, eps)
        report.close("another schedule", report.call(answer, x_0, t, eps, other), wanted, rtol=1e-4, atol=1e-5)
        last = torch.full_like(t, 999)
        report.close(
            "at the last step only noise is left", report.call(answer, x_0, last, eps, schedule), eps, atol=0.05
        )


class Constant(nn.Module):
    """A model whose output is known: `scale` times its input."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """(N, C, H, W), (N,) -> (N, C, H, W); as strict about the dtype as a network."""
        if x_t.dtype != torch.float32:
            raise TypeError(f"the network reads torch.float32, x_t is {x_t.dtype}")
        return self.scale * x_t


def kit_training_loss(
    model: Callable[[Tensor, Tensor], Tensor], x_0: Tensor, t: Tensor, eps: Tensor, alphas_cumprod: Tensor
) -> Tensor:
    """The kit's loss, mean over the batch."""
    return denoising_loss(model, Process(alphas_cumprod, "pred_v"), x_0, t, eps).mean()


@exercise(own=kit_training_loss)
def training_loss(answer: Callable[..., Tensor], report: Report) -> None:
    """Check `training_loss(model, x_0, t, eps, alphas_cumprod)` against the library's loss on known models."""
    x_0, t, eps = a_batch()
    for scale, what in ((0.0, "a model that answers zero"), (0.5, "a model that answers half its input")):
        model = Constant(scale)
        library = baseline("smoke").as_library()
        library.model.forward = lambda x, t, *_, scale=scale: scale * x
        wanted = library.p_losses(x_0, t, eps).detach()
        got = report.call(answer, model, x_0, t, eps, process().alphas_cumprod)
        hint = "is the noise sqrt(a) v + sqrt(1 - a) x_t, and is the mean taken over everything?"
        if not report.close(what, got.detach() if isinstance(got, Tensor) else got, wanted, rtol=1e-3, hint=hint):
            return
        leads_back = isinstance(got, Tensor) and got.requires_grad
        cut = "nothing leads back from the loss to the model: return the tensor itself, without .item() or .detach()"
        if not report.expect(leads_back, f"{what}: training can go backward from it", cut):
            return
