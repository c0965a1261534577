"""Noise schedules in float64 and the timesteps that a sampler visits.

The three beta schedules are those of denoising-diffusion-pytorch, to the last bit.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["BETA_SCHEDULES", "alphas_cumprod", "cosine_betas", "linear_betas", "sigmoid_betas", "timesteps"]

_LARGEST_BETA = 0.999


def linear_betas(num_timesteps: int = 1000) -> Tensor:
    """Betas rising linearly from 1e-4 to 0.02 at 1,000 steps, float64 (num_timesteps,). Ho et al., 2020, section 4."""
    stretch = 1000 / num_timesteps
    return torch.linspace(stretch * 1e-4, stretch * 0.02, num_timesteps, dtype=torch.float64)


def cosine_betas(num_timesteps: int = 1000) -> Tensor:
    """Betas whose cumulative product follows a squared cosine, float64 (num_timesteps,).

    Nichol and Dhariwal, 2021, equation 17, with their offset 0.008.
    """
    offset = 0.008
    time = torch.linspace(0, num_timesteps, num_timesteps + 1, dtype=torch.float64) / num_timesteps
    return _betas(torch.cos((time + offset) / (1 + offset) * math.pi * 0.5) ** 2)


def sigmoid_betas(num_timesteps: int = 1000) -> Tensor:
    """Betas whose cumulative product follows a sigmoid from -3 to 3, float64 (num_timesteps,).

    Jabri et al., 2022 (arXiv:2212.11972), figure 8: the library's default. Its two end points are float32 numbers
    there, and so they are here: the last few steps, where almost no signal is left, feel the rounding.
    """
    time = torch.linspace(0, num_timesteps, num_timesteps + 1, dtype=torch.float64) / num_timesteps
    low, high = torch.tensor(-3.0).sigmoid(), torch.tensor(3.0).sigmoid()
    return _betas((high - (6 * time - 3).sigmoid()) / (high - low))


def _betas(signal: Tensor) -> Tensor:
    """Betas that make `signal` (T + 1,) the cumulative product of 1 - beta, kept below 0.999."""
    signal = signal / signal[0]
    return (1 - signal[1:] / signal[:-1]).clamp(0, _LARGEST_BETA)


BETA_SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "linear": linear_betas,
    "cosine": cosine_betas,
    "sigmoid": sigmoid_betas,
}


def alphas_cumprod(betas: Tensor) -> Tensor:
    """Share of the signal's variance that is left after each step: the product of 1 - beta, float64 (T,)."""
    return torch.cumprod(1 - betas.double(), dim=0)


def timesteps(num_steps: int, num_timesteps: int = 1000) -> Tensor:
    """Choose `num_steps` of `num_timesteps` timesteps, evenly spaced and descending, int64 (num_steps,).

    The spacing is that of the library's DDIM sampler: the first one is always `num_timesteps - 1`, the step after the
    last one arrives at the clean image. Raises `ValueError` unless 1 <= num_steps <= num_timesteps.
    """
    if not 1 <= num_steps <= num_timesteps:
        raise ValueError(f"num_steps must be between 1 and num_timesteps = {num_timesteps}, got {num_steps}")
    ascending = torch.linspace(-1, num_timesteps - 1, num_steps + 1).int()
    return ascending[1:].flip(0).long()
