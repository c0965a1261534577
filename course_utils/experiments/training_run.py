"""The recorded training run: `python -m course_utils train`.

A run lives in one folder: `step_*.safetensors` (checkpoints), `log.jsonl` (every loss that was read, with a manifest at
each start) and `weights.safetensors` (the averaged weights, once the run is complete). The same words typed again go on
where the run stopped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm.auto import tqdm

from course_utils.diffusion import (
    SCALES,
    Batches,
    Diffusion,
    HeldoutLoss,
    StepInfo,
    TrainState,
    adam,
    baseline,
    heldout_loss,
    latest,
    load_checkpoint,
    load_images,
    load_weights,
    save_checkpoint,
    save_weights,
    scale,
    train,
)
from course_utils.diffusion.weights import load_tensors, model_tensors
from course_utils.entry import StatedDefaults
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.named_models import NamedModel, load_named
from course_utils.experiments.stopping import StopFlag
from course_utils.experiments.training_log import TrainingLog, read_log
from course_utils.measure import manifest
from course_utils.speedups import STRUCTURAL, execution_only, loss_scaler, needs_loss_scaling, treat

__all__ = ["STOPPED", "main", "run_training"]

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again later
HELDOUT_IMAGES = 512


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


def parser() -> argparse.ArgumentParser:
    """The command line of `train`."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils train",
        description="Train the baseline. The same words typed again go on where the run stopped.",
        epilog=f"Exit status: 0 complete, {STOPPED} stopped by a signal after a checkpoint (type it again to go on), "
        "2 a mistake in the options or the data.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add("--scale", choices=SCALES, help="size of the network and the run (default: by hardware, or COURSE_SCALE)")
    add("--num-steps", type=int, metavar="N", help="optimizer steps in all (default: the scale's)")
    add("--batch-size", type=int, metavar="N", help="images a step (default: the scale's)")
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
    return made


def main(argv: list[str] | None = None) -> int:
    """Run `train` from the command line; returns the exit status."""
    options = Options(**vars(parser().parse_args(argv)))
    check_options(options)
    with StopFlag() as stop:
        state, complete = run_training(options, stop)
    if complete:
        return 0
    print(f"Stopped by {stop.name} after step {state.step:,}; type the same command again to go on.", file=sys.stderr)
    return STOPPED


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


def run_training(options: Options, stop: StopFlag) -> tuple[TrainState, bool]:
    """Train, or go on with what lies in the run's folder; -> (state, whether it reached its last step)."""
    size = scale(options.scale)
    folder = options.out or Path("results/local") / f"train-{size.name}-{options.seed}"
    num_steps = options.num_steps or size.train_steps
    images = load_images("train", folder=options.data)
    device = torch.device(chosen_device(options.device))
    init = load_named(options.init) if options.init else None
    diffusion, state = begin_or_resume(options, folder, device, init)
    start = state.step if state else 0
    log = TrainingLog(folder / "log.jsonl", step=start)
    if start == 0:
        log.write("data", {"images": images.label, "count": len(images)})
    told = {"step": start, "options": described(options), "init": origin(init), "manifest": manifest(device=device)}
    log.write("start", told)
    batches = Batches(images, options.batch_size or size.batch_size, seed=options.seed, device=device)

    def keep(reached: TrainState) -> None:
        save_checkpoint(folder, reached, keep=options.keep)

    with Progress(log, start, num_steps) as progress:
        state = train(
            diffusion,
            batches,
            num_steps=num_steps,
            optimizer=adam(options.lr, fused=True),
            ema_decay=options.ema_decay,
            seed=options.seed,
            state=state,
            scaler=loss_scaler(device) if needs_loss_scaling(diffusion.model) else None,
            should_stop=stop,
            on_step=progress,
            checkpoint=keep,
            checkpoint_every=options.checkpoint_every,
            log_every=options.log_every,
        )
    path = save_checkpoint(folder, state, keep=options.keep)
    complete = state.step >= num_steps
    if complete:
        finish(options, path, state, log)
    print(f"step {state.step:,}, {state.images_seen:,} images of {images.label} seen: {path}")
    return state, complete


def described(options: Options) -> dict[str, object]:
    """The options as plain values, without the folders, which belong to this machine alone."""
    return {name: value for name, value in vars(options).items() if name not in ("out", "data", "init")}


def origin(init: NamedModel | None) -> dict[str, object] | None:
    """Whose weights a run begins with, as plain values; None for a fresh start."""
    if init is None:
        return None
    return {"source": init.source, "sha256": init.sha256, "images_seen": init.images_seen}


def begin_or_resume(
    options: Options, folder: Path, device: torch.device, init: NamedModel | None
) -> tuple[Diffusion, TrainState | None]:
    """A fresh baseline, with the weights of `init` if given, or the state of the folder's last checkpoint.

    Structural treatments are part of the recipe; those of execution may change from one start to the next. Raises
    `ValueError` where the folder holds a run of another recipe, seed or first weights.
    """
    execution = execution_only(options.treatments)
    fresh = begun(options, init)
    if latest(folder) is None:
        return treat(fresh.to(device), *execution), None
    state = load_checkpoint(folder, treatments=STRUCTURAL, device=device)
    if state.diffusion.recipe != fresh.recipe or state.seed != options.seed:
        raise ValueError(
            f"{folder} holds a run of {in_words(state.diffusion)} with seed {state.seed}, asked was {in_words(fresh)} "
            f"with seed {options.seed}: choose another --out, or the options of that run."
        )
    refuse_other_origin(folder, init)
    print(f"going on at step {state.step:,} of {folder}")
    state = state.with_model(treat(state.diffusion, *execution).model)
    return state.diffusion, state


def begun(options: Options, init: NamedModel | None) -> Diffusion:
    """The model at step 0: a baseline under the structural treatments, which depends on the seed alone, or on `init`.

    Weights of the plain baseline are treated after loading, so that a treatment may start from them; those of a treated
    one are loaded as they are.
    """
    plain = baseline(options.scale, objective=options.objective, beta_schedule=options.beta_schedule, seed=options.seed)
    structure = [text for text in options.treatments if text not in execution_only(options.treatments)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(options.seed)
        if init is None or init.diffusion.recipe != plain.recipe:
            fresh = treat(plain, *structure)
            return begin_from(init, fresh) if init else fresh
        return treat(begin_from(init, plain), *structure)


def in_words(diffusion: Diffusion) -> str:
    """A model and the structural treatments of its recipe, as they are typed."""
    written = [
        f"{name}({', '.join(f'{key}={value}' for key, value in params.items())})" if params else name
        for name, params in diffusion.recipe.treatments
    ]
    return f"{diffusion!r}, treatments: {' '.join(written) or 'none'},"


def begin_from(init: NamedModel, fresh: Diffusion) -> Diffusion:
    """Put the weights of `init` into a fresh baseline. Raises `ValueError` where their recipes differ."""
    if init.diffusion.recipe != fresh.recipe:
        raise ValueError(
            f"--init is {init.diffusion!r}, asked was {fresh!r}: choose the --scale, --objective and --beta-schedule "
            "of those weights, or other weights."
        )
    load_tensors(fresh.model, model_tensors(init.diffusion.model))
    return fresh


def refuse_other_origin(folder: Path, init: NamedModel | None) -> None:
    """Refuse to go on with a run that began with other weights than `--init` names now."""
    starts = [entry for entry in read_log(folder / "log.jsonl") if entry["event"] == "start" and entry["step"] == 0]
    begun = starts[-1].get("init") if starts else None
    if (begun and begun["sha256"]) != (init and init.sha256):
        before = f"the weights of {begun['source']}" if begun else "fresh weights"
        asked = f"those of {init.source}" if init else "fresh ones"
        raise ValueError(
            f"{folder} holds a run that began with {before}, asked was {asked}: choose another --out, or the --init "
            "of that run."
        )


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
    """The bar of a run and its log, fed by the same `StepInfo`: img/s, loss, time left."""

    def __init__(self, log: TrainingLog, start: int, num_steps: int) -> None:
        self.log = log
        self.bar = tqdm(initial=start, total=num_steps, unit="step", desc="training", dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def __call__(self, info: StepInfo) -> None:
        """Take in one step."""
        self.bar.update(1)
        if info.loss is None:
            return
        self.bar.set_postfix_str(f"loss {info.loss:.4f}, {info.img_per_s:,.1f} img/s", refresh=False)
        self.log.step(info)
