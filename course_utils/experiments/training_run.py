"""The recorded training run: `python -m course_utils train`.

A run lives in one folder: `step_*.safetensors` (checkpoints), `log.jsonl` (every loss that was read, with a manifest at
each start) and `weights.safetensors` (the averaged weights, once the run is complete). The same words typed again go on
where the run stopped. With `--ddp` it is one of several processes, of which rank 0 alone prints and writes.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.elastic.multiprocessing.errors import record
from tqdm.auto import tqdm

from course_utils.diffusion import (
    Batches,
    Diffusion,
    HeldoutLoss,
    ImageSet,
    StepInfo,
    TrainState,
    adam,
    heldout_loss,
    latest,
    load_images,
    load_weights,
    save_checkpoint,
    save_weights,
    scale,
    train,
)
from course_utils.experiments.named_models import load_named
from course_utils.experiments.ranks import Ranks, alone, joined
from course_utils.experiments.stopping import Agreed, StopFlag, ask_to_go_on
from course_utils.experiments.training_log import TrainingLog, read_log
from course_utils.experiments.training_options import STOPPED, Options, asked, described, parser, started_as
from course_utils.experiments.training_start import begin_or_resume, changed_options, origin
from course_utils.measure import manifest
from course_utils.speedups import STRUCTURAL, distributed, loss_scaler, needs_loss_scaling

__all__ = ["STOPPED", "Options", "main", "parser", "run_training"]


@dataclass(frozen=True)
class End:
    """How a run ended: its state, whether that is its last step, and what stopped it if not."""

    state: TrainState
    complete: bool
    why: str


def main(argv: list[str] | None = None) -> int:
    """Run `train` from the command line; returns the exit status."""
    options = asked(argv)
    if options.ddp:
        return record(_together)(options) or 0  # `record` hands the reason of a crash to torchrun
    with StopFlag() as stop:
        end = run_training(options, stop, alone(options.device))
    return _ended(end, first=True)


def _together(options: Options) -> int:
    """Run `train` as one of several processes; returns the exit status."""
    with StopFlag(patient=True) as stop, joined(options.device, started_as=started_as(options)) as ranks:
        end = run_training(options, stop, ranks)
    if not end.complete:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # launchers send it to all once the first process has ended
    return _ended(end, first=ranks.first)


def _ended(end: End, *, first: bool) -> int:
    """The exit status; the first process says how to go on."""
    if not end.complete and first:
        print(f"{end.why}; type the same command again to go on.", file=sys.stderr)
    return 0 if end.complete else STOPPED


def run_training(options: Options, stop: StopFlag, ranks: Ranks) -> End:
    """Train, or go on with what lies in the run's folder, until its last step or until a stop is asked for."""
    run = begun_run(options, stop, ranks)
    state = trained(run, Agreed(stop, ranks.agree) if ranks.together else stop)
    complete = state.step >= run.num_steps
    why = "" if complete else f"Stopped by {stopped_by(stop, ranks)} after step {state.step:,}"
    end, worked = End(state, complete, why), shares_of_work(ranks, run.batches.count, state.step - run.start)
    if run.log is not None:
        put_away(run, end, run.log, worked)
        print(f"step {state.step:,}, {state.images_seen:,} images of {run.images.label} seen: {latest(run.folder)}")
    return end


@dataclass(frozen=True, eq=False)
class Run:
    """A run that is ready to go: from step `start` to `num_steps`; `log` is there in the first process alone."""

    options: Options
    ranks: Ranks
    folder: Path
    start: int
    num_steps: int
    images: ImageSet
    batches: Counted
    diffusion: Diffusion
    state: TrainState | None
    log: TrainingLog | None


def begun_run(options: Options, stop: StopFlag, ranks: Ranks) -> Run:
    """Fetch images, model and, where the folder holds a checkpoint, its state; open the log."""
    size = scale(options.scale)
    folder = options.out or Path("results/local") / f"train-{size.name}-{options.seed}"
    if ranks.first:
        stop.watch(folder)
    images = training_images(options, ranks)
    init = load_named(options.init) if options.init else None
    diffusion, state = begin_or_resume(options, folder, ranks.device, init)
    start, num_steps = state.step if state else 0, options.num_steps or size.train_steps
    refuse_unlike(ranks, images, start)
    batch_size = options.batch_size or size.batch_size
    share: dict[str, Any] = {"rank": ranks.rank, "world_size": ranks.world_size, "device": ranks.device}
    batches = Counted(Batches(images, batch_size, seed=options.seed, **share))
    told = {"options": described(options), "init": origin(init), "num_steps": num_steps}
    told |= {"global_batch": batch_size * ranks.world_size}
    log = begun_log(folder, start, images, told, ranks) if ranks.first else None
    return Run(options, ranks, folder, start, num_steps, images, batches, diffusion, state, log)


def trained(run: Run, should_stop: Callable[[], bool]) -> TrainState:
    """Train to the end or the stop, with a bar, a log and checkpoints in the first process; -> the state."""
    options, ranks = run.options, run.ranks

    def keep(reached: TrainState) -> None:
        if ranks.first:
            save_checkpoint(run.folder, reached, keep=options.keep)

    with Progress(run.log, run.start, run.num_steps) as progress:
        return train(
            run.diffusion,
            run.batches,
            num_steps=run.num_steps,
            optimizer=adam(options.lr, fused=True),
            ema_decay=options.ema_decay,
            seed=options.seed,
            rank=ranks.rank,
            world_size=ranks.world_size,
            average=ranks.average if ranks.together else None,
            state=run.state,
            scaler=loss_scaler(ranks.device) if needs_loss_scaling(run.diffusion.model) else None,
            wrap=distributed if ranks.together else None,
            should_stop=should_stop,
            on_step=progress,
            checkpoint=keep,
            checkpoint_every=options.checkpoint_every,
            log_every=options.log_every,
        )


class Counted:
    """Batches, and how many images they have given."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.count = batches, 0

    def __call__(self, step: int) -> Tensor:
        """The batch of a step, float32 (N, C, H, W)."""
        x_0 = self.batches(step)
        self.count += len(x_0)
        return x_0


def training_images(options: Options, ranks: Ranks) -> ImageSet:
    """Load the training images; on each node one process comes first, so that a download happens once."""
    if not ranks.first_here:
        ranks.wait()
    images = load_images("train", folder=options.data)
    if ranks.first_here:
        ranks.wait()
    return images


def refuse_unlike(ranks: Ranks, images: ImageSet, start: int) -> None:
    """Raise `ValueError` where processes would train on other images, or go on from another step."""
    plans = ranks.gather(f"{len(images):,} images of {images.label} from step {start:,} on")
    for member, plan in zip(ranks.members, plans, strict=True):
        if plan != plans[0]:
            raise ValueError(
                f"{member} would train on {plan}, rank 0 on {plans[0]}: all need the same --data, and an --out that "
                "all of them see."
            )


def begun_log(folder: Path, start: int, images: ImageSet, told: dict[str, Any], ranks: Ranks) -> TrainingLog:
    """Open the log and write what this start is: options, processes, manifest; say what is new since the last one."""
    log = TrainingLog(folder / "log.jsonl", step=start)
    if start == 0:
        log.write("data", {"images": images.label, "count": len(images)})
    entries = read_log(log.path)
    if start and (changed := changed_options(entries, told)):
        print(f"From step {start:,} on with {changed}. For a run of its own choose another --out.")
    before = [entry["global_batch"] for entry in entries if entry.get("global_batch")]
    if start and before and before[-1] != told["global_batch"]:
        print(
            f"From here on a step takes {told['global_batch']} images, so far it took {before[-1]}: some images come "
            "twice or not at all in this pass. For the same steps as before choose processes x --batch-size alike."
        )
    made = manifest(device=ranks.device)
    group = ranks.described()
    log.write("start", {"step": start, **told, **group, "manifest": {**made, **(group if ranks.together else {})}})
    return log


def stopped_by(stop: StopFlag, ranks: Ranks) -> str:
    """What asked for the stop, and in which process; no matter which where several were asked."""
    names = ranks.gather(stop.name)
    rank = next((rank for rank, name in enumerate(names) if name), 0)
    return f"{names[rank]}{f' at rank {rank}' if ranks.world_size > 1 else ''}"


def shares_of_work(ranks: Ranks, count: int, steps: int) -> list[int]:
    """The images that each process has trained on, by rank. Raises `RuntimeError` where one has had none."""
    counts: list[int] = ranks.gather(count)
    for member, images in zip(ranks.members, counts, strict=True):
        if steps and not images:
            raise RuntimeError(f"{member} has trained on no image in {steps:,} steps: its device did no work.")
        if ranks.world_size > 1:
            print(f"{member}: {images:,} images")
    return counts


def put_away(run: Run, end: End, log: TrainingLog, worked: list[int]) -> None:
    """Write the checkpoint, and then either what a complete run leaves or the wish to go on."""
    path = save_checkpoint(run.folder, end.state, keep=run.options.keep)
    if run.ranks.together:
        log.write("work", {"step": end.state.step, "images": worked})
    if end.complete:
        finish(run.options, path, end.state, log)
    else:
        ask_to_go_on(run.folder, end.why)


def finish(options: Options, checkpoint: Path, state: TrainState, log: TrainingLog) -> None:
    """Write the averaged weights and, if asked, their held-out loss on test images, both in float32."""
    averaged = load_weights(checkpoint, treatments=STRUCTURAL, device=state.diffusion.device)
    save_weights(checkpoint.with_name("weights.safetensors"), averaged)
    if options.heldout:
        loss = held_out(averaged, options)
        print(loss)
        log.write("heldout", {"step": state.step, "loss": loss.mean, "n": len(loss.per_image), "seed": loss.seed})


def held_out(diffusion: Diffusion, options: Options) -> HeldoutLoss:
    """The held-out loss on test images."""
    images = load_images("test", folder=options.data, n=options.heldout)
    return heldout_loss(diffusion, images.images, n=options.heldout)


class Progress:
    """The bar of a run and its log, fed by the same `StepInfo`: img/s, loss, time left; silent without a log."""

    def __init__(self, log: TrainingLog | None, start: int, num_steps: int) -> None:
        self.log = log
        how: dict[str, Any] = {"unit": "step", "desc": "training", "dynamic_ncols": True, "disable": log is None}
        self.bar = tqdm(initial=start, total=num_steps, **how)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def __call__(self, info: StepInfo) -> None:
        """Take in one step."""
        self.bar.update(1)
        if info.loss is None or self.log is None:
            return
        self.bar.set_postfix_str(f"loss {info.loss:.4f}, {info.img_per_s:,.1f} img/s", refresh=False)
        self.log.step(info)
