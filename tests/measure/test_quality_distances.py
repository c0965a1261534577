"""Distances against closed forms of Gaussians, SciPy's matrix root, plain loops, and torch-fidelity."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import ortho_group
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from course_utils.measure.quality import (
    Features,
    Statistics,
    distances,
    fewest_images,
    frechet_distance,
    kernel_distance,
    name_of,
    reference_from,
)


def gaussian(mean, covariance, n=100_000, **told):
    mean, covariance = (torch.as_tensor(x, dtype=torch.float64) for x in (mean, covariance))
    return Statistics(mean, covariance, n, **{"extractor": "net", "sha256": "", "of": "a Gaussian", **told})


def cloud(n, width, seed=0, extractor="net", shift=0.0):
    """Skewed, correlated features, never below zero, as a network's last layer makes them."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, width)) @ random.normal(size=(width, width)) / math.sqrt(width) + shift
    return Features(torch.from_numpy(values).relu(), extractor, "", f"cloud {seed}")


def spread(width, seed):
    """A covariance of full rank whose eigenvectors are its own."""
    root = np.random.default_rng(seed).normal(size=(width, 2 * width))
    return root @ root.T / width


def test_independent_features_add_the_squares_of_differences_of_means_and_of_widths():
    mean_a, mean_b = np.array([1.0, 2, 3]), np.array([2.0, 0, 3])
    width_a, width_b = np.array([1.0, 2, 0.5]), np.array([3.0, 2, 1.5])
    found = frechet_distance(gaussian(mean_a, np.diag(width_a**2)), gaussian(mean_b, np.diag(width_b**2)))
    assert found == pytest.approx(1 + 4 + 0 + 4 + 0 + 1, rel=1e-12)


def test_commuting_covariances_are_independent_in_their_common_axes():
    axes = ortho_group.rvs(20, random_state=0)
    widths = np.random.default_rng(1).uniform(0.1, 4, (2, 20))
    a, b = (gaussian(np.zeros(20), axes * w**2 @ axes.T) for w in widths)
    assert frechet_distance(a, b) == pytest.approx(((widths[0] - widths[1]) ** 2).sum(), rel=1e-10)


def test_two_features_have_a_closed_form_even_where_covariances_do_not_commute():
    a, b = np.array([[2.0, 1.2], [1.2, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    assert not np.allclose(a @ b, b @ a)
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a) * np.linalg.det(b)))  # of a 2 x 2 matrix
    wanted = 25 + np.trace(a) + np.trace(b) - 2 * root
    assert frechet_distance(gaussian([0, 0], a), gaussian([3, 4], b)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("width", [3, 16, 128])
def test_scipys_matrix_root_agrees_where_covariances_do_not_commute(width):
    a, b = spread(width, 1), spread(width, 2)
    wanted = 4 * width + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real
    found = frechet_distance(gaussian(np.zeros(width), a), gaussian(np.full(width, 2.0), b))
    assert found == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(200, 300), (60, 300), (300, 60)])
def test_torch_fidelity_agrees_on_the_same_features_also_where_they_are_fewer_than_wide(n, m):
    a, b = cloud(n, 64, seed=1), cloud(m, 64, seed=2, shift=0.3)
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(x.values) for x in (a, b)), verbose=False)
    assert frechet_distance(a, b, fewest=2) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


def test_two_singular_covariances_agree_with_the_singular_values_of_the_centred_features():
    a, b = cloud(20, 50, seed=1), cloud(30, 50, seed=2)
    x, y = (one.values.numpy() - one.values.numpy().mean(0) for one in (a, b))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum() / math.sqrt(19 * 29)
    apart = a.values.numpy().mean(0) - b.values.numpy().mean(0)
    wanted = (apart**2).sum() + (x**2).sum() / 19 + (y**2).sum() / 29 - 2 * root
    assert frechet_distance(a, b, fewest=2) == pytest.approx(wanted, rel=1e-7)  # the root of a rounded zero is 1e-8


def test_points_have_no_width_and_lie_as_far_apart_as_their_means():
    point, other = (gaussian(mean, np.zeros((2, 2))) for mean in ([0.0, 0.0], [3.0, 4.0]))
    assert frechet_distance(point, other) == 25
    assert frechet_distance(point, gaussian([3.0, 4.0], np.diag([1.0, 4.0]))) == 25 + 5


def test_it_is_a_symmetric_distance_that_turns_and_shifts_do_not_change_and_that_scales_with_the_square():
    a, b = cloud(200, 12, seed=1), cloud(300, 12, seed=2, shift=0.5)
    there = frechet_distance(a, b)
    assert there == frechet_distance(b, a) == frechet_distance(a.statistics(), b)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    turn = torch.from_numpy(ortho_group.rvs(12, random_state=0))
    moved = (Features(3 * one.values @ turn + 7, "net", "", "moved") for one in (a, b))
    assert frechet_distance(*moved) == pytest.approx(9 * there, rel=1e-9)


def test_fewer_images_of_one_distribution_lie_farther_from_it():
    width, of = 16, gaussian(np.zeros(16), np.eye(16))
    found = []
    for n in (50, 200, 800):
        draws = (np.random.default_rng(seed).normal(size=(n, width)) for seed in range(20))
        found.append(np.mean([frechet_distance(Features(torch.from_numpy(x), "net", "", "x"), of) for x in draws]))
    assert found[0] > 2 * found[1] > 4 * found[2]


def test_too_few_images_are_refused_on_either_side_unless_asked_for():
    few, many = cloud(16, 16), cloud(17, 16)
    for pair in permutations((few, many)):
        with pytest.raises(ValueError, match=r"'cloud 0' is 16 images, too few .* 16 features: give at least 17\."):
            frechet_distance(*pair)
    assert frechet_distance(many, many) < 1e-9
    assert frechet_distance(few, many, fewest=16) > 0
    with pytest.raises(ValueError, match="give at least 20"):
        frechet_distance(many, many, fewest=20)


def test_how_many_images_are_enough_depends_on_the_features_up_to_a_thousand():
    assert [fewest_images(width) for width in (1, 128, 999, 2048)] == [2, 129, 1000, 1000]


def test_unlike_features_are_refused_by_both_distances():
    a, b = cloud(40, 8), cloud(40, 8, extractor="other net")
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="another extractor, net and other net"):
            distance(a, b)


def test_what_is_no_covariance_is_refused():
    wrong, right = gaussian([0, 0], [[1.0, 2.0], [2.0, 1.0]]), gaussian([0, 0], np.eye(2))
    for pair in permutations((wrong, right)):
        with pytest.raises(ValueError, match=r"has the eigenvalue -1 beside 3, wanted none below zero"):
            frechet_distance(*pair)


def naive_kernel_distance(x, y):
    def kernel(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    within = [np.mean([kernel(a, b) for a, b in permutations(z, 2)]) for z in (x, y)]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


@pytest.mark.parametrize(("n", "m"), [(20, 20), (30, 12), (2, 25)])
def test_kernel_distance_is_the_mean_over_pairs_of_different_images(n, m):
    a, b = cloud(n, 5, seed=1), cloud(m, 5, seed=2, shift=0.4)
    assert kernel_distance(a, b) == pytest.approx(naive_kernel_distance(a.values, b.values), rel=1e-10)


@pytest.mark.parametrize("n", [200, 1500])  # within a block, and across two
def test_kernel_distance_is_torch_fidelitys_on_the_whole_set(n):
    a, b = cloud(n, 16, seed=1), cloud(n, 16, seed=2, shift=0.4)
    theirs = kid_features_to_metric(a.values, b.values, kid_subsets=1, kid_subset_size=n, verbose=False)
    assert kernel_distance(a, b) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_kernel_distance_has_no_bias_in_the_number_of_images():
    random = np.random.default_rng(0)
    draws = [
        kernel_distance(*(Features(torch.from_numpy(random.normal(size=(n, 3))), "net", "", "x") for n in (8, 15)))
        for _ in range(400)
    ]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / math.sqrt(len(draws))
    assert min(draws) < 0


def test_a_single_image_has_no_kernel_distance():
    with pytest.raises(ValueError, match="is 1 images, too few"):
        kernel_distance(cloud(1, 4), cloud(30, 4))


def test_distances_state_extractor_counts_and_reference():
    features, known = cloud(40, 6, seed=1), cloud(2000, 6, seed=2, shift=0.2)
    found = distances(features, reference_from(known, kept=500))
    assert found.fd == frechet_distance(features, known)
    assert found.kd == kernel_distance(features, known.first(500))
    assert (found.n, found.reference_n, found.kept, found.extractor) == (40, 2000, 500, "net")
    said = f"FD (net) {found.fd:.3g}, KD (net) {found.kd:.3g} · 40 images against 2,000 of cloud 2"
    assert str(found) == repr(found) == said
    assert [row[0] for row in found.table().rows] == ["FD (net)", "KD (net)"]
    assert [row[-1] for row in found.table().rows] == ["2,000 of cloud 2", "500 of cloud 2"]


def test_distances_pass_on_how_few_images_may_do():
    known = reference_from(cloud(100, 30, seed=1))
    with pytest.raises(ValueError, match="too few"):
        distances(cloud(20, 30, seed=2), known)
    assert distances(cloud(20, 30, seed=2), known, fewest=20).n == 20


@pytest.mark.parametrize(("n", "name"), [(1000, "FID-1k"), (50_000, "FID-50k"), (1500, "FID-1500"), (None, "FID")])
def test_only_inception_with_the_published_weights_gives_fid(n, name):
    assert name_of("frechet", "inception-v3", n) == name
    assert name_of("kernel", "inception-v3", n) == "KID"
    assert name_of("frechet", "inception-v3, sha256 12345678", n) == "FD (inception-v3, sha256 12345678)"
    assert name_of("kernel", "cifar-cnn", n) == "KD (cifar-cnn)"


def test_fid_is_named_with_its_count():
    features = cloud(40, 6, extractor="inception-v3")
    found = distances(features, reference_from(cloud(90, 6, seed=1, extractor="inception-v3")))
    assert (found.fd_name, found.kd_name) == ("FID-40", "KID")
