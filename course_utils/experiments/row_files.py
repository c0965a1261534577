"""Experiments of many rows, each minutes long, that may be stopped at any moment and called again.

A row is measured, written as whole lines, and never measured again while its records are in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from course_utils.measure import Record, load, record

__all__ = ["Reading", "Row", "fill", "find", "inside"]


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


def fill(path: Path, rows: Sequence[Row], title: str) -> list[Record]:
    """Measure the rows whose records are not all in the file yet, in order, each written as it is done.

    Returns the records of all these rows, whether made now or before. Raises `ValueError` where a row gives other kinds
    than it said.
    """
    told = load(path) if path.exists() else []
    for row in tqdm(rows, desc=title, unit="row", dynamic_ncols=True):
        missing = [kind for kind in row.kinds if find(told, kind, row.identity) is None]
        if missing:
            told += _written(path, row, missing)
    found = (find(told, kind, row.identity) for row in rows for kind in row.kinds)
    return [one for one in found if one is not None]


def find(records: Sequence[Record], kind: str, identity: Mapping[str, Any]) -> Record | None:
    """The latest record of a kind whose configuration says all that `identity` says."""
    for one in reversed(records):
        if one.kind == kind and all(key in one.config and one.config[key] == identity[key] for key in identity):
            return one
    return None


def inside(path: str | Path) -> str:
    """A path as it may be written down: relative to here where it lies below, else its last part alone."""
    full = Path(path).resolve()
    return full.relative_to(Path.cwd()).as_posix() if full.is_relative_to(Path.cwd()) else full.name


def _written(path: Path, row: Row, missing: Sequence[str]) -> list[Record]:
    """Measure a row and write its missing records."""
    readings = {reading.kind: reading for reading in row.measure()}
    if set(readings) != set(row.kinds):
        raise ValueError(f"row {row.name!r} gave {', '.join(readings)}, wanted {', '.join(row.kinds)}.")
    made = []
    for reading in (readings[kind] for kind in missing):
        config = {**row.identity, "command": row.command, **reading.more}
        bounds: dict[str, Any] = {"low": reading.low, "high": reading.high, "n": reading.n}
        made.append(record(reading.kind, row.name, config, reading.value, reading.unit, **bounds, path=path))
    return made
