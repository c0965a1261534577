import json
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from course_utils import atomic
from course_utils.diffusion import (
    NotFiniteError,
    latest,
    list_checkpoints,
    load_checkpoint,
    load_weights,
    sample,
    save_checkpoint,
    save_weights,
    train,
)
from course_utils.diffusion.weights import model_tensors


@pytest.fixture
def state(tiny, batches):
    return train(tiny(), batches, num_steps=2, seed=4)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_checkpoint_holds(state, tmp_path):
    path = save_checkpoint(tmp_path / "run", state)
    assert names(tmp_path / "run") == ["step_00000002.safetensors"]
    with safe_open(path, framework="pt") as file:
        header, keys = file.metadata(), set(file.keys())
    values = json.loads(header["course_kit"])
    assert (values["step"], values["seed"], values["images_seen"], values["optimizer"]) == (2, 4, 8, "Adam")
    assert json.loads(values["recipe"])["net"] == {"dim": 8, "dim_mults": [1, 2]}
    assert values["versions"]["torch"] == torch.__version__
    assert len(header["sha256"]) == 64
    parameters = list(model_tensors(state.diffusion.model))
    expected = {f"{part}.{name}" for part in ("model", "ema") for name in parameters}
    expected |= {f"optimizer.{name}.{key}" for name in parameters for key in ("step", "exp_avg", "exp_avg_sq")}
    assert keys == expected


def test_everything_comes_back(state, tmp_path):
    loaded = load_checkpoint(save_checkpoint(tmp_path, state))
    assert repr(loaded) == repr(state)
    assert loaded.ema.decay == state.ema.decay
    assert loaded.diffusion.recipe == state.diffusion.recipe
    for name, tensor in model_tensors(state.diffusion.model).items():
        assert torch.equal(tensor, model_tensors(loaded.diffusion.model)[name]), name
        assert torch.equal(state.ema.tensors[name], loaded.ema.tensors[name]), name
        for key, value in state.moments[name].items():
            assert torch.equal(value, loaded.moments[name][key]), (name, key)


def test_the_last_few_are_kept(state, tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "step_best.safetensors").touch()
    for step in (1, 20, 3, 100_000_000, 4):
        state.step = step
        save_checkpoint(tmp_path, state, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step_00000020.safetensors",
        "step_100000000.safetensors",
    ]
    assert latest(tmp_path).name == "step_100000000.safetensors"
    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "step_best.safetensors").exists()
    assert latest(tmp_path / "absent") is None
    with pytest.raises(ValueError, match="keep must be at least 1"):
        save_checkpoint(tmp_path, state, keep=0)


def test_one_path_is_replaced(state, tmp_path):
    path = tmp_path / "best.safetensors"
    for step in (1, 2):
        state.step = step
        assert save_checkpoint(path, state) == path
    assert names(tmp_path) == ["best.safetensors"]
    assert load_checkpoint(path).step == 2


@pytest.mark.parametrize("place", [5, 100, 3_000, 0.5, 0.9, -1])
def test_a_flipped_bit_anywhere_is_found(state, tmp_path, place):
    path = save_checkpoint(tmp_path, state)
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"step_00000002.safetensors is damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(state, tmp_path, share):
    path = save_checkpoint(tmp_path, state)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"step_00000002.safetensors is damaged or not a safetensors file"):
        load_checkpoint(tmp_path)


def test_missing_and_alien_files_are_named(state, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint file .*absent\.safetensors"):
        load_checkpoint(tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint file"):
        load_checkpoint(tmp_path)
    save_file({"a": torch.zeros(2)}, tmp_path / "alien.safetensors")
    with pytest.raises(ValueError, match="this kit did not write it"):
        load_checkpoint(tmp_path / "alien.safetensors")
    torch.save({"a": torch.zeros(2)}, tmp_path / "torch.safetensors")
    with pytest.raises(ValueError, match="damaged or not a safetensors file"):
        load_checkpoint(tmp_path / "torch.safetensors")
    save_weights(tmp_path / "weights.safetensors", state.diffusion)
    with pytest.raises(ValueError, match="holds weights in format 1, wanted checkpoint in format 1"):
        load_checkpoint(tmp_path / "weights.safetensors")


def test_not_a_number_is_not_saved(state, tmp_path):
    save_checkpoint(tmp_path, state)
    state.diffusion.model.init_conv.bias.data[0] = torch.nan
    state.step = 3
    with pytest.raises(
        NotFiniteError, match=r"model\.init_conv\.bias holds NaN or infinity and was not saved at step 3"
    ):
        save_checkpoint(tmp_path, state)
    assert names(tmp_path) == ["step_00000002.safetensors"]


def test_a_full_disk_leaves_the_previous_checkpoint(state, tmp_path):
    """A real failure of the operating system in the middle of the file: no file may grow beyond 100 kB."""
    save_checkpoint(tmp_path, state)
    state.step = 3
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"could not write .*step_00000003\.safetensors: .*free some space") as caught:
            save_checkpoint(tmp_path, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["step_00000002.safetensors"]
    assert load_checkpoint(tmp_path).step == 2


def test_a_failure_just_before_the_rename_leaves_the_previous_content(state, tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path / "one.safetensors", state)
    before = path.read_bytes()
    state.step = 3

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(path, state)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["one.safetensors"]


def test_what_a_killed_process_left_is_cleared_away(state, tmp_path):
    (tmp_path / ".step_00000001.safetensors.tmp").write_bytes(b"half")
    assert latest(tmp_path) is None
    save_checkpoint(tmp_path, state)
    assert names(tmp_path) == ["step_00000002.safetensors"]


def test_structural_treatments_come_back(state, tmp_path):
    def add_scale(model, *, start):
        return ScaledModel(model, start)

    treated = state.diffusion.with_model(add_scale(state.diffusion.model, start=2.0), ("scale", {"start": 2.0}))
    save_weights(tmp_path / "w.safetensors", treated)
    loaded = load_weights(tmp_path / "w.safetensors", treatments={"scale": add_scale})
    assert torch.equal(sample(loaded, 2, num_steps=2), sample(treated, 2, num_steps=2))
    with pytest.raises(ValueError, match="the recipe needs the treatment 'scale'"):
        load_weights(tmp_path / "w.safetensors")
    shrunk = {"scale": lambda model, start: model}
    with pytest.raises(ValueError, match="does not fit its own recipe"):
        load_weights(tmp_path / "w.safetensors", treatments=shrunk)


class ScaledModel(nn.Module):
    def __init__(self, inner, start):
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.tensor(start))

    def forward(self, x_t, t):
        return self.scale * self.inner(x_t, t)


def test_weights_are_shipped_in_half_the_space(state, tmp_path):
    averaged = state.averaged()
    full = save_weights(tmp_path / "full.safetensors", averaged)
    half = save_weights(tmp_path / "half.safetensors", averaged, dtype=torch.bfloat16)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    exact, rounded = load_weights(full), load_weights(half)
    assert not exact.model.training
    for name, tensor in model_tensors(averaged.model).items():
        assert torch.equal(tensor, model_tensors(exact.model)[name])
        loaded = model_tensors(rounded.model)[name]
        assert loaded.dtype == torch.float32
        torch.testing.assert_close(loaded, tensor, rtol=2**-8, atol=1e-30)


def test_a_checkpoint_gives_its_averaged_weights(state, tmp_path):
    loaded = load_weights(save_checkpoint(tmp_path, state))
    for name, tensor in model_tensors(loaded.model).items():
        assert torch.equal(tensor, state.ema.tensors[name])


def test_tied_weights_are_stored(tmp_path, state):
    class Tied(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.again = inner, inner

        def forward(self, x_t, t):
            return self.inner(x_t, t)

    tied = state.diffusion.with_model(Tied(state.diffusion.model), ("tied", {}))
    save_weights(tmp_path / "w.safetensors", tied)
    loaded = load_weights(tmp_path / "w.safetensors", treatments={"tied": Tied})
    assert torch.equal(loaded.model.again.init_conv.weight, tied.model.inner.init_conv.weight)


CHILD = """
import sys, torch
from course_utils.diffusion import Batches, Recipe, build, procedural_images, save_checkpoint, train

torch.set_num_threads(int(sys.argv[2]))
process = {"objective": "pred_v", "beta_schedule": "sigmoid", "num_timesteps": 1000}
torch.manual_seed(0)
diffusion = build(Recipe({"dim": 8, "dim_mults": [1, 2]}, process, image_shape=(3, 16, 16)))
batches = Batches(procedural_images(n=40).images[..., ::2, ::2], 4, seed=3)
save = lambda state: save_checkpoint(sys.argv[1], state)
train(diffusion, batches, num_steps=100_000, checkpoint=save, checkpoint_every=1)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.137])
def test_a_killed_run_goes_on_exactly(tiny, batches, tmp_path, delay_s):
    """SIGKILL at an arbitrary moment of a run that writes a checkpoint after every step."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(torch.get_num_threads())])
    try:
        deadline = time.monotonic() + 120
        while latest(tmp_path) is None and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.005)
        time.sleep(delay_s)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    resumed = load_checkpoint(tmp_path)
    killed_at = resumed.step
    resumed = train(resumed.diffusion, batches, num_steps=killed_at + 2, state=resumed)
    whole = train(tiny(), batches, num_steps=killed_at + 2)
    assert resumed.losses == whole.losses[killed_at:]
    for name, tensor in model_tensors(whole.diffusion.model).items():
        assert torch.equal(tensor, model_tensors(resumed.diffusion.model)[name]), name
        assert torch.equal(whole.ema.tensors[name], resumed.ema.tensors[name]), name
    save_checkpoint(tmp_path, resumed)
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
