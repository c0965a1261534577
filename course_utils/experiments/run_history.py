"""What a run's log says about one of its checkpoints: command, data, time, machine."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.diffusion import list_checkpoints
from course_utils.experiments.training_log import read_log
from course_utils.experiments.training_run import parser

__all__ = ["RunHistory", "machine", "read_history"]


@dataclass(frozen=True)
class RunHistory:
    """The folder of a training run and the entries of its log, oldest first."""

    folder: Path
    entries: tuple[dict[str, Any], ...]

    @property
    def steps(self) -> list[int]:
        """The steps whose checkpoints were kept, in ascending order."""
        return [_step(path) for path in list_checkpoints(self.folder)]

    def checkpoint(self, step: int) -> Path:
        """The checkpoint of a step. Raises `FileNotFoundError`, naming those that were kept."""
        found = next((path for path in list_checkpoints(self.folder) if _step(path) == step), None)
        if found is None:
            raise FileNotFoundError(
                f"{self.folder} holds no checkpoint of step {step:,}, only of {_listed(self.steps)}: "
                "choose a --budget whose quarter, half and whole were kept."
            )
        return found

    def data(self) -> dict[str, Any]:
        """What the run was trained on: `images` in words and their `count`."""
        found = [entry for entry in self.entries if entry["event"] == "data"]
        if not found:
            raise ValueError(f"{self.folder / 'log.jsonl'} does not say which images were used: this run cannot ship.")
        return {name: found[-1][name] for name in ("images", "count")}

    def start(self, step: int) -> dict[str, Any]:
        """The last start that led to `step`: its options and its manifest."""
        return [entry for entry in self.entries if entry["event"] == "start" and entry["step"] < step][-1]

    def begun_from(self) -> dict[str, Any] | None:
        """Whose weights the run began with (`train --init`), or None for a fresh start."""
        starts = [entry for entry in self.entries if entry["event"] == "start" and entry["step"] == 0]
        return starts[-1].get("init") if starts else None

    def images_before(self) -> int | None:
        """The images that the weights it began with had seen; 0 for a fresh start, None where that is not known."""
        begun = self.begun_from()
        return begun["images_seen"] if begun else 0

    def seconds(self, step: int) -> float:
        """Seconds of training up to `step`, over all the processes that took part and without what they lost."""
        total = latest = 0.0
        for entry in self.entries:
            if entry["event"] == "start":
                total, latest = total + latest, 0.0
            elif entry["event"] == "step" and entry["step"] <= step:
                latest = entry["seconds"]
        return total + latest

    def command(self, step: int, num_steps: int | None = None) -> str:
        """The words that train like the run at `step`, up to `num_steps` (None: up to there), without what is usual."""
        options = {**self.start(step)["options"], "num_steps": num_steps or step}
        usual = {name: parser().get_default(name) for name in options if name != "seed"}
        given = [
            f"--{name.replace('_', '-')} {_typed(value)}"
            for name, value in options.items()
            if value is not None and (name == "seed" or value != usual[name])
        ]
        begun = self.begun_from()
        init = [f"--init {_typed(begun['source'].removeprefix('the shipped '))}"] if begun else []
        return " ".join(["python -m course_utils train", *given, *init])


def read_history(folder: Path) -> RunHistory:
    """Read the log of a run's folder. Raises `FileNotFoundError` where there is none."""
    entries = read_log(folder / "log.jsonl")
    if not any(entry["event"] == "start" for entry in entries):
        raise FileNotFoundError(f"{folder} holds no log of a training run: name the folder that `train --out` wrote.")
    return RunHistory(folder, tuple(entries))


def machine(made_on: dict[str, Any]) -> str:
    """The device of a manifest in words."""
    threads = made_on["threads"]
    return f"{made_on['device']['name']}, {threads} thread{'s' if threads != 1 else ''}"


def _typed(value: object) -> str:
    """An option's value as it is typed."""
    return shlex.join(value) if isinstance(value, list) else shlex.quote(str(value))


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))


def _listed(steps: list[int]) -> str:
    return ", ".join(f"{step:,}" for step in steps) or "none"
