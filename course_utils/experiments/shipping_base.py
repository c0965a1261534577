"""The shipped baseline: weights out of a run's checkpoints, and cards that say what they cost and what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from course_utils.diffusion import SHIPPED_MODELS, Diffusion, heldout_loss, load_checkpoint, load_heldout, save_weights
from course_utils.experiments.run_history import RunHistory, machine, read_history
from course_utils.experiments.shipped_cards import OWN_TERMS, put

__all__ = ["ENOUGH_IMAGES", "ship_base", "ship_second"]

SHARES = {"base-25": 25, "base-50": 50, "base": 100}
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
    """Put another seed's averaged weights after half as many steps as the base's into `folder`.

    Half: two seeds tell at any point of training whether the gate lets equals pass, and here they cost half.

    Raises as `ship_base` does, and `ValueError` where the two differ in more than their seed.
    """
    history = read_history(run)
    whole = _budget(read_history(first), budget)
    half = whole * SHARES["base-50"] // 100
    path = history.checkpoint(half)
    _refuse_unlike(history, read_history(first), half)
    return [_ship("base-50-seed1", path, history, 1.0, folder)]


def _budget(history: RunHistory, budget: int | None) -> int:
    steps = history.steps
    if not steps:
        raise FileNotFoundError(f"{history.folder} holds no checkpoint: train first, with --keep large enough.")
    return budget or steps[-1]


def _refuse_unlike(second: RunHistory, first: RunHistory, step: int) -> None:
    """Two seeds are compared at equal training: the same options but for the seed and what changes no weight."""
    free = ("seed", "num_steps", "checkpoint_every", "keep", "log_every", "heldout", "device")
    options = [
        {name: value for name, value in run.start(step)["options"].items() if name not in free}
        for run in (first, second)
    ]
    seeds = [run.start(step)["options"]["seed"] for run in (first, second)]
    if options[0] != options[1] or seeds[0] == seeds[1]:
        raise ValueError(
            f"{second.folder} was trained with {options[1]} and seed {seeds[1]}, {first.folder} with {options[0]} and "
            f"seed {seeds[0]}: the second run must differ in its seed, and in that alone."
        )


def _ship(name: str, path: Path, history: RunHistory, share: float, folder: Path) -> Path:
    """Put one checkpoint's averaged weights, in bfloat16, into `folder`, with its held-out loss in the card."""
    state = load_checkpoint(path)
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
