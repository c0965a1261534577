"""Draw pictures from a checkpoint into a file: `python -m course_utils sample`."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torch.distributed.elastic.multiprocessing.errors import record
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
from course_utils.experiments.devices import DEVICE_HELP
from course_utils.experiments.named_models import load_named, shipped_base
from course_utils.experiments.ranks import Ranks, alone, joined
from course_utils.experiments.split_sampling import every_nth_batch, fitting_batch_size
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
    add("--ddp", action="store_true", help="one of several processes, started by torchrun or srun: each draws a share")
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
    if options.ddp:
        return record(_together)(options) or 0  # `record` hands the reason of a crash to torchrun
    return drawn(options, alone(options.device))


def _together(options: argparse.Namespace) -> int:
    """Run `sample` as one of several processes; returns the exit status."""
    started_as = json.dumps({name: value for name, value in vars(options).items() if name != "data"}, default=str)
    with joined(options.device, started_as=started_as) as ranks:
        return drawn(options, ranks)


def drawn(options: argparse.Namespace, ranks: Ranks) -> int:
    """Draw, and write the grid and its card in the first process; returns the exit status."""
    diffusion, source = chosen_model(options)
    images, seconds = draw(diffusion, options, str(ranks.device), ranks)
    if ranks.first:
        save_grid(options.out, images)
        write_card(options, diffusion, source, seconds, ranks)
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


def draw(
    diffusion: Diffusion, options: argparse.Namespace, device: str, ranks: Ranks | None = None
) -> tuple[Tensor, float]:
    """Draw with a progress bar, by the processes `ranks` if given; -> (images uint8 (N, 3, H, W), seconds)."""
    rank, world_size = (ranks.rank, ranks.world_size) if ranks else (0, 1)
    batch_size = fitting_batch_size(options.n, options.batch_size, world_size)
    batches = len(range(rank, math.ceil(options.n / batch_size), world_size))
    start = time.perf_counter()

    def advance(i: int, t: int, x_t: Tensor, x_0: Tensor) -> None:
        bar.update(1)

    how: dict[str, Any] = {"unit": "call", "desc": "drawing", "dynamic_ncols": True, "disable": rank > 0}
    with tqdm(total=batches * options.num_steps, **how) as bar:
        images = sample(
            diffusion,
            options.n,
            sampler=every_nth_batch(options.sampler, rank, world_size) if world_size > 1 else options.sampler,
            num_steps=options.num_steps,
            seed=options.seed,
            batch_size=batch_size,
            device=device,
            callback=advance,
        )
    return ranks.total(images) if ranks else images, time.perf_counter() - start


def save_grid(path: Path, images: Tensor) -> None:
    """Write pictures, uint8 (N, 3, H, W), as one square PNG grid, whole or not at all."""
    sheet = make_grid(images, nrow=math.ceil(len(images) ** 0.5), pad_value=255)
    with replacing(path) as temporary:
        Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(temporary, format="png")


def write_card(options: argparse.Namespace, diffusion: Diffusion, source: str, seconds: float, ranks: Ranks) -> None:
    """Write how the grid was made beside it, as JSON."""
    how = {name: getattr(options, name) for name in ("n", "sampler", "num_steps", "seed", "batch_size", "raw_weights")}
    told = {"source": source, "model": repr(diffusion), "seconds": round(seconds, 3)}
    made = {**manifest(device=ranks.device), **(ranks.described() if ranks.together else {})}
    card = {**how, **told, "manifest": made}
    with replacing(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")
