"""The forward pass: the library's U-Net as shipped, with and without a record kept for the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from course_utils.diffusion import baseline
from course_utils.experiments.rows import Entries, Row, Setting
from course_utils.measure import Variant

__all__ = ["ROWS"]

ORDER = 20


def ROWS(setting: Setting) -> Iterator[Row]:
    """The row of the forward pass."""
    batch = setting.scale.batch_size

    @contextmanager
    def prepare() -> Iterator[Entries]:
        model = baseline(setting.scale).model.to(setting.device).eval()
        generator = torch.Generator().manual_seed(0)
        x_t = torch.randn(batch, 3, 32, 32, generator=generator).to(setting.device)
        t = torch.randint(0, 1000, (batch,), generator=generator).to(setting.device)

        def without_grad() -> Tensor:
            with torch.inference_mode():
                return model(x_t, t)

        yield {
            "library, eager fp32": Variant("library", lambda: model(x_t, t), output=lambda result: result),
            "in inference mode": Variant("inference", without_grad, output=lambda result: result),
        }

    yield Row("forward", f"one call of the U-Net on {batch} images", batch, prepare, config={"batch": batch})
