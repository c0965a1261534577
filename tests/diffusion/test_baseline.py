import json

import pytest
import torch
from torch import nn

from course_utils.diffusion import (
    Recipe,
    baseline,
    build,
    ideal_diffusion,
    load_weights,
    procedural_images,
    sample,
    save_weights,
)


@pytest.mark.parametrize(("scale", "count"), [("gpu", 35_711_491), ("laptop", 2_610_883), ("smoke", 79_787)])
def test_sizes(scale, count):
    diffusion = baseline(scale)
    assert diffusion.num_parameters == count
    assert f"{count:,} parameters" in repr(diffusion)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    first = baseline("smoke", seed=1).model.state_dict()
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1)), "building a model must not disturb the caller's random numbers"
    again, other = (baseline("smoke", seed=seed).model.state_dict() for seed in (1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["init_conv.weight"], other["init_conv.weight"])


def test_library_defaults():
    library = baseline("smoke").as_library()
    assert (library.objective, library.num_timesteps, library.image_size) == ("pred_v", 1000, (32, 32))
    theirs = type(library)(library.model, image_size=32)  # everything at the library's own default
    for name, buffer in theirs.named_buffers():
        assert torch.equal(buffer, dict(library.named_buffers())[name]), name


def test_as_library_shares_weights_and_fits_any_denoiser():
    diffusion = baseline("smoke")
    assert diffusion.as_library().model is diffusion.model
    ideal = ideal_diffusion(procedural_images(n=3).images)
    loss = ideal.as_library()(torch.rand(2, 3, 32, 32))
    assert loss.isfinite()


def test_recipe_survives_json():
    recipe = Recipe(
        {"dim": 8, "dim_mults": [1, 2]}, {"objective": "pred_v"}, (("bottleneck", {"ratio": 4}),), (1, 16, 16)
    )
    assert Recipe.from_json(recipe.to_json()) == recipe
    json.loads(recipe.to_json())
    for text in ("{}", "[1]", "no"):
        with pytest.raises(ValueError, match="not a recipe"):
            Recipe.from_json(text)


def test_structural_treatments_are_rebuilt_in_order():
    def widen(model, *, by):
        return nn.Sequential(model, *[nn.Identity() for _ in range(by)])

    diffusion = baseline("smoke")
    treated = diffusion.with_model(widen(diffusion.model, by=2), ("widen", {"by": 2}))
    treated = treated.with_model(widen(treated.model, by=1), ("widen", {"by": 1}))
    assert diffusion.recipe.treatments == ()
    assert len(build(treated.recipe, {"widen": widen}).model) == len(treated.model) == 2
    assert len(build(treated.recipe, {"widen": widen}).model[0]) == 3
    assert "+ widen + widen" in repr(treated)
    with pytest.raises(ValueError, match="the recipe needs the treatment 'widen'"):
        build(treated.recipe)


def test_execution_treatments_leave_the_recipe_alone():
    diffusion = baseline("smoke")
    assert diffusion.with_model(nn.Identity()).recipe == diffusion.recipe


def test_to_copies(tiny):
    diffusion = tiny()
    moved = diffusion.to("cpu")
    moved.model.init_conv.weight.data.zero_()
    assert diffusion.model.init_conv.weight.abs().sum() > 0


def test_wrong_names_are_named():
    with pytest.raises(ValueError, match="scale is 'big'"):
        baseline("big")
    with pytest.raises(ValueError, match="objective must be one of"):
        baseline("smoke", objective="x")
    with pytest.raises(ValueError, match="beta_schedule must be one of linear, cosine, sigmoid, got 'flat'"):
        baseline("smoke", beta_schedule="flat")
    with pytest.raises(ValueError, match="only a Unet can be built from a recipe"):
        build(ideal_diffusion(procedural_images(n=2).images).recipe)


def test_a_new_model_leaves_the_random_state_of_cpu_and_gpus_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("reseeded the GPUs"))
    before = torch.random.get_rng_state()
    baseline("smoke", seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_apples_gpu_is_refused_in_one_sentence(tmp_path):
    diffusion = ideal_diffusion(procedural_images(n=2).images)
    for refused in (
        lambda: diffusion.to("mps"),
        lambda: sample(diffusion, 1, device="mps"),
        lambda: load_weights(save_weights(tmp_path / "w.safetensors", baseline("smoke")), device="mps"),
    ):
        with pytest.raises(ValueError, match=r"'mps', which has no float64.* use 'cpu'"):
            refused()
