"""Draw pictures from a checkpoint into a file: `python -m course_utils sample`."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from course_utils.atomic import replacing
from course_utils.diffusion import (
    SAMPLERS,
    SCALES,
    SHIPPED_MODELS,
    Diffusion,
    ideal_diffusion,
    latest,
    load_images,
    sample,
    scale,
)
from course_utils.entry import StatedDefaults
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.named_models import load_named, shipped_base
from course_utils.measure import manifest

__all__ = ["main", "refuse_steps", "save_grid"]

NUM_TIMESTEPS = 1_000  # of every model that the commands train and that comes with the kit


def parser() -> argparse.ArgumentParser:
    """The command line of `sample`."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils sample",
        description="Draw pictures into a PNG grid, with a JSON file beside it that says how.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add(
        "checkpoint",
        nargs="?",
        help="a checkpoint, a weights file, a run's folder, or a model that comes with the kit: "
        f"{', '.join(SHIPPED_MODELS)} (default: the last run here, else base)",
    )
    add("-n", type=int, default=64, help="how many pictures")
    add("-o", "--out", type=Path, default=Path("grid.png"), metavar="FILE", help="the PNG to write")
    add("--sampler", choices=sorted(SAMPLERS), default="ddim", help="how to walk from noise to picture")
    add("--num-steps", type=int, default=50, metavar="N", help="model calls for each picture")
    add("--seed", type=int, default=0, help="picture i depends on the seed and i alone")
    add("--batch-size", type=int, default=64, metavar="N", help="pictures a call; changes no picture")
    add("--scale", choices=SCALES, help="which run to look for when no checkpoint is named")
    add("--raw-weights", action="store_true", help="the weights as trained, instead of their running average")
    add("--ideal", action="store_true", help="no network: the closed-form denoiser, which recalls training pictures")
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies, for --ideal")
    add("--device", help=DEVICE_HELP)
    return made


def main(argv: list[str] | None = None) -> int:
    """Run `sample` from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    if options.out.suffix.lower() != ".png":
        raise ValueError(f"--out is {str(options.out)!r}, but pictures are written as PNG: end the name in .png.")
    for option, value in (("-n", options.n), ("--batch-size", options.batch_size)):
        if value < 1:
            raise ValueError(f"{option} is {value}, but must be at least 1.")
    refuse_steps(options.num_steps)
    device = chosen_device(options.device)
    diffusion, source = chosen_model(options)
    images, seconds = draw(diffusion, options, device)
    save_grid(options.out, images)
    write_card(options, diffusion, source, seconds, device)
    how = f"{options.sampler} with {options.num_steps} steps, {seconds:.1f} s"
    print(f"{options.out}: {len(images)} pictures from {source}, {how}")
    return 0


def refuse_steps(num_steps: int) -> None:
    """Raise ValueError for more model calls than timesteps, or none, before a model is loaded."""
    if not 1 <= num_steps <= NUM_TIMESTEPS:
        raise ValueError(
            f"--num-steps is {num_steps:,}, wanted 1 to {NUM_TIMESTEPS:,}: models of the kit have as many timesteps."
        )


def chosen_model(options: argparse.Namespace) -> tuple[Diffusion, str]:
    """The model to draw with, and where it comes from in words."""
    if options.ideal:
        images = load_images("train", folder=options.data, n=scale(options.scale).num_images)
        return ideal_diffusion(images.images), f"the ideal denoiser of {len(images):,} images ({images.label})"
    name = options.checkpoint or last_run(options.scale)
    if name is not None:
        named = load_named(name, raw_weights=options.raw_weights)
        return named.diffusion, named.source
    base = None if options.scale or options.raw_weights else shipped_base()
    if base is None:
        raise FileNotFoundError(
            f"results/local holds no training run of scale {scale(options.scale).name!r}: run "
            "`python -m course_utils train`, name a checkpoint, or try --ideal."
        )
    print(f"No training run here: drawing from {base.source}, which has seen {base.images_seen:,} images.")
    return base.diffusion, base.source


def last_run(name: str | None) -> Path | None:
    """The folder of the most recent training run of a scale, if there is one."""
    runs = [run for run in Path("results/local").glob(f"train-{scale(name).name}-*") if latest(run)]
    return max(runs, key=lambda run: run.stat().st_mtime, default=None)


def draw(diffusion: Diffusion, options: argparse.Namespace, device: str) -> tuple[Tensor, float]:
    """Draw with a progress bar; -> (images uint8 (N, 3, H, W), seconds)."""
    batches = math.ceil(options.n / options.batch_size)
    start = time.perf_counter()

    def advance(i: int, t: int, x_t: Tensor, x_0: Tensor) -> None:
        bar.update(1)

    with tqdm(total=batches * options.num_steps, unit="call", desc="drawing", dynamic_ncols=True) as bar:
        images = sample(
            diffusion,
            options.n,
            sampler=options.sampler,
            num_steps=options.num_steps,
            seed=options.seed,
            batch_size=options.batch_size,
            device=device,
            callback=advance,
        )
    return images, time.perf_counter() - start


def save_grid(path: Path, images: Tensor) -> None:
    """Write pictures, uint8 (N, 3, H, W), as one square PNG grid, whole or not at all."""
    sheet = make_grid(images, nrow=math.ceil(len(images) ** 0.5), pad_value=255)
    with replacing(path) as temporary:
        Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(temporary, format="png")


def write_card(options: argparse.Namespace, diffusion: Diffusion, source: str, seconds: float, device: str) -> None:
    """Write how the grid was made beside it, as JSON."""
    how = {name: getattr(options, name) for name in ("n", "sampler", "num_steps", "seed", "batch_size", "raw_weights")}
    told = {"source": source, "model": repr(diffusion), "seconds": round(seconds, 3)}
    card = {**how, **told, "manifest": manifest(device=device)}
    with replacing(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")
