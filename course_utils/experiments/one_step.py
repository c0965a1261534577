"""One step of the kit's training loop at a time, for whoever wants to time it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_utils.diffusion import (
    EMA,
    Batches,
    Diffusion,
    ImageSet,
    LossModule,
    Stepper,
    TrainState,
    adam,
    denoising_loss,
    load_heldout,
    scale,
)

__all__ = ["training_step"]


def training_step(
    diffusion: Diffusion, batch_size: int | None = None, *, images: ImageSet | None = None, **options: Any
) -> Callable[[], Tensor]:
    """Make a function that does one whole step: fetch a batch, forward, backward, clip, fused Adam, EMA.

    It trains a copy, so that `diffusion` stays as it is (but for a compiled model, which cannot be copied). Each call
    returns the loss, still on the device. `images` default to the shipped test images, whose content no clock notices;
    `batch_size` to the scale's; `options` go to `Stepper`.
    """
    if not isinstance(diffusion.model, torch._dynamo.OptimizedModule):
        diffusion = diffusion.with_model(copy.deepcopy(diffusion.model))
    diffusion.model.train()
    batches = Batches(images or load_heldout(), batch_size or scale().batch_size, device=diffusion.device)
    state = TrainState(diffusion, EMA(diffusion.model, 0.9995))
    loss_of = LossModule(diffusion.model, diffusion.process, denoising_loss)
    stepper = Stepper(state, adam(fused=True), loss_of, **options)
    return lambda: stepper.step(batches)[0]
