"""Everything that is shipped and recorded, made again in order: `python -m course_utils.experiments.reference_run`.

The one command to type where a GPU is to be had: it trains the classifier, two seeds of the base and the retrained
treatments, ships them, and measures what the README shows. Every step is a command of its own that goes on where it
was stopped.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from course_utils.entry import StatedDefaults, run_main
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.rows.structure import STRUCTURES
from course_utils.experiments.sampler_sweep import NUM_STEPS

__all__ = ["commands", "main"]

SHARES = 20  # checkpoints of the base that are kept: 5 % of the run each


def main(argv: list[str] | None = None) -> int:
    """Run all steps from the command line; the exit status is that of the first step that did not end well, or 0."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils.experiments.reference_run",
        description="Train, ship and measure the reference models. Typed again it goes on where it was stopped.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add("--num-steps", type=int, default=125_000, metavar="N", help="optimizer steps of the base, a multiple of 20")
    add("--batch-size", type=int, default=16, metavar="N", help="images a step")
    add("--epochs", type=int, default=24, help="passes of the classifier over the training images")
    sweep = f"steps of the sampler sweep, of whose time {max(NUM_STEPS):,} take most; the rest may follow later"
    add("--sweep-steps", type=int, nargs="+", default=list(NUM_STEPS), metavar="N", help=sweep)
    add("--device", help=DEVICE_HELP)
    add("--dry-run", action="store_true", help="print the commands and do nothing")
    options = made.parse_args(argv)
    if options.num_steps < SHARES or options.num_steps % SHARES:
        raise ValueError(f"--num-steps is {options.num_steps}, wanted a multiple of {SHARES}: checkpoints fall on it.")
    device = chosen_device(options.device)
    for words in commands(options.num_steps, options.batch_size, options.epochs, device, options.sweep_steps):
        print("$", shlex.join(["python", *words]), flush=True)
        if options.dry_run:
            continue
        start = time.perf_counter()
        status = subprocess.run([sys.executable, *words], check=False).returncode
        print(f"  exit {status} after {time.perf_counter() - start:,.0f} s", flush=True)
        if status:
            return status
    return 0


def commands(
    num_steps: int, batch_size: int, epochs: int, device: str, sweep_steps: Sequence[int] = NUM_STEPS
) -> list[Sequence[str]]:
    """The steps in order, each the words after `python`; retrained treatments see a quarter of the base's images."""
    every, here = num_steps // SHARES, f"--device {device}"
    kept = f"--checkpoint-every {every} --keep {SHARES + 1} {here}"
    base = f"-m course_utils train --scale laptop --batch-size {batch_size} --lr 5e-4 --ema-decay 0.999 {kept}"
    runs, execution = "results/local", "layout half_precision"
    room = "-m course_utils.experiments"
    variants = [
        f"{base} --num-steps {num_steps // 4} --seed 0 --out {runs}/{name} --treatments '{structure}' {execution}"
        for structure, name in STRUCTURES.values()
    ]
    lines = [
        f"{room}.classifier_run --epochs {epochs} {here} --out {runs}/cifar-cnn-{epochs}",
        f"{base} --num-steps {num_steps} --seed 0 --out {runs}/base-0 --treatments {execution}",
        f"{base} --num-steps {num_steps} --seed 1 --out {runs}/base-1 --treatments {execution}",
        *variants,
        f"{room}.shipping --run {runs}/base-0 --second {runs}/base-1 --classifier {runs}/cifar-cnn-{epochs}"
        f" --budget {num_steps} {here}",
        f"{room}.calibration {here}",
        f"{room}.quality_curve {runs}/base-0 {here}",
        f"{room}.seeds_gate {here}",
        f"{room}.sampler_sweep --num-steps {' '.join(map(str, sweep_steps))} {here}",
        f"{room}.equal_steps --scale laptop {here}",
        "-m course_utils bench --scale laptop --out results/local/bench-laptop.jsonl",
        "-m course_utils.classroom.readme_figures results/local/bench-laptop.jsonl",
        "-m course_utils.classroom.readme_figures",
    ]
    return [shlex.split(line) for line in lines]


if __name__ == "__main__":
    raise SystemExit(run_main(main))
