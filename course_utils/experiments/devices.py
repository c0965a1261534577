"""The device that a command line names, refused in one sentence where it is none."""

import re

import torch

__all__ = ["DEVICE_HELP", "chosen_device", "own_device"]

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


def own_device(name: str | None, local_rank: int) -> torch.device:
    """The device of one of several processes: the CPU, or the GPU with the number of its local rank.

    Where a launcher shows each process one GPU alone, it is that one. Raises ValueError as `chosen_device` does, for
    one GPU by number, and for more processes on this node than GPUs.
    """
    chosen = chosen_device(name)
    if chosen == "cpu":
        return torch.device("cpu")
    if ":" in chosen:
        raise ValueError(f"--device is {name!r}, but with --ddp each process takes a GPU of its own: write cuda.")
    count = torch.cuda.device_count()
    if count > 1 and local_rank >= count:
        raise ValueError(
            f"local rank {local_rank} has no GPU of its own, torch finds {count} here: start {count} processes a node."
        )
    return torch.device("cuda", local_rank if count > 1 else 0)
