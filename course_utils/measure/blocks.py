"""The blocks of a model, and the inputs that each of them gets in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from course_utils.measure.traffic import tensors_in

__all__ = ["Call", "blocks", "captured_calls", "module_of"]

_CONTAINERS = (nn.ModuleList, nn.ModuleDict)
_NOT_CALLED = (nn.ParameterList, nn.ParameterDict)


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model by dotted name: a partition of its submodules into things with a forward of their own.

    The root is opened, and within it lists and dicts of modules; whatever else is found is one block, however deep. A
    root with a single child is a wrapper and is opened again. A model without submodules is its own only block.
    """
    prefix, root = "", model
    while len(children := list(root.named_children())) == 1 and any(True for _ in children[0][1].children()):
        prefix, root = f"{prefix}{children[0][0]}.", children[0][1]
    found = _opened(root, prefix)
    first = {id(module): name for name, module in reversed(found.items())}  # a module under two names keeps the first
    distinct = {name: module for name, module in found.items() if first[id(module)] == name}
    return distinct or {type(model).__name__: model}


def _opened(module: nn.Module, prefix: str) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        if isinstance(child, _CONTAINERS):
            found |= _opened(child, f"{prefix}{name}.")
        elif not isinstance(child, _NOT_CALLED):
            found[f"{prefix}{name}"] = child
    return found


def module_of(fn: Callable[..., Any]) -> nn.Module | None:
    """The module behind a callable: itself, what it is a method of, or what `partial` wraps; None for a function."""
    while isinstance(fn, partial):
        fn = fn.func
    owner = fn if isinstance(fn, nn.Module) else getattr(fn, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


@dataclass(frozen=True)
class Call:
    """One call of a block: its inputs (detached, `requires_grad` as in the run) and the modes that were on."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    grad_enabled: bool
    autocast: tuple[tuple[str, bool, torch.dtype], ...]

    @contextmanager
    def modes(self) -> Iterator[None]:
        """Autocast and gradient mode as they were when the block was called."""
        with ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(self.grad_enabled))
            for device_type, enabled, dtype in self.autocast:
                stack.enter_context(torch.autocast(device_type, dtype=dtype, enabled=enabled))
            yield


@contextmanager
def captured_calls(modules: dict[str, nn.Module]) -> Iterator[list[Call]]:
    """Records the calls of the given modules while the context is open; calls within calls belong to the outer one."""
    calls: list[Call] = []
    inside: list[nn.Module] = []

    def enter(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not inside:
            calls.append(_call(name, module, args, kwargs))
        inside.append(module)

    def leave(module: nn.Module, *_: Any) -> None:
        inside.pop()

    with ExitStack() as stack:
        for name, module in modules.items():
            before = module.register_forward_pre_hook(partial(enter, name), with_kwargs=True, prepend=True)
            stack.callback(before.remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield calls


def _call(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    devices = sorted({t.device.type for t in tensors_in((args, kwargs))} - {"meta"})
    autocast = tuple((d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in devices)
    kept_args, kept_kwargs = tree_map_only(Tensor, _detached, (args, kwargs))
    return Call(name, module, kept_args, kept_kwargs, torch.is_grad_enabled(), autocast)


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)
