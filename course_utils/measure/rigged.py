"""Rigged operations with known answers: what a timer must survive before anyone believes it.

Nothing here takes real time. A `RiggedClock` moves only when an operation moves it, so the true time of an operation is
known exactly, and a timer that falls into a trap is off by a known amount:

    op = rigged.asynchronous()
    seconds = my_timer(op, op.clock, op.synchronize)
    op.diagnose(seconds)        # None if right, otherwise the trap in one sentence
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from course_utils.measure.tables import seconds_text

__all__ = [
    "RiggedClock",
    "RiggedOperation",
    "asynchronous",
    "drift",
    "first_call",
    "heavy_tail",
    "no_op",
    "steady",
    "tiny",
    "traps",
]


class RiggedClock:
    """A clock in seconds that moves only when it is told to, and by `read_s` whenever it is read."""

    def __init__(self, read_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.read_s = read_s

    def __call__(self) -> float:
        """The time now, in seconds."""
        self.now_s += self.read_s
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now_s += seconds


@dataclass
class RiggedOperation:
    """An operation whose time is known: call it, time it with its own `clock` and `synchronize`, then `diagnose`.

    `cost_s(k)` is the time of call k = 0, 1, ...; with `launch_s` the call only queues that work and returns after
    `launch_s`, and `synchronize` waits for the queue. `too_low` and `too_high` say what a wrong answer fell into.
    """

    name: str
    true_s: float
    clock: RiggedClock
    cost_s: Callable[[int], float]
    too_low: str
    too_high: str
    launch_s: float | None = None
    calls: int = field(default=0, init=False)
    _done_s: float = field(default=0.0, init=False, repr=False)

    def __call__(self, *args: object) -> None:
        """Do the work, or queue it; the arguments do not matter."""
        cost = self.cost_s(self.calls)
        self.calls += 1
        if self.launch_s is None:
            self.clock.advance(cost)
            return
        self.clock.advance(self.launch_s)
        self._done_s = max(self._done_s, self.clock.now_s) + cost

    def synchronize(self) -> None:
        """Wait until the work queued so far is done."""
        self.clock.advance(max(0.0, self._done_s - self.clock.now_s))

    def diagnose(self, seconds: float, *, tolerance: float = 0.05) -> str | None:
        """None when `seconds` is within `tolerance` of the truth, otherwise one sentence that names the trap."""
        if not math.isfinite(seconds):
            return f"{self.name}: your timer says {seconds}, which is no time at all."
        if abs(seconds - self.true_s) <= tolerance * self.true_s:
            return None
        trap = self.too_low if seconds < self.true_s else self.too_high
        return f"{self.name}: your timer says {seconds_text(seconds)}, the truth is {seconds_text(self.true_s)}. {trap}"


def steady(true_s: float = 0.010) -> RiggedOperation:
    """The same time at every call: any timer should get this one right."""
    return RiggedOperation(
        "steady operation",
        true_s,
        RiggedClock(),
        lambda k: true_s,
        too_low="Each call takes the same time: do you divide by more calls than you timed?",
        too_high="Each call takes the same time: do you time more calls than you divide by?",
    )


def asynchronous(true_s: float = 0.010, *, launch_s: float = 1e-5) -> RiggedOperation:
    """Work queued on a device: the call returns after `launch_s`, the device is busy for `true_s`."""
    return RiggedOperation(
        "asynchronous operation",
        true_s,
        RiggedClock(),
        lambda k: true_s,
        too_low="The call only queues the work: synchronize before you read the clock for the second time.",
        too_high="Work queued earlier was still running: synchronize before you read the clock for the first time too.",
        launch_s=launch_s,
    )


def first_call(true_s: float = 0.010, *, first_s: float = 1.0) -> RiggedOperation:
    """The first call takes `first_s` (compilation, lazy initialisation), every later one `true_s`."""
    return RiggedOperation(
        "slow first call",
        true_s,
        RiggedClock(),
        lambda k: first_s if k == 0 else true_s,
        too_low="Do you divide by more calls than you timed?",
        too_high="The first call compiles and allocates: call once before you start to time.",
    )


def heavy_tail(true_s: float = 0.010, *, tail_s: float = 0.200, share: float = 0.15, seed: int = 0) -> RiggedOperation:
    """`true_s` give or take 2 %, but a `share` of the calls, at random, takes `tail_s`: something else was running.

    The mean is about `(1 - share) * true_s + share * tail_s`; the median is the truth.
    """
    return RiggedOperation(
        "heavy tail",
        true_s,
        RiggedClock(),
        lambda k: _tailed(random.Random(f"{seed}/{k}"), true_s, tail_s, share),
        too_low="Do you divide by more calls than you timed?",
        too_high="A few slow calls pull the mean up: time many calls one by one and take the median.",
    )


def drift(true_s: float = 0.010, *, per_call: float = 0.01) -> RiggedOperation:
    """Call k takes `true_s * (1 + per_call * k)`: a device that heats up. No single number is right."""
    return RiggedOperation(
        "drifting operation",
        true_s,
        RiggedClock(),
        lambda k: true_s * (1 + per_call * k),
        too_low="Do you divide by more calls than you timed?",
        too_high="Each call is slower than the one before: look at the times in order before you summarise them.",
    )


def tiny(true_s: float = 2e-8, *, read_s: float = 1e-6) -> RiggedOperation:
    """Much shorter than reading the clock (`read_s`): one call between two readings times the clock."""
    return RiggedOperation(
        "tiny operation",
        true_s,
        RiggedClock(read_s),
        lambda k: true_s,
        too_low="Do you divide by more calls than you timed?",
        too_high="Reading the clock takes longer than the operation: make many calls between two readings and divide.",
    )


def no_op(*, read_s: float = 1e-6) -> RiggedOperation:
    """Does nothing in no time: whatever a timer reports is its own floor."""
    return RiggedOperation(
        "no operation",
        0.0,
        RiggedClock(read_s),
        lambda k: 0.0,
        too_low="A time cannot be negative.",
        too_high="This is the floor of your timer: no result near it means anything.",
    )


def traps() -> list[RiggedOperation]:
    """Fresh copies of the operations that have one right answer, the easiest first; `tiny` and `drift` are apart."""
    return [steady(), asynchronous(), first_call(), heavy_tail()]


def _tailed(dice: random.Random, true_s: float, tail_s: float, share: float) -> float:
    return tail_s if dice.random() < share else true_s * (1 + 0.04 * (dice.random() - 0.5))
