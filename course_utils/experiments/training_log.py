"""The log of a training run: one JSON line for each start, each loss that was read, and the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_utils.atomic import replacing
from course_utils.diffusion import StepInfo

__all__ = ["TrainingLog", "read_log"]


def read_log(path: Path) -> list[dict[str, Any]]:
    """All lines of a log; the last one may be cut off where a process was killed, and is then left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number} is not JSON: mend or delete that line.") from error
    return entries


class TrainingLog:
    """Appends to a log file; what an earlier process did after `step`, and lost, is dropped first."""

    def __init__(self, path: Path, *, step: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [entry for entry in read_log(path) if entry.get("step", 0) <= step]
        with replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Append one line."""
        with self.path.open("a") as file:
            file.write(json.dumps({"event": event, **values}) + "\n")

    def step(self, info: StepInfo) -> None:
        """Append a step whose loss was read."""
        self.write(
            "step",
            {
                "step": info.step,
                "images_seen": info.images_seen,
                "loss": info.loss,
                "img_per_s": round(info.img_per_s or 0.0, 3),
                "seconds": round(info.seconds, 3),
            },
        )
