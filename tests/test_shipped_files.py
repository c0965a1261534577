"""What really comes with the kit: every listed file is whole, loads, has a card, and fits into 60 MB."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from course_utils.diffusion import (
    SHIPPED_MODELS,
    load_base_samples,
    load_heldout,
    load_images,
    load_shipped,
    sample,
)
from course_utils.diffusion.cifar_files import find_cifar10
from course_utils.diffusion.data import data_folders
from course_utils.experiments.shipped_cards import page
from course_utils.measure.quality.cifar_cnn import CifarCNN
from course_utils.shipped import SHIPPED, card, shipped, shipped_names
from course_utils.speedups import STRUCTURAL

NAMES = shipped_names()
MODELS = [name for name in SHIPPED_MODELS if f"{name}.safetensors" in NAMES]
LIMIT = 60_000_000


def only_if(name):
    return pytest.mark.skipif(name not in NAMES, reason=f"data/SHA256SUMS does not list {name}")


def git(*words):
    done = subprocess.run(["git", *words], cwd=SHIPPED.parent, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split()


def test_something_is_shipped():
    assert "heldout.safetensors" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_listed_file_is_whole_and_its_card_tells_how_it_was_made(name):
    path, told = shipped(name), card(name)
    assert told["bytes"] == path.stat().st_size
    assert all(told[key] for key in ("what", "terms", "command", "data" if "model" not in told else "model"))
    assert told["manifest"]["versions"]["torch"]
    assert str(Path.home()) not in json.dumps(told)
    with safe_open(path, framework="pt") as file:
        tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118  # not a dict
    assert tensors
    assert all(bool(tensor.isfinite().all()) for tensor in tensors if tensor.is_floating_point())


def test_no_file_lies_there_unlisted_and_git_takes_every_one():
    failed, top = git("rev-parse", "--show-toplevel")
    if failed or Path(top[0]).resolve() != SHIPPED.parent.resolve():
        pytest.skip("not a git checkout of the kit: nothing can be ignored")
    kept = [each for name in NAMES for each in (f"data/{name}", f"data/{Path(name).stem}.json")]
    assert git("check-ignore", "--no-index", *kept, "data/SHA256SUMS")[1] == []
    tracked = [Path(path).name for path in git("ls-files", "data")[1]]
    assert sorted(name for name in tracked if name.endswith(".safetensors")) == NAMES
    assert git("check-ignore", "data/cifar10.npz")[1] == ["data/cifar10.npz"]


def test_all_of_it_fits_into_60_megabytes():
    assert sum(shipped(name).stat().st_size for name in NAMES) <= LIMIT


def test_the_page_agrees_with_the_list_and_the_cards():
    assert page(SHIPPED) in (SHIPPED / "README.md").read_text()


@pytest.mark.skipif(not MODELS, reason="data/SHA256SUMS lists no trained model")
@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_draws(name):
    diffusion = load_shipped(name, treatments=STRUCTURAL)
    assert shipped(f"{name}.safetensors").stat().st_size <= 6_000_000
    assert card(name)["parameters"] == diffusion.num_parameters
    images = sample(diffusion, 2, num_steps=2)
    assert images.shape == (2, 3, 32, 32)
    assert images.float().std() > 1
    assert card(name)["budget"]["images_seen"] >= 2_000_000 or card(name)["note"].startswith("undertrained: ")


@only_if("heldout.safetensors")
def test_heldout_images_are_those_of_the_data_set():
    heldout = load_heldout()
    assert heldout.images.shape == (1_000, 3, 32, 32)
    assert heldout.images.dtype == torch.uint8
    if not any(find_cifar10(folder) for folder in data_folders()):
        pytest.skip("no CIFAR-10 here to compare with")
    test = load_images("test", n=1_000)
    assert torch.equal(heldout.images, test.images)
    assert torch.equal(heldout.labels, test.labels)


@only_if("base-samples.safetensors")
def test_the_bases_pictures_are_what_the_base_draws():
    pictures, told = load_base_samples(), card("base-samples")
    assert pictures.shape == (told["budget"]["n"], 3, 32, 32)
    assert told["model"]["sha256"] == card("base")["sha256"]
    again = sample(load_shipped("base"), 2, num_steps=told["budget"]["num_steps"], seed=told["seed"])
    assert (again.int() - pictures[:2].int()).abs().max() <= 2  # another processor may round the last digit elsewhere


@only_if("cifar-cnn.safetensors")
def test_the_classifier_is_right_as_often_as_its_card_says():
    model = CifarCNN().eval()
    model.load_state_dict(load_file(shipped("cifar-cnn.safetensors")))
    heldout = load_heldout()
    with torch.no_grad():
        scores = torch.cat([model(part.float() / 127.5 - 1) for part in heldout.images.split(250)])
    right = (scores.argmax(1) == heldout.labels).double().mean().item()
    told = card("cifar-cnn")["scores"]["test accuracy"]["value"]
    assert right == pytest.approx(told, abs=4 * (told * (1 - told) / len(heldout)) ** 0.5)
