"""The training images' features: shipped for cifar-cnn, made once for any other extractor."""

import pytest
import torch

from course_utils.diffusion import ImageSet, procedural_images
from course_utils.experiments import reference_statistics
from course_utils.experiments.reference_statistics import train_reference
from course_utils.measure.quality import extract, extractor_from


@pytest.fixture
def asked(monkeypatch, tmp_path, judge):
    """How often the training images were asked for; the shipped reference is the judge's."""
    times = []

    def load_images(split, **_):
        times.append(split)
        found = procedural_images(split, n=60)
        return ImageSet(split, found.images, found.labels, found.classes, "here", True)

    monkeypatch.setattr(reference_statistics, "load_images", load_images)
    monkeypatch.setattr(reference_statistics, "reference", lambda split: judge.reference)
    monkeypatch.chdir(tmp_path)
    return times


def brightness(sha256):
    return extractor_from("Inception v3 (mine)", lambda images: images.float().mean((2, 3)) / 255, sha256)


def test_cifar_cnn_has_its_shipped_reference_and_needs_no_data(asked, judge):
    assert train_reference(judge.extractor) is judge.reference
    assert asked == []


def test_another_extractor_sees_the_images_once(asked):
    made = train_reference(brightness("f" * 64))
    wanted = extract(brightness("f" * 64), procedural_images("train", n=60).images, of="x").statistics()
    torch.testing.assert_close(made.statistics.covariance, wanted.covariance)
    assert made.of == "CIFAR-10 train, 8 bit, no flips"
    again = train_reference(brightness("f" * 64))
    assert asked == ["train"]
    assert torch.equal(again.statistics.mean, made.statistics.mean)
    assert torch.equal(again.features.values, made.features.values), "the first use judges like all that follow"
    train_reference(brightness("e" * 64))
    assert asked == ["train"] * 2, "other weights, other features"


def test_other_weights_of_cifar_cnn_do_not_get_the_shipped_reference(asked, judge):
    other = extractor_from("cifar-cnn", judge.extractor, "of another file")
    assert train_reference(other).sha256 == "of another file"
    assert asked == ["train"]


def test_features_that_nobody_could_tell_apart_are_not_kept(asked, tmp_path):
    train_reference(brightness(""))
    train_reference(brightness(""))
    assert asked == ["train"] * 2
    assert not list(tmp_path.rglob("*.safetensors"))


def test_without_cifar10_one_sentence_says_what_to_do(asked, monkeypatch):
    monkeypatch.setattr(reference_statistics, "load_images", lambda split, **_: procedural_images(split, n=60))
    with pytest.raises(ValueError, match=r"Inception v3 \(mine\) are taken to CIFAR-10's .* --extractor cifar-cnn"):
        train_reference(brightness("f" * 64))
