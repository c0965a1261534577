import pytest
import torch
from denoising_diffusion_pytorch import denoising_diffusion_pytorch as library

from course_utils.diffusion import BETA_SCHEDULES, alphas_cumprod, scale, timesteps

LIBRARY = {
    "linear": library.linear_beta_schedule,
    "cosine": library.cosine_beta_schedule,
    "sigmoid": library.sigmoid_beta_schedule,
}


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("num_timesteps", [100, 1000])
def test_betas_are_the_librarys_to_the_last_bit(name, num_timesteps):
    betas = BETA_SCHEDULES[name](num_timesteps)
    assert betas.dtype == torch.float64
    assert torch.equal(betas, LIBRARY[name](num_timesteps))


@pytest.mark.parametrize("name", LIBRARY)
def test_alphas_cumprod_by_hand(name):
    betas = BETA_SCHEDULES[name](50)
    product, expected = 1.0, []
    for beta in betas.tolist():
        product *= 1 - beta
        expected.append(product)
    torch.testing.assert_close(alphas_cumprod(betas), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_timesteps_are_those_of_the_librarys_ddim_at_every_count():
    for num_steps in range(1, 1001):
        ascending = torch.linspace(-1, 999, steps=num_steps + 1).int().tolist()  # the library's line
        ts = timesteps(num_steps)
        assert ts.dtype == torch.int64
        assert ts.tolist() == ascending[:0:-1]
        assert (ts.diff() < 0).all()


def test_all_timesteps_in_full():
    assert timesteps(5, 5).tolist() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("num_steps", [0, -1, 1001])
def test_a_budget_out_of_range_is_refused(num_steps):
    with pytest.raises(ValueError, match=f"num_timesteps = 1000, got {num_steps}"):
        timesteps(num_steps)


def test_scale_from_name_environment_and_hardware(monkeypatch):
    monkeypatch.delenv("COURSE_SCALE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert scale().name == "laptop"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert scale().name == "gpu"
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    assert scale().name == "smoke"
    assert scale("laptop").name == "laptop"
    monkeypatch.setenv("COURSE_SCALE", "huge")
    with pytest.raises(ValueError, match="COURSE_SCALE is 'huge', but must be one of smoke, laptop, gpu"):
        scale()
