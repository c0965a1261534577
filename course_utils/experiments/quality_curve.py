"""Quality against images seen: `python -m course_utils.experiments.quality_curve RUN_FOLDER`.

Every kept checkpoint of a training run is scored; called again as the run grows, it scores what has come since.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from course_utils.experiments.named_models import load_named
from course_utils.experiments.portraits import Drawing, Judge, portray
from course_utils.experiments.row_files import Reading, Row, fill, inside
from course_utils.experiments.run_history import RunHistory, read_history
from course_utils.experiments.scoring import HELDOUT, command, score_of
from course_utils.experiments.scoring_run import add_extractor_options, chosen_extractor
from course_utils.measure import Record
from course_utils.measure.quality.spreads import spread_of
from course_utils.measure.tables import Table
from course_utils.shipped import checksums, sha256_of

__all__ = ["curve_rows", "floor_row", "main", "summary"]


def parser() -> argparse.ArgumentParser:
    """The command line of the quality curve."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils.experiments.quality_curve",
        description="Score the kept checkpoints of a run; those that are in the file already are kept.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add("run", type=Path, metavar="RUN_FOLDER", help="the folder that `train --out` wrote")
    add("--steps", type=int, nargs="+", metavar="N", help="checkpoints to score (default: all that were kept)")
    add("-n", type=int, default=1_000, help="pictures of each checkpoint, DDIM, 10 steps")
    add_extractor_options(made, "cifar-cnn")
    add("--out", type=Path, default=Path("results/reference/quality_curve.jsonl"), metavar="FILE", help="records")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1")
    return made


def main(argv: list[str] | None = None) -> int:
    """Score a run's checkpoints from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    history = read_history(options.run)
    judge = Judge.appointed(chosen_extractor(options, options.device), device=options.device)
    judge.check(options.n)
    rows = curve_rows(history, options.steps or history.steps, Drawing(options.n), judge)
    if options.n <= len(judge.heldout):
        rows.insert(0, floor_row(options.n, judge))
    print(summary(fill(options.out, rows, "quality curve")))
    print(f"records in {inside(options.out)}")
    return 0


def curve_rows(history: RunHistory, steps: Sequence[int], drawing: Drawing, judge: Judge) -> list[Row]:
    """A row for each checkpoint. Raises `FileNotFoundError` for a step that was not kept."""
    kinds = (*judge.kinds, HELDOUT)
    rows = []
    for step in steps:
        path = history.checkpoint(step)
        name = inside(path)
        how = {key: getattr(drawing, key) for key in ("n", "sampler", "num_steps", "seed")}
        identity = {"run": history.folder.name, "step": step, "weights": sha256_of(path), **how, **judge.told()}
        words = command(name, drawing, judge.extractor.name, "--out results/local/scores.jsonl")
        measured = partial(_measured, path, name, history.command(step), drawing, judge)
        rows.append(Row(f"{history.folder.name}, step {step}", identity, kinds, measured, words))
    return rows


def floor_row(n: int, judge: Judge) -> Row:
    """The row of `n` real test images, below which no model gets by drawing well."""
    identity = {"run": "real test images", "n": n, **judge.told(), "images": checksums().get("heldout.safetensors")}
    words = f"python -m course_utils.experiments.calibration --pictures {n} --only undamaged"

    def measured() -> list[Reading]:
        spread = spread_of(judge.features(judge.heldout[:n], f"{n:,} real test images"), judge.reference)
        pairs = zip(judge.kinds, (spread.fd, spread.kd), strict=True)
        return [Reading(kind, estimate.value, estimate.low, estimate.high, n) for kind, estimate in pairs]

    return Row("real test images", identity, judge.kinds, measured, words)


def summary(records: Sequence[Record]) -> Table:
    """A line for each checkpoint: images seen and every measure."""
    kinds = list(dict.fromkeys(one.kind for one in records))
    rows = []
    for name in dict.fromkeys(one.name for one in records):
        own = {one.kind: one for one in records if one.name == name}
        seen = next((one.config.get("images_seen") for one in own.values()), None)
        values = [f"{own[kind].value:.4g}" if kind in own else None for kind in kinds]
        rows.append([name, None if seen is None else f"{seen:,}", *values])
    return Table(["checkpoint", "images seen", *kinds], rows)


def _measured(path: Path, name: str, training: str, drawing: Drawing, judge: Judge) -> list[Reading]:
    """The readings of one checkpoint, with how it came about."""
    made = score_of(portray(load_named(path), drawing, judge, name=name), judge)
    model = made.portrait.model
    seen = model.images_seen if model else None
    told = {"images_seen": seen, "training": training, "averaged": True}
    return [Reading(r.kind, r.value, r.low, r.high, r.n, r.unit, {**r.more, **told}) for r in made.readings()]


if __name__ == "__main__":
    raise SystemExit(main())
