"""Where a number comes from: device, driver, clocks, versions, commit, command line; no path of the machine."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from course_utils.measure.cores import cores_granted
from course_utils.measure.gpus import gpu_states, gpus
from course_utils.measure.observers import marks, profilers

__all__ = ["METHOD_VERSION", "manifest"]

METHOD_VERSION = 1  # raise it whenever the same program would be measured differently
_PACKAGES = ("torch", "torchvision", "numpy", "denoising-diffusion-pytorch", "diffusion-course-kit")


def manifest(
    *,
    seed: int | None = None,
    batch: int | None = None,
    dtype: str | None = None,
    step: str | None = None,
    device: torch.device | str | None = None,
    workers: int | None = None,
    devices: int | None = None,
    busy: Sequence[float | None] | None = None,
    marks: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Describe this process and machine as plain JSON values.

    What only the caller knows is given: `seed`, `batch`, `dtype`, what one `step` is, the `device` that worked (by
    default the GPU where CUDA works), loader `workers`, `devices` requested and how `busy` each was (0 to 1, see
    `utilization`), `marks` of the timing (by default: who watches now).
    """
    kind = torch.device(device).type if device is not None else "cuda" if torch.cuda.is_available() else "cpu"
    given = {"seed": seed, "batch": batch, "dtype": dtype, "step": step, "workers": workers, "devices": devices}
    return {
        "method_version": METHOD_VERSION,
        "device": _device(device) if kind == "cuda" else _processor(),
        "fp32_precision": _fp32_precision() if kind == "cuda" else None,
        "cores_granted": cores_granted(),
        "threads": torch.get_num_threads(),
        "versions": _versions(),
        **_commit(),
        "argv": [_without_path(argument) for argument in sys.argv],
        **given,
        "busy": None if busy is None else list(busy),
        "marks": _watching() if marks is None else list(marks),
    }


def _watching() -> list[str]:
    return [*profilers(), *marks()]


def _device(device: torch.device | str | None) -> dict[str, Any]:  # pragma: no cover - CUDA
    """Name, clock in MHz and driver of a GPU."""
    index = torch.device(device or "cuda").index
    index = torch.cuda.current_device() if index is None else index
    states = gpu_states(gpus())
    told = {"clock_mhz": states[index].clock_mhz, "driver": states[index].driver} if index < len(states) else {}
    return {"name": torch.cuda.get_device_name(index), "type": "cuda", "count": torch.cuda.device_count(), **told}


def _processor() -> dict[str, Any]:
    """Name and clock in MHz of the processor."""
    frequency = psutil.cpu_freq()
    return {"name": _cpu_name(), "type": "cpu", "clock_mhz": round(frequency.current) if frequency else None}


def _fp32_precision() -> dict[str, str]:  # pragma: no cover - CUDA
    """In what a GPU multiplies float32: torch lets convolutions use TF32 unless told otherwise, products not."""
    return {
        "conv": torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        "matmul": torch.backends.cuda.matmul.fp32_precision,
    }


def _cpu_name() -> str:
    """The processor's name as its maker gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        return found.group(1).strip()
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str | None]:
    installed = {dist: _version(dist) for dist in _PACKAGES}
    return {"python": platform.python_version(), **installed, "cuda": torch.version.cuda, "system": platform.system()}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(root: Path = Path(__file__).parents[2]) -> dict[str, Any]:
    """Commit of the kit's checkout and whether anything but results was changed since; None outside a checkout.

    Results are left out, or the first record of a run would make all that follow look altered. A release names its
    commit in a file, and knows of no changes; somebody else's checkout around it is not the kit's.
    """
    release, folder = root / "RELEASE.json", str(root)
    if release.is_file():
        return {"commit": str(json.loads(release.read_text(encoding="utf-8"))["commit"])[:12], "dirty": None}
    top = _output("git", "-C", folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return {"commit": None, "dirty": None}
    commit = _output("git", "-C", folder, "rev-parse", "--short=12", "HEAD")
    status = ("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
    changes = _output("git", "-C", folder, *status) if commit else None
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _output(*command: str) -> str | None:
    """What a program prints; None when it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _without_path(argument: str) -> str:
    """An argument of the command line without its folders: `--data=/a/b.npz` becomes `--data=b.npz`."""
    option, equals, value = argument.rpartition("=") if argument.startswith("-") else ("", "", argument)
    return f"{option}{equals}{Path(value).name if '/' in value else value}"
