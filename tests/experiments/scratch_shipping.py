"""A shipped folder that begins empty, and runs small enough to fill it: what tests of shipping share."""

import json

import numpy as np
import scipy.linalg
import torch
from safetensors.torch import save_file

from course_utils.diffusion import cifar_files
from course_utils.experiments import shipping, training_run
from course_utils.measure.quality.cifar_cnn import CifarCNN

WIDTHS = (4, 4, 8, 8)  # eight features, so that a Fréchet distance needs few images


def empty_kit(monkeypatch, tmp_path):
    """An empty shipped folder, and a CIFAR-10 of 24 and 22 images that passes for whole."""
    place = tmp_path / "shipped"
    place.mkdir()
    (place / "README.md").write_text("before\n<!-- shipped:begin -->\n<!-- shipped:end -->\nafter\n")
    rng = np.random.default_rng(0)
    arrays, counts, sums = {}, {"train": 24, "test": 22}, {}
    for split, count in counts.items():
        arrays[f"x_{split}"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(count, dtype=np.uint8) % 10
        sums[split] = tuple(int(total) for total in arrays[f"x_{split}"].sum(axis=(0, 1, 2), dtype=np.int64))
    np.savez(tmp_path / "cifar10.npz", **arrays)
    monkeypatch.setattr(cifar_files, "COUNTS", counts)
    monkeypatch.setattr(cifar_files, "CHANNEL_SUMS", sums)
    monkeypatch.setattr("course_utils.shipped.SHIPPED", place)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "cifar10.npz"))
    monkeypatch.setattr(shipping, "PICTURES", 3)
    monkeypatch.setattr(shipping, "NUM_STEPS", 2)
    monkeypatch.chdir(tmp_path)
    return place


def trained(name, *words, num_steps=4, seed=0):
    """A run's folder: four steps of four images, every checkpoint kept."""
    every = ["--checkpoint-every", "1", "--keep", "9", "--log-every", "1", "--heldout", "0"]
    size = ["--scale", "smoke", "--batch-size", "4", "--num-steps", str(num_steps), "--seed", str(seed)]
    assert training_run.main([*size, *every, "--out", name, *words]) == 0


def ship(*stages):
    assert shipping.main(["--only", *stages, "--run", "one", "--second", "two", "--classifier", "cnn"]) == 0


def classifier(tmp_path):
    """A finished run of an untrained classifier; returns its weights."""
    torch.manual_seed(0)
    weights = CifarCNN(WIDTHS).state_dict()
    (tmp_path / "cnn").mkdir()
    save_file(weights, tmp_path / "cnn" / "cifar-cnn.safetensors")
    run = {
        "command": "python -m course_utils.experiments.classifier_run",
        "options": {"epochs": 2, "batch_size": 128, "seed": 0},
        "test_accuracy": 0.5,
        "test_images": 10,
        "seconds": 1.5,
        "manifest": {"device": {"name": "a machine"}, "threads": 1},
    }
    (tmp_path / "cnn" / "cifar-cnn.json").write_text(json.dumps(run))
    return weights


def features(images):
    """Features of the untrained classifier, float64 (n, D), computed image by image without the kit's extractor."""
    torch.manual_seed(0)
    model = CifarCNN(WIDTHS).eval()
    with torch.no_grad():
        return torch.cat([model.features(image[None].float() / 127.5 - 1) for image in images]).double().numpy()


def frechet(a, b):
    """The Fréchet distance by scipy's root of the product of covariances."""
    root = scipy.linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
