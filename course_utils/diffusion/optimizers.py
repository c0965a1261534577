"""Optimizers: how one is made, and its memory by parameter name, so that it fits any layout and any wrapper."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.diffusion.weights import trainable_parameters

__all__ = ["MakeOptimizer", "Moments", "adam", "restore_moments", "saved_moments"]

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

Moments = Mapping[str, Mapping[str, Any]]
"""Parameter name -> what the optimizer remembers about it, such as Adam's `step`, `exp_avg`, `exp_avg_sq`."""


def adam(lr: float = 1e-4, **options: Any) -> MakeOptimizer:
    """Make a factory of Adam optimizers as the library's `Trainer` sets them up: betas (0.9, 0.99).

    `options` go to `torch.optim.Adam` and may replace these (`fused=True`, for instance).
    """
    settings = {"betas": (0.9, 0.99), **options}
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, **settings)


def saved_moments(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, dict[str, Any]]:
    """What the optimizer remembers, by parameter name; tensors share memory with the optimizer's."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in trainable_parameters(model).items()}
    return {names[parameter]: dict(entry) for parameter, entry in optimizer.state.items() if entry}


def restore_moments(optimizer: torch.optim.Optimizer, model: nn.Module, moments: Moments) -> None:
    """Give a fresh optimizer what another one remembered; learning rate and other options stay its own.

    Raises `ValueError` when the moments belong to other parameters than the model's.
    """
    parameters = trainable_parameters(model)
    if unknown := sorted(set(moments) - set(parameters)):
        raise ValueError(f"the optimizer's state is that of another model: it speaks of {unknown[0]}")
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    place = {parameter: index for index, parameter in enumerate(order)}
    state = {place[parameters[name]]: _fitted(entry, parameters[name]) for name, entry in moments.items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _fitted(entry: Mapping[str, Any], parameter: nn.Parameter) -> dict[str, Any]:
    """Lay moments out in memory as their parameter is, which fused optimizers insist on."""

    def fit(value: Any) -> Any:
        if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim:
            return torch.empty_like(parameter, dtype=value.dtype).detach().copy_(value)
        return value

    return {name: fit(value) for name, value in entry.items()}
