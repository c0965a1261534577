"""One 3x3 convolution of the U-Net, three ways: the library's, unfold and matrix product, loops over positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F

from course_utils.experiments.claims import CLOSE, Claim
from course_utils.experiments.rows import Entries, Row, Setting
from course_utils.measure import Evidence, Variant, same_function
from course_utils.measure.precision import float32_arithmetic
from course_utils.speedups.im2col import conv2d_loops, conv2d_unfold

__all__ = ["ROWS"]

ORDER = 60
CHANNELS, BATCH = 64, 8
WAYS: dict[str, Callable[..., torch.Tensor]] = {"library": F.conv2d, "im2col": conv2d_unfold, "loops": conv2d_loops}


def ROWS(setting: Setting) -> Iterator[Row]:
    """A row for each size of picture that the network sees."""
    for side in (8, 32):

        @contextmanager
        def prepare(side: int = side) -> Iterator[Entries]:
            tensors = operands(side, setting.device)
            with float32_arithmetic():  # or a GPU would convolve in TF32 and multiply matrices in float32
                yield {
                    name: Variant(name, partial(way, *tensors, None, 1, 1), output=lambda result: result)
                    for name, way in WAYS.items()
                }

        def evidence(name: str, side: int = side) -> list[Evidence]:
            x, weight = operands(side, setting.device)
            with float32_arithmetic():
                return [same_function(F.conv2d, WAYS[name], x, weight, None, 1, 1, **CLOSE)]

        step = f"a 3x3 convolution, {CHANNELS} channels, {BATCH} pictures of {side} x {side}"
        claims = {name: Claim("exact", partial(evidence, name)) for name in ("im2col", "loops")}
        config: dict[str, object] = {"batch": BATCH, "side": side, "channels": CHANNELS}
        yield Row(f"convolution, {side} x {side}", step, BATCH, prepare, config=config, claims=claims)


def operands(side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """An input (N, C, side, side) and a weight (C, C, 3, 3), always the same."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, CHANNELS, side, side, generator=generator)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator) / (9 * CHANNELS) ** 0.5
    return x.to(device), weight.to(device)
