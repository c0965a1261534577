"""What it costs that n processes add up their tensors (an all-reduce), measured by message size, and a model of it.

The model is one ring: each process sends to its neighbour alone. In n - 1 steps the parts are summed, in n - 1 more
they go round, and every step carries 1/n of the message over a link that takes `alpha_s` before the first byte:

    seconds = 2 (n - 1) (alpha_s + nbytes / n / bytes_per_s)

Source: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", 2005; P.
Patarasuk, X. Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations", 2009. NCCL's tuner chooses
by times of this form (`src/graph/tuning.cc`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from course_utils.measure.tables import Table, Tabular, bytes_text, seconds_text, si_text
from course_utils.measure.timing import Clock, Stopwatch

__all__ = ["BACKWARD_SHARE", "LINKS", "Forecast", "Link", "Messages", "fit_link", "forecast", "step_s", "time_messages"]

BACKWARD_SHARE = 2 / 3
"""Of a step's compute the backward pass is about two of three parts, and the exchange can go on beside it at most."""


@dataclass(frozen=True)
class Link:
    """What joins a process to the next: `alpha_s` seconds a message, and `bytes_per_s` in one direction."""

    name: str
    alpha_s: float
    bytes_per_s: float
    source: str = field(default="", repr=False)

    def all_reduce_s(self, nbytes: float, n: int) -> float:
        """Seconds for a message of `nbytes` among `n` processes in one ring of such links; 0 for a process alone."""
        if n < 1 or nbytes < 0:
            raise ValueError(f"n must be at least 1 and nbytes at least 0, got n={n}, nbytes={nbytes:g}.")
        return 2 * (n - 1) * (self.alpha_s + nbytes / n / self.bytes_per_s)

    def __str__(self) -> str:
        return f"{self.name}: {seconds_text(self.alpha_s)} a message, {si_text(self.bytes_per_s, 'B/s')} one way"


_TUNER = "latency of a ring's step in the tuner of NCCL 2.19 and later (src/graph/tuning.cc, protocol Simple)"
_WIRE = "line rate of the wire, reached by no program"
LINKS = {
    link.name: link
    for link in (
        Link("NVLink 4", 3.4e-6, 450e9, f"NVIDIA H100 data sheet, half of 900 GB/s for both ways; {_TUNER}"),
        Link("NVLink 3", 3.4e-6, 300e9, f"NVIDIA A100 data sheet, half of 600 GB/s for both ways; {_TUNER}"),
        Link("InfiniBand NDR", 14e-6, 50e9, f"NVIDIA DGX H100 user guide, a 400 Gbit/s port a GPU; {_TUNER}"),
        Link("InfiniBand HDR", 14e-6, 25e9, f"NVIDIA DGX A100 user guide, a 200 Gbit/s port a GPU; {_TUNER}"),
        Link("Ethernet 25G", 50e-6, 3.125e9, f"{_WIRE}; 50 us for TCP through the kernel is an assumption"),
    )
}
"""Links to predict with, by name; assumptions until `fit_link` has seen measured times."""


@dataclass(frozen=True, repr=False)
class Messages(Tabular):
    """How long an all-reduce among `n` processes took: seconds by message size in bytes, the rounds in order.

    `samples_s` are those of the slowest process in each round.
    """

    n: int
    samples_s: Mapping[int, Sequence[float]]

    @property
    def seconds(self) -> dict[int, float]:
        """Median seconds by message size in bytes."""
        return {nbytes: float(np.median(samples)) for nbytes, samples in self.samples_s.items()}

    def bus_bytes_per_s(self, nbytes: int) -> float:
        """What each link carries per second: 2 (n - 1) / n of the message, the "bus bandwidth" of nccl-tests."""
        return 2 * (self.n - 1) / self.n * nbytes / self.seconds[nbytes]

    def table(self) -> Table:
        """One row a size: median, quartiles, what a link carried, and what the fitted ring says."""
        try:
            link: Link | None = fit_link(self.seconds, self.n)
        except ValueError as error:  # times that do not grow, on a busy machine
            link, told = None, str(error)
        rows = []
        for nbytes, seconds in self.seconds.items():
            low, high = np.quantile(self.samples_s[nbytes], [0.25, 0.75])
            carried = si_text(self.bus_bytes_per_s(nbytes), "B/s")
            model = None if link is None else seconds_text(link.all_reduce_s(nbytes, self.n))
            spread = f"{seconds_text(low)} to {seconds_text(high)}"
            rows.append([bytes_text(nbytes), seconds_text(seconds), spread, carried, model])
        if link is not None:
            told = f"{link}; furthest from the model: {misfit(link, self.seconds, self.n):.2f} times"
        note = f"{self.n} processes; {told}"
        return Table(["message", "median", "quartiles", "a link carried", "fitted ring"], rows, note=note)


def time_messages(
    send: Callable[[int], object],
    sizes: Iterable[int],
    *,
    rounds: int = 20,
    warmup: int = 3,
    ready: Callable[[], object] = lambda: None,
    clock: Clock = time.perf_counter,
    synchronize: Callable[[], None] = lambda: None,
) -> dict[int, list[float]]:
    """Time `send(nbytes)` for each of `sizes`, in bytes, in turns; -> seconds of one call, by size, round by round.

    Every process of a group must send as often as the others, so nothing here depends on a time: small messages are
    sent many times in a row, in each of `rounds` rounds after `warmup` others. `ready()` is called before each sample
    and not timed: there the processes wait for one another. Raises `ValueError` for no size, or one below 1.
    """
    sizes = list(sizes)
    if not sizes or min(sizes) < 1 or rounds < 1:
        raise ValueError(f"sizes must be bytes, at least 1, and rounds at least 1, got {sizes=} {rounds=}.")
    watch = Stopwatch(clock, synchronize)
    samples: dict[int, list[float]] = {nbytes: [] for nbytes in sizes}
    for number in range(warmup + rounds):
        for nbytes in sizes:
            calls = max(1, min(16, 2**20 // nbytes))
            ready()
            taken = watch.sample(send, (nbytes,), calls) / calls
            if number >= warmup:
                samples[nbytes].append(taken)
    return samples


def fit_link(seconds: Mapping[int, float], n: int, name: str = "fitted") -> Link:
    """The link whose ring comes nearest to measured times (message size in bytes -> seconds) among `n` processes.

    Least squares of the relative errors, so that a small message counts as much as a large one. Raises `ValueError`
    for fewer than two sizes or processes, times that are not positive, and times that do not grow with the size.
    """
    from scipy import optimize

    nbytes, taken = np.array(list(seconds), float), np.array(list(seconds.values()), float)
    if len(nbytes) < 2 or n < 2 or not (taken > 0).all():
        raise ValueError(f"a fit takes 2 sizes, 2 processes and positive times, got {dict(seconds)} and n={n}.")
    steps, largest = 2 * (n - 1), nbytes.max()
    columns = np.stack([steps / taken, steps / n * nbytes / largest / taken], axis=1)
    (alpha_s, largest_s), _ = optimize.nnls(columns, np.ones_like(taken))
    if largest_s == 0:
        raise ValueError(f"the times do not grow with the message, so no bandwidth fits: {dict(seconds)}.")
    return Link(name, float(alpha_s), float(largest / largest_s))


def misfit(link: Link, seconds: Mapping[int, float], n: int) -> float:
    """The factor by which the model misses the measured time that it misses most, 1.0 or more."""
    ratios = [link.all_reduce_s(nbytes, n) / taken for nbytes, taken in seconds.items()]
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def step_s(compute_s: float, exchange_s: float, hidden: float = BACKWARD_SHARE) -> float:
    """Seconds of a step whose exchange goes on beside the share `hidden` (0 to 1) of its compute.

    What does not fit beside it is waited for. Raises `ValueError` for a share out of range.
    """
    if not 0 <= hidden <= 1:
        raise ValueError(f"hidden must be a share of the compute from 0 to 1, got {hidden:g}.")
    return compute_s + max(0.0, exchange_s - hidden * compute_s)


@dataclass(frozen=True, repr=False)
class Forecast(Tabular):
    """What the model says of `ns` processes, and on which assumptions: nothing of this was measured.

    `batch` images a process in weak scaling, and in all in strong scaling; `image_s` seconds of compute an image.
    """

    link: Link
    ns: tuple[int, ...]
    batch: float
    image_s: float
    nbytes: float
    hidden: float

    def weak(self, n: int) -> float:
        """Efficiency when each of `n` processes keeps its `batch`: the share of the time that is compute."""
        return self._efficiency(self.batch * self.image_s, n)

    def strong(self, n: int) -> float:
        """Efficiency when `n` processes divide one `batch`."""
        return self._efficiency(self.batch * self.image_s / n, n)

    def _efficiency(self, compute_s: float, n: int) -> float:
        return compute_s / step_s(compute_s, self.link.all_reduce_s(self.nbytes, n), self.hidden)

    def table(self) -> Table:
        """One row for each number of processes, the assumptions below."""
        rows: list[list[object]] = [
            [f"{n:,}", seconds_text(self.link.all_reduce_s(self.nbytes, n)), *self._cells(n)] for n in self.ns
        ]
        columns = ["processes", "all-reduce", "weak: efficiency", "img/s", "strong: efficiency", "speed-up"]
        return Table(columns, rows, title="Modelled, not measured", note=self.assumptions())

    def _cells(self, n: int) -> list[object]:
        weak, strong = self.weak(n), self.strong(n)
        return [f"{weak:.1%}", si_text(n * weak / self.image_s), f"{strong:.1%}", f"{n * strong:.1f}x"]

    def assumptions(self) -> str:
        """All that the numbers stand on, a line each."""
        lines = [
            f"one ring of {self.link}" + (f" ({self.link.source})" if self.link.source else ""),
            f"{bytes_text(self.nbytes)} of gradients, exchanged beside {self.hidden:.0%} of the compute",
            f"compute: {seconds_text(self.image_s)} an image in batches of any size; all processes equally fast",
            f"weak: {self.batch:g} images a process; strong: {self.batch:g} in all",
        ]
        return "Assumed:\n" + "\n".join(f"- {line}" for line in lines)


def forecast(
    link: Link, ns: Iterable[int], *, batch: float, image_s: float, nbytes: float, hidden: float = BACKWARD_SHARE
) -> Forecast:
    """Predict weak and strong scaling to each of `ns` processes from `link` and the compute of one image.

    `batch` images, `image_s` seconds of compute an image, `nbytes` of gradients, `hidden` as for `step_s`. Raises
    `ValueError` for numbers that are not positive.
    """
    ns = tuple(ns)
    if not ns or min(ns) < 1 or not min(batch, image_s, nbytes) > 0:
        raise ValueError(f"ns, batch, image_s and nbytes must be positive, got {ns=} {batch=} {image_s=} {nbytes=}.")
    step_s(1.0, 0.0, hidden)  # refuses a share out of range
    return Forecast(link, ns, batch, image_s, nbytes, hidden)
