"""The trained baseline that comes with the kit, its pictures, and the images it is judged on: no run, no download.

Every file is verified before it is read. Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from course_utils.diffusion.baseline import Diffusion, Treatment
from course_utils.diffusion.checkpoints import load_weights
from course_utils.diffusion.cifar_files import CLASSES
from course_utils.diffusion.data import ImageSet
from course_utils.shipped import card, shipped

__all__ = ["SHIPPED_MODELS", "base_card", "load_base", "load_base_samples", "load_heldout", "load_shipped"]

SHIPPED_MODELS = {
    "base": "the baseline at laptop scale",
    "base-25": "the same run after 25 % of its steps",
    "base-50": "the same run after 50 % of its steps",
    "base-seed1": "the baseline from another seed",
    "bottleneck-between-25": "1x1 bottlenecks before wide inputs, trained as long as base-25",
    "bottleneck-inside-25": "1x1 bottlenecks in place of 3x3 convolutions, trained as long as base-25",
    "fewer-blocks-25": "one ResNet block a stage, trained as long as base-25",
}
"""What is shipped, in words; those after the bases carry treatments, which reading them takes."""

_AT = {(25, 0): "base-25", (50, 0): "base-50", (100, 0): "base", (100, 1): "base-seed1"}


def load_shipped(
    name: str, *, treatments: Mapping[str, Treatment] | None = None, device: torch.device | str = "cpu"
) -> Diffusion:
    """A model of `SHIPPED_MODELS` by name, its averaged weights in float32, ready to be sampled from.

    `treatments` are the structural ones its recipe names: `course_utils.speedups.STRUCTURAL` knows all. Raises
    `ValueError` for a name that is not among them or a damaged file, `FileNotFoundError` for a missing one.
    """
    if name not in SHIPPED_MODELS:
        raise ValueError(f"{name!r} is not a shipped model: choose from {', '.join(SHIPPED_MODELS)}")
    return load_weights(shipped(f"{name}.safetensors"), treatments=treatments, device=device)


def load_base(at: int = 100, *, seed: int = 0, device: torch.device | str = "cpu") -> Diffusion:
    """The shipped baseline after 25, 50 or 100 % of its training (`at`); of seed 1 there is 100 %.

    Raises `ValueError` for another share or seed, and as `load_shipped` does.
    """
    return load_shipped(_base_name(at, seed), device=device)


def base_card(at: int = 100, *, seed: int = 0) -> dict[str, Any]:
    """How that model was made: command, data, budget (`images_seen`), device, wall time, scores."""
    return card(_base_name(at, seed))


def load_heldout() -> ImageSet:
    """The first 1,000 test images of CIFAR-10 with their labels: what a held-out loss is measured on anywhere."""
    tensors = load_file(shipped("heldout.safetensors"))
    return ImageSet("test", tensors["images"], tensors["labels"], CLASSES, "data/heldout.safetensors", True)


def load_base_samples() -> Tensor:
    """Pictures drawn by `load_base()`, uint8 (N, C, H, W); `card("base-samples")` says with which sampler and seed."""
    return load_file(shipped("base-samples.safetensors"))["images"]


def _base_name(at: int, seed: int) -> str:
    if (at, seed) not in _AT:
        raise ValueError(f"shipped are at=25, 50 and 100 of seed 0 and at=100 of seed 1, asked was {at=}, {seed=}")
    return _AT[at, seed]
