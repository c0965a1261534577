"""Features and their statistics against NumPy; images, features and statistics that must be refused."""

import numpy as np
import pytest
import torch

from course_utils.measure.quality import Features, Statistics, extract, extractor_from, refuse_unlike


def channel_means(images):
    return images.float().mean((2, 3))


MEANS = extractor_from("channel means", channel_means, "ab" * 32)


def images(n, seed=0):
    return torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def made(values, extractor="net", sha256="", of="made up"):
    return Features(torch.as_tensor(values, dtype=torch.float64), extractor, sha256, of)


def test_extract_says_of_what_by_whom_and_in_any_batches_the_same():
    pile, told = images(11), []
    features = extract(MEANS, pile, of="dice", batch_size=4, progress=told.append)
    assert told == [4, 4, 3]
    assert (features.extractor, features.sha256, features.of) == ("channel means", "ab" * 32, "dice")
    assert (features.n, features.width, features.values.dtype) == (11, 3, torch.float64)
    np.testing.assert_allclose(features.values, pile.numpy().astype(float).mean((2, 3)), rtol=1e-6)
    torch.testing.assert_close(extract(MEANS, pile, of="dice").values, features.values, rtol=1e-6, atol=0)


def test_an_extractor_runs_without_gradients_and_returns_float32_that_may_be_changed():
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    features = extractor_from("weighted", lambda pile: channel_means(pile) * weight)(images(2))
    assert features.dtype == torch.float32
    assert not features.requires_grad
    features += 1
    (features * torch.ones(3, requires_grad=True)).sum().backward()


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 4, dtype=torch.uint8)],
)
def test_other_images_are_refused(wrong):
    with pytest.raises(ValueError, match=r"uint8 images \(N, 3, H, W\) .*got .*\(.*4, 4\).*to_uint8"):
        extract(MEANS, wrong, of="wrong")


def test_no_images_and_no_batch_are_refused():
    with pytest.raises(ValueError, match=r"got uint8 \(0, 3, 4, 5\)"):
        extract(MEANS, images(0), of="nothing")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        extract(MEANS, images(2), of="two", batch_size=0)


@pytest.mark.parametrize("function", [lambda pile: pile.float(), lambda pile: channel_means(pile)[:1]])
def test_an_extractor_that_does_not_make_a_row_of_each_image_is_named(function):
    with pytest.raises(ValueError, match=r"odd made \(.*\) of 2 images, wanted a row of features for each"):
        extract(extractor_from("odd", function), images(2), of="two")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused_and_counted(bad):
    with pytest.raises(ValueError, match=r"'made up' hold NaN or infinity in 1 of 6 places"):
        made([[1.0, 2], [3, bad], [5, 6]])


@pytest.mark.parametrize("values", [torch.zeros(3), torch.zeros(0, 2), torch.zeros(2, 0)])
def test_features_of_another_shape_are_refused(values):
    with pytest.raises(ValueError, match=r"wanted \(n, D\) with n, D > 0"):
        made(values)


def test_features_in_float32_are_refused():
    with pytest.raises(ValueError, match="are float32, wanted float64"):
        Features(torch.zeros(3, 2), "net", "", "made up")


def test_statistics_are_numpys_mean_and_unbiased_covariance():
    values = np.random.default_rng(0).normal(3, 2, (50, 4)) @ np.random.default_rng(1).normal(size=(4, 4))
    found = made(values, sha256="cd").statistics()
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(values, rowvar=False), rtol=1e-12)
    assert (found.n, found.extractor, found.sha256, found.of, found.width) == (50, "net", "cd", "made up", 4)


def test_a_far_off_mean_costs_no_digits():
    values = np.random.default_rng(0).normal(size=(50, 3))
    found = made(values + 1e7).statistics()
    np.testing.assert_allclose(found.covariance, np.cov(values, rowvar=False), rtol=1e-6)


def test_first_and_without_choose_rows():
    five = made(torch.arange(10).view(5, 2))
    assert five.first(2).values.tolist() == [[0, 1], [2, 3]]
    mask = torch.tensor([False, True, True, True, True])
    for rows in (slice(1, None), torch.tensor([1, 2, 3, 4]), mask):
        assert five.without(rows).values.tolist() == [[0, 1]]
    assert five.without(slice(0, 5, 2)).values.tolist() == [[2, 3], [6, 7]]
    assert five.n == 5


def test_more_rows_than_there_are_and_none_are_refused():
    with pytest.raises(ValueError, match="there are 5 images of 'made up', the first 6 were asked for"):
        made(torch.zeros(5, 2)).first(6)
    with pytest.raises(ValueError, match="the first 0 were asked for"):
        made(torch.zeros(5, 2)).first(0)
    with pytest.raises(ValueError, match="with n, D > 0"):
        made(torch.zeros(5, 2)).without(slice(None))


def test_a_single_image_has_no_covariance():
    with pytest.raises(ValueError, match="is 1 image, which has no covariance"):
        made([[1.0, 2.0]]).statistics()


@pytest.mark.parametrize(
    ("covariance", "said"),
    [
        (torch.eye(3), r"have shapes \(2,\) and \(3, 3\)"),
        (torch.full((2, 2), float("nan")), "hold NaN or infinity in 4 of 4 places"),
        (torch.tensor([[1.0, 0.5], [0.4, 1.0]]), "is not symmetric"),
    ],
)
def test_statistics_that_were_not_made_of_features_are_refused(covariance, said):
    with pytest.raises(ValueError, match=said):
        Statistics(torch.zeros(2, dtype=torch.float64), covariance.double(), 9, "net", "", "made up")


def test_unlike_features_are_refused_by_name():
    one = made(torch.zeros(3, 2), sha256="a" * 64, of="these")
    refuse_unlike(one, made(torch.ones(4, 2), sha256="a" * 64, of="those").statistics())
    for other, said in (
        (made(torch.zeros(3, 2), extractor="other", sha256="a" * 64, of="those"), "another extractor, net and other"),
        (made(torch.zeros(3, 2), sha256="b" * 64, of="those"), "another sha256, aaaaaaaa and bbbbbbbb"),
        (made(torch.zeros(3, 2), of="those"), "another sha256, aaaaaaaa and none"),
        (made(torch.zeros(3, 4), sha256="a" * 64, of="those"), "another width, 2 and 4"),
    ):
        with pytest.raises(ValueError, match=f"'these' and 'those' .*{said}"):
            refuse_unlike(one, other)


def test_features_and_statistics_print_as_a_row():
    features = made(torch.zeros(1500, 2), of="noise")
    assert str(features).splitlines()[-1].split() == ["noise", "1,500", "2", "net"]
    assert str(features.statistics()).splitlines()[-1].split() == ["noise", "1,500", "2", "net"]
