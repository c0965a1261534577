"""`profile` on rigged blocks whose times are known, and on a real net for its counts and manners."""

import pytest
import torch
from denoising_diffusion_pytorch import Unet
from torch import nn

from course_utils.measure.profiling import profile
from course_utils.measure.work import BETWEEN, count


class Clock:
    """Seconds that pass only where an operation says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Cost(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, clock, forward_s, backward_s):
        clock.now += forward_s
        ctx.clock, ctx.backward_s = clock, backward_s
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        ctx.clock.now += ctx.backward_s
        return grad, None, None, None


class Rigged(nn.Module):
    def __init__(self, clock, forward_s, backward_s):
        super().__init__()
        self.clock, self.forward_s, self.backward_s = clock, forward_s, backward_s
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return Cost.apply(x * self.weight, self.clock, self.forward_s, self.backward_s)


class Net(nn.Module):
    """Blocks of 1 + 2 s and, called twice, 3 + 5 s; between them 0.5 + 0.25 s."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.once, self.twice = Rigged(clock, 1.0, 2.0), Rigged(clock, 3.0, 5.0)

    def forward(self, x):
        return self.twice(self.twice(Cost.apply(self.once(x), self.clock, 0.5, 0.25)))


@pytest.fixture
def clock():
    return Clock()


def rigged_profile(clock, **options):
    return profile(Net(clock), torch.ones(2), rounds=3, clock=clock, synchronize=lambda: None, **options)


def test_rigged_blocks_get_their_own_times(clock):
    found = rigged_profile(clock)
    once, twice = found.rows
    assert (once.name, once.calls, once.forward_s, once.backward_s) == ("once", 1, 1.0, 2.0)
    assert (twice.name, twice.calls, twice.forward_s, twice.backward_s) == ("twice", 2, 6.0, 10.0)
    assert (found.whole_forward_s, found.whole_backward_s) == (7.5, 12.25)
    assert found.blocks_s == 19.0
    assert found.residual_s == 0.75
    assert [row.share for row in found.rows] == [3 / 19, 16 / 19]
    assert "+4% unexplained" in str(found)


def test_forward_alone(clock):
    found = rigged_profile(clock, backward=False)
    assert [row.forward_s for row in found.rows] == [1.0, 6.0]
    assert all(row.backward_s is None for row in found.rows)
    assert found.whole_backward_s is None
    assert found.whole_s == 7.5


def test_medians_shrug_off_one_disturbed_round(clock):
    net, runs = Net(clock), []

    def disturb(module, args):
        runs.append(len(runs))
        if len(runs) == 12:
            clock.now += 1000

    net.once.register_forward_pre_hook(disturb)
    found = profile(net, torch.ones(2), rounds=5, clock=clock, synchronize=lambda: None)
    assert len(runs) >= 12
    assert found.rows[0].forward_s == 1.0
    assert found.whole_forward_s == 7.5


@pytest.fixture(scope="module")
def unet():
    return Unet(8, dim_mults=(1, 2)), torch.randn(1, 3, 8, 8), torch.tensor([3])


@pytest.mark.parametrize("backward", [False, True])
def test_counts_are_those_of_count(unet, backward):
    model, x, t = unet
    found, work = profile(model, x, t, backward=backward, rounds=1), count(model, x, t, backward=backward)
    for row in found.rows:
        counts = work.per_module[row.name]
        assert (row.flop, row.bytes_moved, row.calls) == (counts.flop, counts.bytes_moved, counts.calls)
        assert row.intensity == counts.intensity
        assert row.flop_per_s == pytest.approx(row.flop / row.time_s)
    assert [row.name for row in found.rows] == [name for name in work.per_module if name != BETWEEN]
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    forward = count(model, x, t)
    assert sum(row.forward_flop for row in found.rows) == forward.flop


def test_sort_and_head(unet):
    model, x, t = unet
    found = profile(model, x, t, rounds=1)
    times = [row.time_s for row in found.head(3).rows]
    assert times == sorted((row.time_s for row in found.rows), reverse=True)[:3]
    flop = [row.flop for row in found.sort("flop").rows]
    assert flop == sorted(flop, reverse=True)
    assert found.sort("flop").head(2).rows == found.sort("flop").rows[:2]
    assert [row.name for row in found.sort("name").rows] == sorted(row.name for row in found.rows)
    assert len(str(found).splitlines()) <= 15
    assert "<table" in found._repr_html_()
    with pytest.raises(ValueError, match="key is 'speed'"):
        found.sort("speed")


def test_the_model_is_as_before():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Dropout())
    x = torch.randn(2, 3, 4, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = profile(model, x, rounds=1)
    assert [row.name for row in found.rows] == ["0", "1", "2", "3"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_errors():
    with pytest.raises(ValueError, match="wants a module"):
        profile(torch.relu, torch.ones(1))
    with pytest.raises(ValueError, match="rounds is 0"):
        profile(nn.Linear(1, 1), torch.ones(1, 1), rounds=0)
    with torch.profiler.profile(), pytest.raises(RuntimeError, match="profile refuses"):
        profile(nn.Linear(1, 1), torch.ones(1, 1))
