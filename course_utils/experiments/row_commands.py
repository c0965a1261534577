"""What the commands share that measure rows: their options, the judge, and a file that grows row by row."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from course_utils.entry import StatedDefaults
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.portraits import Judge
from course_utils.experiments.row_files import Row, fill, inside
from course_utils.experiments.scoring_run import add_extractor_options, chosen_extractor
from course_utils.measure import Record
from course_utils.measure.tables import Table

__all__ = ["appointed", "row_parser", "tell"]

REFERENCE = Path("results/reference")


def row_parser(name: str, description: str, *, n: int, counted: str, out: str = "") -> argparse.ArgumentParser:
    """The command line of `course_utils.experiments.NAME`: `n` images a row (`counted` says which), by whom judged.

    Its records go to results/reference/OUT.jsonl, named like the command unless `out` is given.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m course_utils.experiments.{name}", description=description, formatter_class=StatedDefaults
    )
    add = made.add_argument
    add("-n", type=int, default=n, help=counted)
    add_extractor_options(made, "cifar-cnn")
    add("--out", type=Path, default=REFERENCE / f"{out or name}.jsonl", metavar="FILE", help="records")
    add("--device", help=DEVICE_HELP)
    return made


def appointed(options: argparse.Namespace, *, for_gate: bool = False) -> Judge:
    """The judge that the options name. Raises `ValueError` where `-n` is too few for its distances, or for a gate."""
    device = chosen_device(options.device)
    judge = Judge.appointed(chosen_extractor(options, device), device=device)
    judge.check(options.n, for_gate=for_gate)
    return judge


def tell(
    options: argparse.Namespace, judge: Judge, rows: Sequence[Row], summary: Callable[[Sequence[Record]], Table]
) -> int:
    """Measure the rows that `--out` lacks and print the summary of all of them; returns the exit status."""
    print(summary(fill(options.out, rows, options.out.stem.replace("_", " "), device=judge.device)))
    print(f"records in {inside(options.out)}")
    return 0
