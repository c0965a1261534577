"""Random numbers that depend on named integers alone: the same picture whatever the batch size or the order of work."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["ImageNoise", "generator", "mixed_seed", "sent"]


def mixed_seed(*words: int) -> int:
    """Mix non-negative integers into one 63-bit seed, so that neighbouring words give unrelated streams.

    Raises `ValueError` for a negative word.
    """
    if min(words) < 0:
        raise ValueError(f"seeds and steps must be 0 or larger, got {words}")
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(*words: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator on `device` whose stream is a function of `words` alone."""
    return torch.Generator(device).manual_seed(mixed_seed(*words))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Put a CPU tensor on `device` behind the work that is queued there.

    `tensor.to("cuda")` would wait until all of that work is done; from pinned memory the copy joins the queue.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class ImageNoise:
    """Gaussian noise for images `start .. start + n - 1`, each image with a stream of its own.

    Calling it with a tensor of shape (n, ...) draws the next noise of that shape, device and dtype, so it serves as the
    `noise` of a sampler. Image `i` sees the same numbers in any batch and on any device: they are drawn on the CPU.
    """

    def __init__(self, seed: int, start: int, n: int) -> None:
        self._streams = [generator(seed, index) for index in range(start, start + n)]

    def __call__(self, like: Tensor) -> Tensor:
        """Draw standard normal noise shaped like `like`, (n, ...)."""
        if len(like) != len(self._streams):
            raise ValueError(f"noise was set up for {len(self._streams)} images, got {len(like)}")
        rows = [torch.randn(like.shape[1:], generator=stream) for stream in self._streams]
        return sent(torch.stack(rows), like.device).to(like.dtype)  # (n, ...)
