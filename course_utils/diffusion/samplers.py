"""Samplers: plain functions of one signature that turn noise into images.

    x_0 = ddim(predict, x_T, ts)        # predict = diffusion.predictor(), ts = timesteps(50)

`predict(x_t, t)` gives `Prediction(x_0, eps)` and carries `alphas_cumprod`; `ts` is int64 (num_steps,), descending. The
state is float64 inside, the result has the dtype of x_T, and memory does not grow with the number of steps.
Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from course_utils.diffusion.baseline import Diffusion
from course_utils.diffusion.data import to_uint8
from course_utils.diffusion.process import Prediction
from course_utils.diffusion.schedules import timesteps
from course_utils.diffusion.seeds import ImageNoise

__all__ = ["SAMPLERS", "Callback", "Noise", "Predict", "Sampler", "ddim", "ddpm", "evaluating", "sample"]

Noise = Callable[[Tensor], Tensor]
"""x -> standard normal noise of the shape, device and dtype of x."""

Callback = Callable[[int, int, Tensor, Tensor], None]
"""(i, t, x_t, x_0), called at each step with the state before it and the clean image predicted from it."""


class Predict(Protocol):
    """What a sampler asks of a model; `Predictor` is one."""

    @property
    def alphas_cumprod(self) -> Tensor:
        """The schedule, float64 (T,)."""

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        """Predict the clean image and the noise in x_t; t is int64 (N,)."""


@torch.no_grad()
def ddpm(
    predict: Predict, x_T: Tensor, ts: Tensor, *, noise: Noise | None = None, callback: Callback | None = None
) -> Tensor:
    """Sample by the ancestral chain of Ho et al. (2020, equation 7, posterior variance), (N, C, H, W).

    With fewer `ts` than timesteps it takes the same posterior between the timesteps visited.
    """
    noise = noise or torch.randn_like
    x_t = x_T.double()
    for i, t, a_t, a_next in _steps(predict, ts):
        x_0, _ = predict(x_t, _filled(t, x_t))
        _notify(callback, i, t, x_t, x_0)
        beta = 1 - a_t / a_next
        x_t = (a_next**0.5 * beta * x_0 + (1 - beta) ** 0.5 * (1 - a_next) * x_t) / (1 - a_t)
        if a_next < 1:
            x_t += (beta * (1 - a_next) / (1 - a_t)) ** 0.5 * noise(x_T).double()
    return x_t.to(x_T.dtype)


@torch.no_grad()
def ddim(
    predict: Predict,
    x_T: Tensor,
    ts: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Sample by DDIM (Song et al., 2021, equations 12 and 16), (N, C, H, W).

    `eta` = 0 is deterministic and draws no noise; `eta` = 1 adds as much noise as the ancestral chain. Raises
    `ValueError` for an `eta` outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be between 0 (deterministic) and 1 (ancestral), got {eta}")
    noise = noise or torch.randn_like
    x_t = x_T.double()
    for i, t, a_t, a_next in _steps(predict, ts):
        x_0, eps = predict(x_t, _filled(t, x_t))
        _notify(callback, i, t, x_t, x_0)
        sigma = eta * ((1 - a_t / a_next) * (1 - a_next) / (1 - a_t)) ** 0.5
        direction = max(0.0, 1 - a_next - sigma**2) ** 0.5  # rounding may push 0 just below it
        x_t = a_next**0.5 * x_0 + direction * eps
        if sigma > 0:
            x_t += sigma * noise(x_T).double()
    return x_t.to(x_T.dtype)


Sampler = Callable[..., Tensor]
SAMPLERS: dict[str, Sampler] = {"ddpm": ddpm, "ddim": ddim}


def sample(
    diffusion: Diffusion,
    n: int,
    *,
    sampler: str | Sampler = "ddim",
    num_steps: int = 50,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Draw `n` images, uint8 (n, C, H, W) on the CPU.

    Image i depends on (seed, i) alone: another batch size, or more images, changes none of it. `sampler` is a name from
    `SAMPLERS` or a function of the same signature; `callback` is called in every batch. The model works where it lies
    unless `device` says otherwise. Raises `ValueError` for an unknown sampler, or counts below 1.
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"n and batch_size must be at least 1, got {n} and {batch_size}")
    draw = _sampler(sampler)
    diffusion = diffusion.to(device) if device and _elsewhere(torch.device(device), diffusion.device) else diffusion
    ts = timesteps(num_steps, diffusion.process.num_timesteps)
    images = []
    with evaluating(diffusion.model):
        for start in range(0, n, batch_size):
            noise = ImageNoise(seed, start, min(batch_size, n - start))
            x_T = noise(torch.empty(min(batch_size, n - start), *diffusion.recipe.image_shape, device=diffusion.device))
            images.append(to_uint8(draw(diffusion.predictor(), x_T, ts, noise=noise, callback=callback)).cpu())
    return torch.cat(images)  # (n, C, H, W)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch a model to evaluation, and back to what it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _elsewhere(wanted: torch.device, lies: torch.device) -> bool:
    """Whether a model has to move; plain `cuda` is the device that torch works on now."""
    if wanted.type == "cuda" and wanted.index is None:  # pragma: no cover - CUDA
        wanted = torch.device("cuda", torch.cuda.current_device())
    return wanted != lies


def _sampler(sampler: str | Sampler) -> Sampler:
    if callable(sampler):
        return sampler
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)} or a function like them, got {sampler!r}")
    return SAMPLERS[sampler]


def _steps(predict: Predict, ts: Tensor) -> Iterator[tuple[int, int, float, float]]:
    """Yield (i, t, a_t, a at the next timestep); after the last one comes the clean image, a = 1."""
    steps = _checked(ts, len(predict.alphas_cumprod))
    alphas = [*predict.alphas_cumprod[steps].tolist(), 1.0]
    for i, t in enumerate(steps):
        yield i, t, alphas[i], alphas[i + 1]


def _checked(ts: Tensor, num_timesteps: int) -> list[int]:
    steps: list[int] = ts.tolist() if ts.ndim == 1 and not ts.is_floating_point() else []
    descending = all(a > b for a, b in pairwise(steps))
    if not steps or not descending or steps[0] >= num_timesteps or steps[-1] < 0:
        raise ValueError(f"ts must be one row of integers descending within 0 .. {num_timesteps - 1}, got {ts}")
    return steps


def _filled(t: int, x_t: Tensor) -> Tensor:
    return torch.full((len(x_t),), t, device=x_t.device)


def _notify(callback: Callback | None, i: int, t: int, x_t: Tensor, x_0: Tensor) -> None:
    if callback is not None:
        callback(i, t, x_t, x_0)
