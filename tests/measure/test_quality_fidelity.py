"""The whole torch-fidelity path with an Inception of random weights in a file, against the kit's own distances.

An Inception takes up to a second an image on one core, and torch-fidelity's eigenvalues of a product of 2,048 x 2,048
numbers several seconds, so all tests share one Inception, three images a side, and one score.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch_fidelity.metrics
from torch.utils.data import TensorDataset
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import DATASETS_REGISTRY

from course_utils.measure.quality import (
    best_extractor,
    extract,
    fid_kid,
    frechet_distance,
    inception,
    kernel_distance,
)
from course_utils.measure.quality.references import kept_reference
from course_utils.shipped import sha256_of

N = 3
KEYS = ("frechet_inception_distance", "kernel_inception_distance_mean", "kernel_inception_distance_std")


class Untrained(FeatureExtractorInceptionV3):
    """torch-fidelity's network without weights from outside."""

    def load_state_dict(self, *_args, **_options):
        pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of a size that lets signals through."""
    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "none.pth")
    torch.manual_seed(0)
    model = Untrained("untrained", ["2048"], feature_extractor_weights_path=str(folder / "none.pth"))
    for tensor in model.parameters():
        if tensor.ndim == 4:
            torch.nn.init.kaiming_normal_(tensor)
    torch.save(model.state_dict(), folder / "random.pth")
    return folder / "random.pth"


def noise(seed):
    return torch.randint(0, 256, (N, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def images():
    return noise(0)


@pytest.fixture(scope="module")
def reference():
    """Pictures that are smooth, so that they lie far from noise."""
    coarse = torch.nn.functional.interpolate(noise(1)[:, :, :4, :4].float(), size=(32, 32), mode="bilinear")
    return coarse.to(torch.uint8)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def extractor(weights):
    return inception(weights)


@pytest.fixture(scope="module")
def features(extractor, images, reference):
    return tuple(extract(extractor, pile, of="images", batch_size=2) for pile in (images, reference))


@pytest.fixture(scope="module")
def score(images, reference, weights, cache):
    return fid_kid(images, reference, weights=weights, kid_subsets=1, cache=cache)


def test_other_weights_than_the_published_are_never_called_inception(extractor, weights, score):
    assert extractor.name == f"inception-v3, sha256 {sha256_of(weights)[:8]}"
    assert extractor.sha256 == sha256_of(weights) == score.sha256
    assert [row[0] for row in score.table().rows] == [f"FD ({extractor.name})", f"KD ({extractor.name})"]


def test_an_image_has_2048_features(features):
    assert features[0].values.shape == (N, 2048)
    spread = features[0].values.std(0).mean()
    assert 1e-3 < spread < 1e3  # random weights, though neither dead nor exploding


def test_torch_fidelity_and_the_kits_distances_agree_on_the_same_images(features, score):
    assert score.fid == pytest.approx(frechet_distance(*features, fewest=2), rel=1e-4)
    assert score.kid == pytest.approx(kernel_distance(*features), rel=1e-4)
    assert score.fid > 1e-3
    assert (score.n, score.reference, score.kid_subset_size, score.kid_subsets) == (N, f"{N} images", N, 1)


@pytest.fixture
def compared(monkeypatch):
    """The statistics that torch-fidelity compares, in place of the slow comparison."""
    seen = []

    def compare(first, second, verbose):
        seen.append((first, second))
        return {"frechet_inception_distance": 12.5}

    monkeypatch.setattr(torch_fidelity.metrics, "fid_statistics_to_metric", compare)
    return seen


def test_features_of_the_reference_are_kept_for_these_weights(compared, images, reference, weights, cache, score):
    folder = cache / f"inception-{sha256_of(weights)[:16]}"
    kept = sorted(folder.iterdir())
    assert len(kept) == 2  # features, and their mean and covariance
    statistics = next(path for path in kept if "stat-fid" in path.name)
    torch.save({"mu": np.full(2048, 7.0), "sigma": np.eye(2048)}, statistics)  # only a reader of the file can see it
    again = fid_kid(images[:2], reference, weights=weights, kid_subsets=1, cache=cache)
    assert again.fid == 12.5
    assert (compared[0][1]["mu"] == 7).all()
    assert sorted(folder.iterdir()) == kept  # nothing of the images that were scored


def test_a_data_set_of_torch_fidelity_may_be_the_reference(
    compared, features, images, reference, weights, tmp_path, monkeypatch
):
    class Pictures(TensorDataset):
        def __getitem__(self, i):
            return super().__getitem__(i)[0]

    told = []
    monkeypatch.setitem(
        DATASETS_REGISTRY, "few", lambda root, download: told.append(download) or Pictures(reference[:2])
    )
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    found = fid_kid(images[:2], "few", weights=weights, kid_subsets=1, cache=tmp_path)
    for statistics, pile in zip(compared[0], features, strict=True):
        np.testing.assert_allclose(statistics["mu"], pile.values[:2].mean(0), rtol=1e-4, atol=1e-5)
    assert found.kid == pytest.approx(kernel_distance(*(pile.first(2) for pile in features)), rel=1e-3)
    assert (found.reference, told) == ("few", [False])
    assert [path.name for path in tmp_path.iterdir()] == [f"inception-{sha256_of(weights)[:16]}"]


def test_with_a_reference_the_variable_makes_inception_the_best_extractor(weights, extractor, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_INCEPTION", str(weights))
    monkeypatch.chdir(tmp_path)
    kept = kept_reference(extractor.name, extractor.sha256)
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert best_extractor().name == extractor.name


@pytest.mark.parametrize(("device", "current"), [("cuda:1", [1]), ("cuda", [None]), ("cpu", [])])
def test_the_named_gpu_is_the_one_that_torch_fidelity_works_on(images, weights, tmp_path, monkeypatch, device, current):
    entered, left, seen = [], [], {}

    @contextmanager
    def gpu(chosen):
        entered.append(chosen.index)
        yield
        left.append(chosen.index)

    def calculate(**options):
        assert (entered, left) == (current, [])
        seen.update(options, convolutions=torch.backends.cudnn.conv.fp32_precision)
        return dict.fromkeys(KEYS, 1.0)

    monkeypatch.setattr(torch.cuda, "device", gpu)
    monkeypatch.setattr(torch_fidelity, "calculate_metrics", calculate)
    fid_kid(images, images, weights=weights, device=device, cache=tmp_path)
    assert (entered, left) == (current, current)
    assert (seen["cuda"], seen["convolutions"]) == (bool(current), "ieee")
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def test_what_cannot_be_scored_is_refused_before_any_work(images, reference, weights, tmp_path):
    with pytest.raises(ValueError, match=r"'cifar11' is no data set of torch-fidelity: .*cifar10-train"):
        fid_kid(images, "cifar11", weights=weights, cache=tmp_path)
    with pytest.raises(ValueError, match=r"uint8 images \(N, 3, H, W\)"):
        fid_kid(images.float(), reference, weights=weights, cache=tmp_path)
    with pytest.raises(ValueError, match=r"uint8 images \(N, 3, H, W\)"):
        fid_kid(images, reference[:, :1], weights=weights, cache=tmp_path)
    with pytest.raises(ValueError, match="at least 2 images on each side"):
        fid_kid(images, reference[:1], weights=weights, cache=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"which is no file"):
        fid_kid(images, reference, weights=tmp_path / "none.pth", cache=tmp_path)
    assert not list(tmp_path.iterdir())
