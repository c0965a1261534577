"""Half precision: 16-bit numbers where they are enough, 32-bit ones where they are not.

Exactness: approximate

`autocast` keeps the weights in float32 and lets PyTorch choose the type of each operation: products and convolutions in
16 bits, sums over many numbers in 32. `pure` stores the weights themselves in 16 bits, all but those of modules that
are kept. float16 has 11 significant bits and ends at 65504 and 6e-8; bfloat16 has 8 and the range of float32; TF32, a
way in which NVIDIA's GPUs multiply float32, has 11 and the range of float32. Source: Micikevicius et al., Mixed
Precision Training (2018); PyTorch's notes on automatic mixed precision and on numerical accuracy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.speedups.layout import refuse_compiled

__all__ = ["Autocast", "as_half", "half_precision", "loss_scaler", "needs_loss_scaling"]

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

    `mode` is `autocast` or `pure`. With `pure`, the modules named in `keep`, with all inside them, stay in float32: by
    default every `time_mlp`, a few rows of numbers that cost nothing and tell the network its timestep. Modules with
    running statistics (BatchNorm) stay in float32 whatever `keep` says, since an average that moves by a hundredth
    stands still in 8 bits. So do weights under training: next to a bfloat16 weight of 1, a step below 1/512 rounds to
    nothing, which makes `pure` a mode for inference. Training in float16 needs loss scaling, `loss_scaler()`;
    bfloat16, whose range is that of float32, needs none.

    Raises `ValueError` for another dtype or mode, a model without parameters in float32, one that is compiled or in
    half precision already, and a name that it lacks.
    """
    wanted = as_half(dtype)
    if mode not in MODES:
        raise ValueError(f"mode must be autocast or pure, got {mode!r}")
    refuse_compiled(model, "half_precision")
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


def needs_loss_scaling(model: nn.Module) -> bool:
    """Whether gradients of `model` pass through float16, where those below 6e-8 become zero."""
    autocast = any(isinstance(module, Autocast) and module.dtype == torch.float16 for module in model.modules())
    return autocast or any(parameter.dtype == torch.float16 for parameter in model.parameters())


def loss_scaler(device: torch.device | str) -> torch.amp.GradScaler:
    """Make what `train(scaler=)` takes: a factor on the loss, 65536 at first, halved at each overflow.

    After 2,000 steps without one it doubles. Source: `torch.amp.GradScaler`.
    """
    return torch.amp.GradScaler(torch.device(device).type)


class Autocast(nn.Module):
    """A model whose forward pass runs under `torch.autocast`, on the device of its weights, and answers in float32.

    What it lacks itself it takes from the model within, such as `config` or a method.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.module = module
        self.dtype = dtype

    def __getattr__(self, name: str) -> Any:
        """An attribute of the wrapper, or else of the model within."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def extra_repr(self) -> str:
        """The type, for `print`."""
        return str(self.dtype)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model, as it is called without half precision."""
        with torch.autocast(_device_of([*args, *kwargs.values()], self.module), self.dtype):
            answer = self.module(*args, **kwargs)
        return _mapped(_widened, answer)


def _pure(model: nn.Module, dtype: torch.dtype, kept: list[str]) -> nn.Module:
    """Cast a model in place, but for what is kept; every module with weights of its own casts what it is given."""
    inside = {id(module) for name in kept for module in model.get_submodule(name).modules()}
    for module in model.modules():
        if _has_statistics(module):
            continue  # batch norm takes 16-bit images beside float32 statistics, and answers in 16 bits
        if _own_dtype(module) is not None:
            module.register_forward_pre_hook(_cast_inputs, with_kwargs=True)
        if id(module) not in inside:
            _cast_own(module, dtype)
    model.register_forward_hook(_widen_answer)
    return model


def _cast_own(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the parameters and buffers that are a module's own, not its children's; gradients are dropped."""
    for parameter in module.parameters(recurse=False):
        if parameter.is_floating_point():
            parameter.grad = None
            parameter.data = parameter.data.to(dtype)
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point():
            setattr(module, name, buffer.to(dtype))


def _cast_inputs(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Hook: floating inputs, by position or by name, take the type of the module's own weights."""
    dtype = _own_dtype(module)

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return _mapped(cast, args), _mapped(cast, kwargs)


def _widen_answer(module: nn.Module, args: tuple[Any, ...], answer: Any) -> Any:
    """Hook: the answer of the whole model in float32."""
    return _mapped(_widened, answer)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in DTYPES.values() else tensor


def _mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Change every tensor within nested tuples, lists, mappings and dataclasses, each of which keeps its type."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) is dict:  # torch.compile cannot look into copy.copy
        return {key: _mapped(change, one) for key, one in value.items()}
    if isinstance(value, Mapping):
        made: Any = copy.copy(value)
        for key, one in value.items():
            made[key] = _mapped(change, one)
        return made
    if is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in fields(value):
            object.__setattr__(made, field.name, _mapped(change, getattr(value, field.name)))
        return made
    if isinstance(value, (tuple, list)):
        changed = [_mapped(change, one) for one in value]
        return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)
    return value


def _own_dtype(module: nn.Module) -> torch.dtype | None:
    """The type of a module's own weights; None where it has none, or only whole numbers."""
    return next((one.dtype for one in module.parameters(recurse=False) if one.is_floating_point()), None)


def _has_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None


def _device_of(inputs: Sequence[Any], model: nn.Module) -> str:
    """The kind of device the model lies on, or the inputs of one without parameters."""
    parameter = next(model.parameters(), None)
    if parameter is not None:
        return parameter.device.type
    return next((one.device.type for one in inputs if isinstance(one, Tensor)), "cpu")


def _refuse_halved(model: nn.Module) -> None:
    """Raise `ValueError` for a model that is in half precision already, or that has nothing to be halved."""
    if any(isinstance(module, Autocast) for module in model.modules()):
        raise ValueError("the model runs under autocast already: apply half_precision once")
    found = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if halved := found & set(DTYPES.values()):
        raise ValueError(f"the model has parameters in {halved.pop()} already: apply half_precision once")
    if torch.float32 not in found:
        seen = ", ".join(sorted(map(str, found))) or "none at all"
        raise ValueError(f"the model must have parameters in torch.float32 to be halved, its parameters are {seen}")


def _named(model: nn.Module, keep: Sequence[str] | None) -> list[str]:
    """The names of the modules to keep, each known to be there."""
    known = {name for name, _ in model.named_modules()}
    if keep is None:
        return [name for name in known if name.rpartition(".")[2] in KEPT]
    if isinstance(keep, str):
        raise ValueError(f"keep must be a list of names, got {keep!r}: write [{keep!r}]")
    if missing := sorted(set(keep) - known):
        raise ValueError(f"keep names {missing[0]!r}, which the model has not; it has {', '.join(sorted(known)[1:9])}")
    return list(keep)
