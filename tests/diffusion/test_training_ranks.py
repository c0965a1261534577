"""A step that several processes share: each draws what one process would, and takes its own part."""

from functools import partial

import pytest
import torch

from course_utils.diffusion import Batches, NotFiniteError, procedural_images, train
from course_utils.diffusion.readings import Readings
from course_utils.diffusion.seeds import mixed_seed

IMAGES = procedural_images(n=40).images[..., ::2, ::2]


def noting(into):
    """A loss that notes what it was given and trains next to nothing."""

    def loss(model, process, x_0, t, eps):
        into.append((x_0, t, eps))
        return model.final_conv.bias.sum().expand(len(t))

    return loss


def seen_by(tiny, batch_size, rank, world_size, num_steps=3):
    into, share = [], {"rank": rank, "world_size": world_size}
    train(tiny(), Batches(IMAGES, batch_size, seed=3, **share), num_steps=num_steps, seed=5, loss=noting(into), **share)
    return into


@pytest.mark.parametrize("world_size", [2, 4])
def test_all_processes_together_see_what_one_would(tiny, world_size):
    whole = seen_by(tiny, 8, 0, 1)
    parts = [seen_by(tiny, 8 // world_size, rank, world_size) for rank in range(world_size)]
    for step, wanted in enumerate(whole):
        for kind, one in enumerate(wanted):
            assert torch.equal(torch.cat([part[step][kind] for part in parts]), one), (step, kind)


def test_one_process_draws_what_it_always_has(tiny):
    """The shipped weights were trained on these numbers: a generator seeded with (seed, step, 0), t before eps."""
    for step, (_, t, eps) in enumerate(seen_by(tiny, 8, 0, 1)):
        random = torch.Generator().manual_seed(mixed_seed(5, step, 0))
        assert torch.equal(t, torch.randint(1000, (8,), generator=random))
        assert torch.equal(eps, torch.randn(8, 3, 16, 16, generator=random))


def test_within_a_pass_no_image_is_seen_twice():
    parts = [Batches(IMAGES, 5, seed=3, rank=rank, world_size=4) for rank in range(4)]
    shown = torch.cat([part.indices(step) for step in range(2) for part in parts])
    assert sorted(shown.tolist()) == list(range(40))


def test_the_images_of_all_processes_count(tiny, batches):
    infos = []
    state = train(tiny(), batches, num_steps=2, rank=1, world_size=3, log_every=1, on_step=infos.append)
    assert state.images_seen == 2 * 3 * 4
    assert [info.images_seen for info in infos] == [12, 24]


@pytest.mark.parametrize(("rank", "world_size"), [(1, 1), (-1, 2), (2, 2)])
def test_a_rank_beyond_the_others_is_refused(tiny, batches, rank, world_size):
    with pytest.raises(ValueError, match=f"rank must be .* below world_size, got rank={rank} world_size={world_size}"):
        train(tiny(), batches, num_steps=1, rank=rank, world_size=world_size)


def test_what_is_read_is_the_mean_over_all_processes(tiny, batches):
    """The other process of this made-up pair always has twice the numbers of this one."""
    asked = []

    def average(numbers):
        asked.append(len(numbers))
        return numbers * 1.5

    run = partial(train, batches=batches, num_steps=5, log_every=2)
    own, shared = run(tiny()), run(tiny(), average=average)
    assert shared.losses == pytest.approx([1.5 * loss for loss in own.losses], rel=1e-6)
    assert asked == [2, 2, 1], "asked when losses are read, not at every step"


def test_a_loss_that_is_not_finite_elsewhere_ends_this_process_too():
    readings = Readings(2, 0, lambda numbers: numbers + torch.tensor([[0.0, 0.0], [float("nan"), 0.0]]))
    for _ in range(2):
        readings.add(torch.tensor(1.0), torch.tensor(1.0))
    with pytest.raises(NotFiniteError, match="the loss is nan at step 2"):
        readings.info(2, 8, read=False)
