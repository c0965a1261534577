import pytest
import torch

from course_utils.diffusion import Batches, Diffusion, Recipe, build, procedural_images


@pytest.fixture
def tiny():
    """Makes a very small diffusion model, always the same."""

    def make(objective: str = "pred_v", beta_schedule: str = "sigmoid", num_timesteps: int = 1000) -> Diffusion:
        process = {"objective": objective, "beta_schedule": beta_schedule, "num_timesteps": num_timesteps}
        torch.manual_seed(0)
        return build(Recipe({"dim": 8, "dim_mults": [1, 2]}, process, image_shape=(3, 16, 16)))

    return make


@pytest.fixture
def batches() -> Batches:
    images = procedural_images(n=40).images[..., ::2, ::2]
    return Batches(images, 4, seed=3)
