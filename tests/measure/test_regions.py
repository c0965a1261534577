"""Regions reach all three listeners, nest, survive threads and errors."""

import threading

import nvtx
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from course_utils.measure import collect_regions, region, region_overhead, rigged


def collected():
    clock = rigged.RiggedClock()
    return clock, collect_regions(clock=clock, synchronize=lambda: None)


def test_nested_regions_add_up():
    clock, collecting = collected()
    with collecting as times:
        for _ in range(3):
            with region("step"):
                clock.advance(1.0)
                with region("forward"):
                    clock.advance(2.0)
                with region("backward"):
                    clock.advance(4.0)
        clock.advance(9.0)
    clock.advance(100.0)
    step, forward = times.totals["step"], times.totals["step/forward"]
    assert (step.calls, step.total_s, step.own_s, step.mean_s) == (3, 21.0, 3.0, 7.0)
    assert (forward.calls, forward.total_s, forward.own_s) == (3, 6.0, 6.0)
    assert times.wall_s == 30.0
    lines = str(times).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["step", "backward", "forward"]
    assert lines[2].split()[-1] == "70%"
    assert "wall time 30.0 s" in lines[-1]


def test_an_error_still_closes_the_region():
    clock, collecting = collected()
    with collecting as times:
        with pytest.raises(KeyError), region("outer"), region("inner"):
            raise KeyError
        with region("later"):
            clock.advance(2.0)
    assert set(times.totals) == {"outer", "outer/inner", "later"}


def test_a_region_opened_before_the_collection_is_not_billed():
    clock, collecting = collected()
    with region("epoch"), collecting as times, region("step"):
        clock.advance(1.0)
    assert times.totals["epoch/step"].total_s == 1.0
    assert times.totals["epoch"].calls == 0
    assert str(times).splitlines()[2].split()[:2] == ["step", "1"]


def test_collections_may_overlap():
    clock, outer = collected()
    with outer as both:
        with region("first"):
            clock.advance(1.0)
        with collect_regions(clock=clock, synchronize=lambda: None) as late, region("second"):
            clock.advance(1.0)
    assert set(both.totals) == {"first", "second"}
    assert set(late.totals) == {"second"}


def test_threads_keep_their_own_nesting():
    barrier = threading.Barrier(4)

    def work(name):
        with region(name):
            barrier.wait()
            for _ in range(50):
                with region("inner"):
                    pass
            barrier.wait()

    with collect_regions() as times:
        threads = [threading.Thread(target=work, args=(f"thread{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {path: total.calls for path, total in times.totals.items()} == {
        f"thread{i}{inner}": calls for i in range(4) for inner, calls in (("", 1), ("/inner", 50))
    }


def test_torch_profiler_sees_the_region():
    with profile(activities=[ProfilerActivity.CPU]) as profiler, region("my forward"):
        torch.ones(3) + 1
    assert [event.count for event in profiler.key_averages() if event.key == "my forward"] == [1]


def test_nvtx_sees_the_region(monkeypatch):
    events = []
    monkeypatch.setattr(nvtx, "push_range", lambda name: events.append(("push", name)))
    monkeypatch.setattr(nvtx, "pop_range", lambda: events.append(("pop",)))
    with region("a"), region("b"):
        pass
    assert events == [("push", "a"), ("push", "b"), ("pop",), ("pop",)]


def test_the_device_is_waited_for_at_both_ends():
    op = rigged.asynchronous(true_s=1.0, launch_s=0.0)
    with collect_regions(clock=op.clock, synchronize=op.synchronize) as times, region("queued"):
        op()
    assert times.totals["queued"].total_s == 1.0


def test_overhead_is_measured_and_printed():
    overhead = region_overhead()
    assert overhead.idle.median_s > 0
    assert overhead.collecting.median_s > 0
    assert "collecting" in str(overhead)
