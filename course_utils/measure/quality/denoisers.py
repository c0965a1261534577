"""Evidence on one denoiser against another: the losses of both on the same images, timesteps and noise.

N images. The paired losses share what makes a denoising loss scatter (the timestep above all), so the ratio of their
means is far better known than either mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_utils.measure.quality.evidence import Evidence, ratio_evidence
from course_utils.measure.quality.intervals import interleaved, jackknife
from course_utils.measure.quality.seeds import seed_spread_of, seeds_note

__all__ = ["FEWEST_LOSSES", "LOSS_TOLERANCE", "same_denoiser"]

LOSS_TOLERANCE = 1.02
FEWEST_LOSSES = 100  # five in each of the 20 groups
LOOSE = 0.5  # paired losses of any two useful denoisers correlate above 0.9


def same_denoiser(
    baseline_losses: Tensor,
    variant_losses: Tensor,
    *,
    tolerance: float = LOSS_TOLERANCE,
    seed_spread: float | Sequence[float] | Tensor | None = None,
) -> Evidence:
    """Ratio of two mean held-out losses, (N,) each, image by image at the same timestep and noise.

    A variant that keeps the baseline's weights has no more to answer for than images. One that was trained anew differs
    by its seed as well: `seed_spread` then adds what two trainings of one recipe differ by, as the mean losses of
    several seeds of the baseline, trained for as long (the baseline's own may be among them), or as a relative standard
    deviation that is known well. The bounds are then those of the recipes, no longer of these two sets of weights; with
    two seeds they are wide, and hold in 92 cases of 100 at the least. Raises ValueError for unlike lengths, fewer than
    100 losses, losses that are negative, not finite or all 0, and for what is no such spread.
    """
    baseline, variant = _checked(baseline_losses, "baseline_losses"), _checked(variant_losses, "variant_losses")
    n = len(baseline)
    if len(variant) != n:
        raise ValueError(
            f"baseline_losses has {n} losses and variant_losses {len(variant)}, wanted the same images in both: compute"
            " both with one n and seed."
        )

    def log_ratio(left_out: Tensor) -> float:
        means = [float((losses.sum() - losses[left_out].sum()) / (n - len(left_out))) for losses in (variant, baseline)]
        return math.log(means[0] / means[1])

    estimate = jackknife(log_ratio, interleaved(n))
    spread = None if seed_spread is None else seed_spread_of(seed_spread)
    means = f"Mean losses {baseline.mean():.5f} and {variant.mean():.5f}."
    note = f"{means} {seeds_note(spread)}{_pairing(baseline, variant)}"
    what = "held-out loss, variant / baseline"
    return ratio_evidence("same denoiser", what, estimate, tolerance=tolerance, n=n, note=note, spread=spread)


def _pairing(baseline: Tensor, variant: Tensor) -> str:
    """A word of doubt where the losses hardly vary together."""
    correlation = float(torch.corrcoef(torch.stack([baseline, variant]))[0, 1])
    if correlation >= LOOSE or math.isnan(correlation):
        return ""
    return f" They correlate by {correlation:.2f} only: were both taken at the same timesteps and noise?"


def _checked(losses: Tensor, name: str) -> Tensor:
    """Losses as float64 on the CPU, (N,)."""
    if not isinstance(losses, Tensor) or losses.ndim != 1:
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(f"{name} is {shape}, wanted a tensor (N,) with the loss of each image.")
    if len(losses) < FEWEST_LOSSES:
        raise ValueError(f"{name} has {len(losses)} losses, wanted at least {FEWEST_LOSSES}: take more images.")
    wide = losses.detach().to("cpu", torch.float64)
    bad = ~(wide.isfinite() & (wide >= 0))
    if bad.any():
        place = int(bad.nonzero()[0])
        raise ValueError(f"{name}[{place}] is {wide[place]}, wanted finite losses that are not negative.")
    if not wide.any():
        raise ValueError(f"{name} are all 0, wanted losses on images that the model cannot reproduce.")
    return wide
