"""A model by whatever name a person gives it: a file, a run's folder, or one that comes with the kit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from course_utils.diffusion import (
    SHIPPED_MODELS,
    Diffusion,
    latest,
    load_checkpoint,
    load_shipped,
    load_weights,
)
from course_utils.shipped import card, sha256_of, shipped, shipped_names
from course_utils.speedups import STRUCTURAL, execution_only, treat

__all__ = ["NamedModel", "load_named", "shipped_base", "under"]


@dataclass(frozen=True, eq=False)
class NamedModel:
    """A model with where it comes from: `source` in words, the file's SHA-256, images seen in training if known.

    `treatments` are those that change how it is executed, as they are typed.
    """

    diffusion: Diffusion
    source: str
    sha256: str
    images_seen: int | None
    averaged: bool = True
    treatments: tuple[str, ...] = ()


def load_named(name: str | Path, *, raw_weights: bool = False, device: torch.device | str = "cpu") -> NamedModel:
    """Load a checkpoint, a weights file, the last checkpoint of a run's folder, or one of `SHIPPED_MODELS`.

    A path that exists comes before a shipped name. The weights are the averaged ones; `raw_weights` asks for those as
    trained, which only a checkpoint holds. Raises `FileNotFoundError` where nothing has that name, `ValueError` for a
    file that is damaged or something else.
    """
    path = Path(name)
    if not path.exists() and str(name) in SHIPPED_MODELS:
        return _from_kit(str(name), raw_weights, device)
    path = _file(path)
    if path.name.startswith("step_") or raw_weights:
        state = load_checkpoint(path, treatments=STRUCTURAL, device=device)
        diffusion = state.diffusion if raw_weights else state.averaged()
        return NamedModel(diffusion, path.name, sha256_of(path), state.images_seen, not raw_weights)
    return NamedModel(load_weights(path, treatments=STRUCTURAL, device=device), path.name, sha256_of(path), None)


def under(named: NamedModel, treatments: Sequence[str]) -> NamedModel:
    """The same weights executed under treatments, such as `layout` and `half_precision`.

    Raises `ValueError` for a treatment that is unknown, or structural: its weights would have to be trained first.
    """
    if structure := [text for text in treatments if text not in execution_only(treatments)]:
        raise ValueError(f"{structure[0]} changes the weights: train it, then name the run, instead of treating here.")
    treated = treat(named.diffusion, *treatments)
    return replace(named, diffusion=treated, treatments=(*named.treatments, *treatments))


def shipped_base() -> NamedModel | None:
    """The baseline that comes with the kit, or None in a checkout without it."""
    return _from_kit("base", False, "cpu") if "base.safetensors" in shipped_names() else None


def _from_kit(name: str, raw_weights: bool, device: torch.device | str) -> NamedModel:
    if raw_weights:
        raise ValueError(f"the shipped {name} holds averaged weights alone: leave --raw-weights out")
    diffusion, file = load_shipped(name, treatments=STRUCTURAL, device=device), shipped(f"{name}.safetensors")
    return NamedModel(diffusion, f"the shipped {name}", sha256_of(file), card(name)["budget"]["images_seen"])


def _file(path: Path) -> Path:
    """The file itself, or the last checkpoint of a folder."""
    if path.is_dir():
        found = latest(path)
        if found is None:
            raise FileNotFoundError(f"{path} holds no checkpoint: name one, or run `python -m course_utils train`.")
        return found
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: name a checkpoint, a weights file, a run's folder, or a model that comes with the "
            f"kit ({', '.join(SHIPPED_MODELS)})"
        )
    return path
