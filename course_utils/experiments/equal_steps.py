"""Treated and untreated training side by side: `python -m course_utils.experiments.equal_steps`.

Both begin with the same weights and see the same images, timesteps and noise for equally many steps; their averaged
weights then answer the same noisy test pictures. It speaks of the way to *train*, which a gate on trained weights
cannot do, for one seed and so many steps: what rounding does to a run later on it does not show.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from course_utils.diffusion import (
    SCALES,
    Batches,
    ImageSet,
    adam,
    baseline,
    heldout_loss,
    load_heldout,
    load_images,
    scale,
    train,
)
from course_utils.entry import StatedDefaults, run_main
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.row_files import Reading, Row, fill, inside
from course_utils.experiments.scoring import gate_readings
from course_utils.measure import detect, same_denoiser
from course_utils.measure.tables import interval_text
from course_utils.speedups import exactness_of, treat
from course_utils.speedups.half_precision import loss_scaler, needs_loss_scaling

__all__ = ["main", "trained_losses"]

COMMAND = "python -m course_utils.experiments.equal_steps"


def parser() -> argparse.ArgumentParser:
    """The command line of `equal_steps`."""
    made = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0], formatter_class=StatedDefaults)
    add = made.add_argument
    add("--treatments", nargs="+", default=["layout", "half_precision"], metavar="T", help="those of the treated run")
    add("--scale", choices=SCALES, help="size of the network (default: by hardware, or COURSE_SCALE)")
    add("--num-steps", type=int, default=500, metavar="N", help="optimizer steps of each run")
    add("--batch-size", type=int, default=16, metavar="N", help="images a step")
    add("--lr", type=float, default=5e-4, help="learning rate of Adam")
    add("--ema-decay", type=float, default=0.99, help="decay of the weights' running average")
    add("--seed", type=int, default=0, help="seed of weights, order, timesteps and noise")
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies (default: COURSE_DATA, then data/)")
    add("--device", help=DEVICE_HELP)
    add("--out", type=Path, default=Path("results/reference/equal_steps.jsonl"), metavar="FILE", help="records")
    return made


def main(argv: list[str] | None = None) -> int:
    """Train both from the command line and record the gate; returns the exit status."""
    options = parser().parse_args(argv)
    treatments = tuple(options.treatments)
    if exactness_of(treatments) == "retrained":
        raise ValueError(f"{' '.join(treatments)}: a new structure cannot begin with the same weights; leave it out.")
    images = load_images("train", folder=options.data)
    keys = ("num_steps", "batch_size", "lr", "ema_decay", "seed")
    identity = {"scale": scale(options.scale).name, "treatments": list(treatments), "images": images.label}
    identity |= {key: getattr(options, key) for key in keys} | {"count": len(images)}
    device = chosen_device(options.device)
    identity["device"] = detect(device).name
    told = " ".join(f"--{key.replace('_', '-')} {getattr(options, key)}" for key in keys)
    command = f"{COMMAND} --scale {identity['scale']} {told} --treatments {' '.join(treatments)}"
    measure = partial(_gate, options, treatments, images)
    rows = [Row(" + ".join(treatments), identity, ("gate: same denoiser",), measure, command)]
    for one in fill(options.out, rows, "equal steps", device=device):
        ratio = interval_text(one.value, one.low or one.value, one.high or one.value)
        print(f"{one.name}: held-out loss {ratio} of the untreated run's, {one.config['outcome']}")
    print(f"records in {inside(options.out)}")
    return 0


def trained_losses(options: argparse.Namespace, treatments: tuple[str, ...], images: ImageSet) -> Tensor:
    """Train from the seed's fresh weights under `treatments`; -> held-out losses of the averaged weights, (n,).

    The losses are computed in float32 and eager, so that only the training differs.
    """
    device = torch.device(chosen_device(options.device))
    fresh = baseline(options.scale, seed=options.seed).to(device)
    batches = Batches(images, options.batch_size, seed=options.seed, device=device)
    settings = {"optimizer": adam(options.lr, fused=True), "ema_decay": options.ema_decay, "seed": options.seed}
    treated = treat(fresh, *treatments)
    scaler = loss_scaler(device) if needs_loss_scaling(treated.model) else None
    state = train(treated, batches, num_steps=options.num_steps, scaler=scaler, **settings)
    plain = state.ema.copy_of(fresh)
    heldout = load_heldout().images
    return heldout_loss(plain, heldout, n=len(heldout)).per_image


def _gate(options: argparse.Namespace, treatments: tuple[str, ...], images: ImageSet) -> list[Reading]:
    untreated = trained_losses(options, (), images)
    return gate_readings([same_denoiser(untreated, trained_losses(options, treatments, images))])


if __name__ == "__main__":
    raise SystemExit(run_main(main))
