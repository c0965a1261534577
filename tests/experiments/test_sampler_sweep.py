"""The sweep begins with what is cheap, goes on after a stop, and each row's command scores it again."""

import shlex
from pathlib import Path

import pytest

from course_utils import __main__ as cli
from course_utils.experiments import portraits, sampler_sweep
from course_utils.measure import load


@pytest.fixture
def sweep(shipped_kit):
    return lambda: sampler_sweep.main(["--num-steps", "3", "1", "-n", "20", "--out", "sweep.jsonl"])


def test_the_cheapest_rows_come_first_and_a_stopped_sweep_goes_on(sweep, monkeypatch, capsys):
    draw, drawn = portraits.draw, []

    def stopped(diffusion, how, device):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append((how.sampler, how.num_steps))
        return draw(diffusion, how, device)

    monkeypatch.setattr(portraits, "draw", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep()
    assert drawn == [("ddim", 1), ("ddpm", 1)]
    assert len(load("sweep.jsonl")) == 4
    monkeypatch.setattr(portraits, "draw", lambda *how: drawn.append((how[1].sampler, how[1].num_steps)) or draw(*how))
    assert sweep() == 0
    assert drawn == [("ddim", 1), ("ddpm", 1), ("ddim", 3), ("ddpm", 3)]
    assert sweep() == 0
    assert len(drawn) == 4
    assert "drawn in" in capsys.readouterr().out


def test_a_part_of_the_table_may_be_measured_first(shipped_kit, monkeypatch):
    draw, drawn = portraits.draw, []
    monkeypatch.setattr(portraits, "draw", lambda *how: drawn.append((how[1].n, how[1].sampler)) or draw(*how))
    for words in (["--samplers", "ddim"], ["--samplers", "ddpm", "ddim"], ["--samplers", "ddim", "-n", "21"]):
        assert sampler_sweep.main(["--num-steps", "1", "-n", "20", "--out", "sweep.jsonl", *words]) == 0
    assert drawn == [(20, "ddim"), (20, "ddpm"), (21, "ddim")]
    assert len(load("sweep.jsonl")) == 6


def test_treatments_of_execution_are_part_of_a_row_and_of_its_command(shipped_kit, capsys):
    words = ["--samplers", "ddim", "--num-steps", "1", "-n", "20", "--out", "sweep.jsonl"]
    assert sampler_sweep.main([*words]) == 0
    assert sampler_sweep.main([*words, "--treatments", "layout", "half_precision"]) == 0
    plain, treated = (one for one in load("sweep.jsonl") if one.kind.startswith("FD"))
    assert [one.name for one in (plain, treated)] == [
        "base, ddim, 1 steps, seed 0",
        "base + layout + half_precision, ddim, 1 steps, seed 0",
    ]
    assert "treatments" not in plain.config
    assert treated.value == pytest.approx(plain.value, rel=0.05)
    assert treated.value != plain.value, "bfloat16 rounds"
    assert cli.main(shlex.split(treated.config["command"])[3:]) == 0
    assert "under layout + half_precision" in capsys.readouterr().out
    again = load("results/local/scores.jsonl")[0]
    assert (again.value, again.config["treatments"]) == (treated.value, ["layout", "half_precision"])


def test_a_structural_treatment_must_have_been_trained(shipped_kit):
    with pytest.raises(ValueError, match="bottleneck changes the weights: train it"):
        sampler_sweep.main(["--num-steps", "1", "-n", "20", "--out", "sweep.jsonl", "--treatments", "bottleneck"])
    assert not Path("sweep.jsonl").exists()


def test_too_many_steps_are_refused_before_anything_is_drawn(shipped_kit):
    with pytest.raises(ValueError, match="--num-steps is 2,000, wanted 1 to 1,000"):
        sampler_sweep.main(["--num-steps", "1", "2000", "-n", "20", "--out", "sweep.jsonl"])
    assert not Path("sweep.jsonl").exists()


def test_a_row_says_how_to_make_it_again(sweep):
    assert sweep() == 0
    records = load("sweep.jsonl")
    assert [one.kind for one in records] == ["FD (cifar-cnn)", "KD (cifar-cnn)"] * 4
    last = records[-2:]
    assert {last[0].config[key] for key in ("model", "sampler", "num_steps", "n")} == {"base", "ddpm", 3, 20}
    assert last[0].config["seconds"] >= 0
    assert cli.main(shlex.split(last[0].config["command"])[3:]) == 0
    again = load("results/local/scores.jsonl")
    assert [(one.kind, one.value) for one in again[:2]] == [(one.kind, one.value) for one in last]
