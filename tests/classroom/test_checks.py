"""Visible checks: right answers pass, each planted wrong one is told apart in plain words, and the lesson goes on."""

import time

import numpy as np
import torch
import torch.nn.functional as F
from asked_checks import assert_right, assert_wrong, run

from course_utils.diffusion import alphas_cumprod, sigmoid_betas

SCHEDULE = alphas_cumprod(sigmoid_betas(1000))


STUBS = (
    "seconds_per_picture",
    "add_noise",
    "training_loss",
    "timer",
    "suspects",
    "conv_backward",
    "conv_work",
    "attainable",
    "frechet",
    "decide",
)


def test_a_stub_is_not_answered_yet_and_the_kit_steps_in(capsys):
    for name in STUBS:
        for stub in (lambda *_: None, lambda *_: ..., ...):
            returned, said = run(capsys, name, stub)
            assert "not answered yet" in said, name
            assert callable(returned)
            assert returned is not stub


def test_every_kit_answer_passes_its_own_check(capsys):
    for name in STUBS:
        own, _ = run(capsys, name, ...)
        assert_right(capsys, name, own)


def test_seconds_per_picture(capsys):
    assert_right(capsys, "seconds_per_picture", lambda c, s, b: s / b * c)
    assert_wrong(
        capsys, "seconds_per_picture", lambda c, s, b: c * s, "a batch of 64 shares its calls: expected 3.90625"
    )
    assert_wrong(capsys, "seconds_per_picture", lambda c, s, b: [1, 2], "expected a number near 0.5, got list")
    assert_wrong(capsys, "seconds_per_picture", lambda c, s: c, "it raised TypeError")


def test_an_error_is_told_with_its_line(capsys):
    def divides(c, s, b):
        nothing = 0
        return c / nothing

    line = divides.__code__.co_firstlineno + 2
    assert_wrong(capsys, "seconds_per_picture", divides, f"ZeroDivisionError: float division by zero (line {line} of")


def right_noise(x_0, t, eps, schedule):
    a_t = schedule[t].view(-1, 1, 1, 1).float()
    return a_t**0.5 * x_0 + (1 - a_t) ** 0.5 * eps


def test_add_noise(capsys):
    assert_right(capsys, "add_noise", right_noise)

    def one_t_for_all(x_0, t, eps, schedule):
        return right_noise(x_0, t[:1].expand(len(t)), eps, schedule)

    def no_root(x_0, t, eps, schedule):
        a_t = schedule[t].view(-1, 1, 1, 1).float()
        return a_t * x_0 + (1 - a_t) * eps

    assert_wrong(capsys, "add_noise", one_t_for_all, "own t")
    assert_wrong(capsys, "add_noise", no_root, "values differ, first at (0, 0, 0, 0)")
    assert_wrong(capsys, "add_noise", lambda x_0, t, eps, a: right_noise(x_0, t, eps, SCHEDULE), "another schedule")
    assert_wrong(capsys, "add_noise", lambda x_0, t, eps, a: a[t] * x_0, "it raised RuntimeError")
    assert_wrong(capsys, "add_noise", lambda *given: right_noise(*given).double(), "turn a_t into x_0.dtype")


def test_training_loss(capsys):
    def right(model, x_0, t, eps, schedule):
        a_t = SCHEDULE[t].view(-1, 1, 1, 1).float()
        x_t = right_noise(x_0, t, eps, SCHEDULE)
        v = a_t**0.5 * eps - (1 - a_t) ** 0.5 * x_0
        return (a_t * (model(x_t, t) - v) ** 2).mean()

    assert_right(capsys, "training_loss", right)

    def unweighted(model, x_0, t, eps, schedule):
        a_t = SCHEDULE[t].view(-1, 1, 1, 1).float()
        v = a_t**0.5 * eps - (1 - a_t) ** 0.5 * x_0
        return F.mse_loss(model(right_noise(x_0, t, eps, SCHEDULE), t), v)

    assert_wrong(capsys, "training_loss", unweighted, "a model that answers zero")
    assert_wrong(capsys, "training_loss", lambda m, x_0, t, eps, a: (m(x_0, t) - eps).square().mean(), "expected")


def test_timer_names_the_trap(capsys):
    def naive(fn, clock, synchronize):
        start = clock()
        fn()
        return clock() - start

    def mean_of_many(fn, clock, synchronize):
        fn()
        synchronize()
        start = clock()
        for _ in range(50):
            fn()
        synchronize()
        return (clock() - start) / 50

    def in_numpy(fn, clock, synchronize):
        fn()
        synchronize()
        times = []
        for _ in range(21):
            start = clock()
            fn()
            synchronize()
            times.append(clock() - start)
        return np.float32(np.median(times))

    assert_right(capsys, "timer", in_numpy)
    assert_right(capsys, "timer", lambda *case: torch.tensor([in_numpy(*case)]))
    assert_wrong(capsys, "timer", naive, "only queues the work")
    assert_wrong(capsys, "timer", mean_of_many, "take the median")
    assert_wrong(capsys, "timer", lambda fn, clock, synchronize: naive(fn, time.perf_counter, synchronize), "clock()")
    assert_wrong(capsys, "timer", lambda fn, clock, synchronize: "fast", "return one number of seconds, not str")


def test_suspects(capsys):
    def by_wall_time(rows, tolerance):
        names = list(rows)
        return [
            (a, b) for a in names for b in names if a < b and abs(rows[a][0] - rows[b][0]) <= tolerance * rows[a][0]
        ]

    assert_wrong(capsys, "suspects", by_wall_time, "no twins: expected none, got")
    assert_wrong(capsys, "suspects", lambda rows, tolerance: 3, "return a list of pairs")
    assert_wrong(capsys, "suspects", lambda rows, tolerance: [(1, 0)], "expected none, got ['0-1']")


def test_conv_backward(capsys):
    def right(x, weight, grad_out):
        p = weight.shape[-1] // 2
        return (
            torch.nn.grad.conv2d_input(x.shape, weight, grad_out, padding=p),
            torch.nn.grad.conv2d_weight(x, weight.shape, grad_out, padding=p),
        )

    assert_right(capsys, "conv_backward", right)
    assert_wrong(capsys, "conv_backward", lambda x, w, g: right(x, w, g)[::-1], "expected shape")
    assert_wrong(capsys, "conv_backward", lambda x, w, g: (right(x, w, g)[0], ...), "still missing: grad_weight")
    assert_wrong(capsys, "conv_backward", lambda x, w, g: right(x, w, g)[0], "return 2 values: grad_x, grad_weight")


def test_conv_work(capsys):
    def right(n, c_in, c_out, size, k, width=4, *, flop_per_multiply_add=2):
        pixels = n * size**2
        return flop_per_multiply_add * pixels * c_in * c_out * k**2, width * (
            pixels * (c_in + c_out) + c_in * c_out * k**2
        )

    assert_right(capsys, "conv_work", right)
    assert_wrong(
        capsys, "conv_work", lambda *a: right(*a, flop_per_multiply_add=1), "one multiply-add counts as 2 FLOP"
    )
    assert_wrong(capsys, "conv_work", lambda *a: right(*a[:5], 4), "bytes, N=16")


def root_of(cov):
    left, values, _ = torch.linalg.svd(cov)
    return left @ torch.diag(values.sqrt()) @ left.T


def test_frechet(capsys):
    def wrong_side(mean_a, cov_a, mean_b, cov_b):
        values, vectors = torch.linalg.eigh(cov_a)
        root = vectors.T * values.clamp(min=0).sqrt() @ vectors
        overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
        return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap

    def never_clamped(mean_a, cov_a, mean_b, cov_b):
        values, vectors = torch.linalg.eigh(cov_a)
        root = vectors * values.sqrt() @ vectors.T
        overlap = torch.linalg.eigvalsh(root @ cov_b @ root).sqrt().sum()
        return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap

    assert_wrong(capsys, "frechet", wrong_side, "a cloud and itself")
    assert_wrong(capsys, "frechet", never_clamped, "not yet")

    def by_singular_values(mean_a, cov_a, mean_b, cov_b):
        overlap = torch.linalg.svdvals(root_of(cov_a) @ root_of(cov_b)).sum()
        return (mean_a - mean_b) @ (mean_a - mean_b) + torch.trace(cov_a + cov_b) - 2 * overlap

    def as_if_diagonal(mean_a, cov_a, mean_b, cov_b):
        return (mean_a - mean_b).square().sum() + (cov_a.diag().sqrt() - cov_b.diag().sqrt()).square().sum()

    def not_squared(mean_a, cov_a, mean_b, cov_b):
        return (mean_a - mean_b).norm() + by_singular_values(mean_a * 0, cov_a, mean_b * 0, cov_b)

    assert_right(capsys, "frechet", by_singular_values)
    assert_wrong(capsys, "frechet", as_if_diagonal, "two clouds that are skewed differently")
    assert_wrong(capsys, "frechet", not_squared, "moved by (3, 4, 0)")


def test_decide(capsys):
    def carefully(low, high, tolerance):
        return "inconclusive" if low <= tolerance < high else ("preserved", "worse")[high > tolerance]

    assert_right(capsys, "decide", carefully)
    assert_wrong(
        capsys, "decide", lambda low, high, at: "preserved" if high < at else "worse", "the tolerance lies inside"
    )
    above_1 = lambda low, high, at: "preserved" if high <= at else "worse" if low > 1 else "inconclusive"  # noqa: E731
    assert_wrong(capsys, "decide", above_1, "surely worse than 1, but not surely beyond")
    forgets = lambda low, high, at: "preserved" if high <= at else "worse" if low > at else None  # noqa: E731
    assert_wrong(capsys, "decide", forgets, "does every branch return?")
    strict = lambda low, high, at: "preserved" if high < at else "worse" if low > at else "inconclusive"  # noqa: E731
    assert_wrong(capsys, "decide", strict, "at the tolerance is still within it")


def test_attainable(capsys):
    assert_right(capsys, "attainable", lambda i, f, b: f if i * b > f else i * b)
    assert_wrong(capsys, "attainable", lambda i, f, b: max(f, i * b), "below the ridge memory decides")
