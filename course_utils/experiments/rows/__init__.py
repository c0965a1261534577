"""The benchmark's ladder, one file a step of the pipeline: each offers `ROWS`, a function from a setting to its rows.

A file put here is found by the harness; nothing else has to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import torch

from course_utils.diffusion import ImageSet, Scale
from course_utils.experiments.claims import Claim
from course_utils.measure import Variant
from course_utils.speedups import compiler

__all__ = ["EXECUTIONS", "Entries", "Row", "Setting", "all_rows", "possible"]

Entries = dict[str, Variant]

EXECUTIONS = {
    "channels_last": ("layout",),
    "bf16": ("half_precision",),
    "bf16, channels_last": ("layout", "half_precision"),
    "bf16, channels_last, compiled": ("layout", "half_precision", "compiled"),
}
"""Ways to execute the same weights: the name of a variant, and its treatments."""


def possible(executions: Mapping[str, tuple[str, ...]], setting: Setting) -> dict[str, tuple[str, ...]]:
    """Those that this machine can execute; what is left out is said."""
    if setting.device.type != "cpu" or compiler() is not None:
        return dict(executions)
    print("Left out: what is compiled, since there is no C++ compiler here (install g++, or name one in CXX).")
    return {name: treatments for name, treatments in executions.items() if "compiled" not in treatments}


@dataclass(frozen=True)
class Setting:
    """What every row is built for: a scale, training images, a device, and a folder that is thrown away afterwards."""

    scale: Scale
    images: ImageSet
    device: torch.device
    scratch: Path


@dataclass(frozen=True)
class Row:
    """One row of the ladder: what one call does, how many images it serves, and the variants that do it.

    `prepare` is a context manager over the variants, so that a row can clean up after itself. The first variant is the
    baseline. `config` holds what makes a record of it comparable with another one. `claims` names the variants that
    promise something about quality, each with its evidence.
    """

    name: str
    step: str
    images_per_call: int
    prepare: Callable[[], AbstractContextManager[Entries]]
    rounds: int = 15
    config: dict[str, object] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)


def all_rows(setting: Setting) -> Iterator[Row]:
    """Every row of every file in this folder, in the order of `ORDER` and then by file name."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    for module in sorted(modules, key=lambda module: (getattr(module, "ORDER", 100), module.__name__)):
        yield from module.ROWS(setting)
