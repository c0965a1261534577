"""Where a model spends its time, block by block: each block timed alone on the inputs that it got in the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from course_utils.measure.blocks import Call, blocks, captured_calls, module_of
from course_utils.measure.observers import refuse_profilers
from course_utils.measure.synchronize import device_synchronizer
from course_utils.measure.tables import Table, Tabular, seconds_text, si_text
from course_utils.measure.timing import Clock, Stopwatch
from course_utils.measure.traffic import Counts
from course_utils.measure.work import as_leaves, backward_of, count, eager_form, kept_state

__all__ = ["Profile", "ProfileRow", "profile"]

_SHOWN = 12  # rows of a printed profile
Times = tuple[float, float]  # forward, backward: seconds


@dataclass(frozen=True)
class ProfileRow:
    """One block: its class as `kind`, times in seconds (`backward_s` None when not asked for), counts, share of all."""

    name: str
    kind: str
    calls: int
    forward_s: float
    backward_s: float | None
    forward_flop: int
    forward_bytes: int
    flop: int
    bytes_moved: int
    share: float

    @property
    def time_s(self) -> float:
        """Forward and backward together."""
        return self.forward_s + (self.backward_s or 0.0)

    @property
    def intensity(self) -> float:
        """FLOP/byte, forward and backward together."""
        return self.flop / self.bytes_moved if self.bytes_moved else 0.0

    @property
    def flop_per_s(self) -> float:
        """Achieved FLOP/s, forward and backward together."""
        return self.flop / self.time_s if self.time_s else 0.0


@dataclass(frozen=True, repr=False)
class Profile(Tabular):
    """What `profile` returns: one row a block, and the whole model timed in the same rounds.

    `whole_forward_s`, `whole_backward_s` (seconds); `blocks_s` is the sum over all blocks, forward and backward.
    """

    rows: tuple[ProfileRow, ...]
    whole_forward_s: float
    whole_backward_s: float | None
    blocks_s: float
    rounds: int
    sorted_by: str | None = None

    @property
    def whole_s(self) -> float:
        """The whole model, forward and backward."""
        return self.whole_forward_s + (self.whole_backward_s or 0.0)

    @property
    def residual_s(self) -> float:
        """Seconds of the whole that the blocks do not explain: work between them, and memory that alone they find warm.

        Negative where blocks are slower alone: an accelerator overlaps them in the whole, and waits for each alone.
        """
        return self.whole_s - self.blocks_s

    def sort(self, key: str = "time_s") -> Profile:
        """The same profile with rows by `key`, largest first (by name: alphabetical). ValueError for an unknown key."""
        wanted = (*ProfileRow.__dataclass_fields__, "time_s", "intensity", "flop_per_s")
        if key not in wanted:
            raise ValueError(f"key is {key!r}, wanted one of {', '.join(wanted)}.")
        rows = sorted(self.rows, key=lambda row: getattr(row, key) or 0, reverse=key != "name")
        return replace(self, rows=tuple(rows), sorted_by=key)

    def head(self, n: int = 5) -> Profile:
        """The first `n` rows; of an unsorted profile the `n` slowest blocks."""
        chosen = self if self.sorted_by else self.sort()
        return replace(chosen, rows=chosen.rows[:n])

    def table(self) -> Table:
        """The slowest blocks, or the rows in the order asked for; the note compares the sum of all with the whole."""
        shown = self if self.sorted_by else self.head(_SHOWN)
        hidden = len(self.rows) - len(shown.rows)
        columns = ("block", "kind", "forward", "backward", "share", "FLOP", "bytes", "FLOP/byte", "FLOP/s")
        return Table(columns, [_cells(row) for row in shown.rows], note=self._note(hidden))

    def _note(self, hidden: int) -> str:
        blocks_text, whole_text = seconds_text(self.blocks_s), seconds_text(self.whole_s)
        more = f"{hidden} more blocks; " if hidden else ""
        off = self.residual_s / self.whole_s if self.whole_s else 0.0
        return (
            f"{more}all blocks alone {blocks_text}, the whole in the same {self.rounds} rounds {whole_text}: "
            f"{off:+.0%} unexplained; shares are of all blocks"
        )


def profile(
    model: Callable[..., Any],
    *args: Any,
    backward: bool = True,
    rounds: int = 7,
    clock: Clock = time.perf_counter,
    synchronize: Callable[[], None] | None = None,
    **kwargs: Any,
) -> Profile:
    """Time every block of `model` alone on the inputs it gets in `model(*args, **kwargs)`, and count its work.

    Blocks and the whole model take turns for `rounds` rounds after one to warm up; figures are medians. Backward is
    the gradient of the sum of outputs with respect to parameters and float inputs, as in `count`. Nothing of the model
    is changed: gradients, buffers and random state are as before. Raises RuntimeError under a profiler, ValueError for
    a callable without a module behind it.
    """
    refuse_profilers("profile")
    root = module_of(model)
    if root is None:
        raise ValueError(f"profile wants a module or a method of one, got {model!r}; use measure for a function.")
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}, wanted at least 1.")
    watch = Stopwatch(clock, device_synchronizer(root, args, kwargs) if synchronize is None else synchronize)
    forward = count(model, *args, **kwargs)
    total = count(model, *args, backward=True, **kwargs) if backward else forward
    inputs = as_leaves((args, kwargs)) if backward else (args, kwargs)
    with kept_state(root), torch.set_grad_enabled(backward or torch.is_grad_enabled()):
        calls = _calls(model, root, inputs)
        samples = [_round(model, inputs, calls, backward, watch) for _ in range(rounds + 1)][1:]
    return _profile(calls, samples, forward.per_module, total.per_module, backward)


def _calls(model: Callable[..., Any], root: nn.Module, inputs: Any) -> list[Call]:
    with eager_form(), captured_calls(blocks(root)) as calls:
        model(*inputs[0], **inputs[1])
    return calls


def _round(
    model: Callable[..., Any], inputs: Any, calls: list[Call], backward: bool, watch: Stopwatch
) -> tuple[Times, dict[str, Times]]:
    """Times of the whole and of each block, every call once."""
    whole = _timed(model, inputs, backward, watch)
    rows: dict[str, Times] = {}
    for call in calls:
        with call.modes():
            taken = _timed(call.module, (call.args, call.kwargs), backward and call.grad_enabled, watch)
        known = rows.get(call.name, (0.0, 0.0))
        rows[call.name] = (known[0] + taken[0], known[1] + taken[1])
    return whole, rows


def _timed(fn: Callable[..., Any], inputs: Any, backward: bool, watch: Stopwatch) -> Times:
    args, kwargs = tree_map_only(Tensor, lambda t: t.clone() if t.requires_grad else t, inputs)
    outputs: list[Any] = []
    forward_s = watch.sample(lambda: outputs.append(fn(*args, **kwargs)))
    run = backward_of(outputs) if backward else None
    return forward_s, watch.sample(run) if run is not None else 0.0


def _profile(
    calls: list[Call], samples: list[Any], forward: dict[str, Counts], total: dict[str, Counts], backward: bool
) -> Profile:
    kinds = {call.name: type(call.module).__name__ for call in calls}
    times = {name: tuple(np.median([rows[name] for _, rows in samples], axis=0)) for name in kinds}
    blocks_s = float(sum(sum(pair) for pair in times.values()))
    rows = tuple(
        _row(name, kind, times[name], forward[name], total[name], backward, blocks_s) for name, kind in kinds.items()
    )
    whole = np.median([whole for whole, _ in samples], axis=0)
    return Profile(rows, float(whole[0]), float(whole[1]) if backward else None, blocks_s, len(samples))


def _row(
    name: str, kind: str, times: Any, forward: Counts, total: Counts, backward: bool, blocks_s: float
) -> ProfileRow:
    return ProfileRow(
        name=name,
        kind=kind,
        calls=total.calls,
        forward_s=float(times[0]),
        backward_s=float(times[1]) if backward else None,
        forward_flop=forward.flop,
        forward_bytes=forward.bytes_moved,
        flop=total.flop,
        bytes_moved=total.bytes_moved,
        share=float(sum(times)) / blocks_s if blocks_s else 0.0,
    )


def _cells(row: ProfileRow) -> tuple[object, ...]:
    return (
        row.name,
        row.kind,
        seconds_text(row.forward_s),
        seconds_text(row.backward_s) if row.backward_s is not None else None,
        f"{row.share:.1%}",
        si_text(row.flop, "FLOP"),
        si_text(row.bytes_moved, "B"),
        f"{row.intensity:.2f}",
        si_text(row.flop_per_s, "FLOP/s"),
    )
