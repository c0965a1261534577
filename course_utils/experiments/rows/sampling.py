"""Sampling with DDIM: the library's loop, which keeps every step on the device, against the kit's, which keeps none."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from course_utils.diffusion import baseline, ddim, timesteps
from course_utils.experiments.rows import Entries, Row, Setting
from course_utils.measure import Variant

__all__ = ["ROWS"]

ORDER = 40


def ROWS(setting: Setting) -> Iterator[Row]:
    """The row of the samplers."""
    n, steps = setting.scale.grid, setting.scale.num_steps

    @contextmanager
    def prepare() -> Iterator[Entries]:
        diffusion = baseline(setting.scale).to(setting.device)
        diffusion.model.eval()
        library = diffusion.as_library(sampling_timesteps=steps)
        ts = timesteps(steps)

        def start() -> Tensor:
            """The same noise for both: the library draws its own from torch's generator."""
            torch.manual_seed(0)
            return torch.randn(n, 3, 32, 32, device=setting.device)

        def by_library() -> Tensor:
            torch.manual_seed(0)
            with contextlib.redirect_stderr(io.StringIO()):
                images: Tensor = library.ddim_sample((n, 3, 32, 32))
                return images

        def by_kit() -> Tensor:
            return (ddim(diffusion.predictor(), start(), ts) + 1) / 2

        yield {
            "library": Variant("library", by_library, output=lambda result: result),
            "the kit's ddim": Variant("kit", by_kit, output=lambda result: result),
        }

    step = f"draw {n} images with {steps} steps of DDIM"
    yield Row("sampling", step, n, prepare, rounds=5, config={"batch": n, "num_steps": steps, "nfe": steps})
