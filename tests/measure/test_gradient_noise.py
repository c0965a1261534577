"""The critical batch against gradients whose mean and noise are known."""

import math

import numpy as np
import pytest

from course_utils.measure.gradient_noise import critical_batch, useful_share


def expected_square(batch, gradient, noise):
    """Mean squared norm of a batch's gradient: the true one's, and the noise's over the batch."""
    return gradient + noise / batch


@pytest.mark.parametrize(("gradient", "noise"), [(1.0, 300.0), (0.02, 5.0), (4.0, 1.0)])
def test_expected_norms_give_the_critical_batch_whatever_the_two_batches(gradient, noise):
    for small, large in ((1, 2), (8, 64), (3, 1000)):
        squares = [expected_square(batch, gradient, noise) for batch in (small, large)]
        assert critical_batch(small, squares[0], large, squares[1]) == pytest.approx(noise / gradient)


def test_sampled_gradients_give_it_within_their_errors():
    """2,000 shards of 4 and their means by 8: noise of 1 in each of 50 values, a true gradient of norm 1."""
    random = np.random.default_rng(0)
    images = np.full(50, 1 / math.sqrt(50)) + random.standard_normal((2000, 8, 4, 50))
    shards = images.mean(2)
    small_square = (shards**2).sum(-1).mean()
    large_square = (shards.mean(1) ** 2).sum(-1).mean()
    assert critical_batch(4, small_square, 32, large_square) == pytest.approx(50, rel=0.1)


def test_no_gradient_above_the_noise_has_no_critical_batch():
    assert critical_batch(1, 10.0, 10, 0.5) == math.inf
    assert critical_batch(1, 1.0, 10, 2.0) == 0.0


def test_at_the_critical_batch_half_of_the_images_are_needed():
    assert useful_share(1000, 1000) == 0.5
    assert useful_share(3000, 1000) == 0.25
    assert useful_share(10, math.inf) == 1.0


def test_nonsense_is_refused():
    for wrong in ((0, 1.0, 2, 1.0), (2, 1.0, 2, 1.0), (1, 0.0, 2, 1.0)):
        with pytest.raises(ValueError, match="wanted 0 < small < large"):
            critical_batch(*wrong)
    with pytest.raises(ValueError, match="batch and critical must be positive, got 0 and 5"):
        useful_share(0, 5)
