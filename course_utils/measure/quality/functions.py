"""Evidence that two callables compute the same: their outputs, element by element.

Criteria and tolerances are those of `torch.testing.assert_close`: |variant - reference| <= atol + rtol |reference|.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from course_utils.measure.quality.evidence import Evidence
from course_utils.measure.synchronize import kept_random_state

__all__ = ["same_function"]

TOLERANCES = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex128: (1e-7, 1e-7),
}
"""(rtol, atol) of assert_close by dtype; whole numbers have to be equal."""


class _Gap(NamedTuple):
    """The largest difference of two tensors, what was allowed there, and where that is."""

    difference: float
    allowed: float
    place: str

    @property
    def refused(self) -> bool:
        return not self.difference <= self.allowed


def same_function(
    reference: Callable[..., object] | Tensor,
    variant: Callable[..., object] | Tensor,
    *inputs: object,
    rtol: float | None = None,
    atol: float | None = None,
) -> Evidence:
    """Compare what two callables return for the same `inputs` and random numbers, or two tensors.

    Without `rtol` and `atol` those of torch for the outputs' dtype. The value is the largest absolute difference (of
    those beyond the tolerance, where there are any), the tolerance what was allowed at that place. Raises ValueError
    for outputs without tensors or of unlike structure, shape or dtype, for a reference that holds NaN, and for one
    tolerance without the other.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"got {rtol=} and {atol=}, wanted both or neither.")
    wanted, got = _output(reference, inputs), _output(variant, inputs)
    pairs = list(_pairs(wanted, got, "output"))
    if not pairs:
        raise ValueError(f"the outputs are {type(wanted).__name__} without any element, wanted tensors to compare.")
    gaps = [_gap(a, b, rtol, atol, place) for a, b, place in pairs]
    worst = max(gaps, key=lambda gap: (gap.refused, gap.difference))
    note = f"Largest {'refused ' if worst.refused else ''}difference at {worst.place}. {_scope(inputs)}"
    what, n = "largest |variant - reference|", sum(a.numel() for a, _, _ in pairs)
    difference = worst.difference
    return Evidence("same function", what, difference, difference, difference, worst.allowed, n, note=note)


def _scope(inputs: tuple[object, ...]) -> str:
    return "Shown for these inputs only." if inputs else "Shown for these outputs only."


def _output(source: Callable[..., object] | Tensor, inputs: tuple[object, ...]) -> object:
    if isinstance(source, Tensor):
        return source
    with torch.no_grad(), kept_random_state():
        torch.manual_seed(0)
        return source(*inputs)


def _pairs(a: object, b: object, place: str) -> Iterator[tuple[Tensor, Tensor, str]]:
    """Tensors at the same places of two outputs, each with its place; empty ones are left out."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise ValueError(
                f"{place} is {_kind_of(a)} from the reference and {_kind_of(b)} from the variant, wanted one shape and"
                " dtype: cast or reshape one of them."
            )
        yield from [(a.detach().cpu(), b.detach().cpu(), place)] if a.numel() else []
    elif isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        for key in a:
            yield from _pairs(a[key], b[key], f"{place}[{key!r}]")
    elif isinstance(a, Sequence) and isinstance(b, Sequence) and len(a) == len(b) and not isinstance(a, str):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _pairs(one, other, f"{place}[{index}]")
    else:
        raise ValueError(
            f"{place} is {type(a).__name__} from the reference and {type(b).__name__} from the variant, wanted tensors,"
            " or lists, tuples or mappings of them, of one structure."
        )


def _kind_of(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _gap(a: Tensor, b: Tensor, rtol: float | None, atol: float | None, place: str) -> _Gap:
    """The largest refused difference of b to a, or else the largest; infinite where b has no finite value and a has."""
    if a.isnan().any():
        raise ValueError(f"{place} of the reference holds values that are no numbers, wanted a reference that works.")
    rtol, atol = TOLERANCES.get(a.dtype, (0.0, 0.0)) if rtol is None or atol is None else (rtol, atol)
    wide = torch.complex128 if a.is_complex() else torch.float64
    a, b = a.to(wide), b.to(wide)
    difference = torch.where(a == b, 0.0, (a - b).abs()).nan_to_num(nan=math.inf, posinf=math.inf)
    allowed = torch.where(a.isfinite(), atol + rtol * a.abs(), 0.0)
    refused = difference > allowed
    at = torch.where(refused | ~refused.any(), difference, -1.0).argmax()
    index = [int(i) for i in torch.unravel_index(at, a.shape)]
    return _Gap(float(difference.flatten()[at]), float(allowed.flatten()[at]), f"{place}{index}")
