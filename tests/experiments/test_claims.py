"""What a row promises about quality: evidence on trained weights, recorded gates only of the present ones."""

import pytest
import torch

from course_utils.diffusion import Batches, adam, baseline, load_heldout, scale, train
from course_utils.experiments import claims
from course_utils.experiments.one_step import training_step
from course_utils.measure import record

CPU = torch.device("cpu")


def test_the_weakest_treatment_decides_what_is_claimed():
    laptop = scale("laptop")
    assert claims.treated(laptop, CPU, "layout").exactness == "exact"
    assert claims.treated(laptop, CPU, "layout", "half_precision").exactness == "approximate"


def test_evidence_is_of_the_kind_that_the_claim_needs(monkeypatch):
    monkeypatch.setattr(claims, "HELDOUT", 120)
    (function,) = claims.treated(scale("laptop"), CPU, "layout").evidence()
    assert (function.kind, function.outcome) == ("same function", "preserved")
    (denoiser,) = claims.treated(scale("laptop"), CPU, "half_precision").evidence()
    assert (denoiser.kind, denoiser.n, denoiser.outcome) == ("same denoiser", 120, "preserved")
    assert denoiser.value != 1  # bfloat16 does change the losses
    assert list(claims.treated(scale("smoke"), CPU, "half_precision").evidence()) == []


@pytest.fixture
def gates(monkeypatch, tmp_path):
    """Records of gates between two shipped models, the last two of the present weights and classifier."""
    path = tmp_path / "gates.jsonl"
    sums = {"fewer-blocks-25.safetensors": "new", "base-25.safetensors": "base", "cifar-cnn.safetensors": "judge"}
    monkeypatch.setattr(claims, "checksums", lambda: sums)
    monkeypatch.setattr(claims, "GATES", path)
    told = {"tolerance": 1.02, "detectable": 1.01, "pass_probability": 0.9, "needed": None, "command": "score"}
    for kind, weights, judge, value in (
        ("same denoiser", ["old", "base"], "judge", 1.5),
        ("same distribution", ["new", "base"], "other", 1.6),
        ("same denoiser", ["new", "base"], "judge", 1.01),
        ("same distribution", ["new", "base"], "judge", 1.03),
    ):
        config = {**told, "weights": weights, "sha256": judge}
        bounds = {"low": value - 0.005, "high": value + 0.005, "n": 1000, "manifest": {}}
        record(f"gate: {kind}", "fewer-blocks-25 against base-25", config, value, "x", path=path, **bounds)
    return path


def test_recorded_gates_of_other_weights_or_another_judge_are_no_evidence(gates):
    found = claims.retrained("fewer-blocks-25").evidence()
    assert [(one.kind, one.value) for one in found] == [("same denoiser", 1.01), ("same distribution", 1.03)]
    assert [one.outcome for one in found] == ["preserved", "worse"]
    assert (found[0].low, found[0].high) == pytest.approx((1.005, 1.015))
    assert found[0].n == 1000
    assert claims.retrained("bottleneck-inside-25").evidence() == []
    gates.unlink()
    assert claims.retrained("fewer-blocks-25").evidence() == []


def test_a_timed_step_trains_a_copy():
    diffusion = baseline("smoke")
    before = {name: tensor.clone() for name, tensor in diffusion.model.state_dict().items()}
    step = training_step(diffusion, 4, images=load_heldout())
    losses = [float(step()) for _ in range(2)]
    assert losses[0] != losses[1]
    assert all(torch.equal(tensor, before[name]) for name, tensor in diffusion.model.state_dict().items())


def test_a_timed_step_does_what_the_training_loop_does():
    images = load_heldout()
    step = training_step(baseline("smoke", seed=3), 4, images=images)
    own = [float(step()) for _ in range(3)]
    state = train(baseline("smoke", seed=3), Batches(images, 4), num_steps=3, optimizer=adam(fused=True))
    assert own == pytest.approx(state.losses, rel=1e-6)


@pytest.fixture
def equal_steps(monkeypatch, tmp_path):
    """Records of two ways to train at laptop scale, `half_precision` under layout twice, and another at smoke scale."""
    path = tmp_path / "equal_steps.jsonl"
    monkeypatch.setattr(claims, "EQUAL_STEPS", path)
    told = {"tolerance": 1.02, "detectable": 1.01, "pass_probability": 0.9, "needed": None, "command": "equal_steps"}
    for size, treatments, value in (
        ("laptop", ["layout", "half_precision"], 1.03),
        ("laptop", ["layout", "half_precision"], 1.004),
        ("laptop", ["half_precision(dtype=float16)"], 1.3),
        ("smoke", ["half_precision"], 1.2),
    ):
        config = {**told, "scale": size, "treatments": treatments, "what": "held-out loss, variant / baseline"}
        bounds = {"low": value, "high": value, "n": 1000, "manifest": {}}
        record("gate: same denoiser", " + ".join(treatments), config, value, "x", path=path, **bounds)


def test_a_recorded_training_speaks_for_those_that_differ_by_exact_treatments_alone(equal_steps):
    def value(size, *treatments):
        return [one.value for one in claims.trained_alike(scale(size), CPU, *treatments).evidence()]

    assert value("laptop", "layout", "half_precision") == [1.004], "the latest one"
    assert value("laptop", "half_precision") == [1.004]
    assert value("laptop", "layout", "half_precision", "compiled") == [1.004]
    assert value("laptop", "layout", "half_precision(dtype=float16)") == [1.3]
    assert value("laptop", "half_precision(mode=pure)") == []
    assert value("smoke", "layout", "half_precision") == [1.2]
    assert value("gpu", "half_precision") == []
