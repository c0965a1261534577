"""What do more model calls buy? DDPM and DDIM at 10 to 1,000 steps: `python -m course_utils.experiments.sampler_sweep`.

The cheapest rows come first. A killed run leaves whole rows; called again it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from course_utils.diffusion import SAMPLERS
from course_utils.experiments.named_models import NamedModel, load_named
from course_utils.experiments.portraits import Drawing, Judge, portray
from course_utils.experiments.row_files import Reading, Row, fill, inside
from course_utils.experiments.scoring import command, score_of
from course_utils.experiments.scoring_run import add_extractor_options, chosen_extractor
from course_utils.measure import Record
from course_utils.measure.tables import Table, seconds_text

__all__ = ["NUM_STEPS", "main", "summary", "sweep_rows"]

NUM_STEPS = (10, 20, 50, 100, 250, 1_000)


def parser() -> argparse.ArgumentParser:
    """The command line of the sweep."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils.experiments.sampler_sweep",
        description="Score a model's pictures by sampler and steps; rows that are in the file already are kept.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add("model", nargs="?", default="base", help="a checkpoint, a weights file, a run's folder, or a shipped name")
    add("--samplers", nargs="+", choices=sorted(SAMPLERS), default=sorted(SAMPLERS), help="how to walk")
    add("--num-steps", type=int, nargs="+", default=list(NUM_STEPS), metavar="N", help="model calls for each picture")
    add("-n", type=int, default=1_000, help="pictures of each row")
    add_extractor_options(made, "cifar-cnn")
    add("--out", type=Path, default=Path("results/reference/samplers.jsonl"), metavar="FILE", help="records")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1")
    return made


def main(argv: list[str] | None = None) -> int:
    """Sweep from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    model = load_named(options.model)
    judge = Judge.appointed(chosen_extractor(options, options.device), device=options.device)
    judge.check(options.n)
    name = inside(options.model) if Path(options.model).exists() else options.model
    drawings = [Drawing(options.n, k, s) for k in sorted(set(options.num_steps)) for s in sorted(options.samplers)]
    print(summary(fill(options.out, sweep_rows(model, name, drawings, judge), "samplers")))
    print(f"records in {inside(options.out)}")
    return 0


def sweep_rows(model: NamedModel, name: str, drawings: Sequence[Drawing], judge: Judge) -> list[Row]:
    """A row for each drawing: distances of its pictures and the seconds they took."""
    rows = []
    for drawing in drawings:
        how = {key: getattr(drawing, key) for key in ("n", "sampler", "num_steps", "seed")}
        identity = {"model": name, "weights": model.sha256, **how, **judge.told()}
        words = command(name, drawing, judge.extractor.name, "--out results/local/scores.jsonl")
        measured = partial(_measured, model, name, drawing, judge)
        rows.append(Row(f"{name}, {drawing.text()}", identity, judge.kinds, measured, words))
    return rows


def summary(records: Sequence[Record]) -> Table:
    """A line for each sampler and number of steps."""
    kinds = list(dict.fromkeys(one.kind for one in records))
    rows = []
    for name in dict.fromkeys(one.name for one in records):
        own = {one.kind: one for one in records if one.name == name}
        how = next(iter(own.values())).config
        values = [f"{own[kind].value:.4g}" if kind in own else None for kind in kinds]
        rows.append([how["sampler"], f"{how['num_steps']:,}", *values, f"{how['n']:,}", seconds_text(how["seconds"])])
    return Table(["sampler", "steps", *kinds, "pictures", "drawn in"], rows)


def _measured(model: NamedModel, name: str, drawing: Drawing, judge: Judge) -> list[Reading]:
    """The distances of one drawing."""
    return score_of(portray(model, drawing, judge, name=name, with_losses=False), judge).readings()


if __name__ == "__main__":
    raise SystemExit(main())
