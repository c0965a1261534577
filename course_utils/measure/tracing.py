"""A timeline of a callable as a Chrome trace, to be opened in a browser (chrome://tracing, ui.perfetto.dev)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from course_utils.measure.manifests import manifest
from course_utils.measure.observers import refuse_profilers
from course_utils.measure.synchronize import device_synchronizer
from course_utils.measure.tables import Table, Tabular, bytes_text, seconds_text

__all__ = ["Trace", "TraceRow", "trace"]

_SHOWN = 10


@dataclass(frozen=True)
class TraceRow:
    """One operator over all steps: calls, and seconds in itself without the operators that it calls."""

    name: str
    calls: int
    cpu_s: float
    device_s: float


@dataclass(frozen=True, repr=False)
class Trace(Tabular):
    """What `trace` returns: where the file is, and the operators by their own time, longest first."""

    path: Path
    steps: int
    rows: tuple[TraceRow, ...]

    def table(self) -> Table:
        """The longest operators."""
        rows = [
            (row.name, row.calls, seconds_text(row.cpu_s), seconds_text(row.device_s) if row.device_s else None)
            for row in self.rows[:_SHOWN]
        ]
        size = bytes_text(self.path.stat().st_size) if self.path.exists() else "gone"
        note = f"{self.steps} steps in {self.path} ({size}); open it at ui.perfetto.dev"
        return Table(("operator", "calls", "own CPU time", "own device time"), rows, note=note)


def trace(
    fn: Callable[..., Any],
    *args: Any,
    path: str | os.PathLike[str],
    steps: int = 3,
    overwrite: bool = False,
    **kwargs: Any,
) -> Trace:
    """Record `steps` calls of `fn(*args, **kwargs)` with torch.profiler, after one to warm up, as a Chrome trace.

    The steps are named `step 0`, `step 1`, ...; the manifest of the measurement is inside the file. A name ending in
    `.gz` is compressed. Raises FileExistsError for an existing `path` unless `overwrite`, RuntimeError under another
    profiler.
    """
    refuse_profilers("trace")
    target = Path(path)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already: pass overwrite=True or another path.")
    if steps < 1:
        raise ValueError(f"steps is {steps}, wanted at least 1.")
    found = manifest()
    synchronize = device_synchronizer(fn, args, kwargs)
    fn(*args, **kwargs)
    synchronize()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
        profiler.add_metadata_json("manifest", json.dumps(found))
        for step in range(steps):
            with torch.profiler.record_function(f"step {step}"):
                fn(*args, **kwargs)
        synchronize()
    _export(profiler, target)
    return Trace(target, steps, _rows(profiler))


def _export(profiler: Any, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{os.getpid()}.part.{target.name}")  # keeps the ending, which decides on compression
    try:
        profiler.export_chrome_trace(str(part))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _rows(profiler: Any) -> tuple[TraceRow, ...]:
    rows = [
        TraceRow(event.key, event.count, event.self_cpu_time_total / 1e6, event.self_device_time_total / 1e6)
        for event in profiler.key_averages()
        if event.device_type.name == "CPU"  # a GPU's kernels come again, as rows of their own
        and not event.key.startswith("step ")
    ]
    return tuple(sorted(rows, key=lambda row: -(row.cpu_s + row.device_s)))
