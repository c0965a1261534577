"""References and scores in the cards are what scipy says of the same features, of the models that are shipped now."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scratch_shipping import WIDTHS, classifier, empty_kit, features, frechet, ship, trained

from course_utils.diffusion import (
    heldout_loss,
    load_base,
    load_base_samples,
    load_heldout,
    load_images,
    load_shipped,
    sample,
    save_weights,
)
from course_utils.experiments import portraits, shipping, shipping_quality
from course_utils.experiments.shipped_cards import put
from course_utils.measure.quality import reference
from course_utils.measure.quality.cifar_cnn import CifarCNN
from course_utils.shipped import card, checksums

KINDS = ("FD (cifar-cnn)", "KD (cifar-cnn)", "held-out loss")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All that scoring takes is shipped: a classifier, its references, held-out images, a base and its pictures."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        empty_kit(patch, place)
        patch.setattr(shipping, "PICTURES", 25)
        classifier(place)
        trained("one")
        ship("cifar-cnn", "references", "heldout", "base", "samples")
    return place


@pytest.fixture(autouse=True)
def folder(made, monkeypatch, tmp_path):
    """A copy of it, to be changed."""
    place = empty_kit(monkeypatch, tmp_path)
    monkeypatch.setattr(shipping, "PICTURES", 25)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return place


def ship_another(folder, name="base"):
    """Other weights in the place of a shipped model's, with a card that tells no scores."""
    model = load_shipped(name)
    with torch.no_grad():
        model.model.final_conv.weight.mul_(4)
    told = {key: value for key, value in card(name).items() if key not in ("file", "sha256", "bytes")}
    put(folder, f"{name}.safetensors", lambda path: save_weights(path, model), told | {"scores": {}})


def test_references_are_the_statistics_of_whole_splits(folder, tmp_path):
    images = {split: load_images(split).images for split in ("train", "test")}
    found = {split: reference(split) for split in images}
    wanted = {split: features(each) for split, each in images.items()}
    for split, each in found.items():
        assert (each.n, each.features.n) == (len(images[split]), len(images[split]))
        assert each.of == f"CIFAR-10 {split}, 8 bit, no flips"
        assert each.sha256 == checksums()["cifar-cnn.safetensors"]
        assert np.allclose(each.statistics.mean.numpy(), wanted[split].mean(0), rtol=1e-4, atol=1e-6)
        scale = np.abs(np.cov(wanted[split].T)).max()
        assert np.abs(each.statistics.covariance.numpy() - np.cov(wanted[split].T)).max() < 1e-4 * scale
    told = card("reference-cifar-cnn")
    floor = told["scores"]["test against train"]["FD (cifar-cnn)"]
    assert floor["value"] == pytest.approx(frechet(wanted["test"], wanted["train"]), rel=1e-3)
    assert floor["low"] < floor["value"] < floor["high"]
    assert told["counts"] == {"train": 24, "test": 22}


def test_scores_of_every_model_come_into_its_card(folder):
    before = card("base-25")
    sums = (folder / "SHA256SUMS").read_bytes()
    ship("scores")
    train = features(load_images("train").images)
    for name in ("base", "base-25", "base-50"):
        drawn = sample(load_shipped(name), 25, num_steps=2, seed=0)
        scores = card(name)["scores"]
        assert scores["FD (cifar-cnn)"]["value"] == pytest.approx(frechet(features(drawn), train), rel=1e-3)
        losses = heldout_loss(load_shipped(name), load_heldout().images, n=22)
        assert scores["held-out loss"]["value"] == pytest.approx(losses.mean, rel=1e-6)
        assert [scores[kind]["n"] for kind in KINDS] == [25, 25, 22]
        how = "-n 25 --num-steps 2 --sampler ddim --seed 0 --extractor cifar-cnn"
        for kind in KINDS:
            assert scores[kind]["low"] < scores[kind]["value"] < scores[kind]["high"]
            assert scores[kind]["command"] == f"python -m course_utils score {name} {how}"
        assert scores["KD (cifar-cnn)"]["extractor_sha256"] == checksums()["cifar-cnn.safetensors"]
    after = card("base-25")
    assert [sorted(told.pop("scores")) for told in (before, after)] == [["held-out loss"], sorted(KINDS)]
    assert after == before
    assert (folder / "SHA256SUMS").read_bytes() == sums


def test_pictures_of_an_older_base_do_not_come_into_its_card(folder, monkeypatch):
    monkeypatch.setattr(shipping_quality, "SHIPPED_MODELS", ["base"])
    ship_another(folder)
    ship("scores")
    train, value = features(load_images("train").images), card("base")["scores"]["FD (cifar-cnn)"]["value"]
    assert value == pytest.approx(frechet(features(sample(load_base(), 25, num_steps=2, seed=0)), train), rel=1e-3)
    assert value != pytest.approx(frechet(features(load_base_samples()), train), rel=1e-3)


def test_a_model_whose_card_tells_its_scores_is_not_drawn_again(folder, monkeypatch):
    drawn, generator = [], torch.Generator().manual_seed(0)

    def draw(diffusion, how, device):
        drawn.append(how.seed)
        return torch.randint(256, (how.n, 3, 32, 32), generator=generator, dtype=torch.uint8), 0.0

    monkeypatch.setattr(portraits, "draw", draw)
    monkeypatch.setattr(shipping_quality, "SHIPPED_MODELS", ["base", "base-25"])
    ship("scores")
    assert drawn == [0], "pictures of the base are shipped"
    ship("scores")
    assert drawn == [0]
    ship_another(folder, "base-25")
    ship("scores")
    assert drawn == [0, 0], "other weights, whose card tells nothing"
    monkeypatch.setattr(shipping, "SEED", 1)
    ship("scores")
    assert drawn == [0, 0, 1, 1]


def test_a_reference_of_another_classifier_is_refused_before_anything_is_drawn(tmp_path, monkeypatch):
    torch.manual_seed(1)
    save_file(CifarCNN(WIDTHS).state_dict(), tmp_path / "cnn" / "cifar-cnn.safetensors")
    ship("cifar-cnn")
    monkeypatch.setattr(portraits, "draw", lambda *_: pytest.fail("nothing may be drawn here"))
    with pytest.raises(ValueError, match="make it anew with this extractor"):
        ship("scores")
