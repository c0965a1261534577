"""Profilers are refused, coverage and debuggers only mark: with the real ones, in a process of their own."""

import cProfile
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.profiler import ProfilerActivity, profile

from course_utils.measure import measure
from course_utils.measure.observers import marks, profilers


@pytest.fixture(scope="module")
def seen():
    program = Path(__file__).with_name("observed_program.py")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COV_", "COVERAGE_"))}
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["nobody", "nobody again"])
def test_nobody_is_seen_where_nobody_is(seen, name):
    assert seen[name] == {"profilers": [], "marks": [], "refused": None, "timing_marks": []}


@pytest.mark.parametrize(
    ("watcher", "name"),
    [
        ("torch.profiler", "torch.profiler"),
        ("torch.profiler, from another thread", "torch.profiler"),
        ("torch.autograd.profiler", "torch.profiler"),
        ("cProfile", "cProfile"),
        ("line_profiler", "line_profiler"),
        ("coverage and line_profiler", "line_profiler"),
    ],
)
def test_profilers_are_refused_by_name(seen, watcher, name):
    assert seen[watcher]["profilers"] == [name]
    assert seen[watcher]["refused"].startswith(f"measure refuses to run while {name} is active")


@pytest.mark.parametrize("instrument", ["compare", "peak_memory"])
def test_other_instruments_refuse_too(seen, instrument):
    assert seen[instrument].startswith(f"{instrument} refuses to run while torch.profiler is active")


@pytest.mark.parametrize(
    ("watcher", "mark"),
    [
        ("coverage", "coverage"),
        ("debugger", "a debugger"),
        ("own trace function", "a trace function of __main__"),
    ],
)
def test_coverage_and_debuggers_only_mark(seen, watcher, mark):
    assert seen[watcher]["refused"] is None
    assert seen[watcher]["timing_marks"] == [mark]


def test_refusal_here_and_now():
    with (
        profile(activities=[ProfilerActivity.CPU]),
        pytest.raises(RuntimeError, match=r"while torch\.profiler is active"),
    ):
        measure(lambda: None)
    watcher = cProfile.Profile()
    watcher.enable()
    try:
        with pytest.raises(RuntimeError, match="while cProfile is active"):
            measure(lambda: None)
    finally:
        watcher.disable()


def test_tools_of_python_3_12_are_told_apart_by_name_and_id(monkeypatch):
    tools = {0: "pydevd", 1: "coverage.py", 2: "cProfile", 4: "line_profiler"}
    monkeypatch.setattr(sys, "monitoring", SimpleNamespace(get_tool=tools.get), raising=False)
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    assert profilers() == ["cProfile", "line_profiler"]
    assert marks() == ["a debugger", "coverage"]
    tools[2] = "line_profiler"
    del tools[4]
    assert profilers() == ["line_profiler"]
