"""Does each measure order damage as it should? `python -m course_utils.experiments.calibration`.

Real test images are damaged in growing doses and held against the training images; so are the pictures of a model at
four points of its training. A killed run leaves whole rows; called again it goes on.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import torch

from course_utils.diffusion import ImageSet, build, load_images, load_shipped
from course_utils.entry import run_main
from course_utils.experiments.calibration_doses import FAMILIES, Dose, doses, held_apart, less
from course_utils.experiments.named_models import NamedModel
from course_utils.experiments.portraits import Drawing, Judge, portray, portray_shipped
from course_utils.experiments.row_commands import appointed, row_parser, tell
from course_utils.experiments.row_files import Reading, Row
from course_utils.experiments.scoring import HELDOUT, score_of
from course_utils.measure import Record
from course_utils.measure.quality import Features, Reference
from course_utils.measure.quality.extractors import CIFAR_CNN
from course_utils.measure.quality.spreads import spread_of
from course_utils.measure.tables import Table
from course_utils.shipped import checksums

__all__ = ["AGAIN", "checkpoint_rows", "image_rows", "main", "ordering"]

COMMAND = "python -m course_utils.experiments.calibration"
AGAIN = "results/local/calibration.jsonl"  # where a recorded command writes, so that it measures anew
MODELS = {"untrained": 0, "base-25": 25, "base-50": 50, "base": 100}  # per cent of the training


def parser() -> argparse.ArgumentParser:
    """The command line of the calibration."""
    about = "Measure damage of every family and dose; rows that are in the file already are kept."
    made = row_parser("calibration", about, n=5_000, counted="images of each dose")
    add = made.add_argument
    add("--pictures", type=int, default=1_000, metavar="N", help="pictures of each model, DDIM, 10 steps")
    add("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="families of damage")
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies (default: COURSE_DATA, then data/)")
    return made


def main(argv: list[str] | None = None) -> int:
    """Calibrate from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    test, train = (load_images(split, folder=options.data, download=False) for split in ("test", "train"))
    if not (test.is_cifar10 and train.is_cifar10):
        raise ValueError("only CIFAR-10 calibrates: get it with `python -m course_utils data --download`.")
    judge = appointed(options)
    rows = image_rows(test, train, judge, options.n) + checkpoint_rows(test, judge, options.pictures)
    return tell(options, judge, [row for row in rows if row.identity["family"] in options.only], ordering)


def image_rows(test: ImageSet, train: ImageSet, judge: Judge, n: int) -> list[Row]:
    """A row for each dose of damage to `n` test images, and one for training images held apart.

    Raises `ValueError` where half the classes leave fewer than `n` test images.
    """
    judge.check(n)

    def without_them(features: Features) -> Reference:
        return replace(judge.reference, statistics=less(judge.reference.statistics, features))

    words = f"-n {n}"
    made = [_image_row(dose, judge, n, test, words) for dose in doses(test, n)]
    apart = held_apart(train, judge.reference, n)
    return [made[0], _image_row(apart, judge, n, train, words, without_them), *made[1:]]


def checkpoint_rows(test: ImageSet, judge: Judge, n: int) -> list[Row]:
    """A row for the shipped base at each point of its training that is here, and one for as many real images."""
    judge.check(n)
    floor = Dose("undamaged", 0, f"{n:,} test images", lambda: test.images[:n])
    rows = [_image_row(floor, judge, n, test, f"--pictures {n}")]
    here = checksums()
    for name, share in MODELS.items():
        file = "base.safetensors" if name == "untrained" else f"{name}.safetensors"
        if file in here:
            rows.append(_model_row(name, share, here[file], Drawing(n), judge))
    return rows


def ordering(records: Sequence[Record]) -> Table:
    """For each family and measure the values from no damage to most, and whether their bounds say that damage grows.

    Only records of equal counts stand in one line; it begins with undamaged test images where their number is known.
    """
    rows = []
    for family, kind, n in dict.fromkeys((one.config["family"], one.kind, one.config["n"]) for one in records):
        alike = [one for one in records if (one.kind, one.config["n"]) == (kind, n)]
        floor = [one for one in alike if one.config["family"] == "undamaged" and one.config["images"].endswith("test")]
        harmed = sorted((one for one in alike if one.config["family"] == family), key=lambda r: r.config["strength"])
        line = [*floor[:1], *harmed]
        if family != "undamaged":
            values = "  ".join(f"{one.value:.4g}" for one in line)
            rows.append([family, kind, f"{n:,}", values, _ordered(line)])
    note = (
        "Values from no damage to most. Ordered: yes, where each lower bound lies above the upper bound of the value\n"
        "before (one-sided 95 % bounds); WRONG, where some dose lies below a milder one in that way; else not "
        "distinguishable.\nEach bound is of a value by itself; a gate tells more of two models on the same images."
    )
    return Table(["family", "measure", "images", "values", "ordered"], rows, note=note)


def _ordered(line: Sequence[Record]) -> str | None:
    """What the bounds say about values that should grow; None where there is nothing to compare."""
    if len(line) < 2:
        return None
    if any(_above(milder, stronger) for milder, stronger in combinations(line, 2)):
        return "WRONG"
    return "yes" if all(_above(worse, better) for better, worse in pairwise(line)) else "not distinguishable"


def _above(one: Record, other: Record) -> bool:
    """Whether a value lies above another one by both of their bounds; never where a bound is unknown."""
    return one.low is not None and other.high is not None and one.low > other.high


def _image_row(
    dose: Dose,
    judge: Judge,
    n: int,
    source: ImageSet,
    words: str,
    against: Callable[[Features], Reference] | None = None,
) -> Row:
    """The row of a dose, held against the judge's reference or what `against` makes of its features."""
    identity = {
        **_identity(dose.family, dose.strength, dose.label, n, judge),
        "images": f"{source.label} {source.name}",
    }

    def measured() -> list[Reading]:
        features = judge.features(dose.images(), f"{dose.family}: {dose.label}")
        reference = judge.reference if against is None else against(features)
        spread = spread_of(features, reference)
        told = {"reference": f"{reference.n:,} of {reference.of}"}
        return [
            Reading(kind, estimate.value, estimate.low, estimate.high, n, more=told)
            for kind, estimate in zip(judge.kinds, (spread.fd, spread.kd), strict=True)
        ]

    command = _command(dose.family, words, judge)
    return Row(f"{dose.family}: {dose.label}", identity, judge.kinds, measured, command)


def _model_row(name: str, share: int, sha256: str, drawing: Drawing, judge: Judge) -> Row:
    """The row of a shipped model, or of its net before any training."""
    label = f"{share} % of its training" if share else "untrained"
    known = _identity("training", 100 - share, label, drawing.n, judge)
    identity = {**known, **drawing.told(), "weights": sha256}

    def measured() -> list[Reading]:
        untrained = None if share else _untrained()
        drawn = portray(untrained, drawing, judge, name=name) if untrained else portray_shipped(name, drawing, judge)
        more = {"images_seen": drawn.model.images_seen if drawn.model else None}
        return [replace(one, more={**one.more, **more}) for one in score_of(drawn, judge).readings()]

    command = _command("training", f"--pictures {drawing.n}", judge)
    return Row(f"training: {label}", identity, (*judge.kinds, HELDOUT), measured, command)


def _untrained() -> NamedModel:
    """The net of the shipped base with fresh weights, those of seed 0."""
    recipe = load_shipped("base").recipe
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return NamedModel(build(recipe), "the base before its training", "", 0)


def _identity(family: str, strength: float, label: str, n: int, judge: Judge) -> dict[str, Any]:
    """What decides the numbers of a row, as plain values."""
    return {"family": family, "strength": strength, "label": label, "n": n, **judge.told()}


def _command(family: str, words: str, judge: Judge) -> str:
    """The words that measure a family again, into a file of their own."""
    extractor = CIFAR_CNN if judge.extractor.name == CIFAR_CNN else "inception"
    return shlex.join([*f"{COMMAND} {words} --only".split(), family, "--extractor", extractor, "--out", AGAIN])


if __name__ == "__main__":
    raise SystemExit(run_main(main))
