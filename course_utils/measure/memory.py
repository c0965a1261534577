"""The most memory that one call holds at once, counted by the allocator and not by sampling the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from course_utils.measure.observers import refuse_profilers
from course_utils.measure.synchronize import cuda_devices
from course_utils.measure.tables import Table, Tabular, bytes_text

__all__ = ["Memory", "peak_memory"]


@dataclass(frozen=True)
class Memory(Tabular):
    """Memory of one call beyond what was there before it, in bytes.

    `peak_bytes` at the worst moment, `held_bytes` at the end while the result is still alive, on `device`.
    """

    peak_bytes: int
    held_bytes: int
    device: str

    def table(self) -> Table:
        """Peak and rest."""
        row = [self.device, bytes_text(self.peak_bytes), bytes_text(self.held_bytes)]
        return Table(["device", "peak", "held by the result"], [row])

    def __repr__(self) -> str:
        return f"Memory(peak {bytes_text(self.peak_bytes)}, held {bytes_text(self.held_bytes)}, {self.device})"


def peak_memory(fn: Callable[..., object], *args: object) -> Memory:
    """Peak memory of one call `fn(*args)` beyond what its inputs and weights held before.

    On CUDA, when `fn` or an argument lives there, the caching allocator's own maximum; otherwise the CPU allocator's
    events, each allocation and release of torch in order (what a library takes past torch's allocator is not seen, and
    releasing what was there before makes no room). Raises RuntimeError while a profiler is active.
    """
    refuse_profilers("peak_memory")
    devices = cuda_devices(fn, args)
    if devices:  # pragma: no cover - CUDA
        return _cuda_memory(fn, args, devices)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = fn(*args)
    allocations = _allocations(profiler)
    del result
    return _replay(allocations)


def _allocations(profiler: profile) -> list[tuple[int, int]]:
    """(address, bytes) of each block taken (positive) or given back (negative) on the CPU, in order of time."""
    results: Any = profiler.profiler and profiler.profiler.kineto_results
    events = [event for event in _all_events(results.experimental_event_tree()) if event.name == "[memory]"]
    fields = [event.extra_fields for event in sorted(events, key=lambda event: event.start_time_ns)]
    return [(field.ptr, field.alloc_size) for field in fields if field.device.type == "cpu"]


def _all_events(events: Sequence[Any]) -> Iterator[Any]:
    for event in events:
        yield event
        yield from _all_events(event.children)


def _replay(allocations: Sequence[tuple[int, int]]) -> Memory:
    """Add up what is alive; giving back a block that was there before the call makes no room."""
    alive: dict[int, int] = {}
    peak = held = 0
    for address, size in allocations:
        if size > 0:
            alive[address] = size
            held += size
            peak = max(peak, held)
        else:
            held -= alive.pop(address, 0)
    return Memory(peak, held, "cpu")


def _cuda_memory(
    fn: Callable[..., object], args: tuple[object, ...], devices: list[torch.device]
) -> Memory:  # pragma: no cover - CUDA
    """The sum over `devices` of each one's own maximum."""
    for device in devices:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    before = [torch.cuda.memory_allocated(device) for device in devices]
    result = fn(*args)
    for device in devices:
        torch.cuda.synchronize(device)
    peak = sum(torch.cuda.max_memory_allocated(d) - b for d, b in zip(devices, before, strict=True))
    held = sum(torch.cuda.memory_allocated(d) - b for d, b in zip(devices, before, strict=True))
    del result
    return Memory(peak, held, ", ".join(map(str, devices)))
