"""A training step on paper: what it has to do, what a device can do, and what was recorded of real ones.

A time that comes out of this file is calculated. Only `recorded_steps` returns measured ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.diffusion import baseline, load_heldout
from course_utils.experiments.one_step import training_step
from course_utils.measure import DATASHEETS, Ceilings, Record, count, load
from course_utils.measure.hardware import Datasheet, datasheet_for
from course_utils.measure.tables import Table, Tabular, seconds_text, si_text
from course_utils.speedups import treat

__all__ = [
    "Limits",
    "RecordedStep",
    "StepWork",
    "against_records",
    "calculated_table",
    "counted_step",
    "limits_here",
    "limits_of",
    "recorded_steps",
]

RESULTS = Path(__file__).parents[2] / "results"
EAGER = {"the kit's loop": "fp32", "bf16": "bf16"}
"""The variants of the ladder's training step that run one kernel after the other -> number format."""
Bound = tuple[float, str]  # seconds, and which limit decides
StepTime = Callable[["StepWork", "Limits"], Bound]


@dataclass(frozen=True, repr=False)
class StepWork(Tabular):
    """What one training step does at a batch size: FLOP, bytes to and from memory, kernels."""

    batch: int
    flop: float
    bytes_moved: float
    kernels: int

    def table(self) -> Table:
        """One row."""
        row = [self.batch, si_text(self.flop, "FLOP"), si_text(self.bytes_moved, "B"), self.kernels]
        return Table(("batch", "work", "traffic", "kernels"), [row])


@dataclass(frozen=True, repr=False)
class Limits(Tabular):
    """What a device can do at best in a number format: FLOP/s, bytes/s, and seconds to launch a kernel.

    `source` says where the figures come from; those of a data sheet are promises, no measurements.
    """

    name: str
    dtype: str
    flop_per_s: float
    bytes_per_s: float
    launch_s: float
    source: str

    def table(self) -> Table:
        """One row."""
        rates = [si_text(self.flop_per_s, "FLOP/s"), si_text(self.bytes_per_s, "B/s"), seconds_text(self.launch_s)]
        columns = ("device", "format", "arithmetic", "memory", "a launch", "source")
        return Table(columns, [[self.name, self.dtype, *rates, self.source]])


def counted_step(size: str, batch: int, *treatments: str, device: str = "cpu") -> StepWork:
    """The work of one step of the kit's loop at a scale (`smoke`, `laptop`, `gpu`), counted while doing it.

    It is done twice on `device`, the first time to set up the optimizer. Counts hardly depend on the device: a GPU's
    libraries may cut a kernel in two or join some. Raises `ValueError` for an unknown scale or treatment.
    """
    step = training_step(treat(baseline(size).to(device), *treatments), batch, images=load_heldout())
    step()
    work = count(step, per_module=False)
    return StepWork(batch, work.flop, work.bytes_moved, work.kernels)


def limits_of(device: str | Datasheet, dtype: str, *, launch_s: float) -> Limits | None:
    """The limits of a device by its data sheet (or its name in `DATASHEETS`); None where it lacks the format.

    No data sheet tells the time of a launch: `launch_s` (s) is an assumption of the caller. Raises `ValueError` for a
    name without a data sheet.
    """
    if isinstance(device, str) and device not in DATASHEETS:
        raise ValueError(f"device is {device!r}, wanted one of {', '.join(DATASHEETS)}.")
    sheet = DATASHEETS[device] if isinstance(device, str) else device
    rate = sheet.flop_per_s.get(dtype)
    return Limits(sheet.name, dtype, rate, sheet.bytes_per_s, launch_s, "data sheet") if rate else None


def limits_here(ceilings: Ceilings, dtype: str) -> Limits | None:
    """The limits of this device as `calibrate` measured them; None where it lacks the format."""
    rate = ceilings.flop_per_s.get(dtype)
    name = ceilings.device.name
    return Limits(name, dtype, rate, ceilings.bytes_per_s, ceilings.launch_s, "measured here") if rate else None


def calculated_table(times: Mapping[str, Mapping[int, Bound]], title: str) -> Table:
    """One row a device, fastest at the first batch size first: time of a step and what decides it, by batch size.

    `times` maps a device to {batch size: (seconds, limit)}.
    """
    batches = list(next(iter(times.values())))
    ranked = sorted(times.items(), key=lambda item: item[1][batches[0]][0])
    rows = [[name, *(_told(*row[batch]) for batch in batches)] for name, row in ranked]
    columns = ["device", *(f"batch {batch}" for batch in batches)]
    return Table(columns, rows, title=title, note="calculated from data sheets, not measured")


@dataclass(frozen=True)
class RecordedStep:
    """A measured training step of the ladder: on what, in which format, its work, and its seconds with the quartiles.

    `cores` is the number of CPU cores that the process was granted.
    """

    device: str
    cores: int | None
    scale: str
    dtype: str
    work: StepWork
    seconds: float
    low_s: float
    high_s: float
    source: str


def recorded_steps(paths: Sequence[Path] | None = None) -> list[RecordedStep]:
    """The eager training steps in files of `bench`, by default all shipped ones and your own; the latest of each kind.

    Records that were disturbed (a profiler, an idle device) are left out.
    """
    found = sorted(RESULTS.glob("*/bench-*.jsonl")) if paths is None else paths
    steps = [_step(one, path.name) for path in found for one in load(path) if _is_step(one)]
    return list({(one.device, one.cores, one.scale, one.dtype, one.work.batch): one for one in steps}.values())


def against_records(
    steps: Sequence[RecordedStep], ceilings: Ceilings, step_time: StepTime, *, launch_s: float
) -> Table:
    """Recorded steps beside `step_time` (work, limits) -> (seconds, limit): one row each.

    The limits are measured ones where the record is of this very device, with as many cores, and a data sheet's where
    there is one; else the cell stays empty. The note names the devices with a data sheet and without a record.
    """
    rows = []
    for one in steps:
        limits = _limits_for(one, ceilings, launch_s)
        seconds, bound = step_time(one.work, limits) if limits else (None, None)
        calculated = None if seconds is None else seconds_text(seconds)
        ratio = None if seconds is None else f"{one.seconds / seconds:.2f}x"
        where = f"{one.device}, {one.cores} cores" if one.cores and not datasheet_for(one.device) else one.device
        cells = [one.scale, one.dtype, one.work.batch, seconds_text(one.seconds), calculated, bound, ratio]
        rows.append([where, *cells, limits.source if limits else "unknown: another machine than this one"])
    known = {sheet.name for one in steps if (sheet := datasheet_for(one.device))}
    without = [name for name in DATASHEETS if name not in known]
    columns = ("device", "network", "format", "batch", "recorded", "calculated", "by", "ratio", "limits")
    note = f"Ratio: recorded ÷ calculated. No record of: {', '.join(without)}."
    return Table(columns, rows, title="Recorded steps", note=note)


def _limits_for(one: RecordedStep, ceilings: Ceilings, launch_s: float) -> Limits | None:
    sheet = datasheet_for(one.device)
    for dtype in (one.dtype, "fp32") if one.dtype == "tf32" else (one.dtype,):  # a GPU without TF32 works in fp32
        if (one.device, one.cores) == (ceilings.device.name, ceilings.device.cores):
            found = limits_here(ceilings, dtype)
        else:
            found = limits_of(sheet, dtype, launch_s=launch_s) if sheet else None
        if found is not None:
            return found
    return None


def _is_step(one: Record) -> bool:
    row, variant = str(one.config.get("row")), one.config.get("variant")
    return one.kind == "bench" and row.startswith("training step, batch") and variant in EAGER and not one.says("marks")


def _step(one: Record, source: str) -> RecordedStep:
    told, batch = one.config, int(one.config["batch"])
    work = StepWork(batch, told["flop"], told["bytes_moved"], told["kernels"])
    device = str((one.manifest.get("device") or {}).get("name"))
    slow, fast = one.low or one.value, one.high or one.value
    seconds = (batch / one.value, batch / fast, batch / slow)
    cores, dtype = one.manifest.get("cores_granted"), EAGER[told["variant"]]
    if dtype == "fp32" and (one.manifest.get("fp32_precision") or {}).get("conv") == "tf32":
        dtype = "tf32"  # what torch lets the convolutions of a GPU use
    return RecordedStep(device, cores, told["scale"], dtype, work, *seconds, source)


def _told(seconds: float, bound: str) -> str:
    return f"{seconds_text(seconds)} {bound}"
