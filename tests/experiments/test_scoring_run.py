"""`score` from the command line: which extractor and why, and mistakes that are one sentence before any work."""

import argparse
import io
import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from course_utils import __main__ as cli
from course_utils.experiments import classifier_run, reference_statistics, sampling_run, scoring_run
from course_utils.experiments.devices import chosen_device
from course_utils.measure import load
from course_utils.measure.quality import extract, extractor_from
from course_utils.measure.quality.cifar_cnn import CifarCNN
from course_utils.measure.quality.references import kept_reference, reference_from
from course_utils.shipped import sha256_of, shipped


@pytest.fixture
def no_work(monkeypatch):
    """Neither a model nor an extractor may be loaded."""

    def fails(*_, **__):
        raise AssertionError("nothing may be loaded here")

    for name in ("load_named", "chosen_extractor"):
        monkeypatch.setattr(scoring_run, name, fails)
    for name in ("load_named", "load_images", "shipped_base", "sample"):
        monkeypatch.setattr(sampling_run, name, fails)


@pytest.mark.parametrize("command", [["score", "base"], ["sample"], ["sample", "--ideal"]])
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--num-steps", "2000"], "--num-steps is 2,000, wanted 1 to 1,000"),
        (["--num-steps", "0"], "--num-steps is 0, wanted 1 to 1,000"),
        (["--device", "gpu"], "--device is 'gpu', wanted cpu, cuda, or one GPU of several, such as cuda:1."),
        (["--device", "cuda:77"], "--device is 'cuda:77', but torch finds "),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_loaded(
    tmp_path, monkeypatch, no_work, capsys, command, words, complaint
):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(complaint)
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("count", "name", "wanted"),
    [
        (0, None, "cpu"),
        (0, "cpu", "cpu"),
        (0, "cuda", "but torch finds no CUDA device here"),
        (1, None, "cuda"),
        (1, "cuda", "cuda"),
        (1, "cuda:1", "but torch finds 1 CUDA device here"),
        (2, "cuda:1", "cuda:1"),
        (2, "cuda:2", "but torch finds 2 CUDA devices here"),
        (2, "mps", "wanted cpu, cuda, or one GPU of several"),
        (2, "", "--device is '', wanted cpu"),
    ],
)
def test_a_device_is_one_that_is_here(monkeypatch, count, name, wanted):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    if " " in wanted:
        with pytest.raises(ValueError, match=wanted):
            chosen_device(name)
    else:
        assert chosen_device(name) == wanted


@pytest.mark.parametrize("module", [scoring_run, sampling_run, classifier_run])
def test_help_states_no_default_twice(module):
    text = " ".join(module.parser().format_help().split())
    assert "(default: None)" not in text
    assert "(default: False)" not in text
    for option in text.split(" --")[1:]:
        assert option.count("(default") <= 1, option


# ---- the extractor ---------------------------------------------------------------------------------------------------


def options(extractor="auto", inception=None):
    return argparse.Namespace(extractor=extractor, inception=inception)


def test_auto_says_which_extractor_it_takes_and_why(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    save_file(CifarCNN((4, 4, 8, 8)).state_dict(), tmp_path / "cifar-cnn.safetensors")
    sums = f"{sha256_of(tmp_path / 'cifar-cnn.safetensors')}  cifar-cnn.safetensors\n"
    (tmp_path / "SHA256SUMS").write_text(sums)
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "inception.pth")
    monkeypatch.setattr("course_utils.shipped.SHIPPED", tmp_path)
    monkeypatch.setenv("COURSE_INCEPTION", str(tmp_path / "inception.pth"))
    monkeypatch.chdir(tmp_path)
    assert shipped("cifar-cnn.safetensors").is_file()
    assert scoring_run.chosen_extractor(options(), "cpu").name == "cifar-cnn"
    said = capsys.readouterr().out
    assert said.startswith("Extractor: cifar-cnn, since Inception's weights are here, but not CIFAR-10's reference in")
    assert said.count("\n") == 1
    with pytest.raises(ValueError, match="does not hold Inception's weights"):
        scoring_run.chosen_extractor(options("inception"), "cpu")  # asked for by name, it is taken
    assert capsys.readouterr().out == ""


def test_the_reference_is_kept_where_the_best_extractor_looks_for_it(tmp_path, monkeypatch, small_pictures):
    toy = extractor_from("inception-v3, sha256 abc", lambda images: images.float().mean((2, 3)), "abc" * 20)
    made = reference_from(extract(toy, small_pictures("train", 40), of="a few"))
    monkeypatch.setattr(reference_statistics, "_made", lambda _: made)
    reference_statistics.train_reference(toy, folder=tmp_path)
    assert list(tmp_path.iterdir()) == [kept_reference(toy.name, toy.sha256, folder=tmp_path)]


# ---- folders of pictures ---------------------------------------------------------------------------------------------


def encoded(form):
    image = Image.frombytes("RGB", (32, 32), random.Random(0).randbytes(3 * 32 * 32))
    kept = io.BytesIO()
    image.save(kept, form)
    return kept.getvalue()


@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_picture_that_is_cut_short_is_named(shipped_kit, capsys, form, share):
    Path("heap").mkdir()
    whole = encoded(form)
    Path(f"heap/a.{form}").write_bytes(whole)
    Path(f"heap/b.{form}").write_bytes(whole[: int(share * len(whole))])
    assert cli.main(["score", "heap"]) == 2
    wanted = f"heap/b.{form} is no picture that can be read: save it again, or move it elsewhere.\n"
    assert capsys.readouterr().err == wanted


def test_a_folder_without_anything_to_score_is_named(shipped_kit, capsys):
    Path("heap").mkdir()
    Path("heap/a.webp").write_bytes(b"")
    assert cli.main(["score", "heap"]) == 2
    wanted = "heap holds no checkpoint and no pictures (PNG, JPEG): name another folder.\n"
    assert capsys.readouterr().err == wanted


def test_the_gate_is_recorded_with_weights_and_counts(shipped_kit):
    assert cli.main(["score", "base-50", "-n", "500", "--num-steps", "1", "--against", "base"]) == 0
    gates = [one for one in load("results/local/scores.jsonl") if one.kind.startswith("gate: ")]
    weights = [sha256_of(shipped_kit / f"{name}.safetensors") for name in ("base-50", "base")]
    for one in gates:
        assert one.config["weights"] == weights
        assert (one.config["n"], one.config["num_steps"], one.config["extractor"]) == (500, 1, "cifar-cnn")
