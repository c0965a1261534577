"""The forward pass: the library's U-Net as shipped, and the same weights executed in other ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from course_utils.diffusion import baseline
from course_utils.experiments.claims import treated
from course_utils.experiments.rows import EXECUTIONS, Entries, Row, Setting, possible
from course_utils.measure import Variant
from course_utils.speedups import treat

__all__ = ["ROWS", "inferring"]

ORDER = 20


def inferring(model: nn.Module, x_t: Tensor, t: Tensor) -> Variant:
    """A variant that calls a model without keeping anything for the way back."""
    model.eval()

    def call() -> Tensor:
        with torch.no_grad():  # in inference mode a count would not see what autocast does within einsum
            answer: Tensor = model(x_t, t)
            return answer

    return Variant(type(model).__name__, call, output=lambda result: result)


def inputs(setting: Setting, batch: int) -> tuple[Tensor, Tensor]:
    """Noise and timesteps, the same for every variant: x_t (N, 3, 32, 32) and t (N,)."""
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(batch, 3, 32, 32, generator=generator).to(setting.device)
    return x_t, torch.randint(0, 1000, (batch,), generator=generator).to(setting.device)


def ROWS(setting: Setting) -> Iterator[Row]:
    """The row of the forward pass."""
    batch, executions = setting.scale.batch_size, possible(EXECUTIONS, setting)

    @contextmanager
    def prepare() -> Iterator[Entries]:
        diffusion = baseline(setting.scale).to(setting.device)
        diffusion.model.eval()
        x_t, t = inputs(setting, batch)
        keeping: Callable[[], Tensor] = lambda: diffusion.model(x_t, t)  # noqa: E731
        entries = {
            "library, eager fp32": inferring(diffusion.model, x_t, t),
            "keeping what backward needs": Variant("library", keeping, output=lambda result: result),
        }
        for name, treatments in executions.items():
            entries[name] = inferring(treat(diffusion, *treatments).model, x_t, t)
        yield entries

    claims = {name: treated(setting.scale, setting.device, *how) for name, how in executions.items()}
    step = f"one call of the U-Net on {batch} images, no gradients unless it says so"
    yield Row("forward", step, batch, prepare, config={"batch": batch}, claims=claims)
