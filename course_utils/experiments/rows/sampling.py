"""Sampling with DDIM: the library's loop, which keeps every step on the device, against the kit's, which keeps none."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from course_utils.diffusion import Diffusion, baseline, ddim, timesteps
from course_utils.experiments.claims import same_images, treated
from course_utils.experiments.rows import EXECUTIONS, Entries, Row, Setting
from course_utils.measure import Variant
from course_utils.speedups import treat

__all__ = ["ROWS"]

ORDER = 40
KIT = "the kit's ddim"
FASTER = "bf16, channels_last"
CLAIMED = 2  # pictures that both loops draw for the claim


def ROWS(setting: Setting) -> Iterator[Row]:
    """The row of the samplers."""
    n, num_steps = setting.scale.grid, setting.scale.num_steps

    @contextmanager
    def prepare() -> Iterator[Entries]:
        diffusion = _network(setting)
        halved = treat(diffusion, *EXECUTIONS[FASTER])
        halved.model.eval()
        calls = {
            "library": _by_library(diffusion, n, num_steps),
            KIT: _by_kit(diffusion, n, num_steps),
            f"{KIT}, {FASTER}": _by_kit(halved, n, num_steps),
        }
        yield {name: Variant(name, call, output=lambda result: result) for name, call in calls.items()}

    claims = {
        KIT: same_images(*(_drawing(setting, way, num_steps) for way in (_by_library, _by_kit))),
        f"{KIT}, {FASTER}": treated(setting.scale, setting.device, *EXECUTIONS[FASTER]),
    }
    step = f"draw {n} images with {num_steps} steps of DDIM"
    config: dict[str, object] = {"batch": n, "num_steps": num_steps, "nfe": num_steps}
    yield Row("sampling", step, n, prepare, rounds=5, config=config, claims=claims)


def _network(setting: Setting) -> Diffusion:
    diffusion = baseline(setting.scale).to(setting.device)
    diffusion.model.eval()
    return diffusion


def _drawing(
    setting: Setting, way: Callable[[Diffusion, int, int], Callable[[], Tensor]], num_steps: int
) -> Callable[[], Tensor]:
    """A few pictures in one of the two ways, from a network that is built when they are asked for."""

    def draw() -> Tensor:
        return way(_network(setting), CLAIMED, num_steps)()

    return draw


def _by_library(diffusion: Diffusion, n: int, num_steps: int) -> Callable[[], Tensor]:
    """The library's loop, its bar written to nowhere; it draws its noise from torch's generator."""
    library = diffusion.as_library(sampling_timesteps=num_steps)

    def draw() -> Tensor:
        with _seeded(), contextlib.redirect_stderr(io.StringIO()):
            images: Tensor = library.ddim_sample((n, 3, 32, 32))  # (N, 3, 32, 32), in [0, 1]
            return images

    return draw


def _by_kit(diffusion: Diffusion, n: int, num_steps: int) -> Callable[[], Tensor]:
    """The kit's loop from the noise that the library begins with, and in its range of values."""
    ts = timesteps(num_steps)

    def draw() -> Tensor:
        with _seeded():
            x_T = torch.randn(n, 3, 32, 32, device=diffusion.device)
        return (ddim(diffusion.predictor(), x_T, ts) + 1) / 2

    return draw


@contextmanager
def _seeded() -> Iterator[None]:
    """torch's generators seeded, and put back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
