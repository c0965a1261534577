"""The diffusion process: how noise is added, what the network is asked for, and how its answer becomes x_0 and eps.

Shapes: N images, C channels, H x W pixels. A timestep `t` is int64 (N,), one per image.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["OBJECTIVES", "Denoiser", "Prediction", "Process", "refuse_mps"]

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) -> raw output, shaped like x_t; what the output means is the process's `objective`."""

OBJECTIVES = ("pred_noise", "pred_x0", "pred_v")


class Prediction(NamedTuple):
    """What a denoiser believes about a noisy image: the clean image and the noise in it, both (N, C, H, W)."""

    x_0: Tensor
    eps: Tensor


class Process:
    """A Gaussian diffusion process x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps, with a_t = alphas_cumprod[t].

    `objective` says what the network predicts: the noise (`pred_noise`), the clean image (`pred_x0`) or the velocity v
    = sqrt(a_t) eps - sqrt(1 - a_t) x_0 (`pred_v`; Salimans and Ho, 2022, appendix D). Coefficients are computed in
    float64 and applied in the dtype of the images. Raises `ValueError` for a schedule that is not decreasing within
    (0, 1) or an unknown objective.
    """

    def __init__(self, alphas_cumprod: Tensor, objective: str) -> None:
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
        self.alphas_cumprod = alphas_cumprod.detach().to("cpu", torch.float64)  # (T,)
        self.objective = objective
        self._on_device: dict[torch.device, Tensor] = {}
        _check_schedule(self.alphas_cumprod)

    def __repr__(self) -> str:
        return f"Process({self.objective}, {self.num_timesteps} timesteps)"

    @property
    def num_timesteps(self) -> int:
        """Number of timesteps, T."""
        return len(self.alphas_cumprod)

    def add_noise(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Noise clean images to timestep t: a draw from q(x_t | x_0). Ho et al., 2020, equation 4."""
        signal, noise = self._scales(t, x_0)
        return signal * x_0 + noise * eps  # (N, C, H, W)

    def target(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """What the network should answer on `add_noise(x_0, t, eps)`, (N, C, H, W)."""
        if self.objective == "pred_noise":
            return eps
        if self.objective == "pred_x0":
            return x_0
        signal, noise = self._scales(t, x_0)
        return signal * eps - noise * x_0

    def loss_weight(self, t: Tensor) -> Tensor:
        """Weight of each image's squared error in the library's loss, float64 (N,): 1, the SNR, or a_t by objective."""
        a_t = self._alphas(t)
        if self.objective == "pred_noise":
            return torch.ones_like(a_t)
        return a_t / (1 - a_t) if self.objective == "pred_x0" else a_t

    def predict(self, model: Denoiser, x_t: Tensor, t: Tensor, *, clip: bool = False) -> Prediction:
        """Ask `model` once and translate its answer into (x_0, eps), whatever the objective.

        `clip=True` keeps x_0 within [-1, 1], the range of an image, and derives eps from the clipped x_0, as the
        library's samplers do. The model sees x_t in its own dtype; the result has the dtype of x_t.
        """
        raw = model(_in_dtype_of(model, x_t), t).to(x_t.dtype)
        signal, noise = self._scales(t, x_t)
        if self.objective == "pred_noise":
            x_0, eps = (x_t - noise * raw) / signal, raw
        elif self.objective == "pred_x0":
            x_0, eps = raw, (x_t - signal * raw) / noise
        else:
            x_0, eps = signal * x_t - noise * raw, noise * x_t + signal * raw
        if clip:
            x_0 = x_0.clamp(-1, 1)
            eps = (x_t - signal * x_0) / noise
        return Prediction(x_0, eps)

    def _scales(self, t: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(a_t) and sqrt(1 - a_t), each (N, 1, 1, 1) in the images' dtype."""
        a_t = self._alphas(t).reshape(-1, *[1] * (images.ndim - 1))
        return a_t.sqrt().to(images.dtype), (1 - a_t).sqrt().to(images.dtype)

    def _alphas(self, t: Tensor) -> Tensor:
        """a_t for each image, float64 (N,), from a copy of the schedule kept on the device of `t`."""
        if t.device not in self._on_device:
            refuse_mps(t.device)
            self._on_device[t.device] = self.alphas_cumprod.to(t.device)
        return self._on_device[t.device][t]


def refuse_mps(device: torch.device | str) -> None:
    """Raise `ValueError` for Apple's MPS, which has no float64: schedules and sampler state need it."""
    if torch.device(device).type == "mps":
        raise ValueError(
            "device is 'mps', which has no float64, and schedules and sampler states are float64: use 'cpu'."
        )


def _check_schedule(alphas_cumprod: Tensor) -> None:
    falling = alphas_cumprod.ndim == 1 and bool((alphas_cumprod.diff() < 0).all())
    if not (falling and len(alphas_cumprod) and alphas_cumprod[-1] > 0 and alphas_cumprod[0] < 1):
        raise ValueError(
            f"alphas_cumprod must be one row of numbers falling from below 1 to above 0, got shape "
            f"{tuple(alphas_cumprod.shape)} and values {alphas_cumprod.flatten()[:3].tolist()} ..."
        )


def _in_dtype_of(model: Denoiser, x_t: Tensor) -> Tensor:
    """x_t in the dtype of the model's first floating-point parameter; unchanged for a model without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    dtype = next((p.dtype for p in parameters if p.is_floating_point()), x_t.dtype)
    return x_t.to(dtype)
