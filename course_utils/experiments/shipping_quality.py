"""What pictures are judged by, and the judgement in the cards: reference statistics, and the scores of each model."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.diffusion import SHIPPED_MODELS, ImageSet, load_shipped
from course_utils.experiments.portraits import Drawing, Judge, portray_shipped
from course_utils.experiments.sampling_run import draw
from course_utils.experiments.scoring import HELDOUT, Score, command, score_of
from course_utils.experiments.shipped_cards import OWN_TERMS, put, retell
from course_utils.measure import manifest
from course_utils.measure.quality import (
    Features,
    Reference,
    extract,
    name_of,
    reference,
    reference_from,
    save_references,
)
from course_utils.measure.quality.extractors import CIFAR_CNN, cifar_cnn
from course_utils.measure.quality.intervals import Estimate
from course_utils.measure.quality.spreads import spread_of
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
    """Write the scores of every shipped model into its card: distances of `n` pictures, held-out loss, with bounds.

    A model whose card tells them already, by the same judge and of pictures drawn alike, is not drawn again: putting
    other weights into its place has emptied the card. `folder` is where the shipped files lie. Raises `ValueError`
    where the shipped reference is not of the shipped classifier.
    """
    found = [name for name in SHIPPED_MODELS if f"{name}.safetensors" in shipped_names(folder)]
    judge = Judge.appointed(cifar_cnn(device=device), reference("train"), device=device)
    drawing = Drawing(n, num_steps, "ddim", seed)
    return [_tell(name, folder, drawing, judge) for name in found]


def draw_pictures(name: str, n: int, num_steps: int, seed: int, device: str) -> Tensor:
    """Pictures of a shipped model by ddim with a progress bar, uint8 (n, 3, 32, 32)."""
    drawing = Drawing(n, num_steps, "ddim", seed)
    return draw(load_shipped(name), argparse.Namespace(**asdict(drawing)), device)[0]


def _tell(name: str, folder: Path, drawing: Drawing, judge: Judge) -> Path:
    """Add one model's scores to its card, unless they are there."""
    file, told = f"{name}.safetensors", card(name, folder=folder)
    known = {kind: _known(kind, drawing, judge) for kind in (*judge.kinds, HELDOUT)}
    scores = told.setdefault("scores", {})
    if not all(known[kind].items() <= scores.get(kind, {}).items() for kind in known):
        made = score_of(portray_shipped(name, drawing, judge), judge)
        again = {"command": command(name, drawing, judge.extractor.name)}
        scores |= {kind: {**_told(made, kind), **known[kind], **again} for kind in known}
        retell(folder, file, {key: value for key, value in told.items() if key not in ("file", "sha256", "bytes")})
    return folder / file


def _known(kind: str, drawing: Drawing, judge: Judge) -> dict[str, Any]:
    """What decides a number of this kind beside the weights, as a card says it."""
    told = judge.told()
    if kind == HELDOUT:
        return {"heldout_sha256": told["heldout_sha256"], "averaged": True}
    judged = {"extractor_sha256": told["sha256"], "reference_sha256": told["reference_sha256"]}
    return {**drawing.told(), **judged, "averaged": True}


def _told(made: Score, kind: str) -> dict[str, Any]:
    """A number of this kind with its bounds, and on which images it was taken."""
    losses, found = made.portrait.losses, made.spread.distances
    if kind == HELDOUT and made.loss is not None and losses is not None:
        error = {"standard_error": made.loss.standard_error, "n": len(losses.per_image), "seed": losses.seed}
        return {**_bounded(made.loss), **error, "images": "heldout"}
    estimate = made.spread.fd if kind == name_of("frechet", found.extractor) else made.spread.kd
    return {**_bounded(estimate), "n": found.n, "reference_n": found.reference_n, "reference": found.reference_of}


def _features(images: Tensor, of: str, device: str) -> Features:
    with tqdm(total=len(images), unit="image", desc=of, dynamic_ncols=True) as bar:
        return extract(cifar_cnn(device=device), images, of=of, progress=bar.update)


def _distances(features: Features, against: Reference) -> dict[str, Any]:
    """Both distances by name, with one-sided 95 % bounds from a jackknife of 20 groups."""
    spread = spread_of(features, against)
    found = spread.distances
    of = {"n": found.n, "reference_n": found.reference_n, "reference": found.reference_of}
    judged = {"extractor_sha256": found.sha256}
    return {
        name_of(what, CIFAR_CNN): {**_bounded(estimate), **of, **judged}
        for what, estimate in (("frechet", spread.fd), ("kernel", spread.kd))
    }


def _bounded(estimate: Estimate) -> dict[str, float]:
    """A value with its one-sided 95 % bounds."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
