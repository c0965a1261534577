"""Weights by plain name: the same names whether or not a model is compiled or wrapped for several devices."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["clean_name", "load_tensors", "model_tensors", "trainable_parameters"]

_WRAPPERS = ("module", "_orig_mod")  # DistributedDataParallel and DataParallel; torch.compile


def clean_name(name: str) -> str:
    """Take away what wrappers put into a parameter's name: `module._orig_mod.init_conv.bias` is `init_conv.bias`.

    `module` goes from the front only, where wrappers put it; `_orig_mod` anywhere, since blocks are compiled too.
    """
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while parts and parts[0] in _WRAPPERS:
        parts.pop(0)
    return ".".join(parts)


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's own parameters and buffers by clean name.

    Raises `ValueError` if two names coincide.
    """
    state = model.state_dict(keep_vars=True)
    tensors = {clean_name(name): tensor for name, tensor in state.items()}
    if len(tensors) < len(state):
        raise ValueError(f"{len(state) - len(tensors)} parameters share a name once wrappers' prefixes are taken away")
    return tensors


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by clean name, in the order in which an optimizer takes them."""
    return {clean_name(name): value for name, value in model.named_parameters() if value.requires_grad}


@torch.no_grad()
def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy `tensors` into a model by clean name; dtype, device and memory layout stay the model's.

    Raises `ValueError` naming the first tensor that is missing, left over or of another shape; the model is then
    unchanged.
    """
    own = model_tensors(model)
    for name in [*own, *tensors]:
        found = tuple(tensors[name].shape) if name in tensors else "nothing"
        wanted = tuple(own[name].shape) if name in own else "nothing"
        if found != wanted:
            raise ValueError(f"the weights do not fit this model: {name} is {found} in the file, {wanted} in the model")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])
