"""How many CPU cores this process may use: what the scheduler and the container grant, not what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["cores_granted"]

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def cores_granted() -> int:
    """Cores this process may use: its affinity (Slurm, taskset), cut down to the CPU quota of its control group.

    `os.cpu_count()`, the cores of the machine, stands in where there is no affinity to ask for (macOS).
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(_CGROUPS, _OWN_CGROUP)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota(root: Path, own: Path) -> float | None:
    """CPU quota in cores, the tightest from the own control group up to the root; None where there is none."""
    found = [quota for folder in _groups(root, own) if (quota := _quota_of(folder)) is not None]
    return min(found, default=None)


def _groups(root: Path, own: Path) -> list[Path]:
    """Folders of the own control group and its parents, version 2 (`0::/path`) and version 1 (`4:cpu:/path`)."""
    lines = own.read_text().splitlines() if own.exists() else []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        inner = base / path.strip("/")
        folders += [inner, *(parent for parent in inner.parents if parent.is_relative_to(base))]
    return folders


def _quota_of(folder: Path) -> float | None:
    if (limit := folder / "cpu.max").exists():
        quota, period = limit.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    if (limit := folder / "cpu.cfs_quota_us").exists():
        quota_us, period_us = int(limit.read_text()), int((folder / "cpu.cfs_period_us").read_text())
        return None if quota_us < 0 else quota_us / period_us
    return None
