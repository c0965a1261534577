"""Each pair of shipped models goes through the gate once, and the record says with what outcome."""

import shlex

import pytest

from course_utils import __main__ as cli
from course_utils.experiments import portraits, seeds_gate
from course_utils.experiments.portraits import Drawing
from course_utils.measure import load


@pytest.fixture
def gates(shipped_kit, monkeypatch):
    monkeypatch.setattr(seeds_gate, "Drawing", lambda n: Drawing(n, 1))
    return lambda: seeds_gate.main(["-n", "500", "--out", "gates.jsonl"])


def test_every_pair_passes_through_and_no_model_draws_twice(gates, monkeypatch, capsys):
    draw, drawn = portraits.draw, []
    monkeypatch.setattr(portraits, "draw", lambda *how: drawn.append(how) or draw(*how))
    assert gates() == 0
    assert len(drawn) == 4
    records = load("gates.jsonl")
    assert [(one.name, one.kind) for one in records] == [
        (f"{variant} against {baseline}", f"gate: same {what}")
        for variant, baseline in seeds_gate.PAIRS
        if variant.startswith("base")  # the small kit has no retrained treatments
        for what in ("denoiser", "distribution")
    ]
    one, other = records[0], records[2]  # the same two models, each as the baseline of the other
    assert one.value * other.value == pytest.approx(1)
    assert one.low < one.value < one.high
    for each in records:
        told = each.config
        wanted = "preserved" if each.high <= told["tolerance"] else "inconclusive"
        assert told["outcome"] == ("worse" if each.low > told["tolerance"] else wanted)
        assert told["detectable"] > told["tolerance"]
        assert 0 <= told["pass_probability"] <= 1
    assert gates() == 0
    assert len(drawn) == 4
    assert load("gates.jsonl") == records
    assert "base-seed1 against base" in capsys.readouterr().out

    assert cli.main(shlex.split(records[0].config["command"])[3:]) == 0
    again = [one for one in load("results/local/scores.jsonl") if one.kind.startswith("gate")]
    assert [(one.kind, one.value) for one in again] == [(one.kind, one.value) for one in records[:2]]


def test_a_model_that_is_not_shipped_is_named_and_left_out(shipped_kit, judge, monkeypatch, capsys):
    monkeypatch.setattr(seeds_gate, "checksums", lambda: {"base.safetensors": "1", "base-25.safetensors": "2"})
    (row,) = seeds_gate.gate_rows(Drawing(500), judge)
    assert row.name == "base-25 against base"
    assert row.identity["weights"] == ["2", "1"]
    assert "base-seed1 against base: left out" in capsys.readouterr().out


def test_too_few_pictures_are_refused(shipped_kit):
    with pytest.raises(ValueError, match="a gate with 12 features takes at least 500"):
        seeds_gate.main(["-n", "499"])
