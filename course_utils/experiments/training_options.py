"""What `python -m course_utils train` can be asked for."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from course_utils.diffusion import SCALES
from course_utils.entry import StatedDefaults
from course_utils.experiments.devices import DEVICE_HELP

__all__ = ["STOPPED", "Options", "asked", "check_options", "described", "parser", "started_as"]

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again later
HELDOUT_IMAGES = 512
DDP_HELP = "one of several processes, started by torchrun or srun: each takes its share of every step"


@dataclass(frozen=True)
class Options:
    """What a run was asked for, as the command line gives it."""

    scale: str | None
    num_steps: int | None
    batch_size: int | None
    lr: float
    ema_decay: float
    objective: str
    beta_schedule: str
    seed: int
    data: str | None
    out: Path | None
    checkpoint_every: int
    keep: int
    log_every: int
    heldout: int
    device: str | None
    init: str | None
    treatments: list[str]
    ddp: bool = False


def parser() -> argparse.ArgumentParser:
    """The command line of `train`."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils train",
        description="Train the baseline. The same words typed again go on where the run stopped.",
        epilog=f"Exit status: 0 complete, {STOPPED} stopped after a checkpoint (by a signal, or by a file STOP in the "
        "run's folder, where a file REQUEUE then says so; type it again to go on), 2 a mistake in the options or the "
        "data. Several processes: torchrun --nproc-per-node=2 -m course_utils train --ddp",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add("--scale", choices=SCALES, help="size of the network and the run (default: by hardware, or COURSE_SCALE)")
    add("--num-steps", type=int, metavar="N", help="optimizer steps in all (default: the scale's)")
    add("--batch-size", type=int, metavar="N", help="images a step, of each process (default: the scale's)")
    add("--lr", type=float, default=2e-4, help="learning rate of Adam")
    add("--ema-decay", type=float, default=0.9995, help="decay of the weights' running average")
    add("--objective", default="pred_v", choices=["pred_noise", "pred_x0", "pred_v"], help="what the network predicts")
    add("--beta-schedule", default="sigmoid", choices=["linear", "cosine", "sigmoid"], help="how noise grows")
    add("--seed", type=int, default=0, help="seed of weights, order, timesteps and noise")
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies (default: COURSE_DATA, then data/)")
    add("--out", type=Path, metavar="FOLDER", help="the run's folder (default: results/local/train-SCALE-SEED)")
    add("--checkpoint-every", type=int, default=500, metavar="N", help="steps between checkpoints")
    add("--keep", type=int, default=3, metavar="N", help="checkpoints to keep")
    add("--log-every", type=int, default=10, metavar="N", help="steps between readings of the loss")
    add("--heldout", type=int, default=HELDOUT_IMAGES, metavar="N", help="test images for the held-out loss; 0: none")
    add("--device", help=DEVICE_HELP)
    add("--treatments", nargs="+", default=[], metavar="T", help="in this order, as 'layout' or 'name(key=value)'")
    add("--init", metavar="FILE", help="begin with these weights: a file, a run's folder, or a shipped name (base)")
    add("--ddp", action="store_true", help=DDP_HELP)
    return made


def asked(argv: list[str] | None) -> Options:
    """Read a command line. Raises `ValueError` for numbers that make no sense."""
    options = Options(**vars(parser().parse_args(argv)))
    check_options(options)
    return options


def check_options(options: Options) -> None:
    """Refuse numbers that make no sense, naming the option."""
    for name in ("num_steps", "batch_size", "checkpoint_every", "keep", "log_every"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}, but must be at least 1.")
    if options.lr <= 0 or not 0 <= options.ema_decay < 1:
        raise ValueError(
            f"--lr must be above 0 and --ema-decay within [0, 1), seen {options.lr} and {options.ema_decay}."
        )


def described(options: Options) -> dict[str, object]:
    """The options as plain values, without the folders, which belong to this machine alone, and how it was started."""
    return {name: value for name, value in vars(options).items() if name not in ("out", "data", "init", "ddp")}


def started_as(options: Options) -> str:
    """The options that all processes of a run must have in common; each may find the data in a place of its own."""
    return json.dumps({**described(options), "out": str(options.out), "init": options.init})
