"""Waiting for a device: work on an accelerator is queued, and a clock read too early sees only the queueing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["cuda_devices", "device_synchronizer", "kept_random_state"]


def cuda_devices(*things: object) -> list[torch.device]:
    """The CUDA devices of the tensors and modules in `things`, looking into lists, tuples and mappings."""
    found = {tensor.device for tensor in _tensors(things) if tensor.device.type == "cuda"}
    return sorted(found, key=str)


def device_synchronizer(*things: object) -> Callable[[], None]:
    """A function that waits for the devices of `things` and for the current one; costs next to nothing on a CPU.

    CUDA is waited for once it is initialised, be it by the measured call itself; Apple's MPS where it is there.
    """
    devices = cuda_devices(*things)
    has_mps = torch.backends.mps.is_available()

    def synchronize() -> None:
        if torch.cuda.is_initialized():  # pragma: no cover - CUDA
            torch.cuda.synchronize()
            for device in devices:
                torch.cuda.synchronize(device)
        if has_mps:  # pragma: no cover - CUDA (MPS: a Mac)
            torch.mps.synchronize()

    return synchronize


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Puts the random state of the CPU and, once CUDA is initialised, of every GPU back afterwards."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices, device_type="cuda"):
        yield


def _tensors(thing: object) -> Iterator[torch.Tensor]:
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, nn.Module):
        yield from thing.parameters()
        yield from thing.buffers()
    elif isinstance(thing, Mapping):
        yield from _tensors(list(thing.values()))
    elif isinstance(thing, (list, tuple)):
        for item in thing:
            yield from _tensors(item)
