"""Does `measure` agree with torch.utils.benchmark on real operations? A benchmark that needs a quiet machine.

python -m course_utils.experiments.timing_agreement
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from course_utils.measure import Table, measure
from course_utils.measure.tables import seconds_text

__all__ = ["agreement", "operations"]

ROUNDS = 5
MIN_TIME_S = 0.4  # per measurement
TOLERANCE = 0.05


def operations(device: str | torch.device = "cpu") -> dict[str, tuple[Callable[..., object], tuple[Tensor, ...]]]:
    """Real operations from microseconds to tens of milliseconds, as name → (function, arguments)."""
    a = torch.randn(512, 512, device=device)
    x = torch.randn(16, 64, 32, 32, device=device)  # (N, C, H, W)
    conv = nn.Conv2d(64, 64, 3, padding=1, device=device)
    return {
        "add, 16 values": (torch.add, (a[0, :16], a[1, :16])),
        "add, 1 M values": (torch.add, (x, x)),
        "matrix product, 512": (torch.mm, (a, a)),
        "convolution 3x3, 64 channels": (conv, (x,)),
        "convolution, forward and backward": (lambda x: conv(x).sum().backward(), (x,)),
    }


def agreement(device: str | torch.device | None = None, *, rounds: int = ROUNDS) -> Table:
    """Time each of `operations` with both, taking turns, and compare the medians over the rounds.

    Both take as many samples of as many calls: torch's `blocked_autorange` prefers blocks of up to 100 ms, which on a
    busy machine hold other programs' time slices, so that block lengths would be compared.
    `device` is CUDA where it is there unless named.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    rows = [_row(name, fn, args, rounds) for name, (fn, args) in operations(device).items()]
    note = (
        f"median of {rounds} turns each on {device}, {torch.get_num_threads()} threads; wanted within {TOLERANCE:.0%}"
    )
    return Table(["operation", "measure", "torch.utils.benchmark", "difference", "agrees"], rows, note=note)


def _row(name: str, fn: Callable[..., object], args: Sequence[Tensor], rounds: int) -> list[object]:
    timer = Timer("fn(*args)", globals={"fn": fn, "args": args}, num_threads=torch.get_num_threads())
    ours, theirs = [], []
    for _ in range(rounds):
        timing = measure(fn, *args, min_time_s=MIN_TIME_S, max_time_s=MIN_TIME_S)
        ours.append(timing.median_s)
        theirs.append(statistics.median(timer.timeit(timing.calls).median for _ in range(timing.n)))
    a, b = statistics.median(ours), statistics.median(theirs)
    return [name, seconds_text(a), seconds_text(b), f"{a / b - 1:+.1%}", "yes" if abs(a / b - 1) <= TOLERANCE else "no"]


if __name__ == "__main__":
    print(agreement())
