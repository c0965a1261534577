"""Half precision: 16-bit numbers where they are enough, 32-bit ones where they are not.

Exactness: approximate

`autocast` keeps the weights in float32 and lets PyTorch choose the type of each operation: products and convolutions in
16 bits, sums over many numbers in 32. `pure` stores the weights themselves in 16 bits, all but those of modules that
are kept. Source: Micikevicius et al., Mixed Precision Training (2018); PyTorch's notes on automatic mixed precision.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Autocast", "half_precision"]

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
MODES = ("autocast", "pure")
KEPT = ("time_mlp",)


def half_precision(
    model: nn.Module,
    dtype: torch.dtype | str = torch.bfloat16,
    mode: str = "autocast",
    keep: Sequence[str] | None = None,
) -> nn.Module:
    """Return a copy of `model` that computes in `dtype` and answers in float32; its inputs stay as they are.

    `mode` is `autocast` or `pure`. With `pure`, the modules named in `keep` stay in float32: by default `time_mlp`,
    where there is one, since bfloat16 has 8 significant bits and cannot tell timestep 997 from 999. Training in
    float16 needs loss scaling, `loss_scaler()`; bfloat16, whose range is that of float32, needs none.

    Raises `ValueError` for another dtype or mode, a model without parameters in float32, and a name that it lacks.
    """
    wanted = as_half(dtype)
    if mode not in MODES:
        raise ValueError(f"mode must be autocast or pure, got {mode!r}")
    _refuse_halved(model)
    if mode == "autocast":
        if keep is not None:
            raise ValueError("keep is for mode='pure': autocast chooses the type of each operation itself")
        return Autocast(copy.deepcopy(model), wanted)
    return _pure(copy.deepcopy(model), wanted, _named(model, keep))


def as_half(dtype: torch.dtype | str) -> torch.dtype:
    """A 16-bit type by itself or by name. Raises `ValueError` for any other."""
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ValueError(f"dtype must be torch.bfloat16 or torch.float16, got {dtype!r}")
    return found


class Autocast(nn.Module):
    """A model whose forward pass runs under `torch.autocast`, on the device of its inputs, and answers in float32."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.dtype = dtype

    def extra_repr(self) -> str:
        """The type, for `print`."""
        return str(self.dtype)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model, as it is called without half precision."""
        with torch.autocast(_device_of(args, self.module), self.dtype):
            answer = self.module(*args, **kwargs)
        return _in_float32(answer)


def _pure(model: nn.Module, dtype: torch.dtype, kept: list[str]) -> nn.Module:
    """Cast a model in place, but for the modules kept; every module with weights of its own casts what it is given."""
    inside = {id(module) for name in kept for module in model.get_submodule(name).modules()}
    for module in model.modules():
        own = [tensor for tensor in module.parameters(recurse=False) if tensor.is_floating_point()]
        if own:
            module.register_forward_pre_hook(_cast_inputs, with_kwargs=False)
        if id(module) not in inside:
            _cast_own(module, dtype)
    model.register_forward_hook(_answer_in_float32)
    return model


def _cast_own(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters and buffers that are a module's own, not its children's."""
    for parameter in module.parameters(recurse=False):
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point():
            setattr(module, name, buffer.to(dtype))


def _cast_inputs(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Hook: floating inputs take the type of the module's own weights."""
    dtype = next(tensor.dtype for tensor in module.parameters(recurse=False) if tensor.is_floating_point())
    return tuple(one.to(dtype) if isinstance(one, Tensor) and one.is_floating_point() else one for one in args)


def _answer_in_float32(module: nn.Module, args: tuple[Any, ...], answer: Any) -> Any:
    """Hook: the answer of the whole model in float32."""
    return _in_float32(answer)


def _in_float32(answer: Any) -> Any:
    if isinstance(answer, Tensor):
        return answer.float() if answer.is_floating_point() else answer
    if isinstance(answer, (tuple, list)):
        return type(answer)(_in_float32(one) for one in answer)
    return answer


def _device_of(args: tuple[Any, ...], model: nn.Module) -> str:
    """The kind of device the inputs lie on, or the model where there is no tensor among them."""
    tensors = [one for one in args if isinstance(one, Tensor)] + list(model.parameters())[:1]
    return tensors[0].device.type if tensors else "cpu"


def _refuse_halved(model: nn.Module) -> None:
    if any(isinstance(module, Autocast) for module in model.modules()):
        raise ValueError("the model runs under autocast already: apply half_precision once")
    found = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if torch.float32 not in found:
        seen = ", ".join(sorted(map(str, found))) or "none at all"
        raise ValueError(f"the model must have parameters in torch.float32 to be halved, its parameters are {seen}")


def _named(model: nn.Module, keep: Sequence[str] | None) -> list[str]:
    """The names of the modules to keep, each known to be there."""
    known = {name for name, _ in model.named_modules()}
    if keep is None:
        return [name for name in known if name.rpartition(".")[2] in KEPT]
    if missing := sorted(set(keep) - known):
        raise ValueError(f"keep names {missing[0]!r}, which the model has not; it has {', '.join(sorted(known)[1:9])}")
    return list(keep)
