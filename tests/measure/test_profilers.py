"""line_profile counts what the source says, and profiler_overhead attributes time to the right profiler."""

import functools
import sys

import pytest
import torch
from torch import nn

from course_utils.measure import profilers
from course_utils.measure.profilers import line_profile, profiler_overhead


def looped(n):
    total = 0
    for i in range(n):
        total += i * i
    return total


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x):
        y = self.inner(x)
        return y + y


def test_hits_follow_the_source():
    found = line_profile(looped, 5)
    first = looped.__code__.co_firstlineno
    assert {row.line - first: row.hits for row in found.rows} == {1: 1, 2: 6, 3: 5, 4: 1}
    assert found.rows[2].source == "total += i * i"
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert sum(row.time_s for row in found.rows) == pytest.approx(found.total_s)
    assert len(found.head(2).rows) == 2
    assert "total += i * i" in str(found)


def test_a_module_stands_for_its_forward():
    found = line_profile(Doubled(), torch.ones(1, 2))
    assert [row.source for row in found.rows] == ["y = self.inner(x)", "return y + y"]
    assert {row.function for row in found.rows} == {"Doubled.forward"}


def test_named_functions_are_followed_wherever_they_are_called():
    found = line_profile(Doubled(), torch.ones(1, 2), functions=[nn.Linear.forward])
    assert [row.source for row in found.rows] == ["return F.linear(input, self.weight, self.bias)"]


def test_what_has_no_python_lines_is_refused():
    with pytest.raises(ValueError, match="wants Python functions"):
        line_profile(torch.relu, torch.ones(1))


def test_an_installed_trace_function_comes_back():
    def tracer(frame, event, arg):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        line_profile(looped, 3)
        found = sys.gettrace()
    finally:
        sys.settrace(before)
    assert found is tracer


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Slow:
    """An observer that makes the call take longer and costs something itself."""

    def __init__(self, state, factor, start_stop_s):
        self.state, self.factor, self.start_stop_s = state, factor, start_stop_s

    def __enter__(self):
        self.state["clock"].now += self.start_stop_s
        self.state["factor"] = self.factor

    def __exit__(self, *_):
        self.state["factor"] = 1.0


def test_rigged_observers_are_told_apart(monkeypatch):
    state = {"clock": Clock(), "factor": 1.0}

    def run():
        state["clock"].now += 2.0 * state["factor"]

    observers = {
        profilers.BARE: functools.partial(Slow, state, 1.0, 0.0),
        "slow": functools.partial(Slow, state, 3.0, 0.5),
    }
    monkeypatch.setattr(profilers, "_observers", lambda fn: observers)
    bare, slow = profiler_overhead(run, rounds=5, clock=state["clock"], synchronize=lambda: None).rows
    assert (bare.time_s, bare.slowdown.value, bare.start_stop_s) == (2.0, 1.0, 0.0)
    assert (slow.time_s, slow.slowdown.value, slow.start_stop_s) == (6.0, 3.0, 0.5)
    assert slow.slowdown.low == slow.slowdown.high == 3.0


def test_all_five_are_measured_and_printed():
    found = profiler_overhead(Doubled(), torch.ones(1, 2), rounds=2)
    names = [row.name for row in found.rows]
    assert names[:2] == ["no profiler", "torch.profiler"]
    assert {"cProfile", "line_profiler"} < set(names)
    assert len(names) == 5
    assert all(row.time_s > 0 for row in found.rows)
    assert "interleaved" in str(found)


def test_a_builtin_is_measured_without_line_profiler():
    names = [row.name for row in profiler_overhead(torch.relu, torch.ones(1), rounds=2).rows]
    assert "line_profiler" not in names
    with pytest.raises(ValueError, match="rounds is 1"):
        profiler_overhead(torch.relu, torch.ones(1), rounds=1)
