"""One step of the kit's training loop at a time, for whoever wants to time it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

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
from course_utils.diffusion.readings import Readings
from course_utils.speedups.half_precision import loss_scaler, needs_loss_scaling

__all__ = ["training_step"]

READ_EVERY = 10


def training_step(
    diffusion: Diffusion, batch_size: int | None = None, *, images: ImageSet | None = None, **options: Any
) -> Callable[[], Tensor]:
    """Make a function that does one whole step: fetch a batch, forward, backward, clip, fused Adam, EMA.

    It trains a copy, so that `diffusion` stays as it is, and reads its losses every tenth step as `train` does. Each
    call returns the loss, still on the device; float16 gets its loss scaler. `images` default to the shipped test
    images, whose content no clock notices; `batch_size` to the scale's; `options` go to `Stepper`.
    """
    diffusion = diffusion.with_model(copy.deepcopy(diffusion.model))
    diffusion.model.train()
    batches = Batches(images or load_heldout(), batch_size or scale().batch_size, device=diffusion.device)
    state = TrainState(diffusion, EMA(diffusion.model, 0.9995))
    loss_of = LossModule(diffusion.model, diffusion.process, denoising_loss)
    if needs_loss_scaling(diffusion.model):
        options = {"scaler": loss_scaler(diffusion.device), **options}
    stepper, readings = Stepper(state, adam(fused=True), loss_of, **options), Readings(READ_EVERY, 0)

    def step() -> Tensor:
        loss, norm = stepper.step(batches)
        readings.add(loss, norm, stepper.scale())
        readings.info(state.step, state.images_seen, read=False)
        return loss

    return step
