"""Scores are what the instruments say of the same pictures; the gate knows a model from a worse one."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from course_utils import __main__ as cli
from course_utils.diffusion import heldout_loss, load_base, load_checkpoint, procedural_images, sample
from course_utils.experiments import portraits, scoring, scoring_run, training_run
from course_utils.experiments.named_models import NamedModel
from course_utils.experiments.portraits import Drawing, Judge, portray, portray_base, portray_pictures
from course_utils.experiments.row_files import JUDGED, Reading
from course_utils.experiments.scoring import command, gate, gate_config, gate_of, record_all, score, score_of
from course_utils.measure import load
from course_utils.measure.quality import extract, extractor_from, frechet_distance, kernel_distance
from course_utils.shipped import checksums

FEW = ["-n", "30", "--num-steps", "2"]


@pytest.fixture
def no_drawing(monkeypatch):
    def fails(*_):
        raise AssertionError("nothing may be drawn here")

    monkeypatch.setattr(portraits, "draw", fails)


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model(3)


def test_a_score_is_what_the_instruments_say_of_the_same_pictures(model, judge):
    made = score(model, n=40, num_steps=3, sampler="ddpm", seed=5, judge=judge)
    images = sample(model, 40, num_steps=3, sampler="ddpm", seed=5)
    features = extract(judge.extractor, images, of="again")
    fd, kd, loss = made.readings()
    assert [one.kind for one in (fd, kd, loss)] == ["FD (cifar-cnn)", "KD (cifar-cnn)", "held-out loss"]
    assert fd.value == pytest.approx(frechet_distance(features, judge.reference.statistics), rel=1e-9)
    assert kd.value == pytest.approx(kernel_distance(features, judge.reference.features), rel=1e-9)
    losses = heldout_loss(model, judge.heldout, n=120)
    assert loss.value == pytest.approx(losses.mean)
    groups = torch.stack([losses.per_image[start::20].mean() for start in range(20)])  # 20 groups of 6
    assert made.loss.standard_error == pytest.approx((groups.std() / 20**0.5).item())
    assert (fd.n, kd.n, loss.n) == (40, 40, 120)
    for one in (fd, kd, loss):
        assert one.low < one.value < one.high


def test_a_score_tells_how_it_was_made(model, judge):
    text = str(score(model, n=30, num_steps=2, judge=judge))
    for wanted in (
        "FD (cifar-cnn)",
        "900 of procedural train",
        "200 of procedural train",
        "Extractor cifar-cnn, weights abc123; 8-bit images",
        "ddim, 2 steps, seed 0: 2 model calls an image, drawn in ",
        "averaged weights (EMA)",
    ):
        assert wanted in text, wanted


def test_too_few_pictures_are_refused_before_any_is_drawn(model, judge, no_drawing):
    with pytest.raises(ValueError, match="n is 19, but a Fréchet distance with 12 features takes at least 20 pictures"):
        score(model, n=19, judge=judge)
    with pytest.raises(ValueError, match="n is 499, but a gate with 12 features takes at least 500 pictures"):
        gate(model, model, n=499, judge=judge)
    with pytest.raises(ValueError, match="num_steps is 0, but must be at least 1"):
        Drawing(num_steps=0)


def test_pictures_without_a_model_have_no_held_out_loss(judge, small_pictures):
    made = score_of(portray_pictures(small_pictures("test", 60), judge, name="heap"), judge)
    assert [one.kind for one in made.readings()] == ["FD (cifar-cnn)", "KD (cifar-cnn)"]
    assert "Held-out loss: not available" in str(made)
    assert made.config()["model"] is None


def test_the_gate_passes_a_model_by_itself_and_stops_one_that_is_worse(model, judge, tiny_model):
    drawing = Drawing(500, 1)
    own = portray(model, drawing, judge)
    denoiser, distribution = gate_of(own, own, judge)
    assert (denoiser.kind, denoiser.value, denoiser.outcome) == ("same denoiser", 1.0, "preserved")
    assert (distribution.kind, distribution.value, distribution.outcome) == ("same distribution", 1.0, "preserved")

    worse = tiny_model(3)
    with torch.no_grad():
        worse.model.final_conv.weight.mul_(8)
    denoiser, distribution = gate(worse, model, n=500, num_steps=1, judge=judge)
    assert denoiser.outcome == "worse"
    assert denoiser.value > 1.02
    fds = [
        frechet_distance(extract(judge.extractor, sample(each, 500, num_steps=1), of="x"), judge.reference.statistics)
        for each in (worse, model)
    ]
    assert distribution.value == pytest.approx(fds[0] / fds[1], rel=1e-6)


def test_pictures_go_through_the_gate_of_the_distribution_alone(model, judge, small_pictures):
    pictures = portray_pictures(small_pictures("train", 500), judge, name="heap")
    (found,) = gate_of(pictures, portray(model, Drawing(500, 1), judge), judge)
    assert found.kind == "same distribution"
    assert found.value < 1, "training images are nearer to training images than what an untrained model draws"


# ---- what is written down --------------------------------------------------------------------------------------------


def test_a_judge_tells_its_reference_and_its_held_out_images(judge, small_pictures):
    told = judge.told()
    assert told == replace(judge, device="cpu").told()
    statistics = judge.reference.statistics
    other = replace(judge.reference, statistics=replace(statistics, mean=statistics.mean + 1e-9))
    changed = {
        "reference_sha256": replace(judge, reference=other),
        "heldout_sha256": replace(judge, heldout=small_pictures("train", 120)),
    }
    for name, another in changed.items():
        assert {key for key, value in another.told().items() if value != told[key]} == {name}
    assert set(JUDGED) == set(told)


def test_a_reference_in_features_of_another_extractor_is_refused(judge):
    other = extractor_from("cifar-cnn", judge.extractor, "d" * 64)
    with pytest.raises(
        ValueError, match=r"by cifar-cnn \(weights abc123\), wanted those by cifar-cnn \(weights dddddd"
    ):
        Judge(other, judge.reference, judge.heldout)


def test_a_gate_tells_both_models_the_drawing_and_the_judge(judge, model, small_pictures):
    ours = portray(NamedModel(model, "ours", "a" * 64, 5, averaged=False), Drawing(30, 1), judge, name="ours")
    theirs = portray_pictures(small_pictures("train", 30), judge, name="heap")
    told = gate_config(ours, theirs, judge)
    assert told == {
        **{"variant": "ours", "baseline": "heap", "weights": ["a" * 64, None], "averaged": [False, None]},
        **{"n": 30, "sampler": "ddim", "num_steps": 1, "seed": 0},
        **judge.told(),
    }
    turned = gate_config(theirs, ours, judge)
    assert (turned["weights"], turned["n"], turned["sampler"]) == ([None, "a" * 64], 30, None)


def test_a_record_names_the_device_that_worked_and_the_seed(monkeypatch):
    monkeypatch.setattr(scoring, "manifest", lambda **told: told)
    (one,) = record_all([Reading("FD", 1.0, None, None, 3)], "a", {"seed": 4}, None, device="cuda:1")
    assert one.manifest == {"device": "cuda:1", "seed": 4}


def test_a_command_survives_a_shell():
    words = command("my runs/it's", Drawing(20, 2), "cifar-cnn", "--against a run/x", "--raw-weights")
    assert shlex.split(words)[4:] == [
        *["my runs/it's", "-n", "20", "--num-steps", "2", "--sampler", "ddim", "--seed", "0"],
        *["--extractor", "cifar-cnn", "--against", "a run/x", "--raw-weights"],
    ]


# ---- the shipped base ------------------------------------------------------------------------------------------------


def test_the_shipped_pictures_serve_for_the_drawing_they_were_made_by(shipped_kit, judge, no_drawing):
    portrait = portray_base(Drawing(40, 10), judge)
    assert torch.equal(portrait.images, sample(load_base(), 40, num_steps=10))
    assert portrait.seconds is None
    assert torch.equal(portray_base(Drawing(20, 10), judge).images, portrait.images[:20])
    assert "drawn before" in str(score_of(portrait, judge))


@pytest.mark.parametrize("other", [{"n": 41}, {"num_steps": 1}, {"seed": 1}, {"sampler": "ddpm"}])
def test_any_other_drawing_is_drawn(shipped_kit, judge, other):
    drawing = Drawing(**{"n": 20, "num_steps": 10} | other)
    portrait = portray_base(drawing, judge)
    how = {"num_steps": drawing.num_steps, "seed": drawing.seed, "sampler": drawing.sampler}
    assert torch.equal(portrait.images, sample(load_base(), drawing.n, **how))
    assert portrait.seconds is not None


def test_pictures_of_an_older_base_are_not_taken_for_its_own(shipped_kit, judge, monkeypatch):
    told = json.loads((shipped_kit / "base-samples.json").read_text())
    monkeypatch.setattr(portraits, "card", lambda _: {**told, "model": {"sha256": "of another"}})
    assert portray_base(Drawing(20, 10), judge).seconds is not None


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_scores_a_shipped_model_and_says_how_to_do_it_again(shipped_kit, judge, tiny_model, capsys):
    assert cli.main(["score", "base-25", *FEW, "-o", "grid.png"]) == 0
    said = capsys.readouterr().out
    assert "the shipped base-25" in said
    assert "250 images seen in training" in said
    records = load("results/local/scores.jsonl")
    assert [one.kind for one in records] == ["FD (cifar-cnn)", "KD (cifar-cnn)", "held-out loss"]
    fd = records[0]
    wanted = {"n": 30, "sampler": "ddim", "num_steps": 2, "seed": 0, "averaged": True, "images_seen": 250}
    assert wanted | {"extractor": "cifar-cnn", "sha256": "abc123"} == {
        key: fd.config[key] for key in [*wanted, "extractor", "sha256"]
    }
    assert fd.value == score(tiny_model(1), n=30, num_steps=2, judge=judge).readings()[0].value
    assert Image.open("grid.png").size == (6 * 10 + 2, 5 * 10 + 2)

    words = shlex.split(fd.config["command"])
    assert words[:4] == ["python", "-m", "course_utils", "score"]
    assert cli.main(words[3:]) == 0
    again = load("results/local/scores.jsonl")[3:]
    assert [(one.kind, one.value, one.low, one.high) for one in again] == [
        (one.kind, one.value, one.low, one.high) for one in records
    ]


def test_a_run_is_scored_by_its_averaged_weights_unless_the_raw_ones_are_asked_for(shipped_kit, judge, capsys):
    training_run.main(["--num-steps", "3", "--batch-size", "4", "--heldout", "0", "--out", "run"])
    few = ["-n", "20", "--num-steps", "1"]
    assert cli.main(["score", "run", *few]) == 0
    assert cli.main(["score", "run", *few, "--raw-weights"]) == 0
    assert "weights as trained (no EMA), 12 images seen" in capsys.readouterr().out
    values = [one.value for one in load("results/local/scores.jsonl") if one.kind == "FD (cifar-cnn)"]
    state = load_checkpoint("run")
    wanted = [score(each, n=20, num_steps=1, judge=judge) for each in (state.averaged(), state.diffusion)]
    assert values == [one.readings()[0].value for one in wanted]
    assert values[0] != values[1]
    assert load("results/local/scores.jsonl")[-1].config["command"].endswith("--extractor cifar-cnn --raw-weights")


def test_against_prints_and_records_the_gate(shipped_kit, capsys):
    words = ["score", "base-seed1", "-n", "500", "--num-steps", "1", "--against", "base"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "held-out loss, variant / baseline" in said
    assert "FD (cifar-cnn), variant / baseline" in said
    gates = load("results/local/scores.jsonl")[3:]
    assert [one.kind for one in gates] == ["gate: same denoiser", "gate: same distribution"]
    assert {one.name for one in gates} == {"base-seed1 against base"}
    assert gates[0].config["outcome"] in {"preserved", "worse", "inconclusive"}
    assert gates[0].config["command"].endswith("--extractor cifar-cnn --against base")
    assert gates[0].low < gates[0].value < gates[0].high
    here = checksums()
    assert gates[0].config["weights"] == [here["base-seed1.safetensors"], here["base.safetensors"]]
    assert (gates[0].config["n"], gates[0].config["sha256"]) == (500, "abc123")


def test_a_folder_of_pictures_is_scored_as_it_is(shipped_kit, judge, capsys):
    images = procedural_images("test", n=45).images
    Path("heap").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(f"heap/{index:03d}.png")
    assert torch.equal(scoring_run.load_pictures(Path("heap")), images)
    assert torch.equal(scoring_run.load_pictures(Path("heap"), n=7), images[:7])
    assert cli.main(["score", "heap"]) == 0
    assert "Held-out loss: not available" in capsys.readouterr().out
    fd, _ = load("results/local/scores.jsonl")
    features = extract(judge.extractor, images, of="heap")
    assert fd.value == pytest.approx(frechet_distance(features, judge.reference.statistics), rel=1e-12)
    assert (fd.n, fd.name, fd.config["sampler"]) == (45, "heap", None)
    assert cli.main(shlex.split(fd.config["command"])[3:]) == 0
    assert load("results/local/scores.jsonl")[2].value == fd.value


def heap(mode="RGB", size=(32, 32), name="a.png"):
    Path("heap").mkdir(exist_ok=True)
    Image.new(mode, size).save(f"heap/{name}")


@pytest.mark.parametrize(
    ("make", "words", "complaint"),
    [
        (None, ["nowhere"], "there is no nowhere"),
        (None, ["base", "-n", "19"], "takes at least 20 pictures"),
        (None, ["base", "-n", "0"], "n is 0, but must be at least 1"),
        (None, ["base", "-o", "grid.jpg"], "end the name in .png"),
        (None, ["base", "--raw-weights"], "leave --raw-weights out"),
        (None, ["base", "--against", "nowhere"], "there is no nowhere"),
        (None, ["base", "--against", "base", *FEW], "a gate with 12 features takes at least 500"),
        (None, ["base", "--extractor", "cifar-cnn", "--inception", "w.pth"], "leave one of them out"),
        (lambda: Path("heap").mkdir(), ["heap"], "holds no checkpoint"),
        (lambda: heap(mode="L"), ["heap"], r"heap/a.png is L, 32 x 32 pixels, wanted RGB, 32 x 32"),
        (lambda: heap(size=(64, 48)), ["heap"], "is RGB, 64 x 48 pixels"),
        (lambda: (heap(), Path("heap/b.png").write_text("no")), ["heap"], "heap/b.png is no picture"),
        (heap, ["heap", "-n", "2"], "-n is 2, but heap holds 1 pictures"),
        (heap, ["heap", "--raw-weights"], "leave --raw-weights out"),
    ],
)
def test_mistakes_get_one_sentence_before_anything_is_drawn(shipped_kit, no_drawing, capsys, make, words, complaint):
    if make:
        make()
    assert cli.main(["score", *words]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error
    assert not Path("results").exists()
