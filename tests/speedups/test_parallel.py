"""Copies that share a batch: the same answers and the same gradients as the model alone."""

import threading

import pytest
import torch
from torch import nn

from course_utils.diffusion import LossModule, baseline, denoising_loss
from course_utils.diffusion.weights import model_tensors
from course_utils.speedups import data_parallel, distributed, half_precision, replicated
from course_utils.speedups.parallel import copied, gathered, scattered


def drawn(n):
    torch.manual_seed(n)
    return torch.randn(n, 3, 32, 32), torch.randint(1000, (n,)), torch.randn(n, 3, 32, 32)


def gradients(module):
    found = {name: weight.grad.clone() for name, weight in module.named_parameters()}
    module.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_copies_answer_and_learn_like_the_model_alone(n):
    model, (x, t, _) = baseline("smoke").model, drawn(5)
    together = replicated(model, n)
    wanted = model(x, t)
    wanted.square().mean().backward()
    alone = gradients(model)
    answer = together(x, t)
    answer.square().mean().backward()
    torch.testing.assert_close(answer, wanted, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, alone[name], rtol=1e-4, atol=1e-7, msg=name)


def test_the_mean_loss_of_uneven_shares_is_that_of_the_batch():
    diffusion, batch = baseline("smoke"), drawn(5)
    module = LossModule(diffusion.model, diffusion.process, denoising_loss)
    module(*batch).backward()
    alone, wanted = gradients(module), module(*batch).item()
    loss = replicated(module, 2)(*batch)
    loss.backward()
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    for name, gradient in gradients(module).items():
        torch.testing.assert_close(gradient, alone[name], rtol=1e-4, atol=1e-7, msg=name)


def test_every_share_has_a_thread_of_its_own():
    class Noting(nn.Module):
        def forward(self, x):
            meet.wait(timeout=30)  # passes only when all shares are at work at once
            return x + threading.get_ident() % 2 * 0

    meet = threading.Barrier(3)
    assert torch.equal(replicated(Noting(), 3)(torch.arange(7)), torch.arange(7))


def test_the_weights_are_those_of_the_model_and_its_attributes_stay_within_reach():
    model = baseline("smoke").model
    together = replicated(model, 2)
    assert together.channels == model.channels
    assert model_tensors(together).keys() == model_tensors(model).keys()
    assert all(one is other for one, other in zip(together.parameters(), model.parameters(), strict=True))
    with pytest.raises(AttributeError, match="no attribute 'chanels'"):
        together.chanels  # noqa: B018


def test_copies_compute_as_they_are_told_to():
    model, (x, t, _) = baseline("smoke").model.eval(), drawn(4)
    together = replicated(model, 2)
    with torch.no_grad():
        assert not together(x, t).requires_grad
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(together(x, t), model(x, t), rtol=0.05, atol=0.05)
            assert together(x, t).dtype == model(x, t).dtype
        halved = half_precision(model)
        assert torch.equal(replicated(halved, 1)(x, t), halved(x, t))


def test_a_copys_gradient_flows_into_the_original_and_tied_weights_stay_tied():
    layer = nn.Linear(2, 2, bias=False)
    model = nn.Sequential(layer, layer)
    copy = copied(model)
    assert copy[0].weight is copy[1].weight
    assert copy[0].weight is not layer.weight
    copy[0](torch.ones(1, 2)).sum().backward()
    assert torch.equal(layer.weight.grad, torch.ones(2, 2))


def test_scatter_and_gather_by_hand():
    shares = scattered((torch.arange(5), "all", torch.arange(10).reshape(5, 2)), 2)
    assert [share[0].tolist() for share in shares] == [[0, 1, 2], [3, 4]]
    assert {share[1] for share in shares} == {"all"}
    assert shares[1][2].tolist() == [[6, 7], [8, 9]]
    assert len(scattered((torch.arange(2),), 5)) == 2
    assert gathered([torch.tensor(1.0), torch.tensor(4.0)], [2, 1]).item() == pytest.approx(2.0)


def test_a_crash_in_one_copy_reaches_the_caller():
    with pytest.raises(RuntimeError, match="expected input"):
        replicated(nn.Conv2d(3, 3, 1), 2)(torch.zeros(4, 5, 8, 8))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        replicated(nn.Linear(1, 1), 0)


@pytest.mark.parametrize(
    ("count", "ids"), [(0, None), (1, None), (1, [0, 1]), (4, [2]), (4, [1, 1]), (4, [3, 4]), (4, [-1, 0])]
)
def test_fewer_than_two_gpus_are_refused(monkeypatch, count, ids):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=rf"at least 2 different GPUs, got device_ids=.* where torch finds {count}: "):
        data_parallel(nn.Linear(1, 1), ids)


def test_a_model_elsewhere_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="the model lies on cpu, wanted cuda:1"):
        data_parallel(nn.Linear(1, 1), [1, 0])


def test_without_a_group_of_processes_there_is_nothing_to_distribute():
    with pytest.raises(ValueError, match="start the command with torchrun"):
        distributed(nn.Linear(1, 1))
