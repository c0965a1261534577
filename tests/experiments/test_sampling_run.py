"""`sample`: the grid holds the drawn pictures, and the card beside it says how."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils.diffusion import baseline, load_checkpoint, sample, save_weights
from course_utils.experiments import sampling_run, training_run


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    monkeypatch.setattr("course_utils.shipped.SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kit(tmp_path):
    """A kit that comes with two small models, `base` and `base-25`; returns the first."""
    for seed, name in enumerate(("base", "base-25")):
        path = save_weights(tmp_path / "shipped" / f"{name}.safetensors", baseline("smoke", seed=seed))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with (path.parent / "SHA256SUMS").open("a") as sums:
            sums.write(f"{sha256}  {path.name}\n")
        told = {"file": path.name, "sha256": sha256, "budget": {"images_seen": 1_000 + seed}}
        path.with_suffix(".json").write_text(json.dumps(told))
    return baseline("smoke", seed=0)


def test_the_last_run_is_found_and_drawn_from(tmp_path):
    training_run.main(["--num-steps", "2", "--batch-size", "4", "--heldout", "0"])
    words = ["-n", "4", "-o", "out/grid.png", "--num-steps", "3", "--seed", "5", "--batch-size", "3"]
    assert sampling_run.main(words) == 0
    wanted = sample(load_checkpoint("results/local/train-smoke-0").averaged(), 4, num_steps=3, seed=5)
    sheet = np.asarray(Image.open(tmp_path / "out" / "grid.png"))
    assert sheet.shape == (2 * 34 + 2, 2 * 34 + 2, 3)
    cut = sheet[2 + 34 : 2 + 34 + 32, 2 : 2 + 32]
    assert np.abs(cut.astype(int) - wanted[2].permute(1, 2, 0).numpy()).max() <= 1
    card = json.loads((tmp_path / "out" / "grid.json").read_text())
    assert (card["n"], card["num_steps"], card["sampler"]) == (4, 3, "ddim")
    assert card["source"] == "step_00000002.safetensors"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["grid.json", "grid.png"]


def test_weights_files_and_raw_weights(tmp_path):
    training_run.main(["--num-steps", "1", "--batch-size", "4", "--heldout", "0", "--out", "run"])
    assert sampling_run.main(["run/weights.safetensors", "-n", "1", "--num-steps", "1", "-o", "a.png"]) == 0
    assert sampling_run.main(["run", "--raw-weights", "-n", "1", "--num-steps", "1", "-o", "b.png"]) == 0
    with pytest.raises(ValueError, match="holds weights in format 1, wanted checkpoint"):
        sampling_run.main(["run/weights.safetensors", "--raw-weights"])


def drawn(path):
    """The one picture of a grid, uint8 (H, W, C)."""
    return np.asarray(Image.open(path))


def test_without_a_run_the_kits_own_base_draws_and_that_is_said(kit, capsys):
    assert sampling_run.main(["-n", "1", "--num-steps", "2", "-o", "a.png"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("No training run here: drawing from the shipped base, which has seen 1,000 images.\n")
    assert np.array_equal(drawn("a.png"), sample(kit, 1, num_steps=2)[0].permute(1, 2, 0).numpy())


def test_a_run_of_ones_own_comes_before_the_kits(kit):
    training_run.main(["--num-steps", "1", "--batch-size", "4", "--heldout", "0"])
    assert sampling_run.main(["-n", "1", "--num-steps", "1", "-o", "a.png"]) == 0
    assert json.loads(Path("a.json").read_text())["source"] == "step_00000001.safetensors"


def test_a_model_of_the_kit_is_named_and_a_path_comes_first(kit):
    assert sampling_run.main(["base-25", "-n", "1", "--num-steps", "2", "-o", "a.png"]) == 0
    assert json.loads(Path("a.json").read_text())["source"] == "the shipped base-25"
    wanted = sample(baseline("smoke", seed=1), 1, num_steps=2)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(drawn("a.png"), wanted)
    training_run.main(["--num-steps", "1", "--batch-size", "4", "--heldout", "0", "--out", "base-25"])
    assert sampling_run.main(["base-25", "-n", "1", "--num-steps", "1", "-o", "b.png"]) == 0
    assert json.loads(Path("b.json").read_text())["source"] == "step_00000001.safetensors"


def test_what_the_kit_cannot_give_is_said(kit, tmp_path):
    with pytest.raises(ValueError, match="holds averaged weights alone: leave --raw-weights out"):
        sampling_run.main(["base", "--raw-weights"])
    with pytest.raises(FileNotFoundError, match="no training run of scale 'laptop'"):
        sampling_run.main(["--scale", "laptop"])
    (tmp_path / "shipped" / "base.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"base\.safetensors is damaged.*git checkout -- data/base\.safetensors"):
        sampling_run.main([])


def test_the_ideal_denoiser_needs_no_run():
    assert sampling_run.main(["--ideal", "-n", "2", "--num-steps", "10", "--sampler", "ddpm"]) == 0


@pytest.mark.parametrize(
    ("words", "error", "complaint"),
    [
        ([], FileNotFoundError, "results/local holds no training run of scale 'smoke'"),
        (["nowhere.safetensors"], FileNotFoundError, "there is no"),
        (["-o", "grid.jpg"], ValueError, "end the name in .png"),
        (["-n", "0"], ValueError, "-n is 0, but must be at least 1"),
        (["--batch-size", "0"], ValueError, "--batch-size is 0, but must be at least 1"),
    ],
)
def test_mistakes_get_one_sentence(words, error, complaint):
    with pytest.raises(error, match=complaint):
        sampling_run.main(words)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        sampling_run.main([str(tmp_path)])
