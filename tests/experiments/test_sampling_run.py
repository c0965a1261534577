"""`sample`: the grid holds the drawn pictures, and the card beside it says how."""

import json

import numpy as np
import pytest
from PIL import Image

from course_utils.diffusion import load_checkpoint, sample
from course_utils.experiments import sampling_run, training_run


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    monkeypatch.chdir(tmp_path)


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


def test_the_ideal_denoiser_needs_no_run():
    assert sampling_run.main(["--ideal", "-n", "2", "--num-steps", "10", "--sampler", "ddpm"]) == 0


@pytest.mark.parametrize(
    ("words", "error", "complaint"),
    [
        ([], FileNotFoundError, "results/local holds no training run of scale 'smoke'"),
        (["nowhere.safetensors"], FileNotFoundError, "there is no"),
        (["-o", "grid.jpg"], ValueError, "end the name in .png"),
        (["-n", "0"], ValueError, "must be at least 1"),
    ],
)
def test_mistakes_get_one_sentence(words, error, complaint):
    with pytest.raises(error, match=complaint):
        sampling_run.main(words)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        sampling_run.main([str(tmp_path)])
