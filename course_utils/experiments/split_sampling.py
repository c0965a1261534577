"""Pictures drawn by several processes: each draws whole batches, and together they have what one would draw.

Picture i depends on (seed, i) alone, so the processes exchange nothing until the end, when all pictures go to all.
"""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor

from course_utils.diffusion.samplers import SAMPLERS, Callback, Noise, Predict, Sampler

__all__ = ["every_nth_batch", "fitting_batch_size"]


def fitting_batch_size(n: int, batch_size: int, world_size: int) -> int:
    """The largest batch, up to `batch_size`, that leaves work for every process; its size changes no picture.

    Raises `ValueError` for fewer pictures than processes.
    """
    if n < world_size:
        raise ValueError(f"-n is {n}, fewer than the {world_size} processes: start {n}, or draw more pictures.")
    return min(batch_size, n // world_size)


def every_nth_batch(sampler: str, rank: int, world_size: int) -> Sampler:
    """Make a sampler for `sample` that draws the batches rank, rank + world_size, ..., and leaves the others black.

    Black is 0 in uint8: the sum over all processes holds every picture.
    """
    draw, batches = SAMPLERS[sampler], count()

    def own(
        predict: Predict, x_T: Tensor, ts: Tensor, *, noise: Noise | None = None, callback: Callback | None = None
    ) -> Tensor:
        if next(batches) % world_size != rank:
            return torch.full_like(x_T, -1.0)
        return draw(predict, x_T, ts, noise=noise, callback=callback)

    return own
