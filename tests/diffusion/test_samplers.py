import weakref
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm
from torch import nn

from course_utils.diffusion import (
    BETA_SCHEDULES,
    Diffusion,
    Prediction,
    Process,
    Recipe,
    alphas_cumprod,
    ddim,
    ddpm,
    sample,
    timesteps,
)
from course_utils.diffusion.process import OBJECTIVES

SCHEDULES = ("linear", "cosine", "sigmoid")
SHAPE = (2, 3, 8, 8)


class SmallNet(nn.Module):
    """A quick net with the attributes that the library reads; smooth in x and t."""

    channels = out_dim = 3
    self_condition = False

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, t, x_self_cond=None):
        return torch.tanh(self.conv(x)) * (1 + t.to(x.dtype)[:, None, None, None] / 1000)


def diffusion_of(objective: str, schedule: str, num_timesteps: int, dtype=torch.float32) -> Diffusion:
    settings = {"objective": objective, "beta_schedule": schedule, "num_timesteps": num_timesteps}
    process = Process(alphas_cumprod(BETA_SCHEDULES[schedule](num_timesteps)), objective)
    return Diffusion(SmallNet().to(dtype), process, Recipe({}, settings, image_shape=SHAPE[1:]))


class Noises:
    """x_T and the noise of each step, the same for us and for a reference."""

    def __init__(self, count: int, shape=SHAPE):
        generator = torch.Generator().manual_seed(7)
        self.x_T, *self.steps = [torch.randn(shape, generator=generator) for _ in range(count + 1)]

    def ours(self):
        left = iter(self.steps)
        return lambda like: next(left)

    def feed(self, monkeypatch):
        """Hand the same noise to torch.randn and torch.randn_like, which the library calls."""
        left = iter(self.steps)
        monkeypatch.setattr(torch, "randn", lambda *shape, **options: self.x_T)
        monkeypatch.setattr(torch, "randn_like", lambda like, **options: next(left))


# The library keeps its schedule and its state in float32. Over a few hundred steps rounding of 6e-8 accumulates, most
# where `pred_noise` divides by sqrt(a_t) (1e-3 and less at the noisy end, where clipping bounds the damage). Images
# span [-1, 1] and a grey level is 8e-3 wide: agreement to 1e-4 is agreement to about a hundredth of a grey level.
LIBRARY_ATOL = 1e-4


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddpm_is_the_librarys_ancestral_loop(objective, schedule, monkeypatch):
    diffusion, noises = diffusion_of(objective, schedule, 200), Noises(200)
    ours = ddpm(diffusion.predictor(), noises.x_T, timesteps(200, 200), noise=noises.ours())
    noises.feed(monkeypatch)
    theirs = diffusion.as_library(auto_normalize=False).p_sample_loop(SHAPE)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=LIBRARY_ATOL)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_is_the_librarys(objective, schedule, eta, monkeypatch):
    diffusion, noises = diffusion_of(objective, schedule, 1000), Noises(30)
    ours = ddim(diffusion.predictor(), noises.x_T, timesteps(30), eta=eta, noise=noises.ours())
    noises.feed(monkeypatch)
    library = diffusion.as_library(auto_normalize=False, sampling_timesteps=30, ddim_sampling_eta=eta)
    torch.testing.assert_close(ours, library.ddim_sample(SHAPE), rtol=0, atol=LIBRARY_ATOL)


def test_ddim_with_the_real_network_is_the_librarys(tiny, monkeypatch):
    diffusion, noises = tiny(), Noises(5, (2, 3, 16, 16))
    ours = ddim(diffusion.predictor(), noises.x_T, timesteps(5))
    noises.feed(monkeypatch)
    theirs = diffusion.as_library(auto_normalize=False, sampling_timesteps=5).ddim_sample((2, 3, 16, 16))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=LIBRARY_ATOL)


PREDICTION_TYPE = {"pred_noise": "epsilon", "pred_x0": "sample", "pred_v": "v_prediction"}
# Given our float64 schedule and a float64 net, diffusers computes in float64 as we do: only the order of operations
# differs. Where `pred_noise` divides by sqrt(a_t) = 5e-5 (cosine, last step), 1e-16 grows to 1e-11 or so.
DIFFUSERS_ATOL = 1e-9


def scheduler_of(kind, diffusion: Diffusion, **options):
    """A scheduler of diffusers with the betas of ours, kept in float64."""
    betas = BETA_SCHEDULES[diffusion.recipe.process["beta_schedule"]](1000)
    scheduler = kind(
        trained_betas=betas.numpy(),
        prediction_type=PREDICTION_TYPE[diffusion.process.objective],
        clip_sample=True,
        **options,
    )
    torch.testing.assert_close(
        scheduler.alphas_cumprod.double(), diffusion.process.alphas_cumprod, rtol=1e-3, atol=1e-6
    )
    scheduler.alphas_cumprod = diffusion.process.alphas_cumprod
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


@torch.no_grad()
def reference_loop(scheduler, diffusion: Diffusion, x_T, **options):
    x_t = x_T.double()
    for t in scheduler.timesteps.tolist():
        raw = diffusion.model(x_t, torch.full((len(x_t),), t))
        x_t = scheduler.step(raw, t, x_t, **{name: value() for name, value in options.items()}).prev_sample
    return x_t


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddpm_is_that_of_diffusers_also_on_fewer_steps(objective, schedule, monkeypatch):
    diffusion, noises = diffusion_of(objective, schedule, 1000, torch.float64), Noises(40)
    ts = timesteps(40)
    ours = ddpm(diffusion.predictor(), noises.x_T.double(), ts, noise=noises.ours())
    scheduler = scheduler_of(DDPMScheduler, diffusion, variance_type="fixed_small")
    scheduler.set_timesteps(timesteps=ts.tolist())
    left = iter(noises.steps)
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *shape, **options: next(left).double())
    torch.testing.assert_close(ours, reference_loop(scheduler, diffusion, noises.x_T), rtol=0, atol=DIFFUSERS_ATOL)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_is_that_of_diffusers(objective, schedule, eta):
    diffusion, noises = diffusion_of(objective, schedule, 1000, torch.float64), Noises(40)
    ours = ddim(diffusion.predictor(), noises.x_T.double(), timesteps(40), eta=eta, noise=noises.ours())
    scheduler = scheduler_of(DDIMScheduler, diffusion, timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.set_timesteps(40)
    assert scheduler.timesteps.tolist() == timesteps(40).tolist()
    left = iter([*noises.steps])
    options = {
        "eta": lambda: eta,
        "use_clipped_model_output": lambda: True,
        "variance_noise": lambda: next(left).double(),
    }
    theirs = reference_loop(scheduler, diffusion, noises.x_T, **options)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=DIFFUSERS_ATOL)


class GaussianData:
    """The exact predictor for data drawn from N(mean, spread^2) in every pixel."""

    def __init__(self, schedule: str, mean: float, spread: float):
        self.alphas_cumprod = alphas_cumprod(BETA_SCHEDULES[schedule](1000))
        self.mean, self.spread = mean, spread

    def __call__(self, x_t, t):
        a = self.alphas_cumprod[t].reshape(-1, *[1] * (x_t.ndim - 1))
        variance = self.spread**2 * a + 1 - a
        x_0 = self.mean + self.spread**2 * a.sqrt() / variance * (x_t - a.sqrt() * self.mean)
        return Prediction(x_0, (x_t - a.sqrt() * x_0) / (1 - a).sqrt())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 10, 1000])
def test_ddim_on_standard_gaussian_data_shrinks_by_cosines(schedule, num_steps):
    """With a = cos^2(angle), each DDIM step turns the state by an angle: x <- cos(difference of the angles) x."""
    predict, x_T = GaussianData(schedule, 0.0, 1.0), torch.randn(3, 5, dtype=torch.float64)
    ts = timesteps(num_steps)
    angles = torch.cat([predict.alphas_cumprod[ts].sqrt().acos(), torch.zeros(1, dtype=torch.float64)])
    expected = x_T * angles.diff().cos().prod()
    torch.testing.assert_close(ddim(predict, x_T, ts), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddpm_without_noise_on_standard_gaussian_data_keeps_the_signals_share(schedule):
    """The exact reverse step is x <- sqrt(a_t / a_s) x + noise, so that without noise sqrt(a_T) of x_T is left."""
    predict, x_T = GaussianData(schedule, 0.0, 1.0), torch.randn(3, 5, dtype=torch.float64)
    for num_steps in (7, 1000):
        x_0 = ddpm(predict, x_T, timesteps(num_steps), noise=torch.zeros_like)
        torch.testing.assert_close(x_0, x_T * predict.alphas_cumprod[-1].sqrt(), rtol=1e-9, atol=0)


def test_ddpm_draws_the_variance_of_its_recursion():
    """On N(0, 1) data each step shrinks the variance by a_t / a_s and adds the posterior variance of known x_0."""
    predict, ts = GaussianData("linear", 0.0, 1.0), timesteps(5)
    alphas, variance = [*predict.alphas_cumprod[ts].tolist(), 1.0], 1.0
    for a_t, a_s in pairwise(alphas):
        variance = a_t / a_s * variance + (1 - a_t / a_s) * (1 - a_s) / (1 - a_t)
    torch.manual_seed(0)
    x_0 = ddpm(predict, torch.randn(20_000, 1), ts)
    assert abs(x_0.mean()) < 4 * (variance / 20_000) ** 0.5  # four standard errors
    assert abs(x_0.var() / variance - 1) < 4 * (2 / 20_000) ** 0.5


def test_ddim_converges_to_the_probability_flow():
    """For N(mean, spread^2) the flow keeps each point's standard score; DDIM's error falls like 1 / num_steps."""
    predict, x_T = GaussianData("linear", 0.3, 0.5), torch.linspace(-2, 2, 15, dtype=torch.float64)
    a_T = predict.alphas_cumprod[-1]
    score = (x_T - a_T.sqrt() * 0.3) / (0.25 * a_T + 1 - a_T).sqrt()
    exact = 0.3 + 0.5 * score
    errors = [(ddim(predict, x_T, timesteps(n)) - exact).abs().max().item() for n in (50, 200)]
    assert errors[1] < errors[0] / 3
    assert errors[1] < 0.05


def test_ddim_at_eta_1_is_ddpm():
    diffusion, noises = diffusion_of("pred_v", "cosine", 1000), Noises(25)
    ancestral = ddpm(diffusion.predictor(), noises.x_T, timesteps(25), noise=noises.ours())
    stochastic = ddim(diffusion.predictor(), noises.x_T, timesteps(25), eta=1.0, noise=noises.ours())
    torch.testing.assert_close(stochastic, ancestral, rtol=0, atol=1e-6)  # one float32 rounding at the end


@pytest.mark.parametrize("sampler", [ddpm, ddim])
def test_memory_does_not_grow_with_the_number_of_steps(sampler):
    seen: list[weakref.ref] = []
    alive = []

    def watch(i, t, x_t, x_0):
        seen.extend([weakref.ref(x_t), weakref.ref(x_0)])
        alive.append(sum(reference() is not None for reference in seen))

    sampler(diffusion_of("pred_v", "linear", 1000).predictor(), torch.randn(SHAPE), timesteps(100), callback=watch)
    assert len(alive) == 100
    assert max(alive) <= 4, f"{max(alive)} states and predictions alive at once"


@pytest.mark.parametrize("sampler", [ddpm, ddim])
def test_callback_nfe_and_dtypes(sampler):
    diffusion, calls = diffusion_of("pred_v", "linear", 1000), []
    predict, x_T = diffusion.predictor(), torch.randn(SHAPE)
    before = x_T.clone()
    x_0 = sampler(predict, x_T, timesteps(6), callback=lambda i, t, x_t, x_0: calls.append((i, t, x_t.dtype)))
    assert predict.nfe == 6
    assert [(i, t) for i, t, _ in calls] == list(enumerate(timesteps(6).tolist()))
    assert {dtype for *_, dtype in calls} == {torch.float64}
    assert x_0.dtype == x_T.dtype
    assert torch.equal(x_T, before)
    assert not x_0.requires_grad


def test_deterministic_ddim_draws_no_noise():
    def forbidden(like):
        raise AssertionError("noise was drawn")

    ddim(diffusion_of("pred_v", "linear", 1000).predictor(), torch.randn(SHAPE), timesteps(4), noise=forbidden)


@pytest.mark.parametrize("ts", [[3, 2, 2], [1, 2], [1000], [2, -1], [], [[3, 2]], [3.0, 2.0]])
def test_wrong_timesteps_are_refused(ts):
    with pytest.raises(ValueError, match=r"descending within 0 .. 999"):
        ddim(diffusion_of("pred_v", "linear", 1000).predictor(), torch.randn(SHAPE), torch.tensor(ts))


def test_wrong_eta_is_refused():
    with pytest.raises(ValueError, match="eta must be between 0"):
        ddim(diffusion_of("pred_v", "linear", 1000).predictor(), torch.randn(SHAPE), timesteps(3), eta=2.0)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_an_image_depends_on_seed_and_index_alone(sampler):
    diffusion = diffusion_of("pred_v", "sigmoid", 1000)
    images = sample(diffusion, 7, sampler=sampler, num_steps=5, seed=4, batch_size=7)
    assert (images.dtype, images.shape) == (torch.uint8, (7, 3, 8, 8))
    assert torch.equal(images, sample(diffusion, 7, sampler=sampler, num_steps=5, seed=4, batch_size=2))
    assert torch.equal(images[:3], sample(diffusion, 3, sampler=sampler, num_steps=5, seed=4))
    assert not torch.equal(images, sample(diffusion, 7, sampler=sampler, num_steps=5, seed=5))
    assert not torch.equal(images[0], images[1])


def test_sample_takes_a_sampler_of_ones_own_and_leaves_the_mode_alone():
    diffusion = diffusion_of("pred_v", "linear", 1000)
    diffusion.model.train()
    modes = []

    def halves(predict, x_T, ts, *, noise=None, callback=None):
        modes.append(diffusion.model.training)
        return torch.zeros_like(x_T)

    assert (sample(diffusion, 2, sampler=halves) == 128).all()
    assert modes == [False]
    assert diffusion.model.training


def test_wrong_arguments_of_sample_are_named():
    diffusion = diffusion_of("pred_v", "linear", 1000)
    with pytest.raises(ValueError, match="sampler must be one of ddpm, ddim or a function like them, got 'euler'"):
        sample(diffusion, 1, sampler="euler")
    with pytest.raises(ValueError, match="must be at least 1"):
        sample(diffusion, 0)
