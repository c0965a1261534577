"""Which device this is, what of it is granted to us, and what its vendor says of it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from course_utils.measure.cores import cores_granted
from course_utils.measure.datasheets import DATASHEETS, Datasheet, datasheet_for
from course_utils.measure.tables import Table, Tabular, bytes_text

__all__ = ["DATASHEETS", "Datasheet", "Device", "datasheet_for", "detect"]

_CGROUP = Path("/sys/fs/cgroup")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_FAST_FLAGS = {  # CPU flags, of which any one makes a type fast
    "bf16": {"avx512_bf16", "amx_bf16", "bf16"},
    "fp16": {"avx512_fp16", "amx_fp16", "asimdhp"},
    "int8": {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm"},
}


@dataclass(frozen=True, repr=False)
class Device(Tabular):
    """One device as this process may use it.

    `cores` is the number of CPU cores granted (affinity and cgroup quota), `threads` what torch uses of them,
    `memory_bytes` what we may fill, `cache_bytes` the last-level cache and `l2_bytes` one core's second level (on a GPU
    both are its L2), `fast_dtypes` the types with instructions of their own, `capability` the CUDA capability,
    `processors` the number of multiprocessors.
    """

    name: str
    kind: Literal["cpu", "cuda", "mps"]
    cores: int
    threads: int
    memory_bytes: int
    cache_bytes: int
    l2_bytes: int
    fast_dtypes: tuple[str, ...]
    capability: tuple[int, int] | None = None
    processors: int | None = None

    @property
    def datasheet(self) -> Datasheet | None:
        """The vendor's figures; None for a CPU and for a device that is not in `DATASHEETS`."""
        return None if self.kind == "cpu" else datasheet_for(self.name, self.processors)

    @property
    def datasheet_text(self) -> str:
        """One sentence on what is known from the vendor."""
        if self.datasheet is not None:
            return f"{self.datasheet.name}: {self.datasheet.source}"
        return "none for CPUs: measured only" if self.kind == "cpu" else "unknown device: measured only"

    def table(self) -> Table:
        """One row a property."""
        rows = [
            ("device", f"{self.name} ({self.kind})"),
            ("cores granted, torch threads", f"{self.cores}, {self.threads}"),
            ("memory", bytes_text(self.memory_bytes)),
            ("last-level cache", bytes_text(self.cache_bytes) if self.cache_bytes else "unknown"),
            ("fast types", ", ".join(self.fast_dtypes)),
            ("datasheet", self.datasheet_text),
        ]
        if self.capability is not None:
            rows.insert(1, ("capability", ".".join(map(str, self.capability))))
        return Table(("", "this device"), rows)


def detect(device: torch.device | str | None = None) -> Device:
    """Describe `device`: by default the current CUDA device where there is one, else Apple's MPS, else the CPU.

    Raises ValueError for a device that this machine does not have.
    """
    kind = torch.device(device).type if device is not None else _best_kind()
    if kind == "cuda":
        return _cuda(device)
    if kind == "mps":
        return _mps()
    if kind != "cpu":
        raise ValueError(f"device is {str(device)!r}, wanted a cpu, cuda or mps device.")
    cache, l2 = _cpu_caches()
    return Device(
        name=_cpu_name(),
        kind="cpu",
        cores=cores_granted(),
        threads=torch.get_num_threads(),
        memory_bytes=_memory_granted(),
        cache_bytes=cache,
        l2_bytes=l2,
        fast_dtypes=_fast_on_cpu(_cpu_flags()),
    )


def _best_kind() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cuda(device: torch.device | str | None) -> Device:
    if not torch.cuda.is_available():
        raise ValueError(f"device is {str(device)!r}, but torch sees no CUDA device here; wanted 'cpu'.")
    return _cuda_device(torch.device(device or "cuda"))  # pragma: no cover - CUDA


def _cuda_device(device: torch.device) -> Device:  # pragma: no cover - CUDA
    properties = torch.cuda.get_device_properties(device)
    capability = (properties.major, properties.minor)
    l2 = int(getattr(properties, "L2_cache_size", 0))
    return Device(
        name=properties.name,
        kind="cuda",
        cores=cores_granted(),
        threads=torch.get_num_threads(),
        memory_bytes=properties.total_memory,
        cache_bytes=l2,
        l2_bytes=l2,
        fast_dtypes=_fast_on_cuda(capability, getattr(properties, "gcnArchName", "") if torch.version.hip else ""),
        capability=capability,
        processors=properties.multi_processor_count,
    )


def _mps() -> Device:
    if not torch.backends.mps.is_available():
        raise ValueError("device is 'mps', but torch sees no Apple GPU here; wanted 'cpu'.")
    cache, l2 = _cpu_caches()  # pragma: no cover - CUDA (MPS: a Mac)
    return Device(  # pragma: no cover - CUDA (MPS: a Mac)
        f"{_cpu_name()} GPU", "mps", cores_granted(), torch.get_num_threads(), _memory_granted(), cache, l2,
        ("fp32", "fp16"),
    )  # fmt: skip


def _fast_on_cuda(capability: tuple[int, int], gcn: str = "") -> tuple[str, ...]:
    """Types with matrix units (NVIDIA tensor cores; AMD's gfx908 and later) or at least double rate (gfx906)."""
    if gcn:
        modern = gcn.split(":")[0] not in ("gfx900", "gfx906")
        return ("fp32", "fp16", "bf16", "int8") if modern else ("fp32", "fp16", "int8")
    newer = {"fp16": (7, 0), "int8": (7, 2), "tf32": (8, 0), "bf16": (8, 0)}
    return ("fp32", *(dtype for dtype, least in newer.items() if capability >= least))


def _fast_on_cpu(flags: set[str]) -> tuple[str, ...]:
    return ("fp32", *(dtype for dtype, wanted in _FAST_FLAGS.items() if flags & wanted))


def _cpu_name() -> str:
    cpuinfo = _read(Path("/proc/cpuinfo"))
    if found := re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE):
        return found.group(1).strip()
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    if found:
        return set(found.group(1).split())
    arm = {"bf16": "FEAT_BF16", "asimdhp": "FEAT_FP16", "i8mm": "FEAT_I8MM"}
    return {flag for flag, feature in arm.items() if _sysctl(f"hw.optional.arm.{feature}") == "1"}


def _cpu_caches() -> tuple[int, int]:
    """Bytes of the last-level cache and of one core's second level; 0 where unknown."""
    sizes = {
        int(_read(index / "level") or 0): _size(_read(index / "size"))
        for index in sorted(_CACHES.glob("index*"))
        if _read(index / "type").strip() != "Instruction"
    }
    if not sizes:
        l2 = int(_sysctl("hw.perflevel0.l2cachesize") or _sysctl("hw.l2cachesize") or 0)
        return int(_sysctl("hw.l3cachesize") or l2), l2
    return sizes[max(sizes)], sizes.get(2, 0)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMG]?)", text.strip())
    return int(found.group(1)) * 1024 ** " KMG".index(found.group(2) or " ") if found else 0


def _memory_granted() -> int:
    """Memory of the machine in bytes, cut down to the limits of the control groups that this process is in."""
    folders = [_CGROUP, _CGROUP / "memory"]
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        own = _CGROUP / (controllers if controllers == "memory" else "") / path.strip("/")
        folders += [own, *own.parents]
    limits = [_read(folder / file) for folder in folders for file in ("memory.max", "memory.limit_in_bytes")]
    return min([psutil.virtual_memory().total, *(int(limit) for limit in limits if limit.strip().isdigit())])


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() and os.access(path, os.R_OK) else ""


def _sysctl(name: str) -> str:
    if platform.system() != "Darwin":
        return ""
    found = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    return found.stdout.strip()
