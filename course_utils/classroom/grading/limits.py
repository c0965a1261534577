"""How much of the machine a submission may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What one kernel may take: seconds for a cell and in all, memory, processes, and what it may print."""

    cell_s: float = 60.0
    notebook_s: float = 240.0
    memory_bytes: int = 4 * 2**30
    processes: int = 48
    output_bytes: int = 8 * 2**20
