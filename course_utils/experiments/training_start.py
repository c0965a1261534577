"""With what a training run begins: fresh weights, those of another model, or the last checkpoint of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from course_utils.diffusion import Diffusion, TrainState, baseline, latest, load_checkpoint
from course_utils.diffusion.weights import load_tensors, model_tensors
from course_utils.experiments.named_models import NamedModel
from course_utils.experiments.training_log import read_log
from course_utils.experiments.training_options import Options
from course_utils.speedups import STRUCTURAL, execution_only, treat

__all__ = ["begin_or_resume", "changed_options", "origin"]

LEARNING = ("lr", "ema_decay")  # what may change from one start to the next, and changes what is learned


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


def changed_options(entries: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> str:
    """The options of what is learned that differ from those of the last start in a log, as words; blank for none."""
    last: Mapping[str, Any] = next((entry["options"] for entry in reversed(entries) if entry["event"] == "start"), {})
    new = {name: told["options"].get(name) for name in LEARNING if name in last}
    found = [f"--{name.replace('_', '-')} {now}, so far {last[name]}" for name, now in new.items() if now != last[name]]
    return "; ".join(found)
