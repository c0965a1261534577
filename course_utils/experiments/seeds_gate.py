"""Does the gate let an equal model pass and stop a worse one? `python -m course_utils.experiments.seeds_gate`.

Two bases from two seeds, trained alike for half of the base's steps, go through each other's gate, both ways; the base
after a quarter and after half of its training goes through the gates of later checkpoints. A killed run leaves whole
rows; called again it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from course_utils.entry import run_main
from course_utils.experiments.portraits import Drawing, Judge, Portrait, portray_shipped
from course_utils.experiments.row_commands import appointed, row_parser, tell
from course_utils.experiments.row_files import Reading, Row
from course_utils.experiments.scoring import command, gate_of, gate_readings
from course_utils.measure import Record
from course_utils.measure.quality.evidence import KINDS
from course_utils.measure.tables import Table, interval_text
from course_utils.shipped import checksums

__all__ = ["PAIRS", "Gallery", "gate_rows", "main", "summary"]

PAIRS = (
    ("base-seed1", "base"),
    ("base", "base-seed1"),
    ("base-25", "base"),
    ("base-50", "base"),
    ("bottleneck-between-25", "base-25"),
    ("bottleneck-inside-25", "base-25"),
    ("fewer-blocks-25", "base-25"),
)
"""Variant, baseline: equals both ways, earlier checkpoints of the same run, retrained treatments at equal training."""


def parser() -> argparse.ArgumentParser:
    """The command line of the gates."""
    about = "Two seeds through each other's gate, and earlier checkpoints through that of the base."
    return row_parser("seeds_gate", about, n=1_000, counted="pictures of each model, DDIM, 10 steps", out="gates")


def main(argv: list[str] | None = None) -> int:
    """Run the gates from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    judge = appointed(options, for_gate=True)
    return tell(options, judge, gate_rows(Drawing(options.n), judge), summary)


class Gallery:
    """Portraits of shipped models by name, each taken once."""

    def __init__(self, drawing: Drawing, judge: Judge) -> None:
        self.drawing, self.judge = drawing, judge
        self._taken: dict[str, Portrait] = {}

    def __getitem__(self, name: str) -> Portrait:
        """The portrait of a shipped model."""
        if name not in self._taken:
            self._taken[name] = portray_shipped(name, self.drawing, self.judge)
        return self._taken[name]


def gate_rows(drawing: Drawing, judge: Judge) -> list[Row]:
    """A row for each pair of models that are shipped here; a pair that is not all here is named and left out."""
    gallery, here, rows = Gallery(drawing, judge), checksums(), []
    for variant, baseline in PAIRS:
        weights = [here.get(f"{name}.safetensors") for name in (variant, baseline)]
        if None in weights:
            print(f"{variant} against {baseline}: left out, since they are not both among the shipped files.")
            continue
        pair = {"variant": variant, "baseline": baseline, "weights": weights}
        identity = {**pair, **drawing.told(), **judge.told()}
        out = "--out results/local/scores.jsonl"
        words = command(variant, drawing, judge.extractor.name, f"--against {baseline}", out)
        kinds = tuple(f"gate: {kind}" for kind in KINDS if kind != "same function")
        measured = partial(_measured, gallery, variant, baseline)
        rows.append(Row(f"{variant} against {baseline}", identity, kinds, measured, words))
    return rows


def summary(records: Sequence[Record]) -> Table:
    """A line for each gate: what was compared, its ratio with bounds, and its outcome."""
    rows = [
        [one.name, one.kind, interval_text(one.value, one.low, one.high), one.config["outcome"]]
        for one in records
        if one.low is not None and one.high is not None
    ]
    note = "A ratio above 1 is worse; beside it, its one-sided 95 % bounds."
    return Table(["variant against baseline", "gate", "ratio", "outcome"], rows, note=note)


def _measured(gallery: Gallery, variant: str, baseline: str) -> list[Reading]:
    return gate_readings(gate_of(gallery[variant], gallery[baseline], gallery.judge))


if __name__ == "__main__":
    raise SystemExit(run_main(main))
