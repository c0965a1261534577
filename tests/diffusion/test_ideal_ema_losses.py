import pytest
import torch
from ema_pytorch import EMA as ReferenceEMA
from torch import nn

from course_utils.diffusion import (
    EMA,
    Batches,
    ddim,
    ddpm,
    heldout_loss,
    ideal_denoiser,
    ideal_diffusion,
    procedural_images,
    sample,
    timesteps,
    to_float,
    train,
)
from course_utils.diffusion import ideal as ideal_module


def brute_force(images, x_t, a_t):
    """Posterior mean in float64, one noisy image at a time, straight from the Gaussian densities."""
    clean = to_float(images).double().flatten(1)
    means = []
    for noisy, a in zip(x_t.double().flatten(1), a_t, strict=True):
        logs = -(noisy - a.sqrt() * clean).square().sum(1) / (2 * (1 - a))
        means.append(torch.softmax(logs, 0) @ clean)
    return torch.stack(means).reshape(x_t.shape)


@pytest.mark.parametrize("chunk", [7, 2_048])
def test_ideal_denoiser_is_the_posterior_mean(chunk, monkeypatch):
    monkeypatch.setattr(ideal_module, "_CHUNK", chunk)
    images = procedural_images(n=50).images
    model = ideal_denoiser(images)
    t = torch.tensor([0, 100, 500, 800, 950, 990, 997, 999])
    a_t = model.alphas_cumprod[t]
    scale = a_t[:, None, None, None]
    eps = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_t = scale.sqrt() * to_float(images[:8]).double() + (1 - scale).sqrt() * eps
    found, expected = model(x_t, t), brute_force(images, x_t, a_t)
    # Products of 3,072 float32 numbers are good to about 1e-4; weights are smooth in them where several images compete.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    spread = (expected - to_float(images[:8]).double()).abs().amax((1, 2, 3))
    assert spread[0] < 1e-6 < 0.1 < spread[-1], "the test must cover both a certain and an open posterior"


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("num_steps", [1, 20])
def test_from_one_image_every_sampler_draws_that_image(sampler, num_steps):
    image = procedural_images(n=1).images
    drawn = sample(ideal_diffusion(image), 3, sampler=sampler, num_steps=num_steps)
    assert torch.equal(drawn, image.expand(3, -1, -1, -1))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_from_many_images_samples_are_images_of_the_set(sampler):
    images = procedural_images(n=200).images
    drawn = sample(ideal_diffusion(images), 6, sampler=sampler, num_steps=100)
    nearest = torch.cdist(drawn.flatten(1).double(), images.flatten(1).double(), p=torch.inf)
    assert (nearest.amin(1) <= 1).all(), "within one grey level of an image of the set"
    assert nearest.argmin(1).unique().numel() > 1


def test_memory_of_the_ideal_denoiser_stays_with_the_chunk(monkeypatch):
    monkeypatch.setattr(ideal_module, "_CHUNK", 8)
    largest = 0
    original = torch.Tensor.to

    def watching(self, *args, **options):
        nonlocal largest
        largest = max(largest, len(self) if self.ndim == 2 else 0)
        return original(self, *args, **options)

    model = ideal_denoiser(procedural_images(n=100).images)
    monkeypatch.setattr(torch.Tensor, "to", watching)
    model(torch.zeros(1, 3, 32, 32), torch.tensor([5]))
    assert 0 < largest <= 8


def test_ideal_refuses_other_than_uint8_images():
    for wrong in (
        torch.zeros(2, 3, 8, 8),
        torch.zeros(0, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match="images must be uint8"):
            ideal_denoiser(wrong)


def test_ema_is_a_weighted_sum_by_hand():
    model = nn.Linear(1, 1, bias=False)
    ema, expected = EMA(model, decay=0.5), model.weight.item()
    for step, value in enumerate([3.0, -1.0, 2.0, 5.0], 1):
        model.weight.data.fill_(value)
        ema.update(model, step)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
        assert ema.tensors["weight"].item() == pytest.approx(expected, rel=1e-6)


def test_ema_agrees_with_ema_pytorch_past_the_ramp():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    ours = EMA(model, decay=0.1)  # the ramp starts at 2/11 > 0.1: no ramp
    theirs = ReferenceEMA(
        model, beta=0.1, update_after_step=-1, update_every=1, inv_gamma=1e-9, include_online_model=False
    )
    theirs.copy_params_from_model_to_ema()
    theirs.initted.fill_(True)
    for step in range(1, 5):
        for parameter in model.parameters():
            parameter.data.normal_()
        ours.update(model, step)
        theirs.update()
    for name, value in theirs.ema_model.state_dict().items():
        torch.testing.assert_close(ours.tensors[name], value, msg=name)


def test_ema_keeps_float32_of_half_weights_and_copies_counters():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)).to(torch.bfloat16)
    ema = EMA(model, decay=0.999)
    for step in range(1, 4):
        model[0].num_batches_tracked.fill_(7 + step)
        model[1].weight.data.fill_(1.0)
        ema.update(model, step)
    assert ema.tensors["1.weight"].dtype == torch.float32
    assert ema.tensors["0.num_batches_tracked"].item() == 10


def test_ema_copy_leaves_the_model_alone(tiny):
    diffusion = tiny()
    ema = EMA(diffusion.model)
    diffusion.model.init_conv.weight.data.zero_()
    averaged = ema.copy_of(diffusion)
    assert torch.equal(averaged.model.init_conv.weight, ema.tensors["init_conv.weight"])
    assert diffusion.model.init_conv.weight.abs().sum() == 0
    assert not averaged.model.training
    with pytest.raises(ValueError, match="ema_decay must be at least 0 and below 1"):
        EMA(diffusion.model, decay=1.0)


def test_heldout_loss_is_fixed_by_seed_and_n_alone(tiny):
    images = procedural_images("test", n=12).images[..., ::2, ::2]
    diffusion = tiny()
    torch.manual_seed(3)
    first = heldout_loss(diffusion, images, n=12, batch_size=12)
    again = heldout_loss(diffusion, images, n=12, batch_size=5)
    assert first.per_image.dtype == torch.float64
    assert first.per_image.shape == (12,)
    torch.testing.assert_close(first.per_image, again.per_image, rtol=1e-5, atol=0)  # other batches, other rounding
    assert first.mean == pytest.approx(first.per_image.mean().item())
    assert heldout_loss(diffusion, images, n=12, seed=1).mean != first.mean
    assert "12 images, seed 0" in repr(first)
    assert diffusion.model.training


def test_heldout_loss_covers_the_process_evenly(tiny):
    images, seen = procedural_images(n=50).images[..., ::2, ::2], []

    def record(model, process, x_0, t, eps):
        seen.extend(t.tolist())
        return eps.flatten(1).mean(1)

    noise = heldout_loss(tiny(), images, n=50, loss=record)
    assert sorted(seen) == list(range(10, 1000, 20))
    assert abs(noise.mean) < 4 / (50 * 3 * 16 * 16) ** 0.5


def test_heldout_loss_falls_when_the_model_learns(tiny):
    images = procedural_images(n=40).images[..., ::2, ::2]
    diffusion = tiny()
    before = heldout_loss(diffusion, images, n=40)
    train(diffusion, Batches(images, 8), num_steps=30, ema_decay=0.9)
    after = heldout_loss(diffusion, images, n=40)
    assert after.mean < before.mean


def test_heldout_loss_refuses_other_than_uint8(tiny):
    with pytest.raises(ValueError, match="images must be uint8"):
        heldout_loss(tiny(), torch.zeros(2, 3, 16, 16))


def test_samplers_take_the_ideal_denoiser_at_other_sizes():
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    diffusion = ideal_diffusion(images, beta_schedule="cosine")
    for sampler in (ddpm, ddim):
        assert sampler(diffusion.predictor(), torch.randn(2, 1, 8, 8), timesteps(5)).shape == (2, 1, 8, 8)


def test_the_average_follows_a_model_that_is_moved_in_place():
    model = nn.Linear(2, 2)
    ema = EMA(model)
    ema.update(model, 1)
    ema.update(model.to("meta"), 2)
    assert {tensor.device.type for tensor in ema.tensors.values()} == {"meta"}
