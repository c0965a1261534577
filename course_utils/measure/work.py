"""How much arithmetic a callable does and how many bytes it moves, counted operator by operator.

1 multiply-add = 2 FLOP; 1 GB = 1e9 bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from course_utils.measure.blocks import Call, blocks, captured_calls, module_of
from course_utils.measure.synchronize import kept_random_state
from course_utils.measure.tables import Table, Tabular, si_text
from course_utils.measure.traffic import Counts, Operator, Tally, tensors_in

__all__ = ["BETWEEN", "ByModule", "Work", "as_leaves", "backward_of", "count", "eager_form", "kept_state"]

BETWEEN = "(between blocks)"
_COLUMNS = ("FLOP", "bytes", "fused bytes", "FLOP/byte", "kernels", "syncs")


class ByModule(dict[str, Counts], Tabular):
    """Counts by block name, in the order of the calls; the values add up to those of the whole."""

    def table(self) -> Table:
        """One row a block."""
        return Table(("block", "calls", *_COLUMNS), [(name, row.calls, *_cells(row)) for name, row in self.items()])

    __str__ = Tabular.__str__
    __repr__ = Tabular.__str__


@dataclass(frozen=True, repr=False)
class Work(Tabular):
    """What `count` returns: the counters of one call (see `Counts`), by block and by operator.

    `uncounted` maps operators whose arithmetic no formula knows to their calls: their FLOP are missing from the sum.
    """

    flop: int
    bytes_moved: int
    fused_bytes: int
    kernels: int
    syncs: int
    per_module: ByModule
    operators: dict[str, Operator]

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in FLOP/byte of an eager run."""
        return self.flop / self.bytes_moved if self.bytes_moved else 0.0

    @property
    def uncounted(self) -> dict[str, int]:
        """Calls of each operator without a formula that is not plain traffic either."""
        return {name: row.calls for name, row in self.operators.items() if row.kind == "uncounted"}

    @property
    def traffic(self) -> dict[str, int]:
        """Bytes moved by each elementwise, reducing or copying operator; they cost bytes and count as no FLOP."""
        return {name: row.bytes_moved for name, row in self.operators.items() if row.kind == "traffic"}

    def table(self) -> Table:
        """One row of totals; the note names what is not in them."""
        listed = ", ".join(f"{name} x{calls}" for name, calls in self.uncounted.items())
        return Table(_COLUMNS, [_cells(self)], note=f"uncounted, no formula: {listed}" if listed else None)


def count(fn: Callable[..., Any], *args: Any, backward: bool = False, per_module: bool = True, **kwargs: Any) -> Work:
    """Run `fn(*args, **kwargs)` and count its work: FLOP, bytes, kernels, host synchronisations.

    `backward=True` counts forward and backward together: the gradient of the sum of all outputs with respect to every
    parameter and every float input (the backward part is about twice the forward one). Rows by module come from running
    each block of `fn` alone on the inputs that it got; the rest is the row "(between blocks)", so that rows add up.
    `fused_bytes` is a lower bound of the traffic were all elementwise work fused away: kernels with FLOP read their
    inputs and write their outputs, and what else the call was given and returns moves once. `syncs` are the waits for
    an accelerator; where none took part, the reads of values that would be such waits (see `traffic.py`).

    Compiled models and the fused fast path of `nn.TransformerEncoderLayer` are counted in their eager form. Gradients,
    buffers, random state and hooks are as before when this returns or raises. Kernels launched behind torch's back (raw
    pointers, Triton called directly) are not seen. ValueError if `fn` cannot be called or has no gradient to count.
    """
    if not callable(fn):
        raise ValueError(f"count wants a callable first, got {type(fn).__name__}: pass the model, not its output.")
    root = module_of(fn)
    parts = blocks(root) if root is not None and per_module else {}
    if backward:
        args, kwargs = as_leaves((args, kwargs))
    with kept_state(root), eager_form():
        with captured_calls(parts) as calls:
            tally, boundary = _tally(fn, args, kwargs, backward)
        if backward and not any(t.requires_grad for t in boundary):
            raise ValueError("backward=True wants an output that depends on a parameter or float input; found none.")
        rows = _rows(calls, backward, tally.accelerated)
    total = tally.counts(boundary)
    rows[BETWEEN] = replace(total - sum(rows.values(), Counts()), calls=1)
    return Work(
        total.flop, total.bytes_moved, total.fused_bytes, total.kernels, total.syncs, ByModule(rows), tally.operators
    )


def as_leaves(inputs: Any) -> Any:
    """The same nested inputs with every float tensor detached and asking for a gradient."""
    return tree_map_only(Tensor, lambda t: t.detach().requires_grad_(t.is_floating_point() or t.is_complex()), inputs)


def backward_of(outputs: Any) -> Callable[[], tuple[Tensor | None, ...]] | None:
    """The backward pass of the sum of all outputs, ready to run; it returns the gradients and stores none.

    Gradients are those of every leaf that the outputs depend on. None where there is nothing to differentiate.
    """
    roots = [t for t in tensors_in(outputs) if t.requires_grad]
    leaves = _leaves_behind(roots)
    ones = [torch.ones_like(t) for t in roots]
    return partial(torch.autograd.grad, roots, leaves, ones, allow_unused=True) if leaves else None


@contextmanager
def kept_state(root: nn.Module | None) -> Iterator[None]:
    """Puts buffers (batch-norm statistics) and random state back afterwards."""
    modules = list(root.modules()) if root is not None else []
    kept = [(m, name, b, b.clone()) for m in modules for name, b in m._buffers.items() if b is not None]
    with kept_random_state():
        try:
            yield
        finally:
            _put_back(kept)


@contextmanager
def eager_form() -> Iterator[None]:
    """Runs compiled functions and the fused path of `nn.TransformerEncoderLayer` operator by operator."""
    mha = torch.backends.mha
    with ExitStack() as stack:
        stack.callback(mha.set_fastpath_enabled, mha.get_fastpath_enabled())
        mha.set_fastpath_enabled(False)
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _put_back(buffers: list[tuple[nn.Module, str, Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for module, name, buffer, value in buffers:
            buffer.copy_(value)
            module._buffers[name] = buffer


def _tally(fn: Callable[..., Any], args: Any, kwargs: Any, backward: bool) -> tuple[Tally, list[Tensor]]:
    """Count one run; returned with the tensors that went in and came out."""
    # Copies, since a leaf that asks for a gradient must not be changed in place.
    args, kwargs = tree_map_only(Tensor, lambda t: t.clone() if t.requires_grad else t, (args, kwargs))
    tally = Tally()
    with torch.set_grad_enabled(backward or torch.is_grad_enabled()):
        with tally:
            outputs = fn(*args, **kwargs)
        run = backward_of(outputs) if backward else None
    grads: tuple[Tensor | None, ...] = ()
    if run is not None:
        with tally:
            grads = run()
    return tally, tensors_in((args, kwargs, outputs, grads))


def _rows(calls: list[Call], backward: bool, accelerated: bool) -> dict[str, Counts]:
    rows: dict[str, Counts] = {}
    for call in calls:
        with call.modes():
            tally, _ = _tally(call.module, call.args, call.kwargs, backward and call.grad_enabled)
        rows[call.name] = rows.get(call.name, Counts()) + tally.counts(accelerated=accelerated)
    return rows


def _leaves_behind(roots: list[Tensor]) -> list[Tensor]:
    """Every leaf that the roots depend on, found by walking the graph of gradient functions."""
    found = {id(t): t for t in roots if t.is_leaf}
    waiting = [t.grad_fn for t in roots if t.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if (leaf := getattr(node, "variable", None)) is not None:
            found[id(leaf)] = leaf
        new = {child for child, _ in node.next_functions if child is not None} - seen
        seen |= new
        waiting.extend(new)
    return list(found.values())


def _cells(counts: Counts | Work) -> tuple[object, ...]:
    sizes = (si_text(counts.flop, "FLOP"), si_text(counts.bytes_moved, "B"), si_text(counts.fused_bytes, "B"))
    return (*sizes, f"{counts.intensity:.2f}", counts.kernels, counts.syncs)
