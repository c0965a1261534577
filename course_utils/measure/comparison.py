"""Which of several variants is faster, and how sure that is: interleaved rounds and paired ratios.

Whatever slows the machine for a while slows all variants of a round alike, so the ratio within a round is steadier than
the times are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from course_utils.measure.memory import peak_memory
from course_utils.measure.observers import marks, refuse_profilers
from course_utils.measure.ratios import Outcome, Ratio, paired_ratio
from course_utils.measure.synchronize import device_synchronizer, kept_random_state
from course_utils.measure.tables import Table, Tabular, bytes_text, seconds_text, si_text
from course_utils.measure.timing import Clock, Stopwatch, Timing

__all__ = ["Comparison", "Ratio", "Variant", "compare", "largest_difference", "paired_ratio"]

MAX_SPREAD = 0.15  # IQR of the baseline over its median; above it no ratio is worth reporting
FEWEST_ROUNDS = 5
MIN_SAMPLE_S = 0.01  # long enough to outlast the time slices of a busy machine


@dataclass(frozen=True)
class Variant:
    """One contestant: `run(*args)` is timed, `reset()` called before each timed run and not timed.

    `output(result)` picks the tensors to compare with the baseline's from the result of `run`; None means that the
    results are not comparable. With a `reset` a sample is a single call.
    """

    name: str
    run: Callable[..., object]
    reset: Callable[[], object] | None = None
    output: Callable[..., object] | None = None


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Times of all variants over the same `rounds`, each against `baseline`.

    `timings` by name (samples in order of the rounds), `peak_bytes` of one call (None: not asked for), `difference` the
    largest absolute difference to the baseline's output (None: not comparable). `order` names the variants as they ran,
    round by round.
    """

    baseline: str
    timings: dict[str, Timing]
    peak_bytes: dict[str, int | None]
    difference: dict[str, float | None]
    images_per_call: float | None = None
    order: tuple[tuple[str, ...], ...] = field(default=(), repr=False)

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return self.timings[self.baseline].n

    @property
    def spread(self) -> float:
        """IQR of the baseline over its median; above 0.15 no ratio is reported."""
        timing = self.timings[self.baseline]
        return timing.iqr_s / timing.median_s if timing.median_s else math.inf

    def speedup(self, name: str) -> Ratio:
        """How many times faster `name` is than the baseline."""
        if name not in self.timings:
            raise ValueError(f"no variant is called {name!r}, wanted one of {', '.join(map(repr, self.timings))}.")
        if self.spread > MAX_SPREAD:
            reason = f"noisy machine: the baseline's own spread is {self.spread:.0%}, wanted at most {MAX_SPREAD:.0%}"
            return Ratio(math.nan, math.nan, math.nan, self.rounds, reason)
        return paired_ratio(self.timings[self.baseline].samples_s, self.timings[name].samples_s)

    def outcome(self, name: str) -> Outcome:
        """`faster`, `slower` or `inconclusive`; `baseline` for the baseline itself."""
        return "baseline" if name == self.baseline else self.speedup(name).outcome

    def table(self) -> Table:
        """One row a variant: time, throughput, speed-up, largest difference, peak memory, outcome."""
        columns = ["variant", "median", "IQR", "img/s", "speed-up", "max |difference|", "peak memory", "outcome"]
        rows = [self._row(name) for name in self.timings]
        unit = columns.index("img/s")
        if self.images_per_call is None:
            columns = columns[:unit] + columns[unit + 1 :]
            rows = [row[:unit] + row[unit + 1 :] for row in rows]
        return Table(columns, rows, note="\n".join(self._notes()))

    def _row(self, name: str) -> list[object]:
        timing, peak, difference = self.timings[name], self.peak_bytes[name], self.difference[name]
        return [
            name,
            seconds_text(timing.median_s),
            seconds_text(timing.iqr_s),
            si_text(timing.per_second(self.images_per_call or 1)),
            None if name == self.baseline else self.speedup(name).text(),
            None if difference is None else f"{difference:.2g}",
            None if peak is None else bytes_text(peak),
            self.outcome(name),
        ]

    def _notes(self) -> list[str]:
        """What the reader must know besides the rows."""
        notes = [f"{self.rounds} interleaved rounds against {self.baseline}; quality: not checked"]
        others = [name for name in self.timings if name != self.baseline]
        reasons = [self.speedup(name).reason for name in others]
        marked = self.timings[self.baseline].marks
        watched = [f"under observation: {', '.join(marked)}"] if marked else []
        return notes + list(dict.fromkeys(filter(None, reasons))) + watched


def compare(
    variants: Mapping[str, Callable[..., object] | Variant],
    *args: object,
    baseline: str | None = None,
    rounds: int = 21,
    warmup: int = 3,
    max_time_s: float = 60.0,
    seed: int = 0,
    memory: bool = True,
    images_per_call: float | None = None,
    clock: Clock = time.perf_counter,
    synchronize: Callable[[], None] | None = None,
) -> Comparison:
    """Time all `variants` on the same `args`, in interleaved rounds of shuffled order (`seed`).

    A variant is a callable, a module, or a `Variant`; `baseline` is the first unless named. Stops at `rounds` rounds,
    or after `max_time_s` with at least five. `memory=False` leaves the peak memory out. Raises ValueError for fewer
    than two variants or an unknown baseline, RuntimeError while a profiler is active.
    """
    refuse_profilers("compare")
    contestants = {name: _as_variant(name, variant) for name, variant in variants.items()}
    first = _checked_baseline(contestants, baseline, rounds, warmup)
    watch = Stopwatch(clock, device_synchronizer(list(variants.values()), args) if synchronize is None else synchronize)
    first_s = {name: _warm_up(watch, variant, args, warmup) for name, variant in contestants.items()}
    difference = _differences(contestants, first, args)
    peaks = {name: _peak(variant, args) if memory else None for name, variant in contestants.items()}
    calls = _calls(watch, contestants, args)
    samples, order = _race(watch, contestants, args, calls, rounds, max_time_s, seed)
    timings = {name: Timing(tuple(samples[name]), first_s[name], calls[name], marks=tuple(marks())) for name in samples}
    return Comparison(first, timings, peaks, difference, images_per_call, order)


def largest_difference(a: object, b: object) -> float | None:
    """Largest |a - b| over tensors or (nested) tuples, lists and mappings of them; None where they do not match."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.shape != b.shape:
            return None
        wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
        gap = (a.detach().to("cpu", wide) - b.detach().to("cpu", wide)).abs()
        return float(gap.max()) if gap.numel() else 0.0
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(float(a) - float(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        return _largest([largest_difference(a[key], b[key]) for key in a])
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)) and len(a) == len(b):
        return _largest([largest_difference(x, y) for x, y in zip(a, b, strict=True)])
    return None


def _largest(differences: list[float | None]) -> float | None:
    known = [difference for difference in differences if difference is not None]
    if len(known) < len(differences) or not known:
        return None
    return math.nan if any(map(math.isnan, known)) else max(known)


def _as_variant(name: str, variant: Callable[..., object] | Variant) -> Variant:
    return variant if isinstance(variant, Variant) else Variant(name, variant, output=lambda result: result)


def _checked_baseline(contestants: dict[str, Variant], baseline: str | None, rounds: int, warmup: int) -> str:
    names = list(contestants)
    if len(names) < 2:
        raise ValueError(f"compare was given {len(names)} variants, wanted at least two.")
    if baseline is not None and baseline not in contestants:
        raise ValueError(f"baseline is {baseline!r}, wanted one of {', '.join(map(repr, names))}.")
    if rounds < FEWEST_ROUNDS or warmup < 1:
        raise ValueError(f"rounds is {rounds} and warmup {warmup}, wanted at least {FEWEST_ROUNDS} and 1.")
    return baseline or names[0]


def _timed(watch: Stopwatch, variant: Variant, args: tuple[object, ...], calls: int = 1) -> float:
    """Seconds per call of one sample, reset before it."""
    if variant.reset is not None:
        variant.reset()
    return watch.sample(variant.run, args, calls) / calls


def _warm_up(watch: Stopwatch, variant: Variant, args: tuple[object, ...], warmup: int) -> float:
    """Seconds of the first call."""
    first_s, *_ = [_timed(watch, variant, args) for _ in range(warmup)]
    return first_s


def _calls(watch: Stopwatch, contestants: dict[str, Variant], args: tuple[object, ...]) -> dict[str, int]:
    least_s = max(MIN_SAMPLE_S, watch.least_sample_s())
    return {
        name: 1 if variant.reset is not None else watch.calls_per_sample(variant.run, args, least_s)
        for name, variant in contestants.items()
    }


def _race(
    watch: Stopwatch,
    contestants: dict[str, Variant],
    args: tuple[object, ...],
    calls: dict[str, int],
    rounds: int,
    max_time_s: float,
    seed: int,
) -> tuple[dict[str, list[float]], tuple[tuple[str, ...], ...]]:
    """Samples by name, and the order of each round."""
    dice = np.random.default_rng(seed)
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    order: list[tuple[str, ...]] = []
    start = watch.clock()
    while len(order) < rounds and (len(order) < FEWEST_ROUNDS or watch.clock() - start < max_time_s):
        order.append(tuple(map(str, dice.permutation(list(contestants)))))
        for name in order[-1]:
            samples[name].append(_timed(watch, contestants[name], args, calls[name]))
    return samples, tuple(order)


def _differences(contestants: dict[str, Variant], baseline: str, args: tuple[object, ...]) -> dict[str, float | None]:
    """Largest difference of each variant's output to the baseline's, all drawn with the same random numbers."""
    if contestants[baseline].output is None:
        return dict.fromkeys(contestants)
    wanted = _output(contestants[baseline], args)
    return {
        name: None if name == baseline else largest_difference(wanted, _output(variant, args))
        for name, variant in contestants.items()
    }


def _output(variant: Variant, args: tuple[object, ...]) -> object:
    if variant.output is None:
        return None
    if variant.reset is not None:
        variant.reset()
    with kept_random_state():
        torch.manual_seed(0)
        return variant.output(variant.run(*args))


def _peak(variant: Variant, args: tuple[object, ...]) -> int:
    if variant.reset is not None:
        variant.reset()
    return peak_memory(variant.run, *args).peak_bytes
