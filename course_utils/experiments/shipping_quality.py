"""What pictures are judged by, and the judgement in the cards: reference statistics, and distances of each model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.diffusion import SHIPPED_MODELS, ImageSet, load_base_samples, load_shipped, sample
from course_utils.experiments.shipped_cards import OWN_TERMS, put, retell
from course_utils.measure import manifest
from course_utils.measure.quality import (
    Features,
    Reference,
    distances,
    extract,
    frechet_distance,
    reference,
    reference_from,
    save_references,
)
from course_utils.measure.quality.extractors import cifar_cnn
from course_utils.measure.quality.intervals import interleaved, jackknife
from course_utils.shipped import card, checksums, shipped_names

__all__ = ["draw_pictures", "ship_references", "tell_scores"]

FILE = "reference-cifar-cnn.safetensors"


def ship_references(images: list[ImageSet], folder: Path, command: str, device: str) -> Path:
    """Statistics of whole splits of CIFAR-10 in features of the shipped classifier, 8 bit, without flips.

    The card tells how far the splits lie from each other, which no model's pictures need to undercut.
    """
    features = {each.name: _features(each.images, f"CIFAR-10 {each.name}, 8 bit, no flips", device) for each in images}
    references = {name: reference_from(each) for name, each in features.items()}
    counts = " and ".join(f"{each.n:,} {name}" for name, each in features.items())
    told: dict[str, Any] = {
        "what": f"mean, covariance and some features by cifar-cnn of CIFAR-10's {counts} images",
        "terms": OWN_TERMS,
        "command": command,
        "data": [each.of for each in features.values()],
        "extractor": {"file": "cifar-cnn.safetensors", "sha256": checksums()["cifar-cnn.safetensors"]},
        "counts": {name: each.n for name, each in features.items()},
        "features_kept": {name: each.features.n for name, each in references.items()},
        "scores": {"test against train": _distances(features["test"], references["train"])},
        "manifest": manifest(device=torch.device(device)),
    }
    return put(folder, FILE, lambda path: save_references(path, references), told)


def tell_scores(folder: Path, n: int, num_steps: int, seed: int, device: str) -> list[Path]:
    """Write the distances of `n` pictures of every shipped model to the training images into the models' cards."""
    found = [name for name in SHIPPED_MODELS if f"{name}.safetensors" in shipped_names(folder)]
    train = reference("train")
    return [_tell(name, folder, train, n, num_steps, seed, device) for name in found]


def draw_pictures(name: str, n: int, num_steps: int, seed: int, device: str) -> Tensor:
    """Pictures of a shipped model by ddim with a progress bar, uint8 (n, 3, 32, 32)."""
    diffusion, batch_size = load_shipped(name), 64
    with tqdm(total=-(-n // batch_size) * num_steps, unit="call", desc=name, dynamic_ncols=True) as bar:

        def advance(*_: object) -> None:
            bar.update(1)

        how: dict[str, Any] = {"num_steps": num_steps, "seed": seed, "batch_size": batch_size, "device": device}
        return sample(diffusion, n, sampler="ddim", callback=advance, **how)


def _tell(name: str, folder: Path, train: Reference, n: int, num_steps: int, seed: int, device: str) -> Path:
    """Add one model's distances to its card."""
    file, told = f"{name}.safetensors", card(name, folder=folder)
    drawn = load_base_samples() if name == "base" else draw_pictures(name, n, num_steps, seed, device)
    scores = _distances(_features(drawn, name, device), train)
    how = {"sampler": "ddim", "num_steps": num_steps, "seed": seed, "averaged": True}
    how_many = f"-n {n} --sampler ddim --num-steps {num_steps} --seed {seed}"
    again = f"python -m course_utils score {name} {how_many} --extractor cifar-cnn"
    told["scores"] |= {kind: {**score, **how, "command": again} for kind, score in scores.items()}
    retell(folder, file, {key: value for key, value in told.items() if key not in ("file", "sha256", "bytes")})
    return folder / file


def _features(images: Tensor, of: str, device: str) -> Features:
    with tqdm(total=len(images), unit="image", desc=of, dynamic_ncols=True) as bar:
        return extract(cifar_cnn(device=device), images, of=of, progress=bar.update)


def _distances(features: Features, against: Reference) -> dict[str, Any]:
    """Both distances by name, the Fréchet distance with one-sided 95 % bounds from a jackknife of 20 groups."""
    found = distances(features, against)
    interval = jackknife(
        lambda out: frechet_distance(features.without(out), against.statistics, fewest=2), interleaved(features.n)
    )
    same = {"n": found.n, "reference_n": found.reference_n, "reference": found.reference_of}
    bounds = {"low": interval.low, "high": interval.high}
    of = {**same, "extractor_sha256": found.sha256}
    return {found.fd_name: {"value": found.fd, **bounds, **of}, found.kd_name: {"value": found.kd, **of}}
