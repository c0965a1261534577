"""A model in numbers: distances of its pictures to the training images, its held-out loss, a gate between two models.

    score(load_base())     # FD and KD of 1,000 pictures, held-out loss, each with its bounds
    gate(variant)          # against the shipped base: the same denoiser? the same distribution?

Every number says by which extractor, from how many pictures, and how these were drawn.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_utils.diffusion import Diffusion
from course_utils.experiments.named_models import NamedModel
from course_utils.experiments.portraits import Drawing, Judge, Portrait, portray, portray_base
from course_utils.experiments.row_files import Reading
from course_utils.measure import Record, manifest, record
from course_utils.measure.quality import name_of
from course_utils.measure.quality.denoisers import same_denoiser
from course_utils.measure.quality.distributions import same_distribution
from course_utils.measure.quality.evidence import Evidence
from course_utils.measure.quality.extractors import CIFAR_CNN
from course_utils.measure.quality.intervals import Estimate, interleaved, jackknife
from course_utils.measure.quality.spreads import Spread, spread_of
from course_utils.measure.tables import Table, Tabular, seconds_text

__all__ = [
    "HELDOUT",
    "Score",
    "command",
    "executed_under",
    "gate",
    "gate_config",
    "gate_of",
    "gate_readings",
    "record_all",
    "score",
    "score_of",
]

HELDOUT = "held-out loss"


@dataclass(frozen=True, repr=False)
class Score(Tabular):
    """Distances of a portrait's pictures with their jackknife errors, and the mean of its held-out losses, if any.

    `judged` says by whom, see `Judge.told`.
    """

    portrait: Portrait
    spread: Spread
    loss: Estimate | None
    judged: Mapping[str, str]

    def readings(self) -> list[Reading]:
        """Each number under its kind: `FD (cifar-cnn)` or `FID`, `KD (cifar-cnn)` or `KID`, `held-out loss`."""
        extractor, n = self.spread.distances.extractor, self.spread.distances.n
        told = {"seconds": None if self.portrait.seconds is None else round(self.portrait.seconds, 1)}
        made = [
            Reading(name_of(what, extractor), estimate.value, estimate.low, estimate.high, n, more=told)
            for what, estimate in (("frechet", self.spread.fd), ("kernel", self.spread.kd))
        ]
        if self.loss is not None and self.portrait.losses is not None:
            count = len(self.portrait.losses.per_image)
            made.append(Reading(HELDOUT, self.loss.value, self.loss.low, self.loss.high, count))
        return made

    def config(self) -> dict[str, Any]:
        """All that decides these numbers, as plain values: pictures, sampler, weights, extractor, reference."""
        model = self.portrait.model
        weights: dict[str, Any] = {
            "model": model.sha256 if model else None,
            "averaged": model.averaged if model else None,
            "images_seen": model.images_seen if model else None,
        }
        weights |= executed_under(model)
        return {**_drawn(self.portrait), **weights, **self.judged, "reference": self.spread.distances.reference_of}

    def table(self) -> Table:
        """A row for each number; below it, how the pictures were drawn and by which weights."""
        found = self.spread.distances
        against = [f"{count:,} of {found.reference_of}" for count in (found.reference_n, found.kept)] + [None]
        rows = [
            [one.kind, f"{one.value:.4g}", f"{one.low:.4g} to {one.high:.4g}", f"{one.n:,}", held_against]
            for one, held_against in zip(self.readings(), against, strict=False)
        ]
        columns = ["measure", "value", "one-sided 95 % bounds", "images", "against"]
        return Table(columns, rows, title=self.portrait.source, note=_note(self))


def score(
    model: Diffusion | NamedModel,
    *,
    n: int = 1_000,
    num_steps: int = 10,
    sampler: str = "ddim",
    seed: int = 0,
    judge: Judge | None = None,
) -> Score:
    """Draw `n` pictures and measure their distances to the training images, and the model's held-out loss.

    Without a `judge` it is the kit's own, on the model's device: the best extractor here, the training images, the
    shipped test images. Raises `ValueError` for fewer pictures than the distance takes, before anything is drawn.
    """
    judge = judge or _own_judge(model)
    return score_of(portray(model, Drawing(n, num_steps, sampler, seed), judge), judge)


def gate(
    variant: Diffusion | NamedModel,
    baseline: Diffusion | NamedModel | None = None,
    *,
    n: int = 1_000,
    num_steps: int = 10,
    sampler: str = "ddim",
    seed: int = 0,
    judge: Judge | None = None,
) -> list[Evidence]:
    """Is the variant the same denoiser as the baseline, and does it draw from the same distribution?

    Both draw `n` pictures from the same noise and take their losses on the same noisy images. Without a `baseline` it
    is the shipped base, whose pictures are shipped too for the default drawing. Raises as `score` does.
    """
    judge = judge or _own_judge(variant)
    judge.check(n, for_gate=True)
    drawing = Drawing(n, num_steps, sampler, seed)
    own = portray(variant, drawing, judge)
    other = portray_base(drawing, judge) if baseline is None else portray(baseline, drawing, judge)
    return gate_of(own, other, judge)


def score_of(portrait: Portrait, judge: Judge) -> Score:
    """The score of a portrait that was taken by this judge."""
    loss = None
    if portrait.losses is not None:
        each = portrait.losses.per_image
        loss = jackknife(lambda out: _mean_without(each, out), interleaved(len(each)))
    return Score(portrait, spread_of(portrait.features, judge.reference), loss, judge.told())


def gate_of(variant: Portrait, baseline: Portrait, judge: Judge) -> list[Evidence]:
    """The evidence that two portraits give: of the denoisers, where both are models, and of the distributions."""
    found = []
    if variant.losses is not None and baseline.losses is not None:
        found.append(same_denoiser(baseline.losses.per_image, variant.losses.per_image))
    return [*found, same_distribution(baseline.features, variant.features, judge.reference)]


def gate_readings(found: Sequence[Evidence]) -> list[Reading]:
    """Each piece of evidence as a number of the kind `gate: same denoiser`, with its outcome and its power."""
    return [
        Reading(
            f"gate: {one.kind}",
            one.value,
            one.low,
            one.high,
            one.n,
            "x",
            {
                "what": one.what,
                "outcome": one.outcome,
                "tolerance": one.tolerance,
                "detectable": one.detectable,
                "pass_probability": one.pass_probability,
                "needed": one.needed,
                "seed_spread": one.seed_spread,
                "note": one.note,
            },
        )
        for one in found
    ]


def gate_config(variant: Portrait, baseline: Portrait, judge: Judge) -> dict[str, Any]:
    """All that decides a gate's numbers, as plain values: both models' weights, the pictures, who judged them."""
    models = [each.model for each in (variant, baseline)]
    return {
        "variant": variant.name,
        "baseline": baseline.name,
        "weights": [model.sha256 if model else None for model in models],
        "averaged": [model.averaged if model else None for model in models],
        **executed_under(variant.model),
        **_drawn(variant),
        **judge.told(),
    }


def executed_under(model: NamedModel | None) -> dict[str, list[str]]:
    """The treatments of a model's execution as a plain value, nothing where there are none."""
    return {"treatments": list(model.treatments)} if model is not None and model.treatments else {}


def record_all(
    readings: Sequence[Reading],
    name: str,
    config: Mapping[str, Any],
    path: Path | None,
    *,
    device: torch.device | str | None = None,
) -> list[Record]:
    """A record of each reading, appended to `path` where one is given; `device` is the one that worked."""
    made_on = manifest(device=device, seed=config.get("seed"))
    about: dict[str, Any] = {"path": path, "manifest": made_on}
    return [
        record(
            one.kind, name, {**config, **one.more}, one.value, one.unit, low=one.low, high=one.high, n=one.n, **about
        )
        for one in readings
    ]


def command(name: str, drawing: Drawing, extractor: str, *more: str, treatments: Sequence[str] = ()) -> str:
    """The words that score a model again, quoted for a shell; each of `more` is an option with its value, if any.

    Any Inception is `inception` on the command line; `treatments` are those of the execution.
    """
    how = f"-n {drawing.n} --num-steps {drawing.num_steps} --sampler {drawing.sampler} --seed {drawing.seed}"
    known = CIFAR_CNN if extractor == CIFAR_CNN else "inception"
    given = ["--treatments", *treatments] if treatments else []
    given += [word for option in more for word in option.split(" ", 1)]
    return shlex.join(["python", "-m", "course_utils", "score", name, *how.split(), "--extractor", known, *given])


def _drawn(portrait: Portrait) -> dict[str, Any]:
    """How a portrait's pictures were drawn; of pictures from elsewhere no more than their number is known."""
    if portrait.drawing is None:
        return {"n": portrait.features.n, "sampler": None, "num_steps": None, "seed": None}
    return portrait.drawing.told()


def _own_judge(model: Diffusion | NamedModel) -> Judge:
    """The kit's own judge, on the device of a model."""
    diffusion = model.diffusion if isinstance(model, NamedModel) else model
    return Judge.appointed(device=diffusion.device)


def _mean_without(values: Tensor, left_out: Tensor) -> float:
    return float((values.sum() - values[left_out].sum()) / (len(values) - len(left_out)))


def _note(made: Score) -> str:
    """How, in lines below the table."""
    portrait, found = made.portrait, made.spread.distances
    weights = f", weights {found.sha256[:8]}" if found.sha256 else ""
    lines = [f"Extractor {found.extractor}{weights}; 8-bit images; lower is better, at equal counts only."]
    if portrait.drawing is None or portrait.model is None:
        return "\n".join([*lines, "Held-out loss: not available, since pictures are no model."])
    kind = "averaged weights (EMA)" if portrait.model.averaged else "weights as trained (no EMA)"
    seen = portrait.model.images_seen
    told = f"{portrait.drawing.text()}: {portrait.drawing.num_steps:,} model calls an image"
    drawn = "drawn before" if portrait.seconds is None else f"drawn in {seconds_text(portrait.seconds)}"
    trained = "" if seen is None else f", {seen:,} images seen in training"
    executed = f"; under {' + '.join(portrait.model.treatments)}" if portrait.model.treatments else ""
    return "\n".join([*lines, f"{told}, {drawn}; {kind}{trained}{executed}."])
