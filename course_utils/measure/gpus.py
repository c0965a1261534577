"""What NVIDIA's driver says about the GPUs that this process may use; nothing where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["GpuState", "gpu_states", "gpus"]


@dataclass(frozen=True)
class GpuState:
    """One look at one GPU: `busy` as a share of the last moments, power in watts, memory in use in bytes.

    What a driver does not tell is None.
    """

    name: str
    busy: float | None
    power_w: float | None
    memory_bytes: int | None
    clock_mhz: int | None
    driver: str


def gpus(nvml: Any = None) -> list[Any]:
    """NVML handles of the GPUs visible to this process, in the order of `CUDA_VISIBLE_DEVICES`; empty without a driver.

    A GPU that the driver does not find under its name there (CUDA also takes shortened names) gets None. The driver
    counts by slot, CUDA by speed unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`: set it on a machine with unlike GPUs. `nvml`
    stands in for pynvml in tests.
    """
    nvml = nvml or _pynvml()
    if nvml is None:
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    names = [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    return [_handle(nvml, name) for name in names]


def gpu_states(handles: list[Any], nvml: Any = None) -> list[GpuState]:
    """Look at every GPU of `handles` once; a slice of one (MIG) tells its memory, but not how busy it is."""
    nvml = nvml or _pynvml()
    return [_state(nvml, handle) for handle in handles]


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError:  # macOS
        return None
    return pynvml


def _handle(nvml: Any, name: str) -> Any:
    try:
        return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name)
    except nvml.NVMLError:
        return None


def _state(nvml: Any, handle: Any) -> GpuState:
    def ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except nvml.NVMLError:  # not supported on this card, or not allowed
            return None

    driver = _text(nvml.nvmlSystemGetDriverVersion())
    if handle is None:
        return GpuState("unknown", None, None, None, None, driver)
    busy = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    power = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    return GpuState(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        busy=None if busy is None else busy / 100,
        power_w=None if power is None else power / 1000,
        memory_bytes=ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used),
        clock_mhz=ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        driver=driver,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
