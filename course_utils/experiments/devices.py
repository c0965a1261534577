"""The device that a command line names, refused in one sentence where it is none."""

import re

import torch

__all__ = ["DEVICE_HELP", "chosen_device"]

DEVICE_HELP = "cpu, cuda, cuda:1 (default: cuda where there is one, else cpu)"


def chosen_device(name: str | None = None) -> str:
    """The device called `name`; without a name cuda where there is one, else cpu.

    Raises ValueError for another word than cpu, cuda or cuda:N, and for a GPU that is not here.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"--device is {name!r}, wanted cpu, cuda, or one GPU of several, such as cuda:1.")
    count, index = torch.cuda.device_count(), int(name.partition(":")[2] or 0)
    if name != "cpu" and index >= count:
        here = f"{count} CUDA device{'s' * (count > 1)}" if count else "no CUDA device"
        raise ValueError(f"--device is {name!r}, but torch finds {here} here: take another one, or leave --device out.")
    return name
