"""What is shipped is made by one command: from tiny runs here, with the cards and checksums that they deserve."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scratch_shipping import classifier, empty_kit, ship, trained

from course_utils.diffusion import (
    heldout_loss,
    load_base,
    load_base_samples,
    load_checkpoint,
    load_heldout,
    load_shipped,
    sample,
)
from course_utils.experiments import shipping, shipping_base
from course_utils.experiments.run_history import read_history
from course_utils.experiments.shipped_cards import page, put
from course_utils.shipped import card, checksums, shipped, shipped_names
from course_utils.speedups import STRUCTURAL


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    return empty_kit(monkeypatch, tmp_path)


def test_heldout_images_are_the_first_of_the_test_split(folder, tmp_path):
    ship("heldout")
    with np.load(tmp_path / "cifar10.npz") as arrays:
        wanted = torch.from_numpy(arrays["x_test"]).permute(0, 3, 1, 2)
    found = load_heldout()
    assert torch.equal(found.images, wanted)
    assert found.labels.tolist() == [*range(10), *range(10), 0, 1]
    told = card("heldout")
    assert told["command"] == "python -m course_utils.experiments.shipping --only heldout"
    assert "state no licence" in told["terms"]
    assert (told["count"], told["bytes"]) == (22, (folder / "heldout.safetensors").stat().st_size)


def test_what_is_made_twice_is_the_same_to_the_byte(folder):
    """The library writes the entries of a header in another order each time; one in 40,320 would be the same twice."""
    entries = {f"key {i}": str(i) for i in range(8)}
    tensors = {"b": torch.arange(3), "a": torch.ones(5, dtype=torch.bfloat16)}
    contents = []
    for _ in range(2):
        told = {"what": "two tensors", "terms": "none", "command": "none"}
        path = put(folder, "two.safetensors", lambda target: save_file(tensors, target, metadata=entries), told)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    found = load_file(shipped("two.safetensors"))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == entries


def test_stand_ins_are_never_shipped(folder, monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA")
    monkeypatch.setattr("course_utils.diffusion.data._REPOSITORY", tmp_path)
    (tmp_path / "cifar10.npz").unlink()
    with pytest.raises(ValueError, match="only CIFAR-10 is shipped"):
        ship("heldout")
    trained("one", num_steps=4)
    with pytest.raises(ValueError, match="procedural images, not CIFAR-10: only a run on CIFAR-10"):
        ship("base")
    assert shipped_names() == []


def test_the_base_is_the_average_of_each_quarter_in_bfloat16(folder):
    trained("one")
    ship("heldout", "base")
    for at, step in ((25, 1), (50, 2), (100, 4)):
        wanted = load_checkpoint(f"one/step_{step:08d}.safetensors").averaged().model.state_dict()
        found = load_base(at).model.state_dict()
        assert all(torch.equal(found[name], tensor.to(torch.bfloat16).float()) for name, tensor in wanted.items())


def test_the_bases_card_tells_budget_time_scores_and_what_is_lacking(folder):
    trained("one")
    ship("heldout", "base")
    told = card("base-25")
    assert told["budget"] == {"steps": 1, "batch_size": 4, "images_seen": 4, "share_of_run": 0.25}
    assert (told["seed"], told["data"]) == (0, "CIFAR-10 train, 24 images, mirrored at random")
    words = (
        "--scale smoke --num-steps 4 --batch-size 4 --seed 0 --checkpoint-every 1 --keep 9 --log-every 1 --heldout 0"
    )
    assert told["command"] == f"python -m course_utils train {words}"
    log = [json.loads(line) for line in (folder.parent / "one" / "log.jsonl").read_text().splitlines()]
    assert told["wall_time_s"] == round(log[2]["seconds"], 1)
    assert told["manifest"] == log[1]["manifest"]
    assert told["note"].startswith(
        "undertrained: 4 images seen, fewer than 2 million; to go on: python -m course_utils"
    )
    assert f"--num-steps {(2_000_000 - 4) // 4}" in told["note"]
    loss = heldout_loss(load_base(25), load_heldout().images, n=22)
    assert told["scores"]["held-out loss"]["value"] == pytest.approx(loss.mean, rel=1e-6)
    error = np.std(loss.per_image.numpy(), ddof=1) / 22**0.5
    assert told["scores"]["held-out loss"]["standard_error"] == pytest.approx(error, rel=1e-5)


def test_enough_images_leave_no_word_of_undertraining(folder, monkeypatch):
    monkeypatch.setattr(shipping_base, "ENOUGH_IMAGES", 16)
    trained("one")
    ship("heldout", "base")
    assert "note" in card("base-50")
    assert "note" not in card("base")
    assert "undertrained" not in card("base")["what"]


def test_images_seen_by_the_first_weights_count(folder):
    trained("zero")
    trained("one", "--init", "zero", "--lr", "1e-5", seed=5)
    ship("heldout", "base")
    assert card("base")["budget"]["images_seen"] == 16 + 16
    assert "--init step_00000004.safetensors" in card("base")["command"]


def test_a_budget_whose_parts_were_not_kept_is_refused_and_nothing_is_written(folder):
    trained("one", num_steps=6)
    ship("heldout")
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 7, only of 1, 2, 3, 4, 5, 6: choose a --budget"):
        shipping.main(["--only", "base", "--run", "one", "--budget", "7"])
    assert shipped_names() == ["heldout.safetensors"]
    assert shipping.main(["--only", "base", "--run", "one", "--budget", "4"]) == 0
    assert card("base")["budget"]["steps"] == 4


def test_the_second_seed_has_the_same_training(folder):
    trained("one")
    trained("two", num_steps=6, seed=1)
    ship("heldout", "second")
    assert (card("base-seed1")["seed"], card("base-seed1")["budget"]["steps"]) == (1, 4)
    trained("three", "--lr", "1e-3", seed=1)
    for other in ("three", "one"):
        with pytest.raises(ValueError, match="must differ in seed, and in that alone"):
            shipping.main(["--only", "second", "--run", "one", "--second", other])


def test_retrained_treatments_are_taken_after_as_many_images_as_what_they_are_held_against(folder, monkeypatch):
    trained("one")
    ship("heldout", "base")
    trained("runs/fewer-blocks-25", "--treatments", "fewer_blocks(blocks=1)", num_steps=2)
    monkeypatch.setitem(shipping_base.VARIANTS, "bottleneck-between-25", 50)  # of four steps, the first by base-25
    low_rank = "bottleneck(where=between, start=low_rank)"
    trained("runs/bottleneck-between-25", "--treatments", low_rank, "--init", "base-25", num_steps=2)
    words = ["--only", "variants", "--run", "one", "--variants", "runs"]
    assert shipping.main(words) == 0
    for name, step, before, seen in (("fewer-blocks-25", 1, 0, 4), ("bottleneck-between-25", 1, 4, 8)):
        run = load_checkpoint(f"runs/{name}/step_{step:08d}.safetensors", treatments=STRUCTURAL)
        wanted, found = run.averaged().model.state_dict(), load_shipped(name, treatments=STRUCTURAL).model.state_dict()
        assert all(torch.equal(found[key], tensor.to(torch.bfloat16).float()) for key, tensor in wanted.items())
        told = card(name)
        assert (told["budget"]["steps"], told["budget"]["images_seen"]) == (step, seen)
        assert (told["begun_from"] or {"images_seen": 0})["images_seen"] == before
        assert "--treatments" in told["command"]
    trained("more/fewer-blocks-25", "--treatments", "fewer_blocks(blocks=1)", "--lr", "1e-3", num_steps=2)
    with pytest.raises(ValueError, match="must differ in treatments, and in that alone"):
        shipping.main([*words[:-1], "more"])


def test_pictures_of_the_base_come_from_the_file_that_is_shipped(folder):
    trained("one")
    ship("heldout", "base", "samples")
    assert torch.equal(load_base_samples(), sample(load_base(), 3, sampler="ddim", num_steps=2, seed=0))
    assert card("base-samples")["model"]["sha256"] == checksums()["base.safetensors"]


def test_the_classifier_is_shipped_as_its_run_left_it(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there yet: finish `python -m course_utils"):
        ship("cifar-cnn")
    weights = classifier(tmp_path)
    ship("cifar-cnn")
    found = load_file(shipped("cifar-cnn.safetensors"))
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
    told = card("cifar-cnn")
    assert told["command"].endswith("classifier_run --epochs 2 --batch-size 128 --seed 0")
    assert told["scores"] == {"test accuracy": {"value": 0.5, "n": 10}}
    assert told["budget"]["images_seen"] == 100_000


def test_the_time_of_a_run_in_two_parts_is_the_sum_without_what_was_lost(tmp_path):
    trained("one", num_steps=2)
    trained("one", num_steps=4)
    entries = read_history(tmp_path / "one").entries
    at = {entry["step"]: entry["seconds"] for entry in entries if entry["event"] == "step"}
    history = read_history(tmp_path / "one")
    assert history.seconds(1) == at[1]
    assert history.seconds(2) == at[2]
    assert history.seconds(3) == at[2] + at[3]
    assert history.seconds(4) == at[2] + at[4]
    assert history.start(2)["step"] == 0
    assert history.start(3)["step"] == 2
    with pytest.raises(FileNotFoundError, match="holds no log of a training run"):
        read_history(tmp_path)


def test_the_page_lists_what_the_cards_say_and_keeps_its_words(folder):
    ship("heldout")
    text = (folder / "README.md").read_text()
    assert text.startswith("before\n<!-- shipped:begin -->\n| file |")
    assert text.endswith("|\n<!-- shipped:end -->\nafter\n")
    content = (folder / "heldout.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest()[:12] in text
    assert page(folder) in text


def test_a_failure_while_writing_leaves_the_list_and_the_file_as_they_were(folder):
    ship("heldout")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def broken(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        put(folder, "heldout.safetensors", broken, {"what": "", "terms": "", "command": ""})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
