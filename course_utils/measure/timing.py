"""How long one call takes: warm-up, device synchronisation, repeats until stable, and what makes the answer doubtful.

The estimate is the median over samples; a sample times as many calls in a row as it takes to make the cost of reading
the clock and of synchronising negligible (compare torch.utils.benchmark's `blocked_autorange`, and G. Georges et al.,
"Statistically rigorous Java performance evaluation", 2007, on warm-up and intervals).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from course_utils.measure.observers import marks, refuse_profilers
from course_utils.measure.synchronize import device_synchronizer
from course_utils.measure.tables import Table, Tabular, ratio_text, seconds_text, si_text

__all__ = ["Stopwatch", "Timing", "iqr", "measure"]

MIN_SAMPLES = 10
FEWEST_SAMPLES = 3  # even when one call outlasts the time budget
NOISY_IQR = 0.10  # of the median
STABLE = 0.01  # standard error of the median, of the median
TAIL = 1.5  # 95th percentile over median
DRIFT = 0.05  # change from first to last sample, of the median
CLOCK_SHARE = 1e-3  # of a sample may go into reading the clock and synchronising
MIN_SAMPLE_S, MAX_SAMPLE_S = 2e-4, 2e-2
MAX_CALLS = 2**16  # in a row; an operation that then still takes no time is at the floor, and MIN_SAMPLES do

Clock = Callable[[], float]


@dataclass(frozen=True)
class Timing(Tabular):
    """Time of one call, from `n` samples of `calls` calls each.

    `samples_s` (seconds per call, in order), `first_s` (the very first call: compilation, lazy initialisation),
    `floor_s` (an empty call measured the same way), `marks` (coverage or a debugger was watching).
    """

    samples_s: tuple[float, ...] = field(repr=False)
    first_s: float
    calls: int = 1
    floor_s: float = 0.0
    marks: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples_s)

    @property
    def median_s(self) -> float:
        """Seconds per call, the median of the samples."""
        return float(np.median(self.samples_s))

    @property
    def iqr_s(self) -> float:
        """Distance between the quartiles of the samples, in seconds."""
        return iqr(self.samples_s)

    @property
    def noisy(self) -> bool:
        """Whether the IQR is above 10 % of the median."""
        return self.iqr_s > NOISY_IQR * self.median_s

    @property
    def tail(self) -> float:
        """95th percentile over median: 1.0 without a tail, above 1.5 a heavy one."""
        return float(np.quantile(self.samples_s, 0.95)) / self.median_s if self.median_s else 1.0

    @property
    def drift(self) -> float:
        """Change over the run as a share of the median (0.2 = 20 % slower at its end), 0.0 without a significant trend.

        Theil-Sen slope, where Kendall's rank test of the samples against their order has p < 0.01.
        """
        from scipy import stats  # takes half a second, which whoever only counts need not wait

        order = np.arange(self.n)
        if self.n < 5 or np.ptp(self.samples_s) == 0 or not stats.kendalltau(order, self.samples_s).pvalue < 0.01:
            return 0.0
        return float(stats.theilslopes(self.samples_s, order).slope) * (self.n - 1) / self.median_s

    @property
    def at_floor(self) -> bool:
        """Whether the call is not clearly above an empty one: less than twice its time."""
        return self.median_s <= 2 * self.floor_s

    def per_second(self, n: float = 1) -> float:
        """Throughput when one call handles `n` things: things per second."""
        return n / self.median_s if self.median_s else math.inf

    @property
    def doubts(self) -> list[str]:
        """What the reader should know before believing the median, one sentence each; empty when all is well."""
        found = {
            f"noisy: the IQR is {self.iqr_s / (self.median_s or 1):.0%} of the median": self.noisy,
            f"heavy tail: one sample in twenty takes {ratio_text(self.tail)} the median or more": self.tail > TAIL,
            f"drift: {self.drift:+.0%} from the first sample to the last": abs(self.drift) > DRIFT,
            f"at the floor: an empty call takes {seconds_text(self.floor_s)}": self.at_floor,
            f"under observation: {', '.join(self.marks)}": bool(self.marks),
        }
        return [sentence for sentence, holds in found.items() if holds]

    def table(self) -> Table:
        """Median, IQR, number of samples, first call, throughput; doubts below."""
        row = [seconds_text(self.median_s), seconds_text(self.iqr_s), self.n, seconds_text(self.first_s)]
        columns = ["median", "IQR", "n", "first call", "calls/s"]
        return Table(columns, [[*row, si_text(self.per_second())]], note="; ".join(self.doubts) or None)

    def __repr__(self) -> str:
        doubts = "".join(f", {doubt}" for doubt in self.doubts)
        return f"Timing(median {seconds_text(self.median_s)}, IQR {seconds_text(self.iqr_s)}, n={self.n}{doubts})"


class Stopwatch:
    """Times samples of calls with one clock and one way to synchronise; `measure` and `compare` share it."""

    def __init__(self, clock: Clock, synchronize: Callable[[], None]) -> None:
        self.clock = clock
        self.synchronize = synchronize

    def sample(self, fn: Callable[..., object], args: tuple[object, ...] = (), calls: int = 1) -> float:
        """Seconds that `calls` calls of `fn(*args)` take together, the device idle before and after."""
        self.synchronize()
        start = self.clock()
        for _ in range(calls):
            fn(*args)
        self.synchronize()
        return self.clock() - start

    def overhead_s(self) -> float:
        """Seconds that a sample without any call takes, or the clock's tick where that is longer."""
        empty = float(np.median([self.sample(_nothing, calls=0) for _ in range(11)]))
        readings = [self.clock() for _ in range(100)]
        ticks = [later - sooner for sooner, later in itertools.pairwise(readings) if later > sooner]
        return max(empty, min(ticks, default=0.0))

    def calls_per_sample(self, fn: Callable[..., object], args: tuple[object, ...], least_s: float) -> int:
        """How many calls in a row last at least `least_s` seconds: a power of two, found by doubling."""
        calls = 1
        while calls < MAX_CALLS and self.sample(fn, args, calls) < least_s:
            calls *= 2
        return calls

    def least_sample_s(self) -> float:
        """How long a sample must last so that reading the clock and synchronising are below 0.1 % of it."""
        return min(MAX_SAMPLE_S, max(MIN_SAMPLE_S, self.overhead_s() / CLOCK_SHARE))


def measure(
    fn: Callable[..., object],
    *args: object,
    warmup: int = 3,
    min_time_s: float = 0.2,
    max_time_s: float = 5.0,
    clock: Clock = time.perf_counter,
    synchronize: Callable[[], None] | None = None,
) -> Timing:
    """Measure the time of `fn(*args)` in seconds per call.

    Calls it `warmup` times (the first is reported apart), then takes samples for at least `min_time_s` and until the
    standard error of the median is below 1 %, at most for `max_time_s` (three samples in any case). By default waits
    for the devices of the arguments. Raises RuntimeError while a profiler is active.
    """
    refuse_profilers("measure")
    _check(warmup, min_time_s, max_time_s)
    watch = Stopwatch(clock, device_synchronizer(fn, args) if synchronize is None else synchronize)
    first_s = _warm_up(watch, fn, args, warmup, max_time_s)
    calls = watch.calls_per_sample(fn, args, watch.least_sample_s())
    samples = _samples(watch, fn, args, calls, min_time_s, max_time_s)
    floor = float(np.median([watch.sample(_nothing, args, calls) for _ in range(5)])) / calls
    return Timing(tuple(samples), first_s, calls, floor, tuple(marks()))


def iqr(values: object) -> float:
    """Distance between the quartiles of `values`."""
    low, high = np.quantile(np.asarray(values), [0.25, 0.75])
    return float(high - low)


def _nothing(*args: object) -> None:
    """The empty call that tells the floor."""


def _check(warmup: int, min_time_s: float, max_time_s: float) -> None:
    if warmup < 1:
        raise ValueError(f"warmup is {warmup}, wanted at least 1: the first call is always reported apart.")
    if not 0 <= min_time_s <= max_time_s:
        raise ValueError(
            f"min_time_s is {min_time_s} and max_time_s {max_time_s}, wanted 0 <= min_time_s <= max_time_s."
        )


def _warm_up(
    watch: Stopwatch, fn: Callable[..., object], args: tuple[object, ...], warmup: int, max_time_s: float
) -> float:
    """Seconds of the first call; the rest of the warm-up ends early when it has used the time budget."""
    first_s = watch.sample(fn, args)
    spent = 0.0
    for _ in range(warmup - 1):
        if spent < max_time_s:
            spent += watch.sample(fn, args)
    return first_s


def _samples(
    watch: Stopwatch,
    fn: Callable[..., object],
    args: tuple[object, ...],
    calls: int,
    min_time_s: float,
    max_time_s: float,
) -> list[float]:
    samples: list[float] = []
    spent = 0.0
    while len(samples) < FEWEST_SAMPLES or (spent < max_time_s and not (spent >= min_time_s and _stable(samples))):
        lasted = watch.sample(fn, args, calls)
        samples.append(lasted / calls)
        spent += lasted
        if calls == MAX_CALLS and len(samples) == MIN_SAMPLES:
            break
    return samples


def _stable(samples: list[float]) -> bool:
    """Whether the standard error of the median, 0.93 IQR / sqrt(n) for a normal spread, is below 1 % of it."""
    if len(samples) < MIN_SAMPLES:
        return False
    return 0.93 * iqr(samples) / math.sqrt(len(samples)) <= STABLE * float(np.median(samples))
