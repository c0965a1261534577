"""A kit in small: nets for 8 x 8 pixels, procedural images of that size, an extractor of twelve features."""

import hashlib
import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from course_utils.diffusion import Recipe, build, procedural_images, sample, save_weights
from course_utils.experiments.portraits import Judge
from course_utils.measure.quality import extract, extractor_from, reference_from

SHARES = {"base": 1_000, "base-25": 250, "base-50": 500, "base-seed1": 1_000}


def pictures(split, n):
    """Procedural images, every fourth pixel of them: uint8 (n, 3, 8, 8)."""
    return procedural_images(split, n=n).images[..., ::4, ::4].contiguous()


def tiny(seed):
    """An untrained model for 8 x 8 pixels that depends on `seed` alone."""
    process = {"objective": "pred_v", "beta_schedule": "sigmoid", "num_timesteps": 1000}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(Recipe({"dim": 8, "dim_mults": [1, 2]}, process, image_shape=(3, 8, 8)))


@pytest.fixture(scope="session")
def tiny_model():
    return tiny


@pytest.fixture(scope="session")
def small_pictures():
    return pictures


def put(folder, path, **told):
    """List a file with its checksum and write its card."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write(f"{sha256}  {path.name}\n")
    path.with_suffix(".json").write_text(json.dumps({"file": path.name, "sha256": sha256, **told}))
    return sha256


@pytest.fixture(scope="session")
def extractor():
    """In the place of cifar-cnn: the mean grey level of each channel in each quarter of a picture, (N, 12)."""
    return extractor_from(
        "cifar-cnn", lambda images: F.adaptive_avg_pool2d(images.float(), 2).flatten(1) / 64, "abc123"
    )


@pytest.fixture(scope="session")
def judge(extractor):
    """What made-up models are judged by: 900 training images, 200 kept, and 120 held-out ones."""
    features = extract(extractor, pictures("train", 900), of="procedural train")
    return Judge(extractor, reference_from(features, kept=200), pictures("test", 120))


@pytest.fixture(scope="session")
def small_kit(tmp_path_factory):
    """A folder of shipped files: four untrained models, 40 pictures of the first, 120 held-out images."""
    folder = tmp_path_factory.mktemp("shipped")
    base = ""
    for seed, (name, seen) in enumerate(SHARES.items()):
        path = save_weights(folder / f"{name}.safetensors", tiny(seed))
        sha256 = put(folder, path, budget={"images_seen": seen})
        base = sha256 if name == "base" else base
    images = sample(tiny(0), 40, num_steps=10)
    save_file({"images": images}, folder / "base-samples.safetensors")
    how = {"model": {"sha256": base}, "budget": {"n": 40, "sampler": "ddim", "num_steps": 10}, "seed": 0}
    put(folder, folder / "base-samples.safetensors", **how)
    save_file(
        {"images": pictures("test", 120), "labels": procedural_images("test", n=120).labels},
        folder / "heldout.safetensors",
    )
    put(folder, folder / "heldout.safetensors")
    return folder


@pytest.fixture
def shipped_kit(small_kit, judge, tmp_path, monkeypatch):
    """Work in an empty folder with the small kit as what is shipped, its judge as everybody's."""
    monkeypatch.setattr("course_utils.shipped.SHIPPED", small_kit)
    monkeypatch.setattr("course_utils.experiments.scoring_run.cifar_cnn", lambda **_: judge.extractor)
    monkeypatch.setattr("course_utils.experiments.scoring_run.best_extractor", lambda **_: judge.extractor)
    monkeypatch.setattr("course_utils.experiments.portraits.best_extractor", lambda **_: judge.extractor)
    monkeypatch.setattr("course_utils.experiments.portraits.train_reference", lambda _: judge.reference)
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return small_kit
