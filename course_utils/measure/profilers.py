"""Line by line through Python code, and what each profiler costs the program that it watches."""

from __future__ import annotations

import cProfile
import inspect
import linecache
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from line_profiler import LineProfiler
from torch.profiler import ProfilerActivity

from course_utils.measure.blocks import module_of
from course_utils.measure.comparison import Ratio, paired_ratio
from course_utils.measure.observers import refuse_profilers
from course_utils.measure.synchronize import device_synchronizer
from course_utils.measure.tables import Table, Tabular, interval_text, seconds_text
from course_utils.measure.timing import Clock, Stopwatch

__all__ = ["LineProfile", "LineRow", "ProfilerOverhead", "line_profile", "profiler_overhead"]

BARE = "no profiler"


@dataclass(frozen=True)
class LineRow:
    """One line of a function: how often it ran, its time in seconds, and its share of all lines' time."""

    function: str
    line: int
    hits: int
    time_s: float
    share: float
    source: str


@dataclass(frozen=True, repr=False)
class LineProfile(Tabular):
    """What `line_profile` returns: the lines that ran, function by function in the order of the source."""

    rows: tuple[LineRow, ...]
    total_s: float

    def head(self, n: int = 5) -> LineProfile:
        """The `n` lines that took longest."""
        return replace(self, rows=tuple(sorted(self.rows, key=lambda row: -row.time_s)[:n]))

    def table(self) -> Table:
        """One row a line."""
        rows = [(r.function, r.line, r.hits, seconds_text(r.time_s), f"{r.share:.1%}", r.source) for r in self.rows]
        note = f"{seconds_text(self.total_s)} in all, slowed by the profiler; a line includes what it calls"
        return Table(("function", "line", "hits", "time", "share", "source"), rows, note=note)


def line_profile(
    fn: Callable[..., Any], *args: Any, functions: Sequence[Callable[..., Any]] | None = None, **kwargs: Any
) -> LineProfile:
    """Run `fn(*args, **kwargs)` once warm and once under line_profiler, and report the lines of `functions`.

    By default those are the `forward` of a module, or `fn` itself. On an accelerator a line shows when work was queued,
    not when it ran. Raises ValueError for a function without Python source, RuntimeError under another profiler.
    """
    refuse_profilers("line_profile")
    watched = [_plain_function(f) for f in functions or [fn]]
    fn(*args, **kwargs)
    with _lines(watched) as profiler:
        fn(*args, **kwargs)
    stats = profiler.get_stats()
    total = sum(taken for lines in stats.timings.values() for _, _, taken in lines) * stats.unit
    rows = tuple(
        LineRow(name, line, hits, taken * stats.unit, taken * stats.unit / total, linecache.getline(file, line).strip())
        for (file, _, name), lines in stats.timings.items()
        for line, hits, taken in sorted(lines)
    )
    return LineProfile(rows, total)


@dataclass(frozen=True)
class OverheadRow:
    """One profiler: median time of the call while it watches, how many times slower, and its own start and stop."""

    name: str
    time_s: float
    slowdown: Ratio
    start_stop_s: float


@dataclass(frozen=True, repr=False)
class ProfilerOverhead(Tabular):
    """What `profiler_overhead` returns: one row a profiler, the bare call first."""

    rows: tuple[OverheadRow, ...]
    rounds: int

    def table(self) -> Table:
        """One row a profiler."""
        rows = [
            (row.name, seconds_text(row.time_s), _slowdown_text(row), seconds_text(row.start_stop_s))
            for row in self.rows
        ]
        note = f"medians of {self.rounds} interleaved rounds, 95 % bootstrap intervals of paired ratios"
        return Table(("profiler", "time", "slower by", "start and stop"), rows, note=note)


def profiler_overhead(
    fn: Callable[..., Any],
    *args: Any,
    rounds: int = 7,
    clock: Clock = time.perf_counter,
    synchronize: Callable[[], None] | None = None,
    **kwargs: Any,
) -> ProfilerOverhead:
    """Time `fn(*args, **kwargs)` bare and under each profiler, taking turns, and say what each of them costs.

    Watched by: torch.profiler; torch.profiler with stacks, memory and shapes; cProfile; line_profiler (on the function,
    or on the `forward` of every submodule). Starting and stopping a profiler is timed apart from the call.
    """
    refuse_profilers("profiler_overhead")
    if rounds < 2:
        raise ValueError(f"rounds is {rounds}, wanted at least 2: one ratio has no interval.")
    watch = Stopwatch(clock, device_synchronizer(fn, args, kwargs) if synchronize is None else synchronize)
    observers = _observers(fn)
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in observers}
    for _ in range(rounds + 1):
        for name, observer in observers.items():
            samples[name].append(_observed(lambda: fn(*args, **kwargs), observer(), watch))
    times = {name: np.array(pairs[1:]) for name, pairs in samples.items()}  # the first round warms up
    rows = tuple(
        OverheadRow(
            name,
            float(np.median(pairs[:, 0])),
            paired_ratio(pairs[:, 0].tolist(), times[BARE][:, 0].tolist()),
            float(np.median(pairs[:, 1])),
        )
        for name, pairs in times.items()
    )
    return ProfilerOverhead(rows, rounds)


def _observers(fn: Callable[..., Any]) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    functions = _functions_of(fn)
    observers: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        BARE: nullcontext,
        "torch.profiler": lambda: torch.profiler.profile(activities=activities),
        "torch.profiler, stacks, memory, shapes": lambda: torch.profiler.profile(
            activities=activities, with_stack=True, profile_memory=True, record_shapes=True
        ),
        "cProfile": cProfile.Profile,
    }
    return observers | ({"line_profiler": lambda: _lines(functions)} if functions else {})


def _observed(run: Callable[[], Any], observer: AbstractContextManager[Any], watch: Stopwatch) -> tuple[float, float]:
    """Seconds of the call while observed, and of starting and stopping the observer."""
    start = watch.clock()
    with _kept_trace(), observer:
        inner_s = watch.sample(run)
    return inner_s, watch.clock() - start - inner_s


@contextmanager
def _lines(functions: Sequence[Callable[..., Any]]) -> Iterator[LineProfiler]:
    profiler = LineProfiler(*functions)
    with _kept_trace():
        profiler.enable_by_count()
        try:
            yield profiler
        finally:
            profiler.disable_by_count()


@contextmanager
def _kept_trace() -> Iterator[None]:
    """Gives coverage or a debugger its trace function back, which profilers take away."""
    trace, hook = sys.gettrace(), sys.getprofile()
    try:
        yield
    finally:
        sys.settrace(trace)
        sys.setprofile(hook)


def _functions_of(fn: Callable[..., Any]) -> list[Callable[..., Any]]:
    root = module_of(fn)
    if root is None:
        return [inspect.unwrap(fn)] if inspect.isfunction(inspect.unwrap(fn)) else []
    forwards = {type(module).forward for module in root.modules()}
    return [forward for forward in forwards if inspect.isfunction(forward)]


def _plain_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    found = type(fn).forward if isinstance(fn, torch.nn.Module) else inspect.unwrap(getattr(fn, "__func__", fn))
    if not inspect.isfunction(found):
        raise ValueError(f"line_profile wants Python functions, got {fn!r}; pass functions=[...].")
    return found


def _slowdown_text(row: OverheadRow) -> str | None:
    return None if row.name == BARE else interval_text(row.slowdown.value, row.slowdown.low, row.slowdown.high)
