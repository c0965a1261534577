"""How noisy a model's gradient is: squared norms at a small batch and at a large one, from one pass over its shards.

It is what data parallelism has at hand in every step: the norms before and after the exchange.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_utils.diffusion import Diffusion, denoising_loss, to_float
from course_utils.diffusion.samplers import evaluating

__all__ = ["squared_norms"]


def squared_norms(
    diffusion: Diffusion, images: Tensor, small: int, shards: int, *, repeats: int = 1, seed: int = 0
) -> tuple[float, float]:
    """Mean squared norm of the gradient of `small` images, and of the mean gradient of `shards` such batches.

    `images` are uint8 (N, C, H, W), taken in order, with a timestep and noise for each out of `seed`; the means go over
    `repeats` draws of other images. The model is not changed. Raises `ValueError` for fewer images than that takes, and
    fewer than two shards.
    """
    needed = small * shards * repeats
    if min(small, repeats) < 1 or shards < 2 or len(images) < needed:
        raise ValueError(
            f"wanted 2 shards or more and {needed} images, got {small=} {shards=} and {len(images)} images."
        )
    random = torch.Generator(diffusion.device).manual_seed(seed)
    batches = to_float(images[:needed].to(diffusion.device)).split(small)
    ones, alls = 0.0, 0.0
    with evaluating(diffusion.model):
        for start in range(0, len(batches), shards):
            gradients = [_gradient(diffusion, x_0, random) for x_0 in batches[start : start + shards]]
            ones += sum(gradient.square().sum().item() for gradient in gradients) / shards
            alls += torch.stack(gradients).mean(0).square().sum().item()
    return ones / repeats, alls / repeats


def _gradient(diffusion: Diffusion, x_0: Tensor, random: torch.Generator) -> Tensor:
    """The gradient of the mean loss of a batch (N, C, H, W), as one vector in float64."""
    t = torch.randint(diffusion.process.num_timesteps, (len(x_0),), generator=random, device=x_0.device)
    eps = torch.randn(x_0.shape, generator=random, device=x_0.device)
    weights = [weight for weight in diffusion.model.parameters() if weight.requires_grad]
    loss = denoising_loss(diffusion.model, diffusion.process, x_0, t, eps).mean()
    return torch.cat([part.double().flatten() for part in torch.autograd.grad(loss, weights)])
