"""The ladder: every row's variants in turns, with intervals and exact counters: `python -m course_utils bench`."""

from __future__ import annotations

import argparse
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from course_utils.diffusion import SCALES, load_images, scale
from course_utils.entry import StatedDefaults
from course_utils.experiments.devices import DEVICE_HELP, chosen_device
from course_utils.experiments.rows import Row, Setting, all_rows
from course_utils.measure import (
    Comparison,
    Ratio,
    Record,
    Verdict,
    Work,
    compare,
    count,
    detect,
    manifest,
    record,
    utilization,
    verdict,
)
from course_utils.measure.tables import Table, bytes_text, seconds_text, si_text

__all__ = ["Rung", "main", "run_bench"]

BUDGET_S = 60.0


@dataclass(frozen=True)
class Rung:
    """One measured row: the comparison, the counters of one call of each variant, and how busy the machine was."""

    row: Row
    comparison: Comparison
    work: dict[str, Work]
    cores_busy: float | None
    gpu_busy: tuple[float | None, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    def table(self) -> Table:
        """One line a variant: time, throughput, speed-up, counters, memory."""
        columns = ["variant", "a call", "first", "img/s", "speed-up", "GFLOP", "kernels", "syncs", "peak", "verdict"]
        lines = [f"{self.comparison.rounds} rounds in turns; a call: {self.row.step}."]
        ratios = [self.comparison.speedup(name) for name in self.comparison.timings if name != self.comparison.baseline]
        if any("compiled" in name for name in self.comparison.timings):
            lines.append("GFLOP, kernels and syncs of a compiled variant are those of its eager form.")
        lines += dict.fromkeys(f"No speed-up: {ratio.reason}." for ratio in ratios if ratio.reason)
        for name, decided in self.verdicts.items():
            lines += [f"{name}: {' '.join(decided.reasons[1:])}", *filter(None, [pays_off(self.comparison, name)])]
        rows = [self.line(name) for name in self.comparison.timings]
        return Table(columns, rows, title=self.row.name, note="\n".join(lines))

    def told(self, name: str) -> str:
        """A speed-up with its interval and outcome, a dash where there is none."""
        ratio = self.comparison.speedup(name)
        return ratio.text() if ratio.reason else f"{ratio.text()} {ratio.outcome}"

    def line(self, name: str) -> list[object]:
        """The cells of one variant."""
        timing, work = self.comparison.timings[name], self.work[name]
        peak, decided = self.comparison.peak_bytes[name], self.verdicts.get(name)
        return [
            name,
            seconds_text(timing.median_s),
            seconds_text(timing.first_s),
            si_text(timing.per_second(self.row.images_per_call)),
            "baseline" if name == self.comparison.baseline else self.told(name),
            f"{work.flop / 1e9:.2f}",
            f"{work.kernels:,}",
            work.syncs,
            None if peak is None else bytes_text(peak),
            decided.outcome if decided else None,
        ]


def pays_off(comparison: Comparison, name: str) -> str:
    """After how many calls a long first one, such as a compiler's, is won back; empty where there is nothing to win."""
    timing, base = comparison.timings[name], comparison.timings[comparison.baseline]
    extra, gain = timing.first_s - base.first_s, base.median_s - timing.median_s
    if extra < 10 * base.median_s or gain <= 0:
        return ""
    return f"{name}: the first call took {seconds_text(extra)} longer, won back after {extra / gain:,.0f} calls."


def parser() -> argparse.ArgumentParser:
    """The command line of `bench`."""
    made = argparse.ArgumentParser(
        prog="python -m course_utils bench",
        description="Measure the ladder and write one record a variant and row.",
        formatter_class=StatedDefaults,
    )
    add = made.add_argument
    add("--scale", choices=SCALES, help="size of the network (default: by hardware, or COURSE_SCALE)")
    add("--only", metavar="REGEX", help="rows whose name matches")
    add("--out", type=Path, metavar="FILE", help="records (default: results/local/bench-SCALE.jsonl)")
    add("--data", metavar="FOLDER", help="where CIFAR-10 lies (default: COURSE_DATA, then data/)")
    add("--device", help=DEVICE_HELP)
    add("--max-time", type=float, default=BUDGET_S, metavar="S", help="most seconds of timing a row")
    add("--list", action="store_true", help="only name the rows")
    return made


def main(argv: list[str] | None = None) -> int:
    """Run `bench` from the command line; returns the exit status."""
    options = parser().parse_args(argv)
    size = scale(options.scale)
    path = options.out or Path("results/local") / f"bench-{size.name}.jsonl"
    device = torch.device(chosen_device(options.device))
    if device.index is not None and device.type == "cuda":  # pragma: no cover - CUDA
        torch.cuda.set_device(device)  # where the library's Trainer then works too
    images = load_images("train", folder=options.data, n=max(size.num_images, 128) if size.name == "smoke" else 10_000)
    with tempfile.TemporaryDirectory(prefix="course-bench-") as scratch, cold_compiler(Path(scratch) / "compiler"):
        setting = Setting(size, images, device, Path(scratch))
        rows = [row for row in all_rows(setting) if re.search(options.only or "", row.name)]
        if not rows:
            raise ValueError(f"--only {options.only!r} matches no row: --list names them all.")
        if options.list:
            print("\n".join(f"{row.name}: {row.step}" for row in rows))
            return 0
        run_bench(setting, rows, path, options.max_time)
    return 0


@contextmanager
def cold_compiler(folder: Path) -> Iterator[None]:
    """Within it torch.compile begins with an empty folder: a first call that found old results would look cheap."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def run_bench(setting: Setting, rows: list[Row], path: Path, max_time_s: float) -> list[Record]:
    """Measure rows one after the other, print each as it is done, and append its records to `path`."""
    print(detect(setting.device), f"\nscale {setting.scale.name}, images: {setting.images.label}\n", sep="")
    start, records = time.perf_counter(), []
    for row in rows:
        try:
            rung = measured(row, max_time_s)
        except RuntimeError as error:  # out of memory, a compiler that fails: the other rows can still be measured
            print(f"{row.name}: not measured, {type(error).__name__}: {error}\n")
            continue
        print(rung.table(), "\n")
        records += recorded(setting, rung, path)
    print(f"{len(records)} records in {path}, {time.perf_counter() - start:.0f} s")
    return records


def measured(row: Row, max_time_s: float) -> Rung:
    """Measure one row: times in turns first, counters afterwards, where they disturb nothing."""
    with row.prepare() as variants:
        with utilization() as used:
            images = row.images_per_call
            comparison = compare(variants, rounds=row.rounds, max_time_s=max_time_s, images_per_call=images)
        work = {name: count(variant.run, per_module=False) for name, variant in variants.items()}
    return Rung(row, comparison, work, used.cores_busy, used.gpu_busy, judged(row, comparison))


def judged(row: Row, comparison: Comparison) -> dict[str, Verdict]:
    """The verdict on each variant that promises something about quality."""
    found = {}
    for name, claim in row.claims.items():
        found[name] = verdict(comparison.speedup(name), claim.evidence(), exactness=claim.exactness)
    return found


def recorded(setting: Setting, rung: Rung, path: Path) -> list[Record]:
    """One record a variant (img/s and counters), and one a speed-up."""
    row, comparison, made = rung.row, rung.comparison, []
    busy = rung.gpu_busy if setting.device.type == "cuda" else None
    told = manifest(
        batch=int(row.images_per_call), dtype="float32", step=row.step, device=setting.device, devices=1, busy=busy
    )
    shared = {"row": row.name, "scale": setting.scale.name, "images": setting.images.label, **row.config}
    for name, timing in comparison.timings.items():
        work = rung.work[name]
        told = {**told, "dtype": "bfloat16" if name.startswith("bf16") else "float32"}
        counters = {"flop": work.flop, "kernels": work.kernels, "syncs": work.syncs, "bytes_moved": work.bytes_moved}
        config = {
            **shared,
            "variant": name,
            **counters,
            "peak_bytes": comparison.peak_bytes[name],
            "max_difference": _plain(comparison.difference[name]),
            "first_s": timing.first_s,
            "cores_busy": rung.cores_busy,
            **described(rung.verdicts.get(name)),
        }
        low, high = (row.images_per_call / second for second in np.quantile(timing.samples_s, [0.75, 0.25]).tolist())
        rate = timing.per_second(row.images_per_call)
        spread: dict[str, Any] = {"low": low, "high": high, "n": timing.n}
        made.append(record("bench", f"{row.name}: {name}", config, rate, "img/s", **spread, path=path, manifest=told))
        if name != comparison.baseline:
            speed = {**shared, "variant": name, **described(rung.verdicts.get(name))}
            made += speedup_record(row.name, name, comparison.speedup(name), speed, told, path)
    return made


def described(decided: Verdict | None) -> dict[str, Any]:
    """A verdict as plain values: outcome, exactness, and each piece of evidence."""
    if decided is None:
        return {}
    parts = ("kind", "value", "low", "high", "tolerance", "n", "outcome")
    evidence = [{part: _plain(getattr(one, part)) for part in parts} for one in decided.quality]
    return {"verdict": decided.outcome, "exactness": decided.exactness, "evidence": evidence}


def _plain(value: Any) -> Any:
    """A number as JSON knows it: None where it is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def speedup_record(
    row: str, name: str, ratio: Ratio, config: dict[str, Any], told: dict[str, Any], path: Path
) -> list[Record]:
    """The speed-up's record, if a ratio could be reported."""
    if ratio.reason:
        return []
    spread: dict[str, Any] = {"low": ratio.low, "high": ratio.high, "n": ratio.n}
    return [record("speed-up", f"{row}: {name}", config, ratio.value, "x", **spread, path=path, manifest=told)]
