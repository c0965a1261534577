"""The patient: one object that holds the network, the process and the recipe that rebuilds them.

It is what samplers, trainers, treatments and checkpoints hand to one another. The network and the reference
implementation are `Unet` and `GaussianDiffusion` of denoising-diffusion-pytorch, as shipped.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.diffusion.process import Prediction, Process, refuse_mps
from course_utils.diffusion.scales import Scale
from course_utils.diffusion.scales import scale as choose_scale
from course_utils.diffusion.schedules import BETA_SCHEDULES, alphas_cumprod

__all__ = ["Diffusion", "Predictor", "Recipe", "Treatment", "baseline", "build", "make_process"]

Treatment = Callable[..., nn.Module]
"""(model, **params) -> new model, the form in which structural treatments are registered for `build`."""


@dataclass(frozen=True)
class Recipe:
    """All it takes to build an untrained `Diffusion` again, as plain values that survive JSON.

    `net` holds the arguments of the library's `Unet`, `process` the objective, beta schedule and number of timesteps,
    `treatments` the structural changes in the order they were applied, `image_shape` is (C, H, W).
    """

    net: dict[str, Any]
    process: dict[str, Any]
    treatments: tuple[tuple[str, dict[str, Any]], ...] = ()
    image_shape: tuple[int, int, int] = (3, 32, 32)

    def to_json(self) -> str:
        """Write the recipe as one line of JSON. Raises `TypeError` where a value is not plain."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read what `to_json` wrote. Raises `ValueError` where it is not a recipe."""
        try:
            fields = json.loads(text)
            treatments = tuple((str(name), dict(params)) for name, params in fields["treatments"])
            channels, height, width = fields["image_shape"]
            return cls(dict(fields["net"]), dict(fields["process"]), treatments, (channels, height, width))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a recipe (net, process, treatments, image_shape): {text[:80]!r}") from error


class Predictor:
    """What a sampler sees of a model: (x_t, t) -> Prediction(x_0, eps), with the schedule and a count of the calls.

    `t` is int64 (N,) and may differ from image to image. `nfe` is the number of model calls made so far.
    """

    def __init__(self, model: nn.Module, process: Process, *, clip: bool = True) -> None:
        self.model = model
        self.process = process
        self.clip = clip
        self.nfe = 0

    @property
    def alphas_cumprod(self) -> Tensor:
        """The schedule, float64 (T,), on the CPU."""
        return self.process.alphas_cumprod

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        """Predict the clean image and the noise in x_t, (N, C, H, W)."""
        self.nfe += 1
        return self.process.predict(self.model, x_t, t, clip=self.clip)


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A model, the process it denoises, and the recipe that rebuilds both."""

    model: nn.Module
    process: Process
    recipe: Recipe

    def __repr__(self) -> str:
        net = ", ".join(f"{name}={value}" for name, value in self.recipe.net.items())
        applied = "".join(f" + {name}" for name, _ in self.recipe.treatments)
        schedule = self.recipe.process.get("beta_schedule", "")
        return f"Diffusion({net}{applied}: {self.num_parameters:,} parameters, {self.process!r}, {schedule} schedule)"

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the model."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def predictor(self, clip: bool = True) -> Predictor:
        """Make what samplers take; its `nfe` starts at 0. `clip` keeps predicted images within [-1, 1]."""
        return Predictor(self.model, self.process, clip=clip)

    def with_model(self, model: nn.Module, treatment: tuple[str, dict[str, Any]] | None = None) -> "Diffusion":
        """Put another model in the place of this one.

        `treatment` = (name, params) is written into the recipe: give it for a change of structure, which `build` must
        repeat before weights fit, and leave it out for a change of execution (layout, autocast, compilation).
        """
        applied = self.recipe.treatments + ((treatment,) if treatment else ())
        return replace(self, model=model, recipe=replace(self.recipe, treatments=applied))

    def to(self, device: torch.device | str) -> "Diffusion":
        """Return a copy on `device`; this one stays where it is. Raises `ValueError` for Apple's `mps`: no float64."""
        refuse_mps(device)
        return self.with_model(copy.deepcopy(self.model).to(device))

    def as_library(self, **options: Any) -> Any:
        """Wrap the model in the library's `GaussianDiffusion`, sharing its weights; `options` go to its constructor.

        Raises `ValueError` when the schedule has no name that the library knows.
        """
        from denoising_diffusion_pytorch import GaussianDiffusion  # imports accelerate: about a second

        process, (channels, height, width) = self.recipe.process, self.recipe.image_shape
        if process.get("beta_schedule") not in BETA_SCHEDULES:
            raise ValueError(f"the library has no beta schedule {process.get('beta_schedule')!r}")
        net = self.model if hasattr(self.model, "self_condition") else _LibraryNet(self.model, channels)
        fixed = {"objective": self.process.objective, "beta_schedule": process["beta_schedule"]}
        sizes = {"image_size": (height, width), "timesteps": self.process.num_timesteps}
        return GaussianDiffusion(net, **sizes, **fixed, **options).to(self.device)


class _LibraryNet(nn.Module):
    """Gives any denoiser the attributes and the third argument that `GaussianDiffusion` asks of its `Unet`."""

    self_condition = False

    def __init__(self, model: nn.Module, channels: int) -> None:
        super().__init__()
        self.model = model
        self.channels = self.out_dim = channels

    def forward(self, x_t: Tensor, t: Tensor, x_self_cond: None = None) -> Tensor:
        """Denoise, leaving the unused self-conditioning aside."""
        output: Tensor = self.model(x_t, t)
        return output


def baseline(
    scale: Scale | str | None = None, *, objective: str = "pred_v", beta_schedule: str = "sigmoid", seed: int = 0
) -> Diffusion:
    """Build the untrained baseline at a scale, with the library's defaults; the weights depend on `seed` alone.

    `scale` is a `Scale`, a name from `SCALES`, or None for this machine's own. Raises `ValueError` for a scale,
    objective or beta schedule that does not exist.
    """
    chosen = scale if isinstance(scale, Scale) else choose_scale(scale)
    recipe = Recipe(
        net={"dim": chosen.dim, "dim_mults": list(chosen.dim_mults)},
        process={"objective": objective, "beta_schedule": beta_schedule, "num_timesteps": 1000},
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too, and for good
        return build(recipe)


def build(recipe: Recipe, treatments: Mapping[str, Treatment] | None = None) -> Diffusion:
    """Build an untrained `Diffusion` from its recipe, on the CPU.

    `treatments` maps the names in the recipe to functions (model, **params) -> model. Raises `ValueError` for a
    treatment, beta schedule or objective that is not known, and for a recipe whose model is not a `Unet`.
    """
    from denoising_diffusion_pytorch import Unet  # imports accelerate: about a second

    if "dim" not in recipe.net:
        raise ValueError(f"only a Unet can be built from a recipe, this one says {recipe.net}")
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in recipe.net.items()}
    model = Unet(channels=recipe.image_shape[0], **options)
    known = treatments or {}
    for name, params in recipe.treatments:
        if name not in known:
            raise ValueError(f"the recipe needs the treatment {name!r}; pass treatments={{{name!r}: its function}}")
        model = known[name](model, **params)
    return Diffusion(model, make_process(**recipe.process), recipe)


def make_process(*, objective: str, beta_schedule: str, num_timesteps: int = 1000) -> Process:
    """Make the process that the `process` part of a recipe describes. Raises `ValueError` for an unknown name."""
    if beta_schedule not in BETA_SCHEDULES:
        raise ValueError(f"beta_schedule must be one of {', '.join(BETA_SCHEDULES)}, got {beta_schedule!r}")
    return Process(alphas_cumprod(BETA_SCHEDULES[beta_schedule](num_timesteps)), objective)
