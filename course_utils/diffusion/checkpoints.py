"""Checkpoints: one safetensors file a step, whole or not there, that says what it is and proves that it is intact.

The tensors are `model.*`, `ema.*` and `optimizer.*`, by names without wrappers' prefixes; the header holds one line of
JSON (step, seed, recipe, versions ...) and the SHA-256 of that line and all tensors. A file appears by one rename, so
a process that dies at any moment leaves the checkpoints before it as they were. It stores a recipe, never a class:
nothing is unpickled.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from course_utils import __version__
from course_utils.atomic import replacing
from course_utils.diffusion.baseline import Diffusion, Recipe, Treatment, build
from course_utils.diffusion.ema import EMA
from course_utils.diffusion.process import refuse_mps
from course_utils.diffusion.readings import NotFiniteError
from course_utils.diffusion.training import TrainState
from course_utils.diffusion.weights import load_tensors, model_tensors

__all__ = ["latest", "list_checkpoints", "load_checkpoint", "load_weights", "save_checkpoint", "save_weights"]

_FORMAT = 1
_NAME = re.compile(r"step_(\d{8,})\.safetensors")
Treatments = Mapping[str, Treatment]


def save_checkpoint(place: str | Path, state: TrainState, *, keep: int = 3) -> Path:
    """Write a checkpoint and return its path.

    `place` is a folder, in which it becomes `step_XXXXXXXX.safetensors` and only the last `keep` are kept, or a path
    ending in `.safetensors`. Raises `NotFiniteError` rather than store a NaN, and `OSError` when the file cannot be
    written; the earlier ones stay as they were.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    place = Path(place)
    single = place.suffix == ".safetensors"
    path = place if single else place / f"step_{state.step:08d}.safetensors"
    tensors, plain = _contents(state)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise NotFiniteError(f"{name} holds NaN or infinity and was not saved", state.step)
    if not single:
        _remove_unfinished(place)
    _write(path, tensors, {"kind": "checkpoint", **plain})
    if not single:
        for old in list_checkpoints(place)[:-keep]:
            old.unlink()
    return path


def list_checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, oldest step first; none if it does not exist."""
    found = [path for path in Path(folder).glob("step_*.safetensors") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("step_")))


def latest(folder: str | Path) -> Path | None:
    """The checkpoint with the highest step in a folder, or None."""
    return next(reversed(list_checkpoints(folder)), None)


def load_checkpoint(
    path: str | Path, *, treatments: Treatments | None = None, device: torch.device | str = "cpu"
) -> TrainState:
    """Read a checkpoint (the latest, if `path` is a folder) and rebuild the run's state on `device`.

    `treatments` are the structural ones that the recipe names. Raises `FileNotFoundError` when there is none,
    `ValueError` when the file is damaged, something else, or does not fit its recipe.
    """
    path = Path(path)
    if path.is_dir():
        path = latest(path) or path / "step_*.safetensors"
    tensors, plain = _read(path, "checkpoint")
    diffusion = _rebuilt(path, plain, _part(tensors, "model"), treatments, device)
    ema = EMA(diffusion.model, plain["ema_decay"])
    ema.load(_part(tensors, "ema"))
    moments: dict[str, dict[str, Any]] = {name: dict(entry) for name, entry in plain["moments"].items()}
    for name, tensor in _part(tensors, "optimizer").items():
        parameter, _, key = name.rpartition(".")
        moments.setdefault(parameter, {})[key] = tensor
    counts = {name: plain[name] for name in ("step", "seed", "images_seen", "optimizer")}
    return TrainState(diffusion, ema, moments=moments, scaler=plain.get("scaler", {}), **counts)


def save_weights(path: str | Path, diffusion: Diffusion, *, dtype: torch.dtype | None = None) -> Path:
    """Write a model's weights with its recipe, to be shipped and sampled from; `dtype` (bfloat16, say) saves space.

    Give it `state.averaged()` for the weights that a run is judged by. Raises `OSError` when the file cannot be
    written.
    """
    own = model_tensors(diffusion.model)
    tensors = {
        f"model.{name}": tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        for name, tensor in own.items()
    }
    _write(Path(path), tensors, {"kind": "weights", "recipe": diffusion.recipe.to_json()})
    return Path(path)


def load_weights(
    path: str | Path, *, treatments: Treatments | None = None, device: torch.device | str = "cpu"
) -> Diffusion:
    """Rebuild what `save_weights` wrote, in float32 and ready to be sampled from.

    A checkpoint is read too, for its averaged weights. Raises as `load_checkpoint` does.
    """
    path = Path(path)
    tensors, plain = _read(path, "weights", "checkpoint")
    part = "model" if plain["kind"] == "weights" else "ema"
    diffusion = _rebuilt(path, plain, _part(tensors, part), treatments, device)
    diffusion.model.eval()
    return diffusion


def _contents(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a checkpoint holds: tensors by name, and the plain values."""
    tensors = {f"model.{name}": tensor for name, tensor in model_tensors(state.diffusion.model).items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in state.ema.tensors.items()}
    plain: dict[str, dict[str, Any]] = {}
    for parameter, entry in state.moments.items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{parameter}.{key}"] = value
            else:
                plain.setdefault(parameter, {})[key] = value
    values = {
        "step": state.step,
        "seed": state.seed,
        "images_seen": state.images_seen,
        "optimizer": state.optimizer,
        "moments": plain,
        "ema_decay": state.ema.decay,
        "recipe": state.diffusion.recipe.to_json(),
    }
    if state.scaler:
        values["scaler"] = state.scaler
    return tensors, values


def _write(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    versions = {"course_utils": __version__, "torch": torch.__version__, "safetensors": safetensors.__version__}
    text = json.dumps({"format": _FORMAT, "versions": versions, **values}, sort_keys=True)
    stored = _storable(tensors)
    try:
        with replacing(path) as temporary:
            save_file(stored, temporary, metadata={"course_kit": text, "sha256": _checksum(stored, text)})
    except (OSError, SafetensorError) as error:
        raise OSError(f"could not write {path}: {error}; free some space or choose another folder") from error


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, none sharing its memory with another."""
    seen: set[int] = set()
    stored = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        address = plain.untyped_storage().data_ptr()
        stored[name] = plain.clone() if address in seen else plain
        seen.add(address)
    return stored


def _read(path: Path, *kinds: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and plain values of a file that is proved to be whole and of one of these kinds."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {' or '.join(kinds)} file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file ({error}); use an earlier checkpoint") from error
    if "course_kit" not in header:
        raise ValueError(f"{path} is a safetensors file, but this kit did not write it: no 'course_kit' in its header")
    text = header["course_kit"]
    if _checksum(tensors, text) != header.get("sha256"):
        raise ValueError(f"{path} is damaged: its content does not match its SHA-256; use an earlier checkpoint")
    values: dict[str, Any] = json.loads(text)
    if values["format"] != _FORMAT or values["kind"] not in kinds:
        found = f"{values['kind']} in format {values['format']}"
        raise ValueError(f"{path} holds {found}, wanted {' or '.join(kinds)} in format {_FORMAT}")
    return tensors, values


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over the plain values and every tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors `part.*`, without that prefix."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}


def _rebuilt(
    path: Path,
    values: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    treatments: Treatments | None,
    device: torch.device | str,
) -> Diffusion:
    refuse_mps(device)
    diffusion = build(Recipe.from_json(values["recipe"]), treatments)
    try:
        load_tensors(diffusion.model, weights)
    except ValueError as error:
        raise ValueError(f"{path} does not fit its own recipe, {diffusion!r}: {error}") from error
    diffusion.model.to(device)
    return diffusion


def _remove_unfinished(folder: Path) -> None:
    """Clear away what a process that was killed while writing has left behind."""
    for path in folder.glob(".step_*.tmp"):
        path.unlink()
