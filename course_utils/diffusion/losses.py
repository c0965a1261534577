"""The denoising loss: the library's for training, and a fixed draw of it for comparing models.

Shapes: N images, C channels, H x W pixels; t is int64 (N,).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.diffusion.baseline import Diffusion
from course_utils.diffusion.data import to_float
from course_utils.diffusion.process import Denoiser, Process
from course_utils.diffusion.samplers import evaluating
from course_utils.diffusion.seeds import ImageNoise, generator

__all__ = ["HeldoutLoss", "Loss", "denoising_loss", "heldout_loss"]

Loss = Callable[[Denoiser, Process, Tensor, Tensor, Tensor], Tensor]
"""(model, process, x_0, t, eps) -> loss of each image, (N,)."""


def denoising_loss(model: Denoiser, process: Process, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """Weighted squared error of the model's answer, float32 (N,): the library's `p_losses` for the same (x_0, t, eps).

    The weights (1 for `pred_noise`, the signal-to-noise ratio for `pred_x0`, a_t for `pred_v`) turn each objective's
    error into the squared error of the noise, so that the losses of the three can be compared.
    """
    answer = model(process.add_noise(x_0, t, eps), t).float()
    error = F.mse_loss(answer, process.target(x_0, t, eps).float(), reduction="none").flatten(1).mean(1)
    return error * process.loss_weight(t).float()


@dataclass(frozen=True, eq=False)
class HeldoutLoss:
    """Denoising loss on images at fixed timesteps and noise; the same (n, seed) may be compared image by image."""

    mean: float
    per_image: Tensor  # float64 (n,), on the CPU
    seed: int
    objective: str

    def __repr__(self) -> str:
        count = len(self.per_image)
        error = self.per_image.std().item() / count**0.5 if count > 1 else float("nan")
        return f"held-out loss {self.mean:.5f} ± {error:.5f} ({self.objective}, {count:,} images, seed {self.seed})"


@torch.no_grad()
def heldout_loss(
    diffusion: Diffusion,
    images: Tensor,
    *,
    n: int = 512,
    seed: int = 0,
    batch_size: int = 64,
    loss: Loss = denoising_loss,
) -> HeldoutLoss:
    """Loss on the first `n` of `images`, uint8 (N, C, H, W), each at one fixed timestep with fixed noise.

    The timesteps cover the process evenly and, like the noise, depend on (seed, n) alone, not on the model or the batch
    size: two models are compared on the same task, image by image. Fewer images than `n` are taken as they are. Raises
    `ValueError` for images that are not uint8 or for none at all.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or min(n, len(images)) < 1:
        raise ValueError(f"images must be uint8 (N, C, H, W) with N and n at least 1, got {tuple(images.shape)}, {n=}")
    n = min(n, len(images))
    ts = _even_timesteps(n, diffusion.process.num_timesteps, seed)
    losses = []
    with evaluating(diffusion.model):
        for start in range(0, n, batch_size):
            stop = min(start + batch_size, n)
            x_0 = to_float(images[start:stop].to(diffusion.device))
            eps = ImageNoise(seed, start, stop - start)(x_0)
            t = ts[start:stop].to(diffusion.device)
            losses.append(loss(diffusion.model, diffusion.process, x_0, t, eps).double().cpu())
    per_image = torch.cat(losses)
    return HeldoutLoss(per_image.mean().item(), per_image, seed, diffusion.process.objective)


def _even_timesteps(n: int, num_timesteps: int, seed: int) -> Tensor:
    """One timestep for each of n images, in random order: the middles of n equal parts of the process, int64 (n,)."""
    middles = (torch.arange(n) * 2 + 1) * num_timesteps // (2 * n)
    return middles[torch.randperm(n, generator=generator(seed, 2, n))]
