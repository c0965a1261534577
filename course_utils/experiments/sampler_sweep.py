"""What do more model calls buy? DDPM and DDIM at 10 to 1,000 steps: `python -m course_utils.experiments.sampler_sweep`.

The cheapest rows come first. A killed run leaves whole rows; called again it goes on. Each picture costs as many model
calls as its row has steps: `--samplers` and `--num-steps` measure a part of the table now, and the rest later into the
same file; `-n` asks for fewer pictures. Unlike counts are not compared: a figure shows rows of the last `-n` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from course_utils.diffusion import SAMPLERS
from course_utils.entry import run_main
from course_utils.experiments.named_models import NamedModel, load_named, under
from course_utils.experiments.portraits import Drawing, Judge, portray
from course_utils.experiments.row_commands import appointed, row_parser, tell
from course_utils.experiments.row_files import Reading, Row, inside
from course_utils.experiments.sampling_run import refuse_steps
from course_utils.experiments.scoring import command, executed_under, score_of
from course_utils.measure import Record
from course_utils.measure.tables import Table, seconds_text

__all__ = ["NUM_STEPS", "main", "summary", "sweep_rows"]

NUM_STEPS = (10, 20, 50, 100, 250, 1_000)


def parser() -> argparse.ArgumentParser:
    """The command line of the sweep."""
    about = "Score a model's pictures by sampler and steps; rows that are in the file already are kept."
    made = row_parser("sampler_sweep", about, n=1_000, counted="pictures of each row", out="samplers")
    add = made.add_argument
    add("model", nargs="?", default="base", help="a checkpoint, a weights file, a run's folder, or a shipped name")
    add("--samplers", nargs="+", choices=sorted(SAMPLERS), default=sorted(SAMPLERS), help="how to walk")
    add("--num-steps", type=int, nargs="+", default=list(NUM_STEPS), metavar="N", help="model calls for each picture")
    add("--treatments", nargs="+", default=[], metavar="T", help="of the model's execution: layout half_precision")
    return made


def main(argv: list[str] | None = None) -> int:
    """Sweep from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    for num_steps in options.num_steps:
        refuse_steps(num_steps)
    model, judge = under(load_named(options.model), options.treatments), appointed(options)
    name = inside(options.model) if Path(options.model).exists() else options.model
    drawings = [Drawing(options.n, k, s) for k in sorted(set(options.num_steps)) for s in sorted(options.samplers)]
    return tell(options, judge, sweep_rows(model, name, drawings, judge), summary)


def sweep_rows(model: NamedModel, name: str, drawings: Sequence[Drawing], judge: Judge) -> list[Row]:
    """A row for each drawing: distances of its pictures and the seconds they took."""
    rows, out = [], "--out results/local/scores.jsonl"
    for drawing in drawings:
        identity = {"model": name, "weights": model.sha256, **executed_under(model), **drawing.told(), **judge.told()}
        words = command(name, drawing, judge.extractor.name, out, treatments=model.treatments)
        measured = partial(_measured, model, name, drawing, judge)
        rows.append(
            Row(f"{' + '.join([name, *model.treatments])}, {drawing.text()}", identity, judge.kinds, measured, words)
        )
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
    raise SystemExit(run_main(main))
