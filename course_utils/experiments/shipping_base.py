"""The shipped baseline: weights out of a run's checkpoints, and cards that say what they cost and what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from course_utils.diffusion import SHIPPED_MODELS, Diffusion, heldout_loss, load_checkpoint, load_heldout, save_weights
from course_utils.experiments.run_history import RunHistory, machine, read_history
from course_utils.experiments.shipped_cards import OWN_TERMS, put
from course_utils.speedups import STRUCTURAL

__all__ = ["ENOUGH_IMAGES", "VARIANTS", "ship_base", "ship_second", "ship_variants"]

SHARES = {"base-25": 25, "base-50": 50, "base": 100}
VARIANTS = {"bottleneck-between-25": 25, "bottleneck-inside-25": 25, "fewer-blocks-25": 25}
"""Retrained treatments, and the share of the base's images after which they are compared with it."""
ENOUGH_IMAGES = 2_000_000


def ship_base(run: Path, budget: int | None, folder: Path) -> list[Path]:
    """Put the run's averaged weights at 25, 50 and 100 % of `budget` steps (all it has done) into `folder`.

    Raises `FileNotFoundError` when one of those checkpoints was not kept, `ValueError` for a run on other images than
    CIFAR-10.
    """
    history = read_history(run)
    whole = _budget(history, budget)
    steps = {name: whole * share // 100 for name, share in SHARES.items()}
    found = {name: history.checkpoint(step) for name, step in steps.items()}  # all, before the first is written
    return [_ship(name, path, history, steps[name] / whole, folder) for name, path in found.items()]


def ship_second(run: Path, first: Path, budget: int | None, folder: Path) -> list[Path]:
    """Put another seed's averaged weights after as many steps as the base's into `folder`.

    Raises as `ship_base` does, and `ValueError` where the two differ in more than their seed.
    """
    history = read_history(run)
    whole = _budget(read_history(first), budget)
    path = history.checkpoint(whole)
    _refuse_unlike(history, read_history(first), whole, ("seed",))
    return [_ship("base-seed1", path, history, 1.0, folder)]


def ship_variants(runs: Path, first: Path, budget: int | None, folder: Path) -> list[Path]:
    """Put the retrained treatments whose runs lie in `runs`, one folder a name, into `folder`; say which are not there.

    Each is taken after its share of the base's steps, counting those of the weights it began with. Raises as
    `ship_base` does, and `ValueError` where a run differs from the base's in more than its treatments.
    """
    base = read_history(first)
    whole, made = _budget(base, budget), []
    for name, share in VARIANTS.items():
        if not (runs / name).is_dir():
            print(f"{runs / name} is not there: {name} is left out.")
            continue
        history = read_history(runs / name)
        images = whole * share // 100 * (_batch(base) or 16)
        step = (images - (history.images_before() or 0)) // (_batch(base) or 16)
        _refuse_unlike(history, base, step, ("treatments",))
        made.append(_ship(name, history.checkpoint(step), history, 1.0, folder))
    return made


def _batch(history: RunHistory) -> int | None:
    batch: int | None = history.start(history.steps[-1])["options"]["batch_size"]
    return batch


def _budget(history: RunHistory, budget: int | None) -> int:
    steps = history.steps
    if not steps:
        raise FileNotFoundError(f"{history.folder} holds no checkpoint: train first, with --keep large enough.")
    return budget or steps[-1]


def _refuse_unlike(run: RunHistory, first: RunHistory, step: int, may: tuple[str, ...]) -> None:
    """Two runs are compared at equal training: the same options but for those named and what changes no weight."""
    free = ("num_steps", "checkpoint_every", "keep", "log_every", "heldout", "device", *may)
    told = [history.start(history.steps[-1])["options"] for history in (run, first)]
    options = [{name: value for name, value in one.items() if name not in free} for one in told]
    same_seed = "seed" in may and told[0]["seed"] == told[1]["seed"]
    if options[0] != options[1] or same_seed:
        raise ValueError(
            f"{run.folder} was trained to step {step:,} with {told[0]}, {first.folder} with {told[1]}: the two must "
            f"differ in {' and '.join(may)}, and in that alone."
        )


def _ship(name: str, path: Path, history: RunHistory, share: float, folder: Path) -> Path:
    """Put one checkpoint's averaged weights, in bfloat16, into `folder`, with its held-out loss in the card."""
    state = load_checkpoint(path, treatments=STRUCTURAL)
    diffusion = _rounded(state.averaged())
    told = _card(name, state.step, state.images_seen, state.seed, state.ema.decay, share, history)
    told["parameters"] = diffusion.num_parameters
    told["scores"] = {"held-out loss": _held_out(diffusion)}
    file = f"{name}.safetensors"
    return put(folder, file, lambda target: save_weights(target, diffusion, dtype=torch.bfloat16), told)


def _card(
    name: str, step: int, images_seen: int, seed: int, decay: float, share: float, history: RunHistory
) -> dict[str, Any]:
    """What the log says about a checkpoint. Raises `ValueError` for a run on other images than CIFAR-10."""
    data, start = history.data(), history.start(step)
    if data["images"] != "CIFAR-10":
        raise ValueError(f"{history.folder} was trained on {data['images']}: only a run on CIFAR-10 can be shipped.")
    begun = history.begun_from()
    seen = images_seen + ((begun and begun["images_seen"]) or 0)
    told: dict[str, Any] = {
        "what": f"{SHIPPED_MODELS[name]}; {seen:,} images seen" + _verdict(seen),
        "terms": OWN_TERMS,
        "command": history.command(step, round(step / share)),
        "data": f"{data['images']} train, {data['count']:,} images, mirrored at random",
        "budget": {
            "steps": step,
            "batch_size": images_seen // step,
            "images_seen": seen,
            "share_of_run": round(share, 4),
        },
        "begun_from": begun,
        "weights": f"running average, decay {decay}, stored as bfloat16",
        "device": machine(start["manifest"]),
        "wall_time_s": round(history.seconds(step), 1),
        "seed": seed,
        "manifest": start["manifest"],
    }
    if seen < ENOUGH_IMAGES:
        told["note"] = (
            f"undertrained: {seen:,} images seen, fewer than 2 million; to go on: {_going_on(name, seen, start)}"
        )
    return told


def _verdict(seen: int) -> str:
    return ", undertrained" if seen < ENOUGH_IMAGES else ""


def _going_on(name: str, seen: int, start: dict[str, Any]) -> str:
    """The command that trains a shipped model to 2 million images in all."""
    options = start["options"]
    batch = options["batch_size"] or 16
    left = -(-(ENOUGH_IMAGES - seen) // batch)
    same = " ".join(f"--{name.replace('_', '-')} {options[name]}" for name in ("scale", "lr", "ema_decay"))
    return f"python -m course_utils train --init {name} {same} --batch-size {batch} --num-steps {left} --seed 100"


def _rounded(diffusion: Diffusion) -> Diffusion:
    """The model as it will be read back: every weight as near as bfloat16 comes to it."""
    with torch.no_grad():
        for parameter in diffusion.model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
    return diffusion


def _held_out(diffusion: Diffusion) -> dict[str, Any]:
    """The held-out loss on the shipped test images, as plain values."""
    images = load_heldout()
    loss = heldout_loss(diffusion, images.images, n=len(images))
    error = loss.per_image.std().item() / len(images) ** 0.5
    return {"value": loss.mean, "standard_error": error, "n": len(images), "seed": loss.seed, "images": "heldout"}
