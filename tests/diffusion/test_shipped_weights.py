"""The kit's own models and images: by name, verified, and refused by name where that is not possible."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file

from course_utils.diffusion import (
    base_card,
    baseline,
    load_base,
    load_base_samples,
    load_heldout,
    load_shipped,
    save_weights,
)
from course_utils.diffusion.cifar_files import CLASSES


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A shipped folder with four tiny models in bfloat16, seeds 0 to 3, held-out images and pictures."""
    names = ["base", "base-25", "base-50", "base-seed1"]
    for seed, name in enumerate(names):
        save_weights(tmp_path / f"{name}.safetensors", baseline("smoke", seed=seed), dtype=torch.bfloat16)
    images = torch.arange(5 * 3 * 32 * 32).remainder(256).to(torch.uint8).reshape(5, 3, 32, 32)
    save_file({"images": images, "labels": torch.arange(5)}, tmp_path / "heldout.safetensors")
    save_file({"images": images.flip(0)}, tmp_path / "base-samples.safetensors")
    for path in sorted(tmp_path.glob("*.safetensors")):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with (tmp_path / "SHA256SUMS").open("a") as sums:
            sums.write(f"{sha256}  {path.name}\n")
        path.with_suffix(".json").write_text(json.dumps({"file": path.name, "sha256": sha256, "name": path.stem}))
    monkeypatch.setattr("course_utils.shipped.SHIPPED", tmp_path)
    return tmp_path


def is_baseline(diffusion, seed):
    wanted = baseline("smoke", seed=seed).model.state_dict()
    found = diffusion.model.state_dict()
    return all(torch.equal(found[name], tensor.to(torch.bfloat16).float()) for name, tensor in wanted.items())


@pytest.mark.parametrize(
    ("at", "seed", "name"), [(100, 0, "base"), (25, 0, "base-25"), (50, 0, "base-50"), (100, 1, "base-seed1")]
)
def test_each_share_of_the_run_is_its_own_file(folder, at, seed, name):
    order = ["base", "base-25", "base-50", "base-seed1"]
    diffusion = load_base(at, seed=seed)
    assert is_baseline(diffusion, order.index(name))
    assert is_baseline(load_shipped(name), order.index(name))
    assert base_card(at, seed=seed)["name"] == name
    assert not diffusion.model.training
    assert next(diffusion.model.parameters()).dtype == torch.float32


@pytest.mark.parametrize(("at", "seed"), [(75, 0), (50, 1), (100, 2)])
def test_what_is_not_shipped_is_refused(folder, at, seed):
    with pytest.raises(ValueError, match=f"asked was at={at}, seed={seed}"):
        load_base(at, seed=seed)
    with pytest.raises(ValueError, match="'large' is not a shipped model: choose from base, base-25"):
        load_shipped("large")


def test_images_to_judge_on_and_pictures_to_judge_against(folder):
    heldout = load_heldout()
    assert (len(heldout), heldout.label, heldout.classes) == (5, "CIFAR-10", CLASSES)
    assert heldout.labels.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(load_base_samples(), heldout.images.flip(0))


@pytest.mark.parametrize(
    ("name", "load"),
    [("base", load_base), ("heldout", load_heldout), ("base-samples", load_base_samples)],
)
def test_a_damaged_or_missing_file_is_named_before_it_is_read(folder, name, load):
    path = folder / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{name}\.safetensors is damaged"):
        load()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}\.safetensors is missing"):
        load()
