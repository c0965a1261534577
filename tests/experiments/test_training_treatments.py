"""`train --treatments`: what enters the recipe stays, what only changes execution may change, and the log tells."""

import shlex

import pytest
import torch
from torch import nn

from course_utils.diffusion import list_checkpoints, load_checkpoint, load_weights
from course_utils.experiments import training_run
from course_utils.experiments.run_history import read_history
from course_utils.experiments.training_log import read_log
from course_utils.speedups import STRUCTURAL, TREATMENTS
from course_utils.speedups.registry import Known

QUICK = ["--scale", "smoke", "--batch-size", "4", "--log-every", "1", "--heldout", "8"]
FP16 = "half_precision(dtype=float16)"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


class Louder(nn.Module):
    """A structural change in small: the answer of the net times a number that is learned."""

    def __init__(self, net, by):
        super().__init__()
        self.net, self.by = net, nn.Parameter(torch.tensor(float(by)))

    def forward(self, x_t, t):
        return self.by * self.net(x_t, t)


@pytest.fixture
def louder(monkeypatch):
    known = Known("louder", "structural", "retrained", lambda model, by=1: Louder(model, by))
    monkeypatch.setitem(TREATMENTS, "louder", known)
    monkeypatch.setitem(STRUCTURAL, "louder", known.apply)


def run(out, num_steps, *treatments, options=()):
    words = ["--treatments", *treatments] if treatments else []
    return training_run.main([*QUICK, "--num-steps", str(num_steps), "--out", str(out), *options, *words])


def events(out, kind):
    return [entry for entry in read_log(out / "log.jsonl") if entry["event"] == kind]


def losses(out):
    return {entry["step"]: entry["loss"] for entry in events(out, "step")}


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("treatments", [("layout", FP16), ("im2col",), ("half_precision(mode=pure)",)], ids=str)
def test_a_run_with_treatments_resumes_exactly_and_leaves_plain_files(tmp_path, treatments):
    for out, parts in ((tmp_path / "one", [4]), (tmp_path / "two", [2, 4])):
        for num_steps in parts:
            assert run(out, num_steps, *treatments) == 0
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    one, two = (load_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert_same(one.diffusion.model.state_dict(), two.diffusion.model.state_dict())
    assert one.scaler == two.scaler
    assert bool(one.scaler) == (FP16 in treatments)
    weights = load_weights(tmp_path / "two" / "weights.safetensors").model.state_dict()
    assert_same(weights, {name: one.ema.tensors[name] for name in weights})  # float32, whatever was trained
    assert [entry["options"]["treatments"] for entry in events(tmp_path / "two", "start")] == [list(treatments)] * 2


def test_execution_may_change_from_start_to_start_and_the_log_tells(tmp_path):
    run(tmp_path / "run", 1)
    run(tmp_path / "run", 2, "layout", "half_precision")
    run(tmp_path / "run", 3, FP16)
    run(tmp_path / "run", 4, "half_precision")
    told = [entry["options"]["treatments"] for entry in events(tmp_path / "run", "start")]
    assert told == [[], ["layout", "half_precision"], [FP16], ["half_precision"]]
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4]
    last, before = (load_checkpoint(path) for path in reversed(list_checkpoints(tmp_path / "run")[-2:]))
    assert (last.step, last.scaler, before.scaler["scale"]) == (4, {}, 65536.0)


def test_structure_may_not_change_and_both_are_named(tmp_path, louder):
    run(tmp_path / "run", 1, "louder(by=2)")
    asked_for = r"holds a run of .*louder.*treatments: louder\(by=2\), with seed 0, asked was .*treatments: {},"
    for asked, named in (((), "none"), (("layout",), "none"), (("louder(by=3)",), r"louder\(by=3\)")):
        with pytest.raises(ValueError, match=asked_for.format(named)):
            run(tmp_path / "run", 2, *asked)
    assert run(tmp_path / "run", 2, "layout", "louder(by=2)", "half_precision") == 0
    assert load_checkpoint(tmp_path / "run", treatments=STRUCTURAL).diffusion.recipe.treatments == (
        ("louder", {"by": 2}),
    )


def test_training_weights_in_float16_is_refused_before_anything_is_saved(tmp_path):
    with pytest.raises(ValueError, match="a scaler cannot serve weights in float16"):
        run(tmp_path / "run", 1, "half_precision(dtype=float16, mode=pure)")
    assert list_checkpoints(tmp_path / "run") == []


def test_a_treatment_that_does_not_exist_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="there is no treatment 'faster'"):
        run(tmp_path / "run", 1, "faster")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("treatments", "options"),
    [
        ((), ()),
        (("layout", "half_precision(dtype=float16, mode='autocast')"), ("--seed", "3")),
        (("louder(by=2)",), ("--lr", "0.001", "--device", "cpu", "--objective", "pred_noise")),
    ],
)
def test_the_command_in_a_history_asks_for_the_same(tmp_path, louder, treatments, options):
    run(tmp_path / "run", 1, *treatments, options=options)
    words = shlex.split(read_history(tmp_path / "run").command(1))
    assert words[:4] == ["python", "-m", "course_utils", "train"]
    found = training_run.Options(**vars(training_run.parser().parse_args(words[4:])))
    given = [*QUICK, "--num-steps", "1", *options, *(["--treatments", *treatments] if treatments else [])]
    assert found == training_run.Options(**vars(training_run.parser().parse_args(given)))


def test_first_weights_whose_name_has_a_space_are_typed_in_quotes(tmp_path):
    run(tmp_path / "first", 1)
    source = (tmp_path / "first" / "weights.safetensors").rename(tmp_path / "my weights.safetensors")
    run(tmp_path / "second", 1, options=("--init", str(source)))
    words = shlex.split(read_history(tmp_path / "second").command(1))
    assert words[words.index("--init") + 1] == "my weights.safetensors"


def test_a_new_structure_depends_on_the_seed_alone(tmp_path):
    torch.manual_seed(1)
    run(tmp_path / "a", 1, "bottleneck(where=inside)")
    torch.manual_seed(2)
    run(tmp_path / "b", 1, "bottleneck(where=inside)")
    run(tmp_path / "c", 1, "bottleneck(where=inside)", options=["--seed", "1"])
    a, b, c = (
        load_checkpoint(tmp_path / name, treatments=STRUCTURAL).diffusion.model.state_dict() for name in ("a", "b", "c")
    )
    assert_same(a, b)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_treatment_may_start_from_trained_weights(tmp_path):
    run(tmp_path / "plain", 1)
    plain = load_weights(tmp_path / "plain" / "weights.safetensors").model
    low_rank = "bottleneck(where=between, reduction=2, start=low_rank)"
    run(tmp_path / "cut", 1, low_rank, options=["--init", str(tmp_path / "plain"), "--lr", "1e-12"])
    cut = load_weights(tmp_path / "cut" / "weights.safetensors", treatments=STRUCTURAL).model
    wanted = TREATMENTS["bottleneck"].apply(plain, where="between", reduction=2, start="low_rank")
    x_t, t = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 900])
    with torch.no_grad():
        torch.testing.assert_close(cut(x_t, t), wanted(x_t, t), rtol=1e-3, atol=1e-4)
