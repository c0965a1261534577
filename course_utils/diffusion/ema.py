"""An exponential moving average of the weights: the model that is sampled from."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from course_utils.diffusion.baseline import Diffusion
from course_utils.diffusion.weights import clean_name, load_tensors, model_tensors

__all__ = ["EMA"]


class EMA:
    """A float32 average of a model's weights that forgets the beginning quickly and the rest slowly.

    After step k (from 1) each weight moves towards the model's by 1 - min(`decay`, (1 + k) / (10 + k)): the ramp of
    TensorFlow's `ExponentialMovingAverage`, without which a short run would average mostly its random start. Whole
    numbers (counters) are copied. Raises `ValueError` for a decay outside [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float = 0.9995) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {decay}")
        self.decay = decay
        self.tensors = {name: _in_float32(tensor) for name, tensor in model_tensors(model).items()}
        self._followed: tuple[nn.Module, torch.device | None, list[Tensor], list[Tensor]] | None = None

    def decay_at(self, step: int) -> float:
        """How much of the average is kept at step `step`, counted from 1."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model's weights after step `step`, in a handful of kernels."""
        averages, weights = self._pairs(model)
        get_ema_multi_avg_fn(self.decay_at(step))(averages, [weight.to(torch.float32) for weight in weights], step)
        for name, buffer in model.named_buffers():
            if clean_name(name) in self.tensors and not buffer.is_floating_point():
                self.tensors[clean_name(name)].copy_(buffer)

    def _pairs(self, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """Averages and the weights they follow, side by side, on the model's device.

        Found once for a model, and again where `model.to(...)` has moved it.
        """
        device = next((parameter.device for parameter in model.parameters()), None)
        if self._followed is None or self._followed[0] is not model or self._followed[1] != device:
            own = model_tensors(model)
            self.tensors = {name: average.to(own[name].device) for name, average in self.tensors.items()}
            floating = [name for name, tensor in own.items() if tensor.is_floating_point()]
            self._followed = model, device, [self.tensors[name] for name in floating], [own[name] for name in floating]
        return self._followed[2:]

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put saved averages in the place of the present ones. Raises `KeyError` for one that is missing."""
        for name, average in self.tensors.items():
            average.copy_(tensors[name])

    def copy_of(self, diffusion: Diffusion) -> Diffusion:
        """Build a copy of `diffusion` that carries the averaged weights, ready to be sampled from."""
        averaged = diffusion.to(diffusion.device)
        load_tensors(averaged.model, self.tensors)
        averaged.model.eval()
        return averaged


def _in_float32(tensor: Tensor) -> Tensor:
    """A copy of a weight, laid out in memory as it is; in float32 unless it is a whole number."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(dtype, copy=True)
