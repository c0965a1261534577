"""Put a new layer where an old one was, so that the model around it does not notice."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["carry_hooks", "match", "swap"]


def match(new: nn.Module, old: nn.Module) -> nn.Module:
    """Give `new` the device, type, memory format and training mode of `old`, and return it; values stay its own."""
    if (tensor := next(old.parameters(), None)) is not None:
        new.to(tensor.device, tensor.dtype)
    if any(_channels_last(tensor) for tensor in old.parameters()):
        new.to(memory_format=torch.channels_last)
    return new.train(old.training)


def carry_hooks(old: nn.Module, first: nn.Module, last: nn.Module) -> None:
    """Let `first` run the hooks that came before `old`, and `last` those that came after it.

    Half precision in pure 16 bits casts the inputs of each layer by such hooks.
    """
    for key, before in old._forward_pre_hooks.items():
        first.register_forward_pre_hook(before, with_kwargs=key in old._forward_pre_hooks_with_kwargs)
    for key, after in old._forward_hooks.items():
        last.register_forward_hook(after, with_kwargs=key in old._forward_hooks_with_kwargs)


def swap(model: nn.Module, made: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put each module's replacement wherever the module is used, in place, and return the model or its replacement."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in made:
                setattr(parent, name, made[child])
    return made.get(model, model)


def _channels_last(tensor: torch.Tensor) -> bool:
    """Whether a weight's layout is channels_last for certain: a single pixel or channel has both layouts at once."""
    return tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
