"""Whether the hardware that was asked for did any work: cores by CPU time, GPUs by their driver."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from course_utils.measure.cores import cores_granted
from course_utils.measure.gpus import GpuState, gpu_states, gpus
from course_utils.measure.tables import Table, Tabular, bytes_text, seconds_text

__all__ = ["Utilization", "cpu_seconds", "utilization"]


@dataclass(repr=False)
class Utilization(Tabular):
    """How busy the hardware was over `wall_s` seconds; filled in when the `with` block ends.

    `cpu_s` is the CPU time of this process, all its threads and children, `cores` how many cores it was granted.
    `gpu_busy` (mean share), `power_w` (mean watts) and `gpu_memory_bytes` (largest seen) hold one entry a GPU, None for
    what the driver does not tell, and are empty without a GPU.
    """

    cores: int
    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_busy: tuple[float | None, ...] = ()
    power_w: tuple[float | None, ...] = ()
    gpu_memory_bytes: tuple[int | None, ...] = ()

    @property
    def cores_busy(self) -> float:
        """CPU time / wall time / cores granted: 1.0 when every core worked all the time."""
        return self.cpu_s / self.wall_s / self.cores if self.wall_s else 0.0

    def table(self) -> Table:
        """One row for the cores, one for each GPU."""
        used = self.cores_busy * self.cores
        rows = [[f"{self.cores} cores", f"{self.cores_busy:.0%}", None, None]]
        for i, gpu in enumerate(zip(self.gpu_busy, self.power_w, self.gpu_memory_bytes, strict=True)):
            busy, power, memory = gpu
            rows.append([f"GPU {i}", _text(busy, "{:.0%}"), _text(power, "{:.0f} W"), _text(memory, bytes_text)])
        note = f"{used:.2f} cores busy on average over {seconds_text(self.wall_s)}"
        return Table(["device", "busy", "power", "memory"], rows, note=note)


@contextmanager
def utilization(*, interval_s: float = 0.05, nvml: Any = None) -> Iterator[Utilization]:
    """Watch the cores and GPUs during a `with` block; looks at the GPUs every `interval_s` seconds from a thread.

    The driver tells each GPU's share of its last second or so, whoever used it: a block should last several seconds.
    `nvml` stands in for pynvml in tests.
    """
    seen = Utilization(cores_granted())
    with _watched(gpus(nvml), interval_s, nvml) as states:
        wall, cpu = time.perf_counter(), cpu_seconds()
        try:
            yield seen
        finally:
            seen.wall_s, seen.cpu_s = time.perf_counter() - wall, cpu_seconds() - cpu
    by_gpu = list(zip(*states, strict=True))
    seen.gpu_busy = tuple(_mean([state.busy for state in gpu]) for gpu in by_gpu)
    seen.power_w = tuple(_mean([state.power_w for state in gpu]) for gpu in by_gpu)
    seen.gpu_memory_bytes = tuple(max((s.memory_bytes for s in gpu if s.memory_bytes), default=None) for gpu in by_gpu)


def cpu_seconds() -> float:
    """CPU seconds that this process, its threads and all its children, finished or alive, have used so far.

    A child that ends moves from the living to the finished: the sum never jumps.
    """
    total = sum(os.times()[:4])  # user and system, own and of finished children
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:  # ended meanwhile
            continue
        total += times.user + times.system + getattr(times, "children_user", 0.0)
        total += getattr(times, "children_system", 0.0)
    return total


@contextmanager
def _watched(handles: Sequence[Any], interval_s: float, nvml: Any) -> Iterator[list[list[GpuState]]]:
    """Looks at every GPU, one list a look, the first at once and the last at the end; no thread without a GPU."""
    states: list[list[GpuState]] = []
    if not handles:
        yield states
        return
    done = threading.Event()

    def look() -> None:
        while True:
            states.append(gpu_states(list(handles), nvml))
            if done.wait(interval_s):
                return

    thread = threading.Thread(target=look, name="utilization", daemon=True)
    thread.start()
    try:
        yield states
    finally:
        done.set()
        thread.join()


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _text(value: Any, how: str | Callable[[Any], str]) -> str | None:
    if value is None:
        return None
    return how.format(value) if isinstance(how, str) else how(value)
