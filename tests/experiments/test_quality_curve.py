"""The curve grows with the run, a checkpoint is scored once, and its command scores it again."""

import shlex
from dataclasses import replace

import pytest

from course_utils import __main__ as cli
from course_utils.diffusion import load_weights
from course_utils.experiments import quality_curve, training_run
from course_utils.experiments.portraits import Drawing
from course_utils.experiments.scoring import score
from course_utils.measure import load
from course_utils.measure.quality import extract, frechet_distance

OUT = "curve.jsonl"


def trained(steps):
    words = ["--num-steps", str(steps), "--batch-size", "4", "--heldout", "0", "--checkpoint-every", "2", "--keep", "9"]
    assert training_run.main([*words, "--out", "runs/small"]) == 0


def curve(*words):
    return quality_curve.main(["runs/small", "-n", "20", "--out", OUT, *words])


def test_the_curve_grows_with_the_run(shipped_kit, judge, monkeypatch, capsys):
    monkeypatch.setattr(quality_curve, "Drawing", lambda n: Drawing(n, 1))  # nets of this size draw slowly
    trained(2)
    assert curve() == 0
    first = load(OUT)
    assert [(one.name, one.kind) for one in first] == [
        ("real test images", "FD (cifar-cnn)"),
        ("real test images", "KD (cifar-cnn)"),
        ("small, step 2", "FD (cifar-cnn)"),
        ("small, step 2", "KD (cifar-cnn)"),
        ("small, step 2", "held-out loss"),
    ]
    real = extract(judge.extractor, judge.heldout[:20], of="real")
    assert first[0].value == pytest.approx(frechet_distance(real, judge.reference.statistics), rel=1e-12)

    trained(4)
    assert curve() == 0
    assert "16" in capsys.readouterr().out
    grown = load(OUT)
    assert grown[:5] == first, "what is recorded is not measured again"
    assert [one.config["images_seen"] for one in grown[5:]] == [16, 16, 16]
    told = grown[5].config
    assert (told["run"], told["step"], told["n"], told["num_steps"], told["seed"]) == ("small", 4, 20, 1, 0)
    assert told["training"].startswith("python -m course_utils train")

    model = load_weights("runs/small/step_00000004.safetensors")
    wanted = score(model, n=20, num_steps=1, judge=judge)
    assert [one.value for one in grown[5:]] == [one.value for one in wanted.readings()]

    assert told["command"].startswith("python -m course_utils score runs/small/step_00000004.safetensors -n 20")
    assert cli.main(shlex.split(told["command"])[3:]) == 0
    assert [one.value for one in load("results/local/scores.jsonl")] == [one.value for one in grown[5:]]


def test_the_floors_command_measures_it_anew(shipped_kit, judge, monkeypatch):
    monkeypatch.setattr(quality_curve, "Drawing", lambda n: Drawing(n, 1))
    trained(2)
    assert curve() == 0
    recorded = load(OUT)[:2]
    assert {one.name for one in recorded} == {"real test images"}
    assert quality_curve.main(shlex.split(recorded[0].config["command"])[3:]) == 0
    again = load(quality_curve.FLOOR_AGAIN)
    assert [(one.kind, one.value, one.low, one.high) for one in again] == [
        (one.kind, one.value, one.low, one.high) for one in recorded
    ]
    with pytest.raises(ValueError, match="n is 121, but there are 120 real test images here"):
        quality_curve.main(["-n", "121"])


def test_other_held_out_images_are_another_row(shipped_kit, judge, monkeypatch, tmp_path):
    words = ["-n", "20", "--out", OUT]
    assert quality_curve.main(words) == 0
    assert quality_curve.main(words) == 0
    assert len(load(OUT)) == 2
    others = replace(judge, heldout=judge.heldout.flip(0))
    monkeypatch.setattr(quality_curve, "appointed", lambda _: others)
    assert quality_curve.main(words) == 0
    first, last = load(OUT)[::2]
    assert len(load(OUT)) == 4
    assert first.value != last.value


def test_mistakes_get_one_sentence(shipped_kit):
    with pytest.raises(FileNotFoundError, match="runs/small holds no log of a training run"):
        curve()
    trained(2)
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 3"):
        curve("--steps", "3")
    with pytest.raises(ValueError, match="n is 19"):
        curve("-n", "19")
