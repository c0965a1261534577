"""The most memory that one call holds at once, counted by the allocator and not by sampling the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
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

    On CUDA, when `fn` or an argument lives there or the call takes memory there, the caching allocator's own maximum;
    otherwise the CPU allocator's events, each allocation and release of torch in order (what a library takes past
    torch's allocator is not seen, and releasing what was there before makes no room). The first call of all also takes
    workspaces that stay; Apple's MPS is not seen. Raises RuntimeError while a profiler is active.
    """
    refuse_profilers("peak_memory")
    named = cuda_devices(fn, args)
    before = _cuda_start()
    with nullcontext() if named else profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = fn(*args)
    on_cuda = _cuda_memory(before, named)
    allocations = _allocations(profiler) if on_cuda is None else []
    del result
    return on_cuda or _replay(allocations)


def _allocations(profiler: Any) -> list[tuple[int, int]]:
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


def _cuda_start() -> dict[torch.device, int]:
    """Bytes allocated on every GPU, all idle and their maxima set back; empty while CUDA is not initialised."""
    if not torch.cuda.is_initialized():
        return {}
    allocated = {}
    for device in (torch.device("cuda", index) for index in range(torch.cuda.device_count())):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        allocated[device] = torch.cuda.memory_allocated(device)
    return allocated


def _cuda_memory(before: dict[torch.device, int], named: list[torch.device]) -> Memory | None:
    """The sum over GPUs of each one's own maximum beyond `before`; None when the call took nothing on any GPU.

    A function tells not always where it works (a closure hides its tensors), the allocators do.
    """
    if not torch.cuda.is_initialized():
        return None
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    peaks = {device: torch.cuda.max_memory_allocated(device) - before.get(device, 0) for device in devices}
    used = [device for device in devices if peaks[device] > 0 or device in named]
    if not used:
        return None
    for device in used:
        torch.cuda.synchronize(device)
    held = sum(torch.cuda.memory_allocated(device) - before.get(device, 0) for device in used)
    return Memory(sum(peaks[device] for device in used), held, ", ".join(map(str, used)))
