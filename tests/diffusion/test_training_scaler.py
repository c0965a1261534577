"""Loss scaling: powers of two change nothing, an overflow costs a step and half the scale, and runs resume exactly."""

import json
import math
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from safetensors import safe_open
from torch.amp import GradScaler

from course_utils.diffusion import (
    EMA,
    LossModule,
    NotFiniteError,
    Stepper,
    TrainState,
    adam,
    denoising_loss,
    load_checkpoint,
    save_checkpoint,
    train,
)
from course_utils.diffusion.weights import model_tensors
from course_utils.speedups import half_precision

OPTIMIZERS = pytest.mark.parametrize("optimizer", [adam(1e-3), adam(1e-3, fused=True)], ids=["plain", "fused"])


def scaler(start=65536.0, **options):
    return GradScaler("cpu", init_scale=start, **options)


def weights(state):
    own = {name: tensor.detach().clone() for name, tensor in model_tensors(state.diffusion.model).items()}
    return {**own, **{f"ema.{name}": tensor.clone() for name, tensor in state.ema.tensors.items()}}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@OPTIMIZERS
def test_a_scale_that_is_a_power_of_two_changes_nothing_in_float32(tiny, batches, optimizer):
    plain = train(tiny(), batches, num_steps=3, optimizer=optimizer)
    scaled = train(tiny(), batches, num_steps=3, optimizer=optimizer, scaler=scaler())
    assert scaled.losses == plain.losses
    assert_same(weights(scaled), weights(plain))
    assert plain.scaler == {}
    assert scaled.scaler["scale"] == 65536.0


@OPTIMIZERS
def test_gradients_are_clipped_at_their_true_size(tiny, batches, optimizer):
    """A scaler must give gradients back before they are clipped, or all would be cut to 1 / 65536."""
    runs = [
        train(tiny(), batches, num_steps=2, optimizer=optimizer, clip_norm=0.01, scaler=one) for one in (None, scaler())
    ]
    assert_same(weights(runs[0]), weights(runs[1]))


def overflowing_at(steps, model, process, x_0, t, eps, calls):
    """The denoising loss, whose gradients at the given steps (from 1) exceed 2 ** 128 once scaled."""
    calls.append(1)
    loss = denoising_loss(model, process, x_0, t, eps)
    return loss + 2.0**114 * (loss - loss.detach()) if len(calls) in steps else loss


@OPTIMIZERS
def test_an_overflow_changes_no_weights_halves_the_scale_and_training_goes_on(tiny, batches, optimizer):
    infos, seen = [], []

    def on_step(info):
        infos.append(info)
        seen.append({name: tensor.detach().clone() for name, tensor in model_tensors(diffusion.model).items()})

    diffusion = tiny()
    loss = partial(overflowing_at, {2}, calls=[])
    state = train(
        diffusion, batches, num_steps=4, optimizer=optimizer, loss=loss, log_every=1, scaler=scaler(), on_step=on_step
    )
    assert [info.skipped for info in infos] == [0, 1, 0, 0]
    assert [info.loss_scale for info in infos] == [65536, 32768, 32768, 32768]
    assert_same(seen[1], seen[0])
    assert any(not torch.equal(seen[2][name], seen[1][name]) for name in seen[2])
    assert (state.step, state.images_seen, len(state.losses)) == (4, 16, 4)
    assert {int(entry["step"]) for entry in state.moments.values()} == {3}, "the optimizer counts its own steps"


def test_skipped_steps_are_counted_between_readings(tiny, batches):
    infos = []
    loss = partial(overflowing_at, {1, 2, 5}, calls=[])
    train(tiny(), batches, num_steps=6, loss=loss, log_every=3, scaler=scaler(), on_step=infos.append)
    assert [info.skipped for info in infos if info.loss is not None] == [2, 1]


def test_the_scale_grows_again_after_good_steps(tiny, batches):
    state = train(tiny(), batches, num_steps=5, scaler=scaler(8.0, growth_interval=2))
    assert (state.scaler["scale"], state.scaler["_growth_tracker"]) == (32.0, 1)


def test_a_loss_that_is_not_finite_is_named_still(tiny, batches):
    def broken(model, process, x_0, t, eps):
        return denoising_loss(model, process, x_0, t, eps) * math.nan

    with pytest.raises(NotFiniteError, match="the loss is nan at step 1:"):
        train(tiny(), batches, num_steps=3, loss=broken, scaler=scaler())


def test_a_scale_that_collapses_is_named(tiny, batches):
    """From 2 ** 4, five overflows in a row bring the scale to 1/2."""

    def steep(model, process, x_0, t, eps):
        loss = denoising_loss(model, process, x_0, t, eps)
        return loss + (loss - loss.detach()).abs().sqrt()  # value unchanged, derivative infinite

    with pytest.raises(NotFiniteError, match=r"the loss scale has fallen to 0\.5 at step 5: lower") as caught:
        train(tiny(), batches, num_steps=20, loss=steep, scaler=scaler(16.0))
    assert caught.value.step == 5


def halved(diffusion):
    return diffusion.with_model(half_precision(diffusion.model, "float16"))


@OPTIMIZERS
def test_a_run_in_float16_resumes_to_the_bit(tiny, batches, tmp_path, optimizer):
    """The scale overflows at step 2 and grows every second step, so that all of the scaler's memory plays a part."""
    options = {"optimizer": optimizer, "seed": 9}

    def run(diffusion, num_steps, first, state=None):
        loss = partial(overflowing_at, {2 - first}, calls=[])
        made = scaler(growth_interval=2)
        return train(diffusion, batches, num_steps=num_steps, loss=loss, scaler=made, state=state, **options)

    whole = run(halved(tiny()), 6, 0)
    half = run(halved(tiny()), 3, 0)
    assert half.scaler == {**whole.scaler, "scale": 32768.0, "_growth_tracker": 1}
    loaded = load_checkpoint(save_checkpoint(tmp_path, half))
    assert loaded.scaler == half.scaler
    loaded = loaded.with_model(half_precision(loaded.diffusion.model, "float16"))
    rest = run(loaded.diffusion, 6, 3, loaded)
    assert half.losses + rest.losses == whole.losses
    assert_same(weights(rest), weights(whole))
    assert rest.scaler == whole.scaler


def test_without_a_scaler_the_file_is_what_it_was(tiny, batches, tmp_path):
    def header(state, name):
        with safe_open(save_checkpoint(tmp_path / name, state), framework="pt") as file:
            return json.loads(file.metadata()["course_kit"])

    plain = header(train(tiny(), batches, num_steps=1), "plain.safetensors")
    scaled = header(train(tiny(), batches, num_steps=1, scaler=scaler()), "scaled.safetensors")
    assert scaled.keys() - plain.keys() == {"scaler"}
    assert load_checkpoint(tmp_path / "plain.safetensors").scaler == {}


def test_a_run_may_go_on_with_or_without_a_scaler(tiny, batches):
    diffusion = tiny()
    state = train(diffusion, batches, num_steps=1, scaler=scaler())
    state = train(diffusion, batches, num_steps=2, state=state)
    assert state.scaler == {}
    assert train(diffusion, batches, num_steps=3, state=state, scaler=scaler(4.0)).scaler["scale"] == 4.0
    assert train(diffusion, batches, num_steps=4, state=state, scaler=scaler(enabled=False)).scaler == {}


def test_weights_in_float16_are_refused_with_a_scaler(tiny, batches):
    diffusion = tiny()
    diffusion = diffusion.with_model(half_precision(diffusion.model, "float16", mode="pure"))
    with pytest.raises(ValueError, match=r"a scaler cannot serve weights in float16.*train under autocast"):
        train(diffusion, batches, num_steps=1, scaler=scaler())


def test_weights_in_bfloat16_resume_to_the_bit(tiny, batches, tmp_path):
    def pure(diffusion):
        return diffusion.with_model(half_precision(diffusion.model, mode="pure"))

    whole, half = (train(pure(tiny()), batches, num_steps=n, optimizer=adam(1e-2)) for n in (4, 2))
    loaded = load_checkpoint(save_checkpoint(tmp_path, half))
    loaded = loaded.with_model(pure(loaded.diffusion).model)
    rest = train(loaded.diffusion, batches, num_steps=4, optimizer=adam(1e-2), state=loaded)
    assert half.losses + rest.losses == whole.losses
    assert_same(weights(rest), weights(whole))


def test_scaling_with_a_fused_optimizer_reads_no_more_than_before(tiny, batches, monkeypatch):
    """Nothing but the losses is brought from the device to Python step by step, which would wait for a GPU."""
    diffusion, made, reads, others = tiny(), scaler(), [], []
    memory = {}
    monkeypatch.setattr(made, "state_dict", lambda: memory)  # asked once at the end, where it must read the scale
    original = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(self.shape) or original(self))
    for name in ("item", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda self, *args, name=name, **options: others.append(name))
    sgd = partial(torch.optim.SGD, lr=0.01, fused=True)
    train(diffusion, batches, num_steps=6, log_every=3, optimizer=sgd, scaler=made)
    assert reads == [(3, 3), (3, 3)]
    assert others == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_scaled_step_never_waits_for_the_gpu(tiny):  # pragma: no cover - CUDA
    diffusion = halved(tiny().to("cuda"))
    x_0 = torch.zeros(4, 3, 16, 16, device="cuda")
    loss_of = LossModule(diffusion.model, diffusion.process, denoising_loss)
    state = TrainState(diffusion, EMA(diffusion.model))
    stepper = Stepper(state, adam(fused=True), loss_of, scaler=GradScaler("cuda"))
    for _ in range(2):
        stepper.step(lambda step: x_0, nullcontext)
    torch.cuda.set_sync_debug_mode("error")
    try:
        stepper.step(lambda step: x_0, nullcontext)
        assert isinstance(stepper.scale(), torch.Tensor)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_scale_is_a_tensor_of_the_device(tiny, batches):
    diffusion = tiny()
    loss_of = LossModule(diffusion.model, diffusion.process, denoising_loss)
    state = TrainState(diffusion, EMA(diffusion.model))
    assert Stepper(state, adam(), loss_of).scale() is None
    stepper = Stepper(state, adam(), loss_of, scaler=scaler(8.0))
    stepper.step(batches)
    assert stepper.scale().item() == 8.0
    stepper.keep()
    assert state.scaler["scale"] == 8.0
