"""Does each measure order damage as it should? `python -m course_utils.experiments.calibration`.

Real test images are damaged in growing doses and held against the training images; so are the pictures of a model at
four points of its training. A killed run leaves whole rows; called again it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from course_utils.diffusion import ImageSet, build, load_images, load_shipped
from course_utils.experiments.calibration_doses import FAMILIES, Dose, doses, held_apart, less
from course_utils.experiments.named_models import NamedModel, load_named
from course_utils.experiments.portraits import Drawing, Judge, portray
from course_utils.experiments.row_files import Reading, Row, fill, inside
from course_utils.experiments.scoring import HELDOUT, score_of
from course_utils.experiments.scoring_run import add_extractor_options, chosen_extractor
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
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Measure damage of every family and dose; rows that are in the file already are kept.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add("-n", type=int, default=5_000, help="images of each dose")
    add("--pictures", type=int, default=1_000, metavar="N", help="pictures of each model, DDIM, 10 steps")
    add("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="families of damage")
    add_extractor_options(made, "cifar-cnn")
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies (default: COURSE_DATA, then data/)")
    add("--out", type=Path, default=Path("results/reference/calibration.jsonl"), metavar="FILE", help="records")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1")
    return made


def main(argv: list[str] | None = None) -> int:
    """Calibrate from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    test, train = (load_images(split, folder=options.data, download=False) for split in ("test", "train"))
    if not (test.is_cifar10 and train.is_cifar10):
        raise ValueError("only CIFAR-10 calibrates: get it with `python -m course_utils data --download`.")
    judge = Judge.appointed(chosen_extractor(options, options.device), device=options.device)
    rows = image_rows(test, train, judge, options.n) + checkpoint_rows(test, judge, options.pictures)
    records = fill(options.out, [row for row in rows if row.identity["family"] in options.only], "calibration")
    print(ordering(records))
    print(f"records in {inside(options.out)}")
    return 0


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
    """For each family and measure the values from no damage to most, and whether every dose is worse than the last.

    Only records of equal counts stand in one line; it begins with undamaged test images where their number is known.
    """
    rows = []
    for family, kind, n in dict.fromkeys((one.config["family"], one.kind, one.config["n"]) for one in records):
        alike = [one for one in records if (one.kind, one.config["n"]) == (kind, n)]
        floor = [one for one in alike if one.config["family"] == "undamaged" and one.config["images"].endswith("test")]
        harmed = sorted((one for one in alike if one.config["family"] == family), key=lambda r: r.config["strength"])
        values = [one.value for one in [*floor[:1], *harmed]]
        if family != "undamaged":
            verdict = "yes" if all(better < worse for better, worse in pairwise(values)) else "NO"
            rows.append([family, kind, f"{n:,}", "  ".join(f"{value:.4g}" for value in values), verdict])
    note = "Values from no damage to most; ordered: every dose is worse than the one before."
    return Table(["family", "measure", "images", "values", "ordered"], rows, note=note)


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
    how = {key: getattr(drawing, key) for key in ("sampler", "num_steps", "seed")}
    identity = {**_identity("training", 100 - share, label, drawing.n, judge), **how, "weights": sha256}

    def measured() -> list[Reading]:
        model = load_named(name) if share else _untrained()
        readings = score_of(portray(model, drawing, judge, name=name), judge).readings()
        return [replace(one, more={**one.more, "images_seen": model.images_seen}) for one in readings]

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
    return f"{COMMAND} {words} --only {family} --extractor {extractor} --out {AGAIN}"


if __name__ == "__main__":
    raise SystemExit(main())
