"""What one run of a callable dispatches: FLOP, bytes, kernels and host synchronisations, operator by operator.

Bytes are those of an eager run: each kernel reads its inputs and writes its outputs, weights included. A view moves
nothing, an expanded tensor counts its true storage, a tensor given twice is read once, and a look-up (`embedding`,
`gather`, indexing) reads at most as many bytes as it returns.

A *sync* is where the host waits for an accelerator: it reads a value from it, needs a shape that depends on values, or
copies to or from it without `non_blocking`. Memory of the host is no accelerator (Adam keeps its step counters there).
A run that never touches one has no syncs; its `syncs` are then the reads of values that would be if all its tensors
lay on an accelerator, an upper bound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from course_utils.measure.formulas import Kind, flop_of, kind_of, packet_of

__all__ = ["Counts", "Operator", "Tally", "tensor_bytes", "tensors_in"]

_ALLOCATIONS = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "resize_"}
_LOOKUPS = {"embedding", "gather", "index", "index_select", "_unsafe_index", "take", "masked_select"}
_WRITE_ONLY = {
    "copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "exponential_", "geometric_", "cauchy_",
    "log_normal_", "random_", "set_data",
}  # fmt: skip
_SYNCS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2",
          "unique_consecutive", "unique_dim"}  # fmt: skip
_INDEXED = {"index", "index_put_", "_index_put_impl_"}


@dataclass(frozen=True)
class Counts:
    """Exact counters: `flop`, `bytes_moved`, `fused_bytes` (bytes of the kernels with FLOP), kernels, syncs, calls.

    `syncs`: how often the host waits for an accelerator, or would if the tensors lay on one (see the top of this file).
    """

    flop: int = 0
    bytes_moved: int = 0
    fused_bytes: int = 0
    kernels: int = 0
    syncs: int = 0
    calls: int = 0

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in FLOP/byte of an eager run; 0 where nothing is moved."""
        return self.flop / self.bytes_moved if self.bytes_moved else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass
class Operator:
    """All calls of one operator in a run: its kind, how often it ran, its FLOP and its bytes."""

    kind: Kind
    calls: int = 0
    flop: int = 0
    bytes_moved: int = 0


@dataclass
class _Storages:
    """Which storages kernels touched, and which of them through a kernel with FLOP."""

    touched: set[int] = field(default_factory=set)
    by_work: set[int] = field(default_factory=set)

    def read(self, tensors: Iterable[Tensor], work: bool) -> None:
        keys = {_storage(t) for t in tensors}
        self.touched |= keys
        self.by_work |= keys if work else set()

    def create(self, tensors: Iterable[Tensor], work: bool) -> None:
        # A fresh tensor may take over the address of a freed one, so what was known of that address is forgotten.
        self.by_work -= {_storage(t) for t in tensors}
        self.read(tensors, work)


class Tally(TorchDispatchMode):
    """Counts every operator dispatched while it is active; `.operators` by name, `.counts()` in sum.

    `accelerated` says whether any tensor of the run lay on an accelerator: which of the two meanings `syncs` has.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.operators: dict[str, Operator] = {}
        self.accelerated = False
        self._waits = 0
        self._host_reads = 0
        self._storages = _Storages()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(t.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl for t in types):
            return NotImplemented  # a tensor subclass unfolds into plain tensors first
        kwargs = kwargs or {}
        if kind_of(func) == "uncounted" and isinstance(func, torch._ops.OpOverload):
            with self:  # a composite operator (inference mode delivers them whole) is counted by its parts
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        self._record(func, args, kwargs, out)
        return out

    def counts(self, boundary: Any = (), *, accelerated: bool | None = None) -> Counts:
        """The sum over operators; `boundary` holds the call's own inputs and outputs, for `fused_bytes`.

        `accelerated` is that of the whole run, where this is a part of one.
        """
        rows = self.operators.values()
        edge = {_storage(t): t for t in tensors_in(boundary)}
        outside = [t for key, t in edge.items() if key in self._storages.touched - self._storages.by_work]
        fused = sum(row.bytes_moved for row in rows if row.kind == "work") + sum(map(tensor_bytes, outside))
        return Counts(
            flop=sum(row.flop for row in rows),
            bytes_moved=sum(row.bytes_moved for row in rows),
            fused_bytes=fused,
            kernels=sum(row.calls for row in rows),
            syncs=self._waits if accelerated or self.accelerated else self._host_reads,
            calls=1,
        )

    def _record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        self._note_sync(func, args, kwargs, out)
        reads, updated = _split_arguments(func, args, kwargs)
        known = {_storage(t) for t in reads + updated}
        fresh = [t for t in tensors_in(out) if _storage(t) not in known]
        if _name(func) in _ALLOCATIONS or not (fresh or updated) or torch.Tag.inplace_view in getattr(func, "tags", ()):
            return
        kind = kind_of(func)
        row = self.operators.setdefault(str(packet_of(func)), Operator(kind))
        row.calls += 1
        row.flop += flop_of(func, args, kwargs, out) or 0
        row.bytes_moved += _bytes_of_kernel(func, reads, updated, fresh)
        self._storages.read(reads + updated, kind == "work")
        self._storages.create(fresh, kind == "work")

    def _note_sync(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        on_accelerator = any(map(_is_accelerator, tensors_in((args, kwargs, out))))
        self.accelerated |= on_accelerator
        reads = _reads_values(func, args)
        self._waits += (reads and on_accelerator) or _copies_and_waits(func, args, kwargs, out)
        self._host_reads += reads


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples, dicts and dataclasses."""
    leaves = tree_leaves(value)
    nested = [vars(leaf) for leaf in leaves if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type)]
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)] + (tensors_in(nested) if nested else [])


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of memory behind a tensor: a dimension of stride 0 (an expanded one) counts once."""
    if tensor.layout is not torch.strided:
        return tensor.numel() * tensor.element_size()
    elements = prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0 or n == 0)
    return min(elements * tensor.element_size(), tensor.untyped_storage().nbytes())


def _bytes_of_kernel(func: Any, reads: list[Tensor], updated: list[Tensor], fresh: list[Tensor]) -> int:
    written = sum(map(tensor_bytes, fresh + updated))
    read = sum(map(tensor_bytes, _distinct(reads)))
    if _name(func) in _LOOKUPS and reads:
        read -= max(0, tensor_bytes(reads[0]) - written)
    if _name(func) not in _WRITE_ONLY and "out" not in func._schema.overload_name:
        read += sum(map(tensor_bytes, updated))
    return read + written


def _split_arguments(func: Any, args: Any, kwargs: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Tensor arguments that the operator only reads, and those that it writes to."""
    schema = getattr(func, "_schema", None)
    if schema is None:
        return tensors_in((args, kwargs)), []
    writes = {a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write}
    named = {a.name: value for a, value in zip(schema.arguments, args, strict=False)} | kwargs
    return (
        tensors_in([value for name, value in named.items() if name not in writes]),
        tensors_in([value for name, value in named.items() if name in writes]),
    )


def _distinct(tensors: list[Tensor]) -> list[Tensor]:
    return list({(_storage(t), _offset(t), t.shape): t for t in tensors}.values())


def _reads_values(func: Any, args: Any) -> bool:
    """Whether the host needs values of the operator's tensors: one read back, or a shape that depends on them."""
    name = _name(func)
    if name in _INDEXED:
        return any(mask.dtype in (torch.bool, torch.uint8) for mask in tensors_in(args[1]))
    return name in _SYNCS


def _copies_and_waits(func: Any, args: Any, kwargs: Any, out: Any) -> bool:
    """Whether the operator copies between host and accelerator and waits for it: torch does, unless `non_blocking`."""
    if _name(func) in _INDEXED:  # an index on the host is copied to the values' device
        return _is_accelerator(args[0]) and not all(map(_is_accelerator, tensors_in(args[1])))
    if _name(func) == "_to_copy":
        return _is_accelerator(out) != _is_accelerator(args[0]) and not kwargs.get("non_blocking", False)
    if _name(func) != "copy_":
        return False
    non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    return _is_accelerator(args[0]) != _is_accelerator(args[1]) and not non_blocking


def _is_accelerator(tensor: Tensor) -> bool:
    return tensor.device.type not in ("cpu", "meta")


def _name(func: Any) -> str:
    return getattr(packet_of(func), "__name__", str(func))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def _offset(tensor: Tensor) -> int:
    return int(tensor.storage_offset()) if tensor.layout is torch.strided else 0
