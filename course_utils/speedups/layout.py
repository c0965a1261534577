"""Layout and compiler: the same numbers, laid out and scheduled as the hardware likes them.

Exactness: exact

`layout` puts the channels of a pixel side by side (channels_last, NHWC), the order in which convolution kernels read.
`compiled` hands the model to torch.compile, which fuses elementwise operations into a few kernels and so saves passes
over memory. Both compute the same function up to the order of sums. Source: PyTorch's documentation of both.
"""

from __future__ import annotations

import copy
import os
import shutil
import sys

import torch
from torch import nn

__all__ = ["compiled", "compiler", "layout", "refuse_compiled"]


def layout(model: nn.Module) -> nn.Module:
    """Return a copy of `model` with its 4-D weights in channels_last; outputs of its convolutions follow.

    Raises `ValueError` for a model without any, and for one that is compiled.
    """
    refuse_compiled(model, "layout")
    if not any(tensor.ndim == 4 for tensor in model.parameters()):
        raise ValueError("the model has no 4-D weights (of 2-D convolutions), which are all that channels_last changes")
    treated = copy.deepcopy(model)
    for tensor in (*treated.parameters(), *treated.buffers()):
        if tensor.ndim == 4:  # one by one: `model.to` refuses a model that has 3-D convolutions too
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return treated


def compiled(model: nn.Module, mode: str | None = None) -> nn.Module:
    """Return a copy of `model` that is compiled at its first call, and again for inputs of another shape.

    `mode` goes to `torch.compile`. Apply it last: what is compiled can be treated no further. Raises `ValueError`
    where it is compiled already, for a mode that torch does not know, and, on a CPU, where there is no C++ compiler.
    """
    refuse_compiled(model, "compiled")
    kinds = {tensor.device.type for tensor in model.parameters()}
    if "cpu" in kinds and compiler() is None:
        raise ValueError("torch.compile on a CPU needs a C++ compiler: install g++, or name another one in CXX")
    try:
        return torch.compile(copy.deepcopy(model), mode=mode)  # type: ignore[return-value]
    except RuntimeError as error:
        raise ValueError(f"mode must be None or one that torch.compile knows, got {mode!r}: {error}") from error


def refuse_compiled(model: nn.Module, treatment: str) -> None:
    """Raise `ValueError` for a model that is compiled, wholly or in parts: a treatment would not reach inside."""
    if any(isinstance(module, torch._dynamo.OptimizedModule) for module in model.modules()):
        wanted = "it comes once" if treatment == "compiled" else f"apply {treatment} before it"
        raise ValueError(f"the model is compiled already: compiled comes last, {wanted}")


def compiler() -> str | None:
    """The C++ compiler that torch.compile would call on a CPU ($CXX, or the system's usual one); None without it."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))
