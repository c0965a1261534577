"""A few training steps of the baseline to look at: `python slurm/profile_steps.py --out FOLDER [--plain]`.

With torch.profiler: a table by operator, one by block, and a Chrome trace. `--plain` only runs the steps, each named by
an NVTX range, for a profiler that is wrapped around (nsys).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nvtx
import torch

from course_utils.diffusion import SCALES, Batches, adam, baseline, load_images, scale, train
from course_utils.entry import run_main
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.measure import profile, trace
from course_utils.speedups import treat

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Profile the steps that the options ask for."""
    parser = argparse.ArgumentParser(prog="python slurm/profile_steps.py", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the trace goes")
    add("--scale", choices=SCALES, help="size of the network (default: by hardware, or COURSE_SCALE)")
    add("--device", help=DEVICE_HELP)
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies (default: COURSE_DATA, then data/)")
    add("--batch-size", type=int, metavar="N", help="images a step (default: the scale's)")
    add("--steps", type=int, default=3, metavar="N", help="steps to record (default: 3)")
    add("--treatments", nargs="+", default=[], metavar="T", help="as in `python -m course_utils train`")
    add("--plain", action="store_true", help="run the steps without a profiler of ours")
    options = parser.parse_args(argv)
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    """Build the model and its batches, then record."""
    size, device = scale(options.scale), torch.device(chosen_device(options.device))
    diffusion = treat(baseline(size.name).to(device), *options.treatments)
    images = load_images("train", folder=options.data, n=10_000)
    batches = Batches(images, options.batch_size or size.batch_size, seed=0, device=device)

    def steps(count: int = 1) -> None:
        train(diffusion, batches, num_steps=count, optimizer=adam(2e-4, fused=True), log_every=count)

    if options.plain:
        steps(3)  # to warm up
        with nvtx.annotate("steps"):
            steps(options.steps)
        return
    path = options.out / "trace.json.gz"
    print(trace(steps, path=path, steps=options.steps, overwrite=True), "\n")
    x_t = torch.randn(options.batch_size or size.batch_size, 3, 32, 32, device=device)  # (N, C, H, W)
    t = torch.zeros(len(x_t), dtype=torch.long, device=device)
    print(profile(diffusion.model, x_t, t).head(12))


if __name__ == "__main__":
    sys.exit(run_main(main))
