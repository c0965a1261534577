"""Experiments of many rows, each minutes long, that may be stopped at any moment and called again.

A row is measured, written as whole lines, and never measured again while its records are in the file. A file keeps what
was measured with an older classifier or older weights too: `alike` and `judged_alike` find what may stand side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from course_utils.measure import Record, load, manifest, record

__all__ = ["JUDGED", "Reading", "Row", "alike", "fill", "find", "inside", "judged_alike"]

JUDGED = ("extractor", "sha256", "reference_sha256", "heldout_sha256")
"""Under which names a record says by whom it was judged, see `Judge.told`."""


@dataclass(frozen=True)
class Reading:
    """One number of a row: of which kind, with which bounds, from how many images, and what else is to be known."""

    kind: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What a row is (`identity`, as plain values), which kinds of numbers it gives, how it is measured, and by whom.

    `command` makes the same numbers again.
    """

    name: str
    identity: Mapping[str, Any]
    kinds: tuple[str, ...]
    measure: Callable[[], Sequence[Reading]]
    command: str


def fill(path: Path, rows: Sequence[Row], title: str, *, device: torch.device | str | None = None) -> list[Record]:
    """Measure the rows whose records are not all in the file yet, in order, each written as it is done.

    `device` is the one that works, for the manifest. Returns the records of all these rows, whether made now or before.
    Raises `ValueError` where a row gives other kinds than it said.
    """
    told = load(path) if path.exists() else []
    for row in tqdm(rows, desc=title, unit="row", dynamic_ncols=True):
        missing = [kind for kind in row.kinds if find(told, kind, row.identity) is None]
        if missing:
            told += _written(path, row, missing, device)
    found = (find(told, kind, row.identity) for row in rows for kind in row.kinds)
    return [one for one in found if one is not None]


def find(records: Sequence[Record], kind: str, identity: Mapping[str, Any]) -> Record | None:
    """The latest record of a kind whose configuration says all that `identity` says."""
    for one in reversed(records):
        if one.kind == kind and all(key in one.config and one.config[key] == identity[key] for key in identity):
            return one
    return None


def alike(records: Sequence[Record], names: Sequence[str]) -> list[Record]:
    """The records that say under each of `names` what the latest one says, in their order."""
    wanted = {name: one.config.get(name) for one in records[-1:] for name in names}
    return [one for one in records if all(one.config.get(name) == value for name, value in wanted.items())]


def judged_alike(records: Sequence[Record]) -> list[Record]:
    """The records that were judged like the latest of their kind: by the same extractor, against the same images."""
    fit = {id(one) for kind in {one.kind for one in records} for one in alike(_of(records, kind), JUDGED)}
    return [one for one in records if id(one) in fit]


def inside(path: str | Path) -> str:
    """A path as it may be written down: relative to here where it lies below, else its last part alone."""
    full = Path(path).resolve()
    return full.relative_to(Path.cwd()).as_posix() if full.is_relative_to(Path.cwd()) else full.name


def _of(records: Sequence[Record], kind: str) -> list[Record]:
    return [one for one in records if one.kind == kind]


def _written(path: Path, row: Row, missing: Sequence[str], device: torch.device | str | None) -> list[Record]:
    """Measure a row and write its missing records."""
    readings = {reading.kind: reading for reading in row.measure()}
    if set(readings) != set(row.kinds):
        raise ValueError(f"row {row.name!r} gave {', '.join(readings)}, wanted {', '.join(row.kinds)}.")
    made, made_on = [], manifest(device=device, seed=row.identity.get("seed"))
    for reading in (readings[kind] for kind in missing):
        config = {**row.identity, "command": row.command, **reading.more}
        bounds: dict[str, Any] = {"low": reading.low, "high": reading.high, "n": reading.n}
        about: dict[str, Any] = {**bounds, "path": path, "manifest": made_on}
        made.append(record(reading.kind, row.name, config, reading.value, reading.unit, **about))
    return made
