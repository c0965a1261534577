"""Each block of a model against the three limits of its device: what binds it, and where it stands in a U-Net.

A limit is the least time that a block's arithmetic, traffic or launches need; the largest of the three binds it, as in
a roofline with a floor for launches. Source: Williams, Waterman, Patterson, Roofline (2009).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from course_utils.measure import Ceilings, Profile
from course_utils.measure.traffic import Counts

__all__ = ["Block", "Level", "Part", "blocks_of", "levels_of"]

EDGES = "in and out"


@dataclass(frozen=True)
class Part:
    """A block in one phase: measured seconds, FLOP, bytes, kernels, and the least seconds by limit."""

    time_s: float
    flop: int
    bytes_moved: int
    kernels: int
    limits: Mapping[str, float]

    @property
    def bound(self) -> str:
        """Which limit binds: memory, compute or launch."""
        return max(self.limits, key=lambda name: self.limits[name])

    @property
    def intensity(self) -> float:
        """FLOP/byte."""
        return self.flop / self.bytes_moved if self.bytes_moved else 0.0

    @property
    def flop_per_s(self) -> float:
        """Achieved FLOP/s."""
        return self.flop / self.time_s if self.time_s else 0.0


@dataclass(frozen=True)
class Block:
    """A block by its dotted name and class, with its parts by phase: forward, and where measured backward and both."""

    name: str
    kind: str
    parts: Mapping[str, Part]


@dataclass(frozen=True)
class Level:
    """A row of the drawing: blocks by index on the way down, in the middle, on the way up."""

    name: str
    down: tuple[int, ...] = ()
    middle: tuple[int, ...] = ()
    up: tuple[int, ...] = ()


def blocks_of(
    profile: Profile,
    forward: Mapping[str, Counts],
    total: Mapping[str, Counts] | None,
    ceilings: Ceilings,
    dtype: str = "fp32",
) -> list[Block]:
    """The blocks of a profile with their limits, in its order; `total` counts forward and backward together.

    Raises ValueError for a dtype that the ceilings lack.
    """
    if dtype not in ceilings.flop_per_s:
        raise ValueError(f"dtype is {dtype!r}, wanted one of those measured here: {', '.join(ceilings.flop_per_s)}.")
    rates = (ceilings.flop_per_s[dtype], ceilings.bytes_per_s, ceilings.launch_s)
    made = []
    for row in profile.rows:
        parts = {"forward": _part(row.forward_s, forward[row.name], rates)}
        if row.backward_s is not None and total is not None:
            parts["backward"] = _part(row.backward_s, total[row.name] - forward[row.name], rates)
            parts["both"] = _part(row.time_s, total[row.name], rates)
        made.append(Block(row.name, row.kind, parts))
    return made


def levels_of(names: Sequence[str]) -> list[Level]:
    """Where blocks stand: those of a U-Net in two arms by level, the middle below; of another model by prefix."""
    stages = {side: _stages(names, side) for side in ("downs", "ups")}
    if not stages["downs"] or len(stages["downs"]) != len(stages["ups"]):
        return _by_prefix(names)
    middle = tuple(i for i, name in enumerate(names) if name.split(".")[-1].startswith("mid"))
    arms = {i for side in stages.values() for stage in side for i in stage} | set(middle)
    first = min(stages["downs"][0])
    before = tuple(i for i in range(len(names)) if i not in arms and i < first)
    after = tuple(i for i in range(len(names)) if i not in arms and i > first)
    pairs = zip(stages["downs"], reversed(stages["ups"]), strict=True)
    rows = [Level(f"level {n}", down, (), up) for n, (down, up) in enumerate(pairs, 1)]
    return [Level(EDGES, before, (), after), *rows, *([Level("middle", (), middle)] if middle else [])]


def _stages(names: Sequence[str], side: str) -> list[tuple[int, ...]]:
    """The blocks of each stage on one side of a U-Net, by its number."""
    found: dict[int, list[int]] = {}
    for index, name in enumerate(names):
        if told := re.search(rf"(?:^|\.){side}\.(\d+)\.", name):
            found.setdefault(int(told[1]), []).append(index)
    return [tuple(found[number]) for number in sorted(found)]


def _by_prefix(names: Sequence[str]) -> list[Level]:
    """One row for each run of names with the same first part; names without a dot share a row."""
    rows: list[tuple[str, list[int]]] = []
    for index, name in enumerate(names):
        prefix = name.rpartition(".")[0] or "model"
        if not rows or rows[-1][0] != prefix:
            rows.append((prefix, []))
        rows[-1][1].append(index)
    return [Level(prefix, (), tuple(indices)) for prefix, indices in rows]


def _part(seconds: float, counts: Counts, rates: tuple[float, float, float]) -> Part:
    flop_per_s, bytes_per_s, launch_s = rates
    limits = {
        "compute": counts.flop / flop_per_s,
        "memory": counts.bytes_moved / bytes_per_s,
        "launch": counts.kernels * launch_s,
    }
    return Part(seconds, counts.flop, counts.bytes_moved, counts.kernels, limits)
