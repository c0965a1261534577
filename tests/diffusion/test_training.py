import math
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import nn

from course_utils.diffusion import (
    EMA,
    Batches,
    LossModule,
    NotFiniteError,
    Stepper,
    TrainState,
    adam,
    baseline,
    denoising_loss,
    load_checkpoint,
    procedural_images,
    sample,
    save_checkpoint,
    train,
)
from course_utils.diffusion.weights import clean_name, load_tensors, model_tensors


def weights(state):
    return {**model_tensors(state.diffusion.model), **{f"ema.{k}": v for k, v in state.ema.tensors.items()}}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_one_step_is_that_of_the_librarys_trainer_by_hand(tiny, batches):
    """Adam on the library's own loss with clipping, from the noise that the loop drew."""
    diffusion, reference, drawn = tiny(), tiny(), []

    def record(model, process, x_0, t, eps):
        drawn.append((x_0, t, eps))
        return denoising_loss(model, process, x_0, t, eps)

    state = train(diffusion, batches, num_steps=3, loss=record, optimizer=adam(1e-3))
    library = reference.as_library()
    optimizer = torch.optim.Adam(reference.model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    losses = []
    for x_0, t, eps in drawn:
        loss = library.p_losses(x_0, t, eps)
        loss.backward()
        nn.utils.clip_grad_norm_(reference.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert state.losses == pytest.approx(losses, rel=1e-5)
    theirs = model_tensors(reference.model)
    for name, weight in model_tensors(diffusion.model).items():
        # Adam's first steps divide by sqrt(v): a gradient of rounding size moves a weight by up to lr a step.
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-4, msg=name)


def test_timesteps_and_noise_are_drawn_evenly_and_of_its_own_for_each_process(tiny, batches):
    def record(into, model, process, x_0, t, eps):
        into.append((t, eps))
        return model.final_conv.bias.sum().expand(len(t))

    draws = {rank: [] for rank in (0, 1)}
    for rank, into in draws.items():
        share = {"rank": rank, "world_size": 2}
        train(tiny(num_timesteps=4), batches, num_steps=40, loss=partial(record, into), **share)
    t, eps = (torch.cat(parts) for parts in zip(*draws[0], strict=True))
    assert torch.bincount(t, minlength=4).min() > 160 / 4 - 4 * (160 * 3 / 16) ** 0.5
    assert abs(eps.mean()) < 4 / eps.numel() ** 0.5
    assert abs(eps.std() - 1) < 0.01
    assert not torch.equal(draws[0][0][1], draws[1][0][1])
    assert not torch.equal(draws[0][0][1], draws[0][1][1])


@pytest.mark.parametrize("optimizer", [None, partial(torch.optim.SGD, lr=0.01, momentum=0.9), torch.optim.AdamW])
def test_resume_is_exact(tiny, batches, tmp_path, optimizer):
    whole = train(tiny(), batches, num_steps=6, optimizer=optimizer, seed=9)
    half = train(tiny(), batches, num_steps=3, optimizer=optimizer, seed=9)
    save_checkpoint(tmp_path, half)
    torch.manual_seed(999)  # the caller's random numbers play no part
    loaded = load_checkpoint(tmp_path)
    assert (loaded.step, loaded.seed, loaded.images_seen) == (3, 9, 12)
    rest = train(loaded.diffusion, batches, num_steps=6, optimizer=optimizer, state=loaded)
    assert half.losses + rest.losses == whole.losses
    assert_same(weights(whole), weights(rest))
    assert rest.images_seen == whole.images_seen == 24


def test_the_averages_decay_is_kept_unless_given(tiny, batches, tmp_path):
    state = train(tiny(), batches, num_steps=1, ema_decay=0.9)
    loaded = load_checkpoint(save_checkpoint(tmp_path, state))
    assert train(loaded.diffusion, batches, num_steps=2, state=loaded).ema.decay == 0.9
    assert train(loaded.diffusion, batches, num_steps=3, state=loaded, ema_decay=0.5).ema.decay == 0.5
    assert train(tiny(), batches, num_steps=0).ema.decay == 0.9995


def test_training_in_pieces_without_saving_is_exact_too(tiny, batches):
    whole = train(tiny(), batches, num_steps=5)
    diffusion, state = tiny(), None
    for stop in (1, 4, 4, 5):
        state = train(diffusion, batches, num_steps=stop, state=state)
    assert state.losses == whole.losses
    assert_same(weights(whole), weights(state))


def test_a_stop_is_clean_and_can_be_continued(tiny, batches):
    whole, diffusion, asked = train(tiny(), batches, num_steps=5), tiny(), []

    def should_stop():
        asked.append(1)
        return len(asked) == 2

    state = train(diffusion, batches, num_steps=5, should_stop=should_stop, log_every=100)
    assert state.step == 2
    assert len(state.losses) == 2, "losses up to the stop are read and checked"
    state = train(diffusion, batches, num_steps=5, state=state)
    assert state.losses == whole.losses


def test_autocast_and_wrapping_leave_a_plain_checkpoint(tiny, batches, tmp_path):
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, *args):
            return self.module(*args)

    wrapped = []

    def wrap(module):
        assert isinstance(module, LossModule)
        wrapped.append(Wrapper(module))
        return wrapped[-1]

    autocast = partial(torch.autocast, "cpu", torch.bfloat16)
    state = train(tiny(), batches, num_steps=2, wrap=wrap, step_context=autocast)
    plain = train(tiny(), batches, num_steps=2)
    assert len(wrapped) == 1
    assert state.losses != plain.losses, "autocast must have been in force"
    assert state.losses == pytest.approx(plain.losses, rel=0.05)
    loaded = load_checkpoint(save_checkpoint(tmp_path, state))
    assert_same(weights(state), weights(loaded))


def test_a_compiled_model_resumes_as_a_plain_one(tiny, batches, tmp_path):
    diffusion = tiny()
    compiled = diffusion.with_model(torch.compile(diffusion.model, backend="eager"))
    assert next(iter(compiled.model.state_dict())).startswith("_orig_mod.")
    state = train(compiled, batches, num_steps=3)
    assert sample(state.averaged(), 1, num_steps=1).shape == (1, 3, 16, 16)
    loaded = load_checkpoint(save_checkpoint(tmp_path, state))
    rest = train(loaded.diffusion, batches, num_steps=5, state=loaded)
    whole = train(tiny(), batches, num_steps=5)
    assert state.losses + rest.losses == pytest.approx(whole.losses, rel=1e-5)


def test_channels_last_resumes_and_keeps_its_layout(tiny, batches, tmp_path):
    def last(state_or_diffusion, model):
        return state_or_diffusion.with_model(model.to(memory_format=torch.channels_last))

    diffusion = tiny()
    whole = tiny()
    whole = train(last(whole, whole.model), batches, num_steps=5)
    state = train(last(diffusion, diffusion.model), batches, num_steps=3)
    loaded = load_checkpoint(save_checkpoint(tmp_path, state))
    loaded = last(loaded, loaded.diffusion.model)
    rest = train(loaded.diffusion, batches, num_steps=5, state=loaded)
    weight = loaded.diffusion.model.init_conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert rest.moments["init_conv.weight"]["exp_avg"].stride() == weight.stride()
    assert state.losses + rest.losses == whole.losses


def test_regions_hooks_and_checkpoints_come_in_order(tiny, batches):
    events = []

    @contextmanager
    def region(name):
        events.append(name)
        yield

    state = train(
        tiny(),
        batches,
        num_steps=4,
        region=region,
        log_every=3,
        on_step=lambda info: events.append((info.step, info.loss is not None, info.images_seen)),
        checkpoint=lambda state: events.append(f"checkpoint {state.step}, {len(state.losses)} losses"),
        checkpoint_every=2,
    )
    phases = ["data", "forward", "backward", "optimizer", "ema"]
    assert events == [
        *phases,
        (1, False, 4),
        *phases,
        (2, True, 8),  # read because a checkpoint follows
        "checkpoint 2, 2 losses",
        *phases,
        (3, True, 12),
        *phases,
        (4, True, 16),
        "checkpoint 4, 4 losses",
    ]
    assert set(state.moments) == set(model_tensors(state.diffusion.model))


def test_step_info(tiny, batches):
    infos = []
    state = train(tiny(), batches, num_steps=4, log_every=2, on_step=infos.append)
    assert [info.loss for info in infos] == [None, state.losses[1], None, state.losses[3]]
    assert infos[0].img_per_s is None
    assert infos[1].img_per_s == pytest.approx(8 / infos[1].seconds, rel=0.1)
    assert [info.seconds for info in infos] == sorted(info.seconds for info in infos)


def test_losses_are_read_only_every_log_every_steps(tiny, batches, monkeypatch):
    """Nothing else brings a number from the device to Python, which would wait for a GPU."""
    diffusion, reads, others = tiny(), [], []
    original = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(self.shape) or original(self))
    for name in ("item", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda self, *args, name=name, **options: others.append(name))
    train(diffusion, batches, num_steps=6, log_every=3, optimizer=partial(torch.optim.SGD, lr=0.01))
    assert reads == [(3, 2), (3, 2)]
    assert others == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step_and_not_saved(tiny, batches, value):
    saved = []

    def breaks_at_4(model, process, x_0, t, eps, calls=[]):  # noqa: B006
        calls.append(1)
        loss = denoising_loss(model, process, x_0, t, eps)
        return loss * value if len(calls) == 4 else loss

    with pytest.raises(NotFiniteError, match=r"the loss is (nan|inf) at step 4:") as caught:
        train(
            tiny(),
            batches,
            num_steps=10,
            loss=breaks_at_4,
            log_every=7,
            checkpoint=lambda state: saved.append(state.step),
            checkpoint_every=3,
        )
    assert caught.value.step == 4
    assert saved == [3]


def test_a_gradient_that_is_not_finite_is_named(tiny, batches):
    def steep(model, process, x_0, t, eps):
        loss = denoising_loss(model, process, x_0, t, eps)
        return loss + (loss - loss.detach()).abs().sqrt()  # value unchanged, derivative infinite

    with pytest.raises(NotFiniteError, match="the gradient norm is nan at step 1"):
        train(tiny(), batches, num_steps=3, loss=steep, log_every=1)


def test_gradients_are_clipped_unless_told_not_to(tiny, batches):
    def large(model, process, x_0, t, eps):
        return 100 * denoising_loss(model, process, x_0, t, eps)

    def moved(**options):
        diffusion = tiny()
        before = {name: tensor.detach().clone() for name, tensor in model_tensors(diffusion.model).items()}
        train(diffusion, batches, num_steps=1, loss=large, optimizer=partial(torch.optim.SGD, lr=1.0), **options)
        after = model_tensors(diffusion.model)
        return torch.cat([(after[name] - before[name]).flatten() for name in before]).norm().item()

    assert moved() == pytest.approx(1.0, rel=1e-3)
    assert moved(clip_norm=0.25) == pytest.approx(0.25, rel=1e-3)
    assert moved(clip_norm=None) > 2


def test_frozen_parameters_stay(tiny, batches):
    diffusion = tiny()
    diffusion.model.requires_grad_(False)
    diffusion.model.final_conv.requires_grad_(True)
    before = diffusion.model.init_conv.weight.clone()
    state = train(diffusion, batches, num_steps=2)
    assert torch.equal(diffusion.model.init_conv.weight, before)
    assert set(state.moments) == {"final_conv.weight", "final_conv.bias"}


def test_training_mode_is_given_back(tiny, batches):
    diffusion = tiny()
    diffusion.model.eval()
    train(diffusion, batches, num_steps=1)
    assert not diffusion.model.training


def test_states_that_do_not_fit_are_refused(tiny, batches):
    diffusion = tiny()
    state = train(diffusion, batches, num_steps=1, seed=1)
    with pytest.raises(ValueError, match="the state belongs to another model"):
        train(tiny(), batches, num_steps=2, state=state)
    with pytest.raises(ValueError, match="seed is 2, but the state was trained with seed 1"):
        train(diffusion, batches, num_steps=2, state=state, seed=2)
    with pytest.raises(ValueError, match="trained with Adam, not with SGD"):
        train(diffusion, batches, num_steps=2, state=state, optimizer=partial(torch.optim.SGD, lr=1.0))
    state.moments = {"elsewhere.weight": {"step": torch.tensor(1.0)}}
    with pytest.raises(ValueError, match=r"it speaks of elsewhere.weight"):
        train(diffusion, batches, num_steps=2, state=state)


def test_clean_names():
    for name in ("module._orig_mod.a.b", "_orig_mod.module.a.b", "a._orig_mod.b", "module.module.a.b", "a.b"):
        assert clean_name(name) == "a.b"
    assert clean_name("a.module.b") == "a.module.b"


def test_weights_that_do_not_fit_are_refused_and_change_nothing(tiny):
    model = tiny().model
    good = {name: tensor.detach().clone() for name, tensor in model_tensors(model).items()}
    zeros = {name: torch.zeros_like(tensor) for name, tensor in good.items()}
    missing = {name: tensor for name, tensor in zeros.items() if name != "final_conv.bias"}
    for wrong in (missing, {**zeros, "extra": torch.zeros(1)}, {**zeros, "final_conv.bias": torch.zeros(9)}):
        with pytest.raises(ValueError, match=r"the weights do not fit this model: (final_conv.bias|extra) is"):
            load_tensors(model, wrong)
        assert_same(good, model_tensors(model))


def test_a_batch_on_another_device_is_refused_by_name(tiny):
    with pytest.raises(ValueError, match=r"batch lies on meta, the model on cpu: pass Batches\(..., device="):
        train(tiny(), lambda step: torch.zeros(2, 3, 16, 16, device="meta"), num_steps=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_training_step_never_waits_for_the_gpu():  # pragma: no cover - CUDA
    diffusion = baseline("smoke").to("cuda")
    batches = Batches(procedural_images(n=64), 8, device="cuda")
    state = TrainState(diffusion, EMA(diffusion.model))
    stepper = Stepper(state, adam(), LossModule(diffusion.model, diffusion.process, denoising_loss))
    for _ in range(2):  # the schedule and the order of the images are sent once
        stepper.step(batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            stepper.step(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
