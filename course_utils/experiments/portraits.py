"""What a model is judged by: pictures drawn from fixed noise, their features, and its losses on held-out images.

Shapes: N pictures, 3 channels, H x W pixels.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.atomic import replacing
from course_utils.diffusion import Diffusion, HeldoutLoss, denoising_loss, heldout_loss, load_base_samples, load_heldout
from course_utils.diffusion.process import Denoiser, Process
from course_utils.experiments.named_models import NamedModel, load_named
from course_utils.experiments.reference_statistics import train_reference
from course_utils.experiments.sampling_run import draw
from course_utils.measure.quality import Extractor, Features, Reference, extract, fewest_images, name_of
from course_utils.measure.quality.distributions import FEWEST_IMAGES
from course_utils.measure.quality.extractors import best_extractor
from course_utils.measure.quality.intervals import GROUPS
from course_utils.shipped import card

__all__ = ["Drawing", "Judge", "Portrait", "portray", "portray_base", "portray_pictures", "portray_shipped"]


KEPT = Path("results/local/pictures")


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn: `n` of them by `sampler` in `num_steps` model calls each, picture i from (`seed`, i).

    `batch_size` changes no picture. Raises `ValueError` for counts below 1.
    """

    n: int = 1_000
    num_steps: int = 10
    sampler: str = "ddim"
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name in ("n", "num_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1.")

    def text(self) -> str:
        """In words: `ddim, 10 steps, seed 0`."""
        return f"{self.sampler}, {self.num_steps} steps, seed {self.seed}"

    def told(self) -> dict[str, Any]:
        """All that decides the pictures, as plain values for a record."""
        return {"n": self.n, "sampler": self.sampler, "num_steps": self.num_steps, "seed": self.seed}


@dataclass(frozen=True, eq=False)
class Judge:
    """What all portraits of a comparison share: the extractor, the reference in its features, held-out images.

    `heldout` is uint8 (N, 3, H, W); models are put on `device` unless it is None. Raises `ValueError` for a reference
    in another extractor's features.
    """

    extractor: Extractor
    reference: Reference
    heldout: Tensor
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        held, wanted = self.reference, self.extractor
        if (held.extractor, held.sha256) != (wanted.name, wanted.sha256):
            raise ValueError(
                f"reference holds features by {held.extractor} (weights {held.sha256[:8] or 'unknown'}), wanted those "
                f"by {wanted.name} (weights {wanted.sha256[:8] or 'unknown'}): make it anew with this extractor."
            )

    @classmethod
    def appointed(
        cls,
        extractor: Extractor | None = None,
        reference: Reference | None = None,
        heldout: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> Judge:
        """The kit's own where nothing is given: the best extractor here, the training images, shipped test images."""
        extractor = extractor or best_extractor(device=device or "cpu")
        known = train_reference(extractor) if reference is None else reference
        return cls(extractor, known, load_heldout().images if heldout is None else heldout, device)

    @property
    def kinds(self) -> tuple[str, str]:
        """What the two distances are called: `FD (cifar-cnn)` and `KD (cifar-cnn)`, or `FID` and `KID`."""
        return name_of("frechet", self.extractor.name), name_of("kernel", self.extractor.name)

    def told(self) -> dict[str, str]:
        """Who judges and against what, as plain values for a record: the extractor, the reference, held-out images."""
        return {"extractor": self.extractor.name, "sha256": self.extractor.sha256, **self._images}

    @cached_property
    def _images(self) -> dict[str, str]:
        """SHA-256 of the numbers that the reference holds, and of the held-out pixels."""
        held = self.reference.statistics
        known = _digest(held.mean, held.covariance, self.reference.features.values)
        return {"reference_sha256": known, "heldout_sha256": _digest(self.heldout)}

    def check(self, n: int, *, for_gate: bool = False) -> None:
        """Refuse to begin with fewer pictures than a Fréchet distance with its bounds, or a gate, takes.

        Raises `ValueError`.
        """
        width = self.reference.statistics.width
        fewest = max(fewest_images(width), FEWEST_IMAGES if for_gate else GROUPS)
        if n < fewest:
            what = "a gate" if for_gate else "a Fréchet distance"
            raise ValueError(f"n is {n:,}, but {what} with {width:,} features takes at least {fewest:,} pictures.")

    def features(self, images: Tensor, of: str) -> Features:
        """Features of uint8 images (N, 3, H, W), with a progress bar."""
        with tqdm(total=len(images), unit="img", desc=self.extractor.name, dynamic_ncols=True, leave=False) as bar:
            return extract(self.extractor, images, of=of, progress=bar.update)


@dataclass(frozen=True, eq=False)
class Portrait:
    """Pictures with their features, and, where a model drew them, how, by which model, and its held-out losses.

    `name` is what the command line calls the model, `seconds` what the drawing took: None where it was done before.
    """

    name: str
    source: str
    images: Tensor
    features: Features
    drawing: Drawing | None = None
    model: NamedModel | None = None
    losses: HeldoutLoss | None = None
    seconds: float | None = None


def portray(
    model: Diffusion | NamedModel,
    drawing: Drawing,
    judge: Judge,
    *,
    name: str = "",
    images: Tensor | None = None,
    with_losses: bool = True,
) -> Portrait:
    """Draw pictures with a model, or take those it has drawn before (`images`), and take its held-out losses.

    `with_losses=False` leaves the losses out, which do not depend on the drawing. Raises `ValueError` for too few
    pictures, before anything is drawn.
    """
    judge.check(drawing.n)
    named = model if isinstance(model, NamedModel) else NamedModel(model, "a model", "", None)
    diffusion = named.diffusion if judge.device is None else named.diffusion.to(judge.device)
    seconds = None
    if images is None:
        images, seconds = draw(diffusion, argparse.Namespace(**asdict(drawing)), str(diffusion.device))
    features = judge.features(images, f"{drawing.n:,} images of {named.source} ({drawing.text()})")
    losses = _losses(diffusion, judge.heldout) if with_losses else None
    return Portrait(name or named.source, named.source, images, features, drawing, named, losses, seconds)


def portray_base(drawing: Drawing, judge: Judge) -> Portrait:
    """The shipped base, with its shipped pictures where they were drawn like that, else with new ones."""
    base = load_named("base")
    told = card("base-samples")
    drawn = Drawing(drawing.n, told["budget"]["num_steps"], told["budget"]["sampler"], told["seed"])
    same = drawn == replace(drawing, batch_size=drawn.batch_size) and told["model"]["sha256"] == base.sha256
    enough = drawing.n <= told["budget"]["n"]
    images = load_base_samples()[: drawing.n] if same and enough else None
    return portray(base, drawing, judge, name="base", images=images)


def portray_shipped(name: str, drawing: Drawing, judge: Judge) -> Portrait:
    """A model that comes with the kit; its pictures are kept in `results/local/pictures`, and drawn once.

    For the base the shipped ones serve where they are those asked for.
    """
    if name == "base":
        return portray_base(drawing, judge)
    named = load_named(name)
    kept = KEPT / ("-".join([named.sha256[:16], *map(str, drawing.told().values())]) + ".safetensors")
    if kept.is_file():
        return portray(named, drawing, judge, name=name, images=load_file(kept)["images"])
    made = portray(named, drawing, judge, name=name)
    with replacing(kept) as temporary:
        save_file({"images": made.images}, temporary)
    return made


def portray_pictures(images: Tensor, judge: Judge, *, name: str) -> Portrait:
    """Pictures that came from elsewhere, uint8 (N, 3, H, W): there is no model to take losses of."""
    judge.check(len(images))
    source = f"pictures in {name}"
    return Portrait(name, source, images, judge.features(images, f"{len(images):,} {source}"))


def _digest(*tensors: Tensor) -> str:
    """SHA-256 of tensors: their shapes, their types and every number, wherever they lie."""
    found = hashlib.sha256()
    for one in tensors:
        found.update(f"{tuple(one.shape)} {one.dtype}".encode())
        found.update(one.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _losses(diffusion: Diffusion, images: Tensor) -> HeldoutLoss:
    """Held-out losses of all `images`, with a progress bar."""
    with tqdm(total=len(images), unit="img", desc="held-out loss", dynamic_ncols=True, leave=False) as bar:

        def counted(model: Denoiser, process: Process, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
            bar.update(len(x_0))
            return denoising_loss(model, process, x_0, t, eps)

        return heldout_loss(diffusion, images, n=len(images), loss=counted)
