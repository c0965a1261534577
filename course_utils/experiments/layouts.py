"""Ways to lay a training step out over processes and threads, and how their times compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from course_utils.measure import Ratio, Record, Table
from course_utils.measure.ratios import paired_ratio
from course_utils.measure.tables import Tabular, seconds_text, si_text

__all__ = ["ALONE", "KIND", "Layout", "Scaling", "layouts", "scaling_of"]

KIND = "training step by processes"
ALONE = "1 process"


@dataclass(frozen=True)
class Layout:
    """`processes` with `batch` images and `threads` each; `copies` of the model in one, DataParallel's way.

    Without `exchange` each process trains a model of its own beside the others.
    """

    processes: int
    batch: int
    threads: int = 1
    copies: int = 1
    exchange: bool = True

    @property
    def images(self) -> int:
        """How many images a step takes in all."""
        return self.processes * self.batch

    @property
    def name(self) -> str:
        """`2 processes, 8 each`, `1 process, 2 threads`."""
        if self.processes == 1:
            inside = {"copies": self.copies, "threads": self.threads}
            return "".join([ALONE, *(f", {count} {what}" for what, count in inside.items() if count > 1)])
        return f"{self.processes} processes, {self.batch} each{'' if self.exchange else ', no exchange'}"

    def told(self) -> dict[str, Any]:
        """All fields as plain values, for a record."""
        return asdict(self)


def layouts(processes: int, batch: int, on_cpu: bool) -> list[Layout]:
    """What is compared with `processes` processes and `batch` images for one.

    One process alone; on a CPU also with as many threads, and with as many copies, as there are processes. Then 2, 4,
    ... and all processes: each with the whole batch (weak scaling), each with its part (strong scaling, where the batch
    can be divided), and each with the whole batch but without an exchange.
    """
    made = [Layout(1, batch)]
    if on_cpu and processes > 1:
        made += [Layout(1, batch, threads=processes), Layout(1, batch, copies=processes)]
    powers = {2**power for power in range(1, processes.bit_length())}
    counts = sorted({n for n in powers if n <= processes} | {processes} - {1})
    for n in counts:
        made.append(Layout(n, batch))
        if batch % n == 0 and batch > n:
            made.append(Layout(n, batch // n))
        made.append(Layout(n, batch, exchange=False))
    return made


@dataclass(frozen=True, repr=False)
class Scaling(Tabular):
    """Seconds of a step in each layout, of the slowest process, round by round."""

    samples_s: dict[Layout, tuple[float, ...]]

    def layout(self, name: str) -> Layout:
        """The layout of that name. Raises `ValueError` where there is none."""
        found = next((layout for layout in self.samples_s if layout.name == name), None)
        if found is None:
            known = ", ".join(repr(layout.name) for layout in self.samples_s)
            raise ValueError(f"no layout is called {name!r}, wanted one of {known}.")
        return found

    def median_s(self, name: str) -> float:
        """Median seconds of a step."""
        return float(np.median(self.samples_s[self.layout(name)]))

    def speedup(self, name: str, baseline: str = ALONE) -> Ratio:
        """How many times as many images a second as the baseline, from pairs of one round."""
        one, other = self.layout(baseline), self.layout(name)
        base, variant = (np.array(self.samples_s[each]) / each.images for each in (one, other))
        return paired_ratio(base, variant)

    def efficiency(self, name: str) -> float:
        """Images a second of each process as a share of those of one process alone, with one thread."""
        return self.speedup(name).value / self.layout(name).processes

    def table(self) -> Table:
        """One row a layout: images a step, time, throughput, speed-up and efficiency against one process."""
        columns = ["layout", "images a step", "median", "img/s", "images a second, against 1 process", "efficiency"]
        note = (
            "1 thread a process where not said otherwise; layouts in turns within one run, the slowest process counts"
        )
        return Table(columns, [self._row(layout) for layout in self.samples_s], note=note)

    def _row(self, layout: Layout) -> list[object]:
        median_s = self.median_s(layout.name)
        alone, parallel = layout.name == ALONE, layout.processes > 1
        return [
            layout.name,
            layout.images,
            seconds_text(median_s),
            si_text(layout.images / median_s),
            None if alone else self.speedup(layout.name).text(),
            f"{self.efficiency(layout.name):.0%}" if parallel else None,
        ]


def scaling_of(records: Sequence[Record]) -> Scaling:
    """The times of the latest measurement among `records`. Raises `ValueError` where there is none."""
    told = [one for one in records if one.kind == KIND]
    if not told:
        raise ValueError(
            f"no record of kind {KIND!r} among {len(records)}: run course_utils.experiments.scaling first."
        )
    same = [one for one in told if one.config["started"] == told[-1].config["started"]]
    names = Layout(1, 1).told()
    return Scaling({Layout(**{key: one.config[key] for key in names}): tuple(one.config["samples_s"]) for one in same})
