"""The trace explorer: numbers against closed forms, events reduced, every control over its range."""

import random

import numpy as np
import pytest

from course_utils.classroom.widgets import TraceExplorer
from course_utils.classroom.widgets.synthetic_trace import KERNELS, synthetic_trace
from course_utils.classroom.widgets.trace_file import KINDS, read_trace
from course_utils.classroom.widgets.trace_numbers import covered_s, matching, reduced, summary

US = 1e-6


def event(cat, name, tid, ts, dur, pid=1, **args):
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args}


def kernel(name, stream, ts, dur, number, device=0):
    return event("kernel", name, stream, ts, dur, pid=device, correlation=number)


def launch(ts, dur, number):
    return event("cuda_runtime", "cudaLaunchKernel", 1, ts, dur, correlation=number)


@pytest.fixture
def by_hand():
    """100 us: kernels of two streams overlap for 5 us, a third waits 15 of 20 idle us for its launch."""
    return [
        event("user_annotation", "step 0", 1, 1000, 100),
        event("cpu_op", "aten::conv2d", 1, 1000, 10),
        launch(1004, 5, 1),
        launch(1012, 2, 2),
        launch(1040, 5, 3),
        kernel("conv", 7, 1010, 10, 1),
        kernel("conv", 8, 1015, 15, 2),
        kernel("add", 7, 1050, 10, 3),
    ]


# numbers


def test_idle_and_dry_shares_are_those_counted_by_hand(by_hand):
    found = summary(read_trace(by_hand))
    assert found.span_s == pytest.approx(100 * US)
    assert found.idle == pytest.approx(0.70)
    assert found.dry == pytest.approx(0.15)
    assert found.launch_bound is False
    assert [(row.name, row.calls) for row in found.costs] == [("conv", 2), ("add", 1)]
    assert [row.total_s / US for row in found.costs] == pytest.approx([25, 10])
    assert sum(row.share for row in found.costs) == pytest.approx(1)


def test_a_window_cuts_what_it_does_not_hold(by_hand):
    found = summary(read_trace(by_hand), 25 * US, 55 * US)
    assert found.idle == pytest.approx(20 / 30)
    assert found.dry == pytest.approx(15 / 30)
    assert found.launch_bound
    assert {row.name: (row.calls, round(row.total_s / US, 6)) for row in found.costs} == {"conv": (1, 5), "add": (1, 5)}


@pytest.mark.parametrize(("steps", "kernels", "launch_us", "gap_us"), [(1, 12, 6.0, 0.0), (3, 60, 8.0, 50.0)])
def test_a_device_faster_than_its_host_idles_as_calculated(steps, kernels, launch_us, gap_us):
    """Each kernel is shorter than a launch takes: it runs when asked for, and the rest of the time is idle."""
    made = synthetic_trace(steps=steps, kernels=kernels, launch_us=launch_us, kernel_us=1.0, gap_us=gap_us)
    line = read_trace(made)
    busy_us = steps * sum(size for _, _, size in KERNELS) * kernels / len(KERNELS)
    found = summary(line)
    assert found.idle == pytest.approx(1 - busy_us * US / line.span_s)
    waits_us = found.span_s / US - busy_us - 0.75 * launch_us  # but the one before the first kernel
    tail_us = launch_us * 0.25 - KERNELS[-1][2] if KERNELS[-1][2] < 0.25 * launch_us else 0.0  # after the last one
    assert found.dry == pytest.approx((waits_us - tail_us) * US / line.span_s)
    assert found.launch_bound


def test_a_device_slower_than_its_host_waits_only_between_steps():
    steps, gap_us, launch_us = 3, 60.0, 6.0
    line = read_trace(synthetic_trace(steps=steps, kernels=60, launch_us=launch_us, kernel_us=40.0, gap_us=gap_us))
    found = summary(line)
    idle_us = (steps - 1) * gap_us + steps * 0.75 * launch_us
    assert found.idle == pytest.approx(idle_us * US / line.span_s)
    assert found.launch_bound is False
    assert "Not launch-bound" in found.sentence()


def test_two_devices_are_averaged_and_without_launches_nothing_is_claimed(by_hand):
    line = read_trace([*by_hand, kernel("conv", 7, 1000, 100, 99, device=1)])
    found = summary(line)
    assert found.watched == "2 devices, on average"
    assert found.idle == pytest.approx((0.70 + 0.0) / 2)
    assert (found.dry, found.launch_bound) == (None, None)
    assert "cannot tell" in found.sentence()


def test_on_a_processor_idle_is_the_time_outside_operators():
    nested = [
        event("cpu_op", "outer", 1, 0, 40),
        event("cpu_op", "inner", 1, 10, 20),
        event("cpu_op", "next", 1, 90, 10),
    ]
    other = [event("cpu_op", "beside", 2, 0, 5)]
    line = read_trace([*nested, *other])
    found = summary(line)
    assert found.idle == pytest.approx(0.5)
    assert found.watched == "thread 1"
    assert found.launch_bound is None
    own = {line.names[n]: s / US for n, s in zip(line.name, line.own_s, strict=True)}
    assert own == pytest.approx({"outer": 20, "inner": 20, "next": 10, "beside": 5})
    assert line.depth[[line.names[n] == "inner" for n in line.name]].item() == 1


def test_the_union_of_intervals_is_that_of_a_raster():
    rng = np.random.default_rng(0)
    start, length = rng.integers(0, 900, 60), rng.integers(0, 90, 60)
    raster = np.zeros(1000, dtype=bool)
    for a, n in zip(start, length, strict=True):
        raster[a : a + n] = True
    for low, high in ((0, 1000), (100, 300), (899, 900)):
        assert covered_s(start, start + length, low, high) == raster[low:high].sum()


# reduction


@pytest.fixture(scope="module")
def many():
    return read_trace(synthetic_trace(steps=20, kernels=400))


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.25, 0.26), (0.5, 0.50001)])
def test_reduced_events_are_few_and_stand_for_all(many, window):
    low, high = (edge * many.span_s for edge in window)
    found = reduced(many, low, high, columns=500)
    inside = (many.end_s >= low) & (many.start_s <= high)
    assert found.count.sum() == inside.sum()
    lanes = sum(track.lanes for track in many.tracks)
    assert len(found.left) <= 2 * lanes * 502
    single = found.count == 1
    assert np.allclose(low + found.left[single] * (high - low), many.start_s[found.event[single].astype(int)])
    assert np.all(found.width[~single] <= 2 / 500), "only what is narrower than a column is put together"


def test_packed_events_are_six_arrays_of_32_bits(many):
    found = reduced(many, 0.0, many.span_s)
    n, packed = len(found.left), found.packed()
    assert len(packed) == 24 * n
    assert np.array_equal(np.frombuffer(packed[: 4 * n], "<f4"), found.left.astype("<f4"))
    assert np.array_equal(np.frombuffer(packed[16 * n : 20 * n], "<u4"), found.event)


def test_a_window_without_events_draws_nothing():
    line = read_trace([event("cpu_op", "a", 1, 0, 1), event("cpu_op", "b", 1, 99, 1)])
    assert reduced(line, 40 * US, 50 * US).packed() == b""
    assert summary(line, 40 * US, 50 * US).idle == 1.0


# the explorer


def test_every_action_keeps_the_window_inside_the_trace(by_hand):
    explorer = TraceExplorer(by_hand)
    rng = random.Random(0)
    for _ in range(200):
        explorer.act(rng.choice(["all", "left", "right", "in", "out", "match", "next", "previous"]))
        low, high = explorer.window
        assert 0 <= low < high <= explorer.span_s + 1e-12
        assert explorer.drawn[0] <= low < high <= explorer.drawn[1] + 1e-12
        assert len(explorer.events) % 24 == 0
    explorer.act("all")
    assert explorer.window == [0.0, explorer.span_s]
    with pytest.raises(ValueError, match="action is 'fly', wanted all"):
        explorer.act("fly")


@pytest.mark.parametrize("window", [[-1.0, 9.0], [9.0, -1.0], [5e-5, 5e-5], [1.0, 2.0]])
def test_any_window_that_the_page_asks_for_becomes_a_possible_one(by_hand, window):
    explorer = TraceExplorer(by_hand)
    explorer.window = window
    low, high = explorer.window
    assert 0 <= low < high <= explorer.span_s + 1e-12


def test_keys_choose_the_kernels_in_order_and_the_window_follows(by_hand):
    explorer = TraceExplorer(by_hand)
    explorer.window = [0.0, 5 * US]
    seen = []
    for _ in range(3):
        explorer.act("next")
        low, high = explorer.window
        start = explorer.timeline.start_s[explorer.chosen]
        assert low <= start <= high
        seen.append((explorer.detail["name"], explorer.detail["where"]))
    assert seen == [("conv", "GPU 0, stream 7"), ("add", "GPU 0, stream 7"), ("conv", "GPU 0, stream 7")]
    explorer.act("previous")
    assert explorer.detail["name"] == "add"
    assert explorer.detail["asked for"] == "5.00 µs before it ran"


def test_search_counts_and_walks_through_its_matches(by_hand):
    explorer = TraceExplorer(by_hand)
    explorer.search = "CONV"
    assert explorer.found["said"] == "3 events of 2 names, 35.0 µs in all"
    assert [explorer.names[i][0] for i in explorer.found["names"]] == ["aten::conv2d", "conv"]
    visited = set()
    for _ in range(3):
        explorer.act("match")
        visited.add(explorer.chosen)
    assert {explorer.timeline.names[explorer.timeline.name[i]] for i in visited} == {"aten::conv2d", "conv"}
    assert len(visited) == 3
    explorer.search = "nothing like it"
    chosen = explorer.chosen
    explorer.act("match")
    assert explorer.chosen == chosen
    assert "nothing is called" in explorer.found["said"]
    assert matching(explorer.timeline, "  ") == []


def test_every_event_can_be_chosen_and_none(by_hand):
    explorer = TraceExplorer(by_hand)
    for i, kind in enumerate(explorer.timeline.kind):
        explorer.chosen = i
        assert explorer.detail["kind"] == KINDS[kind]
    explorer.chosen = 10_000
    assert explorer.detail == {}


def test_a_message_of_the_page_acts(by_hand):
    explorer = TraceExplorer(by_hand)
    explorer._handle_custom_msg({"action": "in"}, [])
    assert explorer.window[1] - explorer.window[0] == pytest.approx(explorer.span_s / 2)


def test_the_figure_shows_the_window(by_hand):
    explorer = TraceExplorer(by_hand)
    explorer.window = [0.0, 50 * US]
    top, bottom = explorer.figure().axes
    assert top.get_xlim() == pytest.approx((0, 50))
    assert [bar.get_width() for bar in bottom.patches] == pytest.approx([25.0])


def test_a_notebook_gets_the_widget_and_a_stable_text(by_hand):
    explorer = TraceExplorer(by_hand)
    shown = explorer._repr_mimebundle_()[0]
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert shown["text/plain"] == repr(explorer) == repr(TraceExplorer(by_hand))
