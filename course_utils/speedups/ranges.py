"""What a narrower type does to real numbers: which overflow, which vanish, and how far the others move.

Below the smallest normal number of a type, its subnormal ones keep fewer and fewer bits; below those there is zero.
Give it gradients to see why float16 needs loss scaling, and activations to see why some sums stay in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_utils.speedups.half_precision import as_half

__all__ = ["RangeReport", "RangeRow", "range_report"]

_SHOWN = 12


@dataclass(frozen=True)
class RangeRow:
    """Fate of one tensor's finite numbers in a narrower type; all but `name` and `count` are fractions of `count`.

    `overflow` become infinite, `flushed` are not zero but become so, `subnormal` stay with fewer bits.
    `relative_error` is the mean of |rounded - x| / |x| over the numbers that are neither zero nor overflow; one that is
    flushed counts 1.
    """

    name: str
    count: int
    overflow: float
    subnormal: float
    flushed: float
    relative_error: float


@dataclass(frozen=True)
class RangeReport:
    """A row for each tensor, in the order given, and what they say of all numbers together."""

    rows: tuple[RangeRow, ...]
    total: RangeRow
    dtype: torch.dtype

    def worst(self, n: int = _SHOWN) -> list[RangeRow]:
        """The `n` tensors that lose the largest fraction to overflow and zero, then to rounding."""
        return sorted(self.rows, key=lambda row: (-row.overflow - row.flushed, -row.relative_error))[:n]

    def __repr__(self) -> str:
        head = [f"in {self.dtype}", "numbers", "overflow", "subnormal", "to zero", "relative error"]
        lines = [head, *(_cells(row) for row in [*self.worst(), self.total])]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(_aligned(line, widths)) for line in lines)


def range_report(tensors: nn.Module | Tensor | Mapping[str, Tensor], dtype: torch.dtype | str) -> RangeReport:
    """Report what casting to `dtype`, bfloat16 or float16, would do to these numbers; nothing is changed.

    A model gives its weights, and their gradients (`NAME.grad`) where there are any. Raises `ValueError` for another
    dtype and where there is no floating tensor.
    """
    half = as_half(dtype)
    rows, parts = [], []
    for name, tensor in _floating(tensors):
        parts.append(_fate(tensor, half))
        rows.append(_row(name, parts[-1]))
    if not rows:
        raise ValueError("tensors must hold at least one tensor of floating numbers, got none")
    total = _row("all" if len(rows) > 1 else rows[0].name, torch.stack(parts).sum(0))
    return RangeReport(tuple(rows), total, half)


def _floating(tensors: nn.Module | Tensor | Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The floating tensors among these, by name."""
    if isinstance(tensors, nn.Module):
        for name, parameter in tensors.named_parameters():
            yield name, parameter
            if parameter.grad is not None:
                yield f"{name}.grad", parameter.grad
        return
    named = {"tensor": tensors} if isinstance(tensors, Tensor) else tensors
    yield from ((name, tensor) for name, tensor in named.items() if tensor.is_floating_point())


@torch.no_grad()
def _fate(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Counts, float64 (6,): finite, overflowing, subnormal, flushed, compared, and the sum of relative errors."""
    x = tensor.detach()[tensor.detach().isfinite()]
    rounded = x.to(dtype).to(torch.float64)
    exact = x.to(torch.float64)
    overflow = rounded.isinf()
    flushed = (rounded == 0) & (exact != 0)
    subnormal = (rounded != 0) & (rounded.abs() < torch.finfo(dtype).tiny)
    compared = ~overflow & (exact != 0)
    error = ((rounded - exact) / exact).abs()[compared].sum()
    counts = [torch.tensor(len(x)), overflow.sum(), subnormal.sum(), flushed.sum(), compared.sum(), error]
    return torch.stack([count.double().cpu() for count in counts])


def _row(name: str, counts: Tensor) -> RangeRow:
    finite, overflow, subnormal, flushed, compared, error = counts.tolist()
    of = max(finite, 1)
    return RangeRow(name, int(finite), overflow / of, subnormal / of, flushed / of, error / max(compared, 1))


def _cells(row: RangeRow) -> list[str]:
    """A row as text."""
    shares = [f"{share:.2%}" if share else "0" for share in (row.overflow, row.subnormal, row.flushed)]
    return [row.name, f"{row.count:,}", *shares, f"{row.relative_error:.1e}"]


def _aligned(cells: list[str], widths: list[int]) -> list[str]:
    """Pad the name on its right, the numbers on their left."""
    return [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]
