"""Named stretches of a program, seen by three listeners: Nsight (nvtx), torch.profiler and our own timer.

with collect_regions() as times:
    with region("forward"):
        loss = model(x, t)
print(times)
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import nvtx
import torch

from course_utils.measure.synchronize import device_synchronizer
from course_utils.measure.tables import Table, Tabular, seconds_text
from course_utils.measure.timing import Timing, measure

__all__ = ["RegionOverhead", "RegionTimes", "RegionTotal", "collect_regions", "region", "region_overhead"]


@dataclass
class RegionTotal:
    """What one region cost: `calls`, `total_s` inside it, and `own_s` of that outside the regions within it."""

    path: str
    calls: int = 0
    total_s: float = 0.0
    own_s: float = 0.0

    @property
    def mean_s(self) -> float:
        """Seconds per call."""
        return self.total_s / max(self.calls, 1)


class RegionTimes(Tabular):
    """Time by region; a region within another is named by its path, `step/forward`.

    `totals` maps paths to `RegionTotal`; `wall_s` is the time from the start of the collection to its end (or to now).
    """

    def __init__(self, clock: Callable[[], float], synchronize: Callable[[], None]) -> None:
        self.clock = clock
        self.synchronize = synchronize
        self.totals: dict[str, RegionTotal] = {}
        self._lock = threading.Lock()
        self._start_s = clock()
        self._end_s: float | None = None

    @property
    def wall_s(self) -> float:
        """Seconds that were collected for."""
        return (self.clock() if self._end_s is None else self._end_s) - self._start_s

    def add(self, path: str, seconds: float) -> None:
        """Add one call of the region `path`, `seconds` long; its parent's own time shrinks by as much."""
        parent, _, _ = path.rpartition("/")
        with self._lock:
            total = self.totals.setdefault(path, RegionTotal(path))
            total.calls += 1
            total.total_s += seconds
            total.own_s += seconds
            if parent:
                self.totals.setdefault(parent, RegionTotal(parent)).own_s -= seconds

    def stop(self) -> None:
        """End the collection: `wall_s` stands still from now on."""
        self._end_s = self.clock()

    def table(self) -> Table:
        """Regions by path, each below the one it lies in: calls, total, mean, own time, share of the wall time."""
        wall = self.wall_s or 1.0
        rows = [
            [
                "  " * path.count("/") + path.rpartition("/")[2],
                total.calls,
                seconds_text(total.total_s),
                seconds_text(total.mean_s),
                seconds_text(total.own_s),
                f"{total.total_s / wall:.0%}",
            ]
            for path, total in self._sorted()
            if total.calls
        ]
        calls = sum(total.calls for total in self.totals.values())
        note = f"wall time {seconds_text(self.wall_s)}, {calls} regions"
        return Table(["region", "calls", "total", "mean", "own", "share"], rows, note=note)

    def _sorted(self) -> list[tuple[str, RegionTotal]]:
        """By path, siblings by falling time."""

        def key(path: str) -> list[tuple[float, str]]:
            parts = itertools.accumulate(path.split("/"), lambda a, b: f"{a}/{b}")
            return [(-self.totals[part].total_s if part in self.totals else 0.0, part) for part in parts]

        return sorted(self.totals.items(), key=lambda item: key(item[0]))


class _Open(threading.local):
    """Names of the regions that this thread is in."""

    def __init__(self) -> None:
        self.names: list[str] = []


_open = _Open()
_collectors: list[RegionTimes] = []


class region:
    """`with region(name):` marks a stretch for nvtx, for torch.profiler, and for `collect_regions`; may be nested.

    Where nobody listens it costs a few hundred nanoseconds (`region_overhead()` measures it).
    """

    __slots__ = ("_record", "_starts", "name")

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> region:
        """Open the region in this thread."""
        nvtx.push_range(self.name)
        self._record = None
        if torch.autograd.profiler._is_profiler_enabled:
            self._record = torch.profiler.record_function(self.name)
            self._record.__enter__()
        _open.names.append(self.name)
        self._starts = [(times, _now(times)) for times in _collectors] if _collectors else ()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, also when the stretch raised."""
        if self._starts:
            path = "/".join(_open.names)
            for times, start in self._starts:
                times.add(path, _now(times) - start)
        _open.names.pop()
        if self._record is not None:
            self._record.__exit__(kind, error, trace)
        nvtx.pop_range()


def _now(times: RegionTimes) -> float:
    times.synchronize()
    return times.clock()


@contextmanager
def collect_regions(
    *, clock: Callable[[], float] = time.perf_counter, synchronize: Callable[[], None] | None = None
) -> Iterator[RegionTimes]:
    """Add up the time of every `region` that opens meanwhile, in any thread.

    By default waits for an initialised GPU at both ends of each region, so that work is billed where it was launched;
    `synchronize=lambda: None` leaves the queue alone and times the launching.
    """
    times = RegionTimes(clock, device_synchronizer() if synchronize is None else synchronize)
    _collectors.append(times)
    try:
        yield times
    finally:
        times.stop()
        _collectors.remove(times)


@dataclass(frozen=True, repr=False)
class RegionOverhead(Tabular):
    """What an empty region costs, `idle` where nobody listens and `collecting` within `collect_regions`."""

    idle: Timing
    collecting: Timing

    def table(self) -> Table:
        """One row each."""
        rows = [[name, seconds_text(timing.median_s)] for name, timing in vars(self).items()]
        return Table(["an empty region", "costs"], rows)


def region_overhead() -> RegionOverhead:
    """Measure the cost of an empty `region` on this machine."""

    def empty() -> None:
        with region("overhead"):
            pass

    idle = measure(empty, min_time_s=0.05)
    with collect_regions():
        return RegionOverhead(idle, measure(empty, min_time_s=0.05))
