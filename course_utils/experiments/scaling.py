"""Does a training step scale with processes? `python -m course_utils.experiments.scaling`.

Starts `--processes` of itself with torchrun and times whole training steps (fetch, forward, backward, exchange, clip,
Adam, EMA) in several layouts, in turns within one run: one process alone, two that keep their batch (weak scaling), two
that divide it (strong scaling), two that do not exchange anything, and so on. Who has no part in a layout waits. With
`--ddp` it is one of several that a launcher has started. Beside what was measured stands what the ring model predicts
up to 1,024 GPUs, with its assumptions.
"""

from __future__ import annotations

import argparse
import copy
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from course_utils.diffusion import (
    EMA,
    Batches,
    Diffusion,
    LossModule,
    Stepper,
    TrainState,
    adam,
    baseline,
    denoising_loss,
    load_heldout,
    scale,
)  # fmt: skip
from course_utils.entry import StatedDefaults, run_main
from course_utils.experiments.devices import DEVICE_HELP
from course_utils.experiments.launcher import launch
from course_utils.experiments.layouts import KIND, Layout, Scaling, layouts, scaling_of
from course_utils.experiments.ranks import Ranks, joined
from course_utils.experiments.row_files import inside
from course_utils.measure import load, manifest, record
from course_utils.measure.collectives import LINKS, Forecast, forecast
from course_utils.speedups import replicated

__all__ = ["main", "predicted", "time_scaling"]

STEP = "fetch, forward, backward, exchange, clip, Adam, EMA"
NS = tuple(2**power for power in range(11))
GPU_WEIGHTS, GPU_FLOP = 35_711_491, 10.93e9
"""Weights of the network of scale `gpu`, and FLOP of its forward and backward pass for one image, as counted."""

FLOP_SHARE = 0.3
"""Of a GPU's bf16 peak, as an assumption: small pictures do not fill a large GPU."""

_PROGRAM = ("-m", "course_utils.experiments.scaling", "--ddp")


def time_scaling(
    *, processes: int = 2, batch_size: int | None = None, rounds: int = 7, size: str | None = None,
    device: str | None = None,
) -> Scaling:  # fmt: skip
    """Start `processes` processes and time training steps in all layouts; nothing is recorded.

    `batch_size` images a process (default: the scale's), at scale `size`. Raises what `launch` raises.
    """
    with tempfile.TemporaryDirectory(prefix="course-scaling-") as folder:
        path = Path(folder) / "records.jsonl"
        _launched(processes, _words(batch_size, rounds, size, device), path, size)
        return scaling_of(load(path))


def predicted(link: str = "InfiniBand NDR", *, batch: int = 128, flop_per_s: float = 989.4e12) -> Forecast:
    """Predict scaling of the network of scale `gpu` to 1,024 GPUs that are joined by one of `LINKS`.

    `batch` images a GPU; `flop_per_s` is a GPU's bf16 peak (H100 SXM), of which a share of `FLOP_SHARE` is assumed.
    Raises `ValueError` for an unknown link.
    """
    if link not in LINKS:
        raise ValueError(f"link is {link!r}, wanted one of {', '.join(LINKS)}.")
    return forecast(LINKS[link], NS, batch=batch, image_s=GPU_FLOP / (FLOP_SHARE * flop_per_s), nbytes=4 * GPU_WEIGHTS)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils.experiments.scaling",
        description="Time training steps with 1 to N processes, and predict them for more.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add("--processes", type=int, default=2, metavar="N", help="how many to start here")
    add("--ddp", action="store_true", help="be one of the processes that a launcher has started")
    add("--batch-size", type=int, metavar="N", help="images a process (default: the scale's)")
    add("--rounds", type=int, default=7, metavar="N", help="steps of each layout")
    add("--scale", help="smoke, laptop or gpu (default: COURSE_SCALE, else this machine's)")
    add("--link", default="InfiniBand NDR", choices=list(LINKS), help="link of the prediction")
    add("--out", type=Path, default=Path("results/local/scaling.jsonl"), metavar="FILE", help="records")
    add("--device", help=DEVICE_HELP)
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure and predict from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    batch_size = scale(options.scale).batch_size if options.batch_size is None else options.batch_size
    if batch_size < 1 or options.rounds < 1 or options.processes < 1:
        raise ValueError(
            f"--batch-size, --rounds and --processes must be positive, got {batch_size}, {options.rounds} and "
            f"{options.processes}."
        )
    words = _words(batch_size, options.rounds, options.scale, options.device)
    if not options.ddp:
        _launched(options.processes, words, options.out, options.scale)
        print(scaling_of(load(options.out)), f"records in {inside(options.out)}\n", predicted(options.link), sep="\n")
        return 0
    with joined(options.device, started_as=str(words)) as ranks:
        _measured(ranks, baseline(options.scale).to(ranks.device), batch_size, options)
    return 0


def _words(batch_size: int | None, rounds: int, size: str | None, device: str | None) -> list[str]:
    """The options that all processes must have alike."""
    given = {"--batch-size": batch_size, "--rounds": rounds, "--scale": size, "--device": device}
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]


def _launched(processes: int, words: Sequence[str], path: Path, size: str | None) -> None:
    """Let torchrun start the processes; rank 0 writes the records to `path`."""
    passive = scale(size).name == "smoke"  # tests run beside other work, and their times are no evidence
    launch(*_PROGRAM, *words, "--out", str(path.resolve()), processes=processes, passive=passive, show=False)


def _measured(ranks: Ranks, diffusion: Diffusion, batch_size: int, options: argparse.Namespace) -> None:
    """Time all layouts in turns; rank 0 writes a record of each."""
    steps = _steps(ranks, layouts(ranks.world_size, batch_size, ranks.device.type == "cpu"), diffusion)
    samples = _timed(ranks, steps, options.rounds)
    if not ranks.first:
        return
    made_on = manifest(device=ranks.device, devices=ranks.world_size, dtype="float32", step=STEP)
    about = {"started": round(time.time(), 3), "net": diffusion.recipe.net, **ranks.described()}
    for layout, taken in samples.items():
        low, median, high = np.quantile(taken, [0.25, 0.5, 0.75])
        bounds: dict[str, Any] = {"low": float(low), "high": float(high), "n": len(taken)}
        config = {**about, **layout.told(), "samples_s": taken}
        record(KIND, layout.name, config, float(median), "s", path=options.out, manifest=made_on, **bounds)


def _steps(ranks: Ranks, wanted: Sequence[Layout], diffusion: Diffusion) -> dict[Layout, Callable[[], object]]:
    """What this process does in each layout; all processes must form all groups, in one order."""
    groups = {n: dist.new_group(list(range(n))) for n in sorted({layout.processes for layout in wanted})}
    return {layout: _step(ranks, layout, groups[layout.processes], diffusion) for layout in wanted}


def _step(ranks: Ranks, layout: Layout, group: Any, diffusion: Diffusion) -> Callable[[], object]:
    """One whole training step in a layout, on a model of its own; nothing for those who have no part in it."""
    if ranks.rank >= layout.processes:
        return lambda: None
    own = diffusion.with_model(copy.deepcopy(diffusion.model))
    own.model.train()
    share: dict[str, Any] = {"rank": ranks.rank, "world_size": layout.processes}
    batches = Batches(load_heldout(), layout.batch, device=ranks.device, **share)
    module = LossModule(own.model, own.process, denoising_loss)
    stepper = Stepper(
        TrainState(own, EMA(own.model)), adam(fused=True), _wrapped(module, layout, group, ranks), **share
    )

    def step() -> object:
        torch.set_num_threads(layout.threads)
        return stepper.step(batches)

    return step


def _wrapped(module: LossModule, layout: Layout, group: Any, ranks: Ranks) -> nn.Module:
    """The loss as the layout computes it."""
    if layout.copies > 1:
        return replicated(module, layout.copies)
    if layout.processes == 1 or not layout.exchange:
        return module
    ids = [ranks.device.index] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, process_group=group, gradient_as_bucket_view=True)


def _timed(
    ranks: Ranks, steps: dict[Layout, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[Layout, list[float]]:
    """Seconds of a step of the slowest process in each layout; they take turns, in an order that all shuffle alike."""
    samples: dict[Layout, list[float]] = {layout: [] for layout in steps}
    shuffle = random.Random(0)
    for number in range(warmup + rounds):
        for layout in shuffle.sample(list(steps), len(steps)):
            ranks.wait()
            started = time.perf_counter()
            steps[layout]()
            if ranks.device.type == "cuda":
                torch.cuda.synchronize()
            slowest = max(ranks.gather(time.perf_counter() - started))
            if number >= warmup:
                samples[layout].append(slowest)
    return samples


if __name__ == "__main__":
    raise SystemExit(run_main(main))
