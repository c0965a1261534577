"""Layout and compiler: the same numbers, laid out and scheduled as the hardware likes them.

Exactness: exact

`layout` puts the channels of a pixel side by side (channels_last, NHWC), the order in which convolution kernels read.
`compiled` hands the model to torch.compile, which fuses elementwise operations into a few kernels and so saves passes
over memory. Both compute the same function up to the order of sums. Source: PyTorch's documentation of both.
"""

from __future__ import annotations

import copy
import shutil

import torch
from torch import nn

__all__ = ["compiled", "compiler", "layout"]


def layout(model: nn.Module) -> nn.Module:
    """Return a copy of `model` with its 4-D weights in channels_last; outputs of its convolutions follow.

    Raises `ValueError` for a model without any.
    """
    if not any(tensor.ndim == 4 for tensor in model.parameters()):
        raise ValueError("the model has no 4-D weights (of 2-D convolutions), which are all that channels_last changes")
    return copy.deepcopy(model).to(memory_format=torch.channels_last)


def compiled(model: nn.Module, mode: str | None = None) -> nn.Module:
    """Return a copy of `model` that is compiled at its first call, and again for inputs of another shape.

    `mode` goes to `torch.compile`. Apply it last: what is compiled can be treated no further. Raises `ValueError`
    where it is compiled already, and, on a CPU, where there is no C++ compiler.
    """
    if isinstance(model, torch._dynamo.OptimizedModule):
        raise ValueError("the model is compiled already: apply compiled once, and last")
    kinds = {tensor.device.type for tensor in model.parameters()}
    if "cpu" in kinds and compiler() is None:
        raise ValueError("torch.compile on a CPU needs a C++ compiler, and there is none: install g++ or clang++")
    return torch.compile(copy.deepcopy(model), mode=mode)  # type: ignore[return-value]


def compiler() -> str | None:
    """The C++ compiler that torch.compile would call on a CPU, or None where there is none."""
    return next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)
