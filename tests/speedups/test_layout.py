"""Channels side by side, and the compiler: the same function, the same names."""

import shutil

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from course_utils.diffusion import baseline
from course_utils.diffusion.weights import model_tensors
from course_utils.speedups import compiled, compiler, half_precision, layout

LAST = torch.channels_last


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 2, 1))


def test_the_channels_of_a_pixel_lie_side_by_side():
    model = small_net()
    treated = layout(model)
    assert treated[0].weight.stride() == (27, 1, 9, 3), "(O, C, h, w) of (4, 3, 3, 3): C moves by one number"
    assert model[0].weight.stride() == (27, 9, 3, 1), "the given model stays"
    assert treated(torch.randn(2, 3, 8, 8)).is_contiguous(memory_format=LAST)
    assert list(treated.state_dict()) == list(model.state_dict())
    assert treated[0].weight is not model[0].weight


@pytest.mark.parametrize("net", ["unet", "resnet18"])
def test_it_is_the_same_function(net):
    torch.manual_seed(0)
    if net == "unet":
        model, inputs = baseline("smoke").model.eval(), (torch.randn(2, 3, 32, 32), torch.tensor([3, 900]))
    else:
        model, inputs = resnet18().eval(), (torch.randn(2, 3, 32, 32),)
    with torch.no_grad():
        torch.testing.assert_close(layout(model)(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)


def test_a_model_without_images_is_refused():
    with pytest.raises(ValueError, match="the model has no 4-D weights"):
        layout(nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 1)))


def test_the_compiler_is_the_one_that_torch_would_call(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("clang++", "g++"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    assert compiler() == str(tmp_path / "g++")
    (tmp_path / "g++").unlink()
    assert compiler() is None  # clang++ is there, but torch does not look for it on Linux
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler: install g\+\+, or name another one in CXX"):
        compiled(small_net())
    monkeypatch.setenv("CXX", "clang++")
    assert compiler() == str(tmp_path / "clang++")


@pytest.fixture
def any_compiler(monkeypatch):
    """As if there were one: what follows is never compiled, or only by the eager backend."""
    monkeypatch.setattr(shutil, "which", lambda name: name)


def test_what_is_compiled_keeps_its_names_and_leaves_the_given_model(any_compiler):
    model = small_net()
    made = compiled(model)
    assert next(iter(made.state_dict())).startswith("_orig_mod.")
    assert list(model_tensors(made)) == list(model_tensors(model))
    assert all(torch.equal(one, model.state_dict()[name]) for name, one in model_tensors(made).items())
    assert all(one is not model.state_dict(keep_vars=True)[name] for name, one in model_tensors(made).items())
    assert not isinstance(model, torch._dynamo.OptimizedModule)


def test_compiled_comes_once_and_last(any_compiler):
    for wrapped in (compiled(small_net()), nn.Sequential(compiled(small_net()))):
        with pytest.raises(ValueError, match="compiled already: compiled comes last, it comes once"):
            compiled(wrapped)
        with pytest.raises(ValueError, match="compiled comes last, apply layout before it"):
            layout(wrapped)


def test_modes_that_torch_does_not_know_are_named(any_compiler):
    with pytest.raises(ValueError, match=r"mode must be None or one that torch\.compile knows, got 'fastest'"):
        compiled(small_net(), mode="fastest")


@pytest.mark.skipif(compiler() is None, reason="torch.compile on a CPU needs a C++ compiler, and there is none")
@pytest.mark.timeout(600)
def test_a_small_net_really_compiles_to_the_same_function():
    torch.manual_seed(0)
    model, x = small_net(), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(compiled(model)(x), model(x))
    assert compiled(half_precision(layout(model))).state_dict().keys() >= {"_orig_mod.module.0.weight"}


def test_a_model_with_convolutions_over_volumes_keeps_those_as_they_are():
    model = nn.ModuleDict({"flat": nn.Conv2d(4, 8, 3), "deep": nn.Conv3d(4, 8, 3)})
    treated = layout(model)
    assert treated["flat"].weight.is_contiguous(memory_format=torch.channels_last)
    assert treated["deep"].weight.is_contiguous()
    assert model["flat"].weight.is_contiguous()
    assert torch.equal(treated["deep"].weight, model["deep"].weight)
