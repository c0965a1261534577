"""The ceilings of this device, measured: arithmetic per dtype, streaming memory, cache, and the cost of a launch.

The two roofs of the roofline model (Williams, Waterman, Patterson: "Roofline", 2009) and a cache roof below the memory
one. A rate is the best of several interleaved rounds: a ceiling is what the device can do, not what it does on average.
Arithmetic is the best of matrix products and 3x3 convolutions: the two come from different libraries, and on some
processors the one reaches twice what the other does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from course_utils.measure.hardware import Device, detect
from course_utils.measure.observers import refuse_profilers
from course_utils.measure.precision import float32_arithmetic
from course_utils.measure.synchronize import device_synchronizer
from course_utils.measure.tables import Table, Tabular, seconds_text, si_text
from course_utils.measure.timing import Stopwatch
from course_utils.measure.utilization import utilization

__all__ = ["Ceilings", "attainable", "calibrate"]

METHOD_VERSION = 2  # raise it whenever the same device would get other ceilings
UNDISTURBED = 0.85  # of the threads' time; a quiet machine gives 0.94 and more, one busy neighbour on two cores 0.6
HOPELESS = 1 / 8  # of the best rate so far: a dtype slower than that is not tried on larger matrices
_TORCH_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MIB = 2**20


def attainable(intensity: float | np.ndarray, flop_per_s: float, bytes_per_s: float) -> float | np.ndarray:
    """The most FLOP/s at an intensity (FLOP/byte) below both roofs: min(peak, intensity x bandwidth)."""
    return np.minimum(flop_per_s, np.asarray(intensity) * bytes_per_s)


@dataclass(frozen=True, repr=False)
class Ceilings(Tabular):
    """Measured ceilings of one device: FLOP/s by dtype name, bytes/s of memory and of cache, seconds a launch.

    `reached_by` says by dtype whether a matrix product or a convolution came highest; `granted` is the share of the
    threads' time that this process really got on a CPU.

    Bytes are counted as `count` does (a copy reads once and writes once). `rough` marks the quick smoke measurement.
    What fits into a GPU's cache takes hardly longer than its launch, so there the cache's figure is a lower bound.
    """

    device: Device
    flop_per_s: dict[str, float]
    bytes_per_s: float
    cache_bytes_per_s: float
    launch_s: float
    rough: bool = False
    reached_by: dict[str, str] = field(default_factory=dict)
    granted: float = 1.0

    @property
    def disturbed(self) -> bool:
        """Whether other programs took the cores meanwhile, so that the device can do more than was measured."""
        return self.granted < UNDISTURBED

    def ridge(self, dtype: str = "fp32") -> float:
        """Intensity in FLOP/byte above which arithmetic, not memory, is the limit. ValueError for an unknown dtype."""
        if dtype not in self.flop_per_s:
            raise ValueError(f"dtype is {dtype!r}, wanted one of those measured here: {', '.join(self.flop_per_s)}.")
        return self.flop_per_s[dtype] / self.bytes_per_s

    def table(self) -> Table:
        """One row a ceiling: measured, the datasheet's, and their ratio."""
        sheet = self.device.datasheet
        rates = sheet.flop_per_s if sheet else {}
        rows = [
            _row(f"{dtype} {self.reached_by.get(dtype, '')}".rstrip(), rate, rates.get(dtype), "FLOP/s")
            for dtype, rate in self.flop_per_s.items()
        ]
        rows.append(_row("memory", self.bytes_per_s, sheet.bytes_per_s if sheet else None, "B/s"))
        launched = "" if self.device.kind == "cpu" else ", launches included"
        rows.append(_row(f"cache{launched}", self.cache_bytes_per_s, None, "B/s"))
        rows.append(("kernel launch", seconds_text(self.launch_s), None, None))
        ridges = ", ".join(f"{dtype} {self.ridge(dtype):.1f}" for dtype in self.flop_per_s)
        note = f"ridge in FLOP/byte: {ridges}; datasheet: {self.device.datasheet_text}"
        if self.disturbed:
            note += f"\nother programs took {1 - self.granted:.0%} of the time: too low, and not kept for next time"
        title = f"{self.device.name}, {self.device.threads} threads{', rough' if self.rough else ''}"
        return Table(("ceiling", "measured", "datasheet", "reached"), rows, title=title, note=note)


def calibrate(device: Device | torch.device | str | None = None, *, refresh: bool = False) -> Ceilings:
    """Measure the ceilings of `device` (what `detect` returns or takes), or recall those measured before.

    They are kept as JSON per device, thread count and torch version under `COURSE_CACHE` or
    `~/.cache/diffusion-course`; `refresh` measures again. Takes some 10 s, with `COURSE_SCALE=smoke` a second for a
    rough answer that is kept apart. What was measured beside other busy programs says so (`.disturbed`) and is not
    kept. Raises RuntimeError under a profiler.
    """
    found = device if isinstance(device, Device) else detect(device)
    place = torch.device(found.kind if device is None or isinstance(device, Device) else device)
    rough = os.environ.get("COURSE_SCALE") == "smoke"
    path = _cache_path(found, rough)
    if not refresh and (kept := _load(path, found, rough)) is not None:
        return kept
    refuse_profilers("calibrate")
    with utilization() as used:
        ceilings = _measured(found, place, rough)
    if found.kind == "cpu" and not rough:
        ceilings = replace(ceilings, granted=used.cpu_s / used.wall_s / min(found.threads, found.cores))
    if not ceilings.disturbed:
        _save(path, ceilings)
    return ceilings


def _measured(found: Device, device: torch.device, rough: bool) -> Ceilings:
    watch = Stopwatch(time.perf_counter, device_synchronizer(torch.empty(0, device=device)))
    budget_s = 0.05 if rough else 0.8
    with torch.inference_mode():
        rates = _arithmetic(found, device, watch, budget_s, rough)
        memory = _stream_rate(_memory_sizes(found, rough), device, watch, budget_s)
        return Ceilings(
            device=found,
            flop_per_s={dtype: max(tried.values()) for dtype, tried in rates.items()},
            bytes_per_s=memory,
            cache_bytes_per_s=max(memory, _stream_rate(_cache_sizes(found), device, watch, budget_s)),
            launch_s=_launch_s(device, watch, budget_s / 4),
            rough=rough,
            reached_by={dtype: max(tried, key=lambda name: tried[name]) for dtype, tried in rates.items()},
        )


def _arithmetic(
    found: Device, device: torch.device, watch: Stopwatch, budget_s: float, rough: bool
) -> dict[str, dict[str, float]]:
    """FLOP/s of each dtype by matrix product and, unless that is hopeless already, by convolution."""
    rates: dict[str, dict[str, float]] = {}
    for dtype in _dtypes(found):
        known = {name: max(tried.values()) for name, tried in rates.items()}
        with float32_arithmetic(tf32=dtype == "tf32"):
            product = _matrix_rate(dtype, _matrix_sizes(found, rough), device, watch, budget_s, known)
            rates[dtype] = {"matrix product": product}
            if product >= HOPELESS * max(known.values(), default=0.0):
                rates[dtype]["convolution"] = _convolution_rate(dtype, found, device, watch, budget_s, rough)
    return rates


def _convolution_rate(
    dtype: str, found: Device, device: torch.device, watch: Stopwatch, budget_s: float, rough: bool
) -> float:
    """FLOP/s of a wide 3x3 convolution, channels last, 2 N H W C C 9 of them."""
    n, channels, size = (2, 64, 16) if rough else (16, 256, 16) if found.kind == "cpu" else (64, 512, 32)
    x = torch.randn(n, channels, size, size, device=device).to(_TORCH_DTYPES[dtype])  # (N, C, H, W)
    weight = torch.randn(channels, channels, 3, 3, device=device).to(_TORCH_DTYPES[dtype])
    x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    seconds = _best_s(partial(torch.conv2d, x, weight, padding=1), watch, budget_s)
    return 2 * n * size**2 * channels**2 * 9 / seconds


def _matrix_rate(
    dtype: str, sizes: list[int], device: torch.device, watch: Stopwatch, budget_s: float, known: dict[str, float]
) -> float:
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=device).to(_TORCH_DTYPES[dtype]) for _ in range(2))
        out = torch.empty_like(a)
        seconds = _best_s(partial(torch.mm, a, b, out=out), watch, budget_s)
        best = max(best, 2 * size**3 / seconds)
        if best < HOPELESS * max(known.values(), default=0.0):
            break
    return best


def _stream_rate(sizes: list[int], device: torch.device, watch: Stopwatch, budget_s: float) -> float:
    """Best rate of copy and triad over working sets of `sizes` bytes: three float32 arrays each."""
    best = 0.0
    for size in sizes:
        n = max(1, size // 12)
        a, b, c = (torch.ones(n, device=device) for _ in range(3))
        copy_s = _best_s(partial(a.copy_, b), watch, budget_s / 2)
        triad_s = _best_s(partial(torch.add, b, c, alpha=2.0, out=a), watch, budget_s / 2)
        best = max(best, 8 * n / copy_s, 12 * n / triad_s)
    return best


def _launch_s(device: torch.device, watch: Stopwatch, budget_s: float) -> float:
    one = torch.zeros(1, device=device)
    return _best_s(lambda: one.add_(1), watch, budget_s)


def _best_s(run: Callable[[], Any], watch: Stopwatch, budget_s: float) -> float:
    """Seconds of the fastest call: at least three rounds, more while they last no longer than the budget."""
    spent = watch.sample(run)
    calls = 1 if spent > budget_s else watch.calls_per_sample(run, (), min(0.002, budget_s / 10))
    best, rounds = math.inf, 0
    while rounds < 3 or spent < budget_s:
        lasted = watch.sample(run, calls=calls)
        spent, best, rounds = spent + lasted, min(best, lasted / calls), rounds + 1
        if spent > 4 * budget_s:
            break
    return best


def _dtypes(found: Device) -> list[str]:
    """fp32, and on a GPU what it has units for: cuBLAS refuses the others on some older ones."""
    if found.kind == "cpu":
        return ["fp32", "bf16", "fp16"]
    return ["fp32", *(dtype for dtype in ("tf32", "bf16", "fp16") if dtype in found.fast_dtypes)]


def _matrix_sizes(found: Device, rough: bool) -> list[int]:
    if found.kind == "cpu":
        return [256] if rough else [512, 1024, 2048]
    return [1024] if rough else [2048, 4096, 8192]


def _memory_sizes(found: Device, rough: bool) -> list[int]:
    """Bytes of a working set well beyond the last-level cache, within an eighth of the memory."""
    beyond = max(24 * _MIB if rough else 192 * _MIB, (2 if rough else 8) * found.cache_bytes)
    return [min(beyond, found.memory_bytes // 8, (128 if rough else 1024) * _MIB)]


def _cache_sizes(found: Device) -> list[int]:
    """Bytes of working sets that fit: from half of the second level to a quarter of the last."""
    last = found.cache_bytes or 4 * _MIB
    private = found.l2_bytes * (min(found.threads, found.cores) if found.kind == "cpu" else 1) // 2
    return sorted({size for size in (private, last // 8, last // 4) if size})


def _cache_path(found: Device, rough: bool) -> Path:
    folder = Path(os.environ.get("COURSE_CACHE") or Path.home() / ".cache" / "diffusion-course")
    same = (found.name, found.kind, found.cores, found.threads, found.cache_bytes, found.processors)
    key = json.dumps([same, torch.__version__, METHOD_VERSION, rough])
    slug = re.sub(r"[^a-z0-9]+", "-", found.name.lower()).strip("-")
    return folder / f"ceilings-{slug}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"


def _load(path: Path, found: Device, rough: bool) -> Ceilings | None:
    """Ceilings kept in a file; None where there is none, or none that can be read."""
    try:
        kept = json.loads(path.read_text())
        flop_per_s = {str(dtype): float(rate) for dtype, rate in kept["flop_per_s"].items()}
        memory, cache, launch = (float(kept[name]) for name in ("bytes_per_s", "cache_bytes_per_s", "launch_s"))
        reached_by = {str(dtype): str(kernel) for dtype, kernel in kept["reached_by"].items()}
        return Ceilings(found, flop_per_s, memory, cache, launch, rough, reached_by)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _save(path: Path, ceilings: Ceilings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(asdict(ceilings), indent=1, default=str) + "\n")
    part.replace(path)


def _row(name: str, measured: float, promised: float | None, unit: str) -> tuple[object, ...]:
    if promised is None:
        return (name, si_text(measured, unit), None, None)
    return (name, si_text(measured, unit), si_text(promised, unit), f"{measured / promised:.0%}")
