"""Run by test_observers in a process of its own: who is seen watching, for each real watcher."""

import bdb
import cProfile
import json
import sys
import threading

import coverage
import line_profiler
import torch
from torch.profiler import ProfilerActivity, profile

from course_utils.measure import compare, measure, peak_memory
from course_utils.measure.observers import marks, profilers


def look():
    try:
        timing = measure(lambda: None, min_time_s=0.0, max_time_s=0.001)
    except RuntimeError as error:
        return {"profilers": profilers(), "marks": marks(), "refused": str(error)}
    return {"profilers": profilers(), "marks": marks(), "refused": None, "timing_marks": list(timing.marks)}


def in_a_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(look()))
    thread.start()
    thread.join()
    return seen[0]


def refused(instrument):
    try:
        instrument()
    except RuntimeError as error:
        return str(error)
    return None


seen = {"nobody": look()}
with profile(activities=[ProfilerActivity.CPU]):
    seen["torch.profiler"] = look()
    seen["torch.profiler, from another thread"] = in_a_thread()
    seen["compare"] = refused(lambda: compare({"a": lambda: 1, "b": lambda: 2}))
    seen["peak_memory"] = refused(lambda: peak_memory(lambda: 1))
with torch.autograd.profiler.profile(use_kineto=False):
    seen["torch.autograd.profiler"] = look()

python_profiler = cProfile.Profile()
python_profiler.enable()
seen["cProfile"] = look()
python_profiler.disable()

lines = line_profiler.LineProfiler(look)
lines.enable_by_count()
seen["line_profiler"] = look()
lines.disable_by_count()

covered = coverage.Coverage(data_file=None)
covered.start()
seen["coverage"] = look()
lines.enable_by_count()
seen["coverage and line_profiler"] = look()
lines.disable_by_count()
covered.stop()


class Debugger(bdb.Bdb):
    """Steps through every line."""

    def user_line(self, frame):
        pass


debugger = Debugger()
debugger.reset()
sys.settrace(debugger.trace_dispatch)
seen["debugger"] = look()
sys.settrace(None)


def own_trace(frame, event, argument):
    return None


sys.settrace(own_trace)
seen["own trace function"] = look()
sys.settrace(None)
seen["nobody again"] = look()
print(json.dumps(seen))
