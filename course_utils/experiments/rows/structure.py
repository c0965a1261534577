"""A cheaper network: bottlenecks and fewer blocks, forward and in training, against the library's U-Net.

Each has other weights and was trained anew; the verdict takes the recorded gates of the shipped ones, at their scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from course_utils.diffusion import Diffusion, baseline
from course_utils.experiments.claims import TRAINED_SCALE, Claim, retrained
from course_utils.experiments.one_step import training_step
from course_utils.experiments.rows import Entries, Row, Setting
from course_utils.experiments.rows.forward import inferring, inputs
from course_utils.measure import Variant
from course_utils.speedups import treat

__all__ = ["ROWS"]

ORDER = 50
STRUCTURES = {
    "bottleneck, between": ("bottleneck(where=between, reduction=2)", "bottleneck-between-25"),
    "bottleneck, inside": ("bottleneck(where=inside, reduction=2)", "bottleneck-inside-25"),
    "fewer blocks": ("fewer_blocks(blocks=1)", "fewer-blocks-25"),
}
"""The name of a variant, its treatment, and the shipped weights that were trained under it."""


def networks(setting: Setting) -> dict[str, Diffusion]:
    """The untreated network, and each treated one."""
    diffusion = baseline(setting.scale).to(setting.device)
    return {"fp32": diffusion} | {name: treat(diffusion, how) for name, (how, _) in STRUCTURES.items()}


def ROWS(setting: Setting) -> Iterator[Row]:
    """A row of the forward pass and one of the training step."""
    batch = setting.scale.batch_size

    @contextmanager
    def forward() -> Iterator[Entries]:
        x_t, t = inputs(setting, batch)
        yield {name: inferring(one.model, x_t, t) for name, one in networks(setting).items()}

    @contextmanager
    def training() -> Iterator[Entries]:
        steps = {name: training_step(one, batch, images=setting.images) for name, one in networks(setting).items()}
        yield {name: Variant(name, step) for name, step in steps.items()}

    calls = {
        "forward": (f"one call on {batch} images, no gradients", forward),
        "training step": (f"one step of the kit's loop on {batch} images", training),
    }
    for name, (step, prepare) in calls.items():
        promised, config = claims(setting), {"batch": batch}
        yield Row(f"{name}, cheaper network", step, batch, prepare, config={**config}, claims=promised)


def claims(setting: Setting) -> dict[str, Claim]:
    """Recorded gates where the scale is that of the shipped weights, none elsewhere."""
    if setting.scale.name != TRAINED_SCALE:
        return {name: Claim("retrained", list) for name in STRUCTURES}
    return {name: retrained(shipped) for name, (_, shipped) in STRUCTURES.items()}
