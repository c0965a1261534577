"""How large a batch still pays: the gradient noise scale, from gradients of small batches and of a large one.

The gradient of b images is the true one plus noise whose square falls as 1/b. Squared norms at two batch sizes hence
tell both apart, and the batch at which noise and gradient are equally large is the *critical* one: a run of batch B
takes (1 + critical / B) times the fewest steps, and (1 + B / critical) times the fewest images.
Source: S. McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, equations 2.11 and A.2.
"""

from __future__ import annotations

import math

__all__ = ["critical_batch", "useful_share"]


def critical_batch(small: int, small_square: float, large: int, large_square: float) -> float:
    """The critical batch in images, from mean squared gradient norms at batches of `small` and of `large` images.

    Infinite where the large batch shows no gradient above the noise: more images are needed to tell. Raises
    `ValueError` for sizes that do not grow and norms that are not positive.
    """
    if not 0 < small < large or not min(small_square, large_square) > 0:
        raise ValueError(
            "wanted 0 < small < large and positive squared norms, got "
            f"{small=} {large=} {small_square=:g} {large_square=:g}."
        )
    gradient = (large * large_square - small * small_square) / (large - small)
    noise = (small_square - large_square) / (1 / small - 1 / large)
    return max(0.0, noise) / gradient if gradient > 0 else math.inf


def useful_share(batch: float, critical: float) -> float:
    """The share of a batch's images that a run needs, as against the fewest images that reach the same loss."""
    if not batch > 0 or not critical > 0:
        raise ValueError(f"batch and critical must be positive, got {batch:g} and {critical:g}.")
    return 1 / (1 + batch / critical) if math.isfinite(critical) else 1.0
