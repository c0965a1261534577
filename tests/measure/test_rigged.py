"""Each naive timer falls into its trap, and the trap is named."""

import statistics

import pytest

from course_utils.measure import rigged


def once(fn, clock, synchronize):
    start = clock()
    fn()
    return clock() - start


def once_after_warm_up(fn, clock, synchronize):
    fn()
    return once(fn, clock, synchronize)


def late_wait(fn, clock, synchronize):
    fn()
    start = clock()
    fn()
    synchronize()
    return clock() - start


def waited(fn, clock, synchronize):
    synchronize()
    start = clock()
    fn()
    synchronize()
    return clock() - start


def mean(fn, clock, synchronize):
    fn()
    return statistics.mean(waited(fn, clock, synchronize) for _ in range(50))


def good(fn, clock, synchronize):
    fn()
    return statistics.median(waited(fn, clock, synchronize) for _ in range(50))


@pytest.mark.parametrize(
    ("timer", "op", "trap"),
    [
        (once, rigged.asynchronous, "second time"),
        (late_wait, rigged.asynchronous, "first time too"),
        (once, rigged.first_call, "first call compiles"),
        (mean, rigged.heavy_tail, "take the median"),
        (good, rigged.tiny, "many calls between two readings"),
        (good, rigged.no_op, "floor of your timer"),
        (good, rigged.drift, "in order"),
    ],
)
def test_a_naive_timer_is_told_its_trap(timer, op, trap):
    op = op()
    assert trap in op.diagnose(timer(op, op.clock, op.synchronize))


@pytest.mark.parametrize("op", rigged.traps(), ids=lambda op: op.name)
def test_a_good_timer_passes_all(op):
    assert op.diagnose(good(op, op.clock, op.synchronize)) is None


def test_the_steady_operation_is_no_trap():
    op = rigged.steady()
    assert op.diagnose(once_after_warm_up(op, op.clock, op.synchronize)) is None
    assert "divide by more calls" in op.diagnose(op.true_s / 2)
    assert "more calls than you divide by" in op.diagnose(op.true_s * 2)
    assert "no time at all" in op.diagnose(float("nan"))


def test_the_clock_moves_only_when_told():
    clock = rigged.RiggedClock(read_s=0.5)
    clock.advance(2.0)
    assert (clock(), clock()) == (2.5, 3.0)


def test_queued_work_is_done_in_order():
    op = rigged.asynchronous(true_s=1.0, launch_s=0.25)
    op()
    op()
    assert op.clock.now_s == 0.5
    op.synchronize()
    assert op.clock.now_s == 2.25  # launched at 0.25, busy for 2 x 1.0
    op.synchronize()
    assert op.clock.now_s == 2.25
