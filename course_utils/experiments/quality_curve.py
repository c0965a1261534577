"""Quality against images seen: `python -m course_utils.experiments.quality_curve RUN_FOLDER`.

Every kept checkpoint of a training run is scored; called again as the run grows, it scores what has come since. Without
a run it measures the floor alone: real test images, below which no model gets by drawing well.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from course_utils.entry import run_main
from course_utils.experiments.named_models import load_named
from course_utils.experiments.portraits import Drawing, Judge, portray
from course_utils.experiments.row_commands import appointed, row_parser, tell
from course_utils.experiments.row_files import Reading, Row, inside
from course_utils.experiments.run_history import RunHistory, read_history
from course_utils.experiments.scoring import HELDOUT, command, score_of
from course_utils.measure import Record
from course_utils.measure.quality.extractors import CIFAR_CNN
from course_utils.measure.quality.spreads import spread_of
from course_utils.measure.tables import Table
from course_utils.shipped import sha256_of

__all__ = ["FLOOR_AGAIN", "curve_rows", "floor_row", "main", "summary"]

COMMAND = "python -m course_utils.experiments.quality_curve"
FLOOR_AGAIN = "results/local/quality_floor.jsonl"  # where the floor's command writes, so that it measures anew


def parser() -> argparse.ArgumentParser:
    """The command line of the quality curve."""
    about = "Score the kept checkpoints of a run; those that are in the file already are kept."
    made = row_parser("quality_curve", about, n=1_000, counted="pictures of each checkpoint, DDIM, 10 steps")
    what = "the folder that `train --out` wrote; without one, real test images alone are measured"
    made.add_argument("run", type=Path, nargs="?", metavar="RUN_FOLDER", help=what)
    steps = "checkpoints to score (default: all that were kept)"
    made.add_argument("--steps", type=int, nargs="+", metavar="N", help=steps)
    return made


def main(argv: list[str] | None = None) -> int:
    """Score a run's checkpoints from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    history = read_history(options.run) if options.run else None
    judge = appointed(options)
    rows = curve_rows(history, options.steps or history.steps, Drawing(options.n), judge) if history else []
    if options.n <= len(judge.heldout) or not rows:
        rows.insert(0, floor_row(options.n, judge))
    return tell(options, judge, rows, summary)


def curve_rows(history: RunHistory, steps: Sequence[int], drawing: Drawing, judge: Judge) -> list[Row]:
    """A row for each checkpoint. Raises `FileNotFoundError` for a step that was not kept."""
    kinds = (*judge.kinds, HELDOUT)
    rows = []
    for step in steps:
        path = history.checkpoint(step)
        name = inside(path)
        known = {"run": history.folder.name, "step": step, "weights": sha256_of(path)}
        identity = {**known, **drawing.told(), **judge.told()}
        words = command(name, drawing, judge.extractor.name, "--out results/local/scores.jsonl")
        measured = partial(_measured, path, name, history.command(step), drawing, judge)
        rows.append(Row(f"{history.folder.name}, step {step}", identity, kinds, measured, words))
    return rows


def floor_row(n: int, judge: Judge) -> Row:
    """The row of `n` real test images, below which no model gets by drawing well.

    Raises `ValueError` for more than the held-out images.
    """
    if n > len(judge.heldout):
        raise ValueError(f"n is {n:,}, but there are {len(judge.heldout):,} real test images here: ask for as many.")
    identity = {"run": "real test images", "n": n, **judge.told()}
    extractor = CIFAR_CNN if judge.extractor.name == CIFAR_CNN else "inception"
    words = shlex.join([*COMMAND.split(), "-n", str(n), "--extractor", extractor, "--out", FLOOR_AGAIN])

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
    raise SystemExit(run_main(main))
