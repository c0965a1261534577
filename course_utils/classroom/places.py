"""Where a number was measured: numbers of unlike machines or scales never stand in one table as if they were alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from course_utils.diffusion import scale
from course_utils.measure import manifest

__all__ = ["Place", "here", "place_of"]


@dataclass(frozen=True)
class Place:
    """A device by name, the cores granted to the process, and the scale at which the notebooks ran."""

    device: str
    cores: int | None
    scale: str

    def __str__(self) -> str:
        """`AMD EPYC, 2 cores, laptop scale`."""
        cores = [f"{self.cores} core{'' if self.cores == 1 else 's'}"] if self.cores else []
        return ", ".join([self.device, *cores, f"{self.scale} scale"])


def here() -> Place:
    """This machine at this scale."""
    return place_of(manifest(), scale().name)


def place_of(told: Mapping[str, Any], size: str) -> Place:
    """The place that a record's manifest tells of, at scale `size`."""
    return Place(str((told.get("device") or {}).get("name")), told.get("cores_granted"), size)
