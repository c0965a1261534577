import pytest
import torch
from torch import nn

from course_utils.diffusion import Process, alphas_cumprod, denoising_loss, linear_betas
from course_utils.diffusion.process import OBJECTIVES

SCHEDULES = ("linear", "cosine", "sigmoid")


def random_task(process: Process, n: int = 6):
    generator = torch.Generator().manual_seed(1)
    x_0 = torch.rand(n, 3, 16, 16, generator=generator) * 2 - 1
    eps = torch.randn(n, 3, 16, 16, generator=generator)
    t = torch.randint(process.num_timesteps, (n,), generator=generator)
    return x_0, t, eps


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noise_target_and_loss_are_the_librarys(tiny, objective, schedule):
    diffusion = tiny(objective, schedule)
    library = diffusion.as_library()
    x_0, t, eps = random_task(diffusion.process)
    # The library rounds its coefficients to float32 once, as we do: the noisy images agree to the last bit.
    assert torch.equal(diffusion.process.add_noise(x_0, t, eps), library.q_sample(x_0, t, eps))
    ours = denoising_loss(diffusion.model, diffusion.process, x_0, t, eps)
    theirs = library.p_losses(x_0, t, eps, loss_reduction="none")
    # The mean over pixels is summed in another order, hence float32 rounding and no more.
    torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_perfect_answer_is_translated_into_x_0_and_eps(objective):
    process = Process(alphas_cumprod(linear_betas()), objective)
    x_0, t, eps = (value.double() if value.is_floating_point() else value for value in random_task(process))
    x_t = process.add_noise(x_0, t, eps)
    for clip in (False, True):
        found = process.predict(lambda x, t: process.target(x_0, t, eps), x_t, t, clip=clip)
        torch.testing.assert_close(found.x_0, x_0, rtol=0, atol=1e-8)
        torch.testing.assert_close(found.eps, eps, rtol=0, atol=1e-8)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_clipping_rederives_eps_as_the_library_does(tiny, objective):
    diffusion = tiny(objective, "linear")
    library = diffusion.as_library()
    _, t, x_t = random_task(diffusion.process)
    x_t = 3 * x_t
    ours = diffusion.predictor(clip=True)(x_t, t)
    theirs = library.model_predictions(x_t, t, clip_x_start=True, rederive_pred_noise=True)
    assert (ours.x_0.abs() == 1).any()
    # eps divides by sqrt(1 - a_t), 0.01 at t = 0: float32 rounding of order 1e-7 grows to 1e-5.
    torch.testing.assert_close(ours.x_0, theirs.pred_x_start, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.eps, theirs.pred_noise, rtol=1e-4, atol=1e-4)


def test_objectives_weigh_one_error_alike():
    """The same denoiser, asked in three ways, has one loss: the error of its noise."""
    alphas = alphas_cumprod(linear_betas())
    losses = []
    for objective in OBJECTIVES:
        process = Process(alphas, objective)
        x_0, t, eps = random_task(process)

        def answer(x_t, t, process=process, x_0=x_0, eps=eps):
            wrong = 0.9 * x_0  # a guess of x_0, which fixes eps through x_t
            a_t = alphas[t][:, None, None, None]
            noise = (x_t.double() - a_t.sqrt() * wrong) / (1 - a_t).sqrt()
            return process.target(wrong.double(), t, noise)

        losses.append(denoising_loss(answer, process, x_0.double(), t, eps.double()))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=0)
    torch.testing.assert_close(losses[0], losses[2], rtol=1e-4, atol=0)


def test_each_image_may_have_its_own_timestep(tiny):
    """What a model routed by t and parallel sampling need."""
    diffusion = tiny()
    x_t, t = torch.randn(4, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 10, 500, 999])
    together = diffusion.predictor()(x_t, t)
    for i in range(4):
        alone = diffusion.predictor()(x_t[i : i + 1], t[i : i + 1])
        torch.testing.assert_close(together.x_0[i], alone.x_0[0], rtol=0, atol=1e-4)


def test_the_model_is_asked_in_its_own_dtype():
    asked = []

    class Net(nn.Conv2d):
        def forward(self, x_t, t):
            asked.append(x_t.dtype)
            return super().forward(x_t)

    process = Process(alphas_cumprod(linear_betas()), "pred_v")
    x_t, t = torch.zeros(1, 3, 8, 8, dtype=torch.float64), torch.tensor([5])
    for dtype in (torch.float32, torch.bfloat16):
        assert process.predict(Net(3, 3, 1).to(dtype), x_t, t).x_0.dtype == torch.float64
    assert asked == [torch.float32, torch.bfloat16]


def test_wrong_schedules_and_objectives_are_named():
    good = alphas_cumprod(linear_betas())
    with pytest.raises(ValueError, match="pred_noise, pred_x0, pred_v, got 'noise'"):
        Process(good, "noise")
    for bad in (good.flip(0), torch.tensor([]), torch.tensor([1.0, 0.5]), good[None]):
        with pytest.raises(ValueError, match="alphas_cumprod must be one row of numbers falling"):
            Process(bad, "pred_v")
