"""What float32 arithmetic is: true float32, or TF32, whose inputs keep 10 bits of 23."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["float32_arithmetic"]


@contextmanager
def float32_arithmetic(*, tf32: bool = False) -> Iterator[None]:
    """Matrix products and convolutions in true float32, or in TF32, whatever was set before; put back afterwards.

    torch's default is TF32 for the convolutions of GPUs that have it, which no number that is kept should hang on.
    Within it torch refuses questions in its older words (`allow_tf32`), which torch.compile asks in mode max-autotune.
    """
    mkldnn: Any = torch.backends.mkldnn  # its attributes are unknown to type checkers
    cudnn: Any = torch.backends.cudnn
    backends = (torch.backends.cuda.matmul, cudnn.conv, mkldnn.matmul, mkldnn.conv)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
