"""The three sizes at which every notebook runs: seconds in a test, minutes on a laptop, in full on a GPU."""

import os
from dataclasses import dataclass

import torch

__all__ = ["SCALES", "Scale", "scale"]


@dataclass(frozen=True)
class Scale:
    """How large the net, the data and the runs are.

    `num_images` is how many training images a quick demonstration uses, `train_steps` the length of a notebook's
    training run, `num_steps` the sampler's budget, `grid` how many images a figure draws.
    """

    name: str
    dim: int
    dim_mults: tuple[int, ...]
    batch_size: int
    num_images: int
    train_steps: int
    num_steps: int
    grid: int


SCALES = {
    "smoke": Scale("smoke", 8, (1, 2), batch_size=8, num_images=64, train_steps=6, num_steps=4, grid=4),
    "laptop": Scale("laptop", 32, (1, 2, 4), batch_size=16, num_images=5_000, train_steps=400, num_steps=20, grid=16),
    "gpu": Scale("gpu", 64, (1, 2, 4, 8), batch_size=128, num_images=50_000, train_steps=2_000, num_steps=50, grid=64),
}


def scale(name: str | None = None) -> Scale:
    """Choose a scale: by name, else by `COURSE_SCALE`, else `gpu` where CUDA is there and `laptop` where it is not.

    Raises `ValueError` for a name that is not in `SCALES`.
    """
    chosen = name or os.environ.get("COURSE_SCALE") or ("gpu" if torch.cuda.is_available() else "laptop")
    if chosen not in SCALES:
        origin = "scale" if name else "COURSE_SCALE"
        raise ValueError(f"{origin} is {chosen!r}, but must be one of {', '.join(SCALES)}")
    return SCALES[chosen]
