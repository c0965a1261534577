"""Checks of 10, 12, 14 and 90: right answers of another make pass, planted wrong ones are told apart in plain words."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from asked_checks import assert_right, assert_wrong, run
from torch import nn

from course_utils.classroom.treatment_plots import plot_break_even, plot_by_size
from course_utils.measure import Comparison, Timing

NAMES = (
    "spacing",
    "Halved",
    "scaled_gradients",
    "conv_loops",
    "conv_im2col",
    "im2col_work",
    "strides",
    "run_quietly",
    "break_even",
    "whole_gain",
    "best",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_answered_yet_and_the_kits_own_passes(capsys, name):
    own, said = run(capsys, name, ...)
    assert "not answered yet" in said
    assert_right(capsys, name, own)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Halved"])
def test_a_function_that_returns_nothing_is_not_answered_yet(capsys, name):
    for stub in (lambda *_: None, lambda *_: ...):
        assert "not answered yet" in run(capsys, name, stub)[1]


def test_spacing(capsys):
    assert_right(capsys, "spacing", lambda value, bits: 2.0 ** (math.floor(math.log2(value)) - bits))
    assert_wrong(capsys, "spacing", lambda value, bits: 2.0**-bits, "bfloat16 at 3: expected")
    assert_wrong(capsys, "spacing", lambda value, bits: value * 2.0**-bits, "bfloat16 at 1.5: expected")


class Wrapped(nn.Module):
    """A wrapper in pieces: where the call is made, and what is done to the answer."""

    inside, after, cast = True, True, False

    def __init__(self, module, dtype):
        super().__init__()
        self.module, self.dtype = (module.to(dtype) if self.cast else module), dtype

    def forward(self, x_t, t):
        if self.cast:
            return self.module(x_t.to(self.dtype), t).float()
        with torch.autocast("cpu", self.dtype):
            answer = self.module(x_t, t)
        if not self.inside:
            answer = self.module(x_t, t)
        return answer.float() if self.after else answer


def test_halved(capsys):
    assert_right(capsys, "Halved", Wrapped)
    for attribute, words in (
        ({"after": False}, "the answer is torch.bfloat16, not float32"),
        ({"inside": False}, "the convolution ran in torch.float32, wanted bfloat16"),
        ({"cast": True}, "the weights were cast: autocast casts for itself"),
    ):
        assert_wrong(capsys, "Halved", type("Halved", (Wrapped,), attribute), words)


def test_scaled_gradients(capsys):
    def wrong(before=True, after=True, skip=True):
        def answer(loss, parameters, factor):
            found = torch.autograd.grad(loss * factor if before else loss, parameters)
            found = [one.float() / (factor if after else 1) for one in found]
            return None if skip and not all(one.isfinite().all() for one in found) else found

        return answer

    assert_right(capsys, "scaled_gradients", wrong())
    assert_wrong(capsys, "scaled_gradients", wrong(before=False), "multiply the loss, divide its gradients")
    assert_wrong(capsys, "scaled_gradients", wrong(after=False), "multiply the loss, divide its gradients")
    assert_wrong(capsys, "scaled_gradients", wrong(skip=False), "after an overflow the answer must be None")

    def looks_at_one(i):
        def answer(loss, parameters, factor):
            found = [one / factor for one in torch.autograd.grad(loss * factor, parameters)]
            return found if found[i].isfinite().all() else None

        return answer

    assert_wrong(capsys, "scaled_gradients", looks_at_one(0), "only the second of two gradients overflows")
    assert_wrong(capsys, "scaled_gradients", looks_at_one(-1), "only the first of two gradients overflows")

    def stumbles(loss, parameters, factor):
        (gradient,) = torch.autograd.grad(loss * factor, parameters)
        return [gradient / factor]

    assert_wrong(capsys, "scaled_gradients", stumbles, "it raised ValueError: too many values to unpack")


def test_the_two_convolutions(capsys):
    assert_right(capsys, "conv_loops", F.conv2d)
    assert_right(capsys, "conv_im2col", lambda x, weight, padding: F.conv2d(x, weight, padding=padding))
    assert_wrong(capsys, "conv_loops", lambda x, weight: F.conv2d(x, weight.flip(2)), "one picture, one channel")
    assert_wrong(capsys, "conv_im2col", lambda x, w, padding: F.conv2d(x, w, padding=1), "pass padding on to F.unfold")
    square = lambda x, w, p: (w.flatten(1) @ F.unfold(x, w.shape[-1], padding=p)).unflatten(2, (-1, x.shape[2]))  # noqa: E731
    assert_wrong(capsys, "conv_im2col", square, "more wide than high")


def test_im2col_work(capsys):
    def work(copies, reads=2):
        def answer(n, c_in, c_out, side, k, size=4):
            pixels = n * side * side
            values = pixels * (c_in + c_out + reads * c_in * (k * k if copies else 1)) + c_out * c_in * k * k
            return 2 * pixels * c_in * c_out * k * k, size * values

        return answer

    assert_right(capsys, "im2col_work", work(copies=True))
    assert_wrong(capsys, "im2col_work", work(copies=False), "every input value is copied 9 times")
    assert_wrong(capsys, "im2col_work", work(copies=True, reads=1), "columns twice")


def test_strides(capsys):
    def by_numpy(shape, channels_last=False):
        plain = np.empty([shape[i] for i in (0, 2, 3, 1)] if channels_last else shape, dtype=np.int8)
        return (plain.transpose(0, 3, 1, 2) if channels_last else plain).strides

    assert_right(capsys, "strides", by_numpy)
    assert_right(capsys, "strides", lambda shape, last=False: np.array(by_numpy(shape, last)))
    assert_right(capsys, "strides", lambda shape, last=False: list(by_numpy(shape, last)))
    assert_wrong(capsys, "strides", lambda shape, last=False: by_numpy(shape), "the channel has stride 1")
    assert_wrong(capsys, "strides", lambda shape, last=False: by_numpy(shape, True), "the column has stride 1")


def test_run_quietly(capsys):
    def quietly(step, n, every):
        losses, unread = [], []
        for i in range(n):
            unread.append(step())
            if len(unread) == every or i == n - 1:
                losses.extend(torch.stack(unread).numpy().tolist())
                unread.clear()
        return losses

    def fetched(step, n, every):
        starts = range(0, n, every)
        fetched = (torch.stack([step() for _ in range(min(every, n - i))]).cpu() for i in starts)
        return [float(one) for part in fetched for one in part]

    assert_right(capsys, "run_quietly", quietly)
    assert_right(capsys, "run_quietly", fetched)
    one_by_one = lambda step, n, every: torch.stack([step().cpu() for _ in range(n)]).tolist()  # noqa: E731
    assert_wrong(capsys, "run_quietly", one_by_one, "the device was asked 6 times")
    assert_wrong(
        capsys, "run_quietly", lambda step, n, every: [step().item() for _ in range(n)], "the device was asked 6 times"
    )
    whole = lambda step, n, every: quietly(step, n - n % every, every)  # noqa: E731
    assert_wrong(capsys, "run_quietly", whole, "step was called 6 times")
    assert_wrong(capsys, "run_quietly", lambda step, n, every: [step() for _ in range(n)], "as plain numbers")


def test_break_even(capsys):
    def by_counting(first_s, eager_s, compiled_s):
        return math.inf if eager_s <= compiled_s else 1 + (first_s - eager_s) / (eager_s - compiled_s)

    assert_right(capsys, "break_even", by_counting)
    assert_wrong(capsys, "break_even", lambda f, e, c: f / (e - c) if e > c else math.inf, "the first call is also one")
    assert_wrong(
        capsys, "break_even", lambda f, e, c: (f - c) / (e - c) if e != c else 0.0, "never faster: expected inf"
    )


def test_whole_gain_and_best(capsys):
    assert_right(capsys, "whole_gain", lambda s, g: sum(s) / sum(a / b for a, b in zip(s, g, strict=True)))
    assert_wrong(
        capsys, "whole_gain", lambda s, g: sum(a * b for a, b in zip(s, g, strict=True)), "the other half stays"
    )

    def fastest(allowed):
        def answer(verdicts):
            kept = [(one.speed.value, name) for name, one in verdicts.items() if one.outcome in allowed]
            return (max(kept)[1] if kept else None,)

        return answer

    assert_right(capsys, "best", fastest({"preserved and faster"}))
    assert_wrong(capsys, "best", fastest({"preserved and faster", "faster but worse"}), "speed does not excuse")
    assert_wrong(capsys, "best", fastest({"preserved and faster", "inconclusive"}), "not settled is not kept")


def race(**seconds):
    timings = {name: Timing((value,) * 5, value) for name, value in seconds.items()}
    first = next(iter(timings))
    return Comparison(first, timings, dict.fromkeys(timings), dict.fromkeys(timings))


def test_times_by_size_are_drawn_as_measured():
    made = plot_by_size({8: race(a=0.001, b=0.01), 16: race(a=0.004, b=0.1)}, "side (pixels)")
    (ax,) = made.axes
    lines = {container.get_label(): container[0] for container in ax.containers}
    assert lines["b"].get_xdata().tolist() == [8, 16]
    assert lines["b"].get_ydata().tolist() == pytest.approx([10, 100])
    assert ax.get_ylabel() == "time of a call (ms)"
    with pytest.raises(ValueError, match="races is empty"):
        plot_by_size({}, "")
    plt.close("all")


def test_the_break_even_is_where_the_lines_cross():
    made = plot_break_even(2.0, {"compiled": (121.0, 1.0)})
    (ax,) = made.axes
    (note,) = ax.texts
    assert note.get_text() == "even after 120 steps"
    assert note.xy == (120.0, 4.0)  # 120 steps of 2 s are 4 min
    assert len({line.get_color() for line in ax.lines[:2]}) == 2, "eager and compiled are told apart"
    never = plot_break_even(1.0, {"slower": (30.0, 1.5)}).axes[0]
    assert not never.texts
