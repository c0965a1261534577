"""Visible checks of 21_data_parallel."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_utils.classroom.authoring.solutions import is_placeholder
from course_utils.classroom.checks.framework import Report, Unanswered, exercise
from course_utils.diffusion import LossModule, baseline, denoising_loss
from course_utils.experiments.launcher import launch

__all__ = ["shard", "whole_gradient", "worker"]

PROCESSES = 2
IMAGES = 8
KIT_WORKER = """\
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from course_utils.diffusion import LossModule, baseline, denoising_loss

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(rank)
patient = baseline("smoke")
loss_of = LossModule(patient.model, patient.process, denoising_loss)
x_0, t, eps = torch.load("batch.pt")
seen = []
loss_of.register_forward_pre_hook(lambda module, given: seen.extend(given[1].tolist()))
wrapped = DistributedDataParallel(loss_of)
wrapped(*(part.chunk(world_size)[rank] for part in (x_0, t, eps))).backward()
torch.save([seen, [weight.grad for weight in loss_of.parameters()]], f"gradients-{rank}.pt")
dist.destroy_process_group()
"""


def kit_whole_gradient(gradients: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The gradient of the mean over all images from those of each shard's mean, and the shards' sizes."""
    weighted = torch.stack([size * gradient for gradient, size in zip(gradients, sizes, strict=True)])
    return weighted.sum(0) / sum(sizes)


@exercise(own=kit_whole_gradient)
def whole_gradient(answer: Callable[[list[Tensor], list[int]], Tensor], report: Report) -> None:
    """Check `whole_gradient(gradients, sizes)` against the gradient of a whole batch, by autograd."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(12, 3, generator=generator), torch.randn(12, generator=generator)
    whole = _slope(x, y)
    for sizes, hint in (
        ((6, 6), "equal shards count equally: their plain mean"),
        ((3, 3, 3, 3), "there may be more than two shards"),
        ((9, 3), "a shard of 9 images counts three times as much as one of 3"),
        ((1, 4, 7), "each counts by its images; divide by the sum of the sizes"),
    ):
        gradients = [_slope(*shard) for shard in zip(x.split(sizes), y.split(sizes), strict=True)]
        got = report.call(answer, gradients, list(sizes))
        if not report.close(f"shards of {', '.join(map(str, sizes))}", got, whole, hint=hint):
            return


def _slope(x: Tensor, y: Tensor) -> Tensor:
    """The gradient of a mean squared error, x (N, 3), y (N,) -> (3,)."""
    weight = torch.ones(3, requires_grad=True)
    return torch.autograd.grad((x @ weight - y).square().mean(), weight)[0]


def kit_shard(n: int, epoch: int, rank: int, world_size: int) -> Tensor:
    """Which of n images a process of this rank takes in an epoch; the tail that does not divide is left out."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch))
    return order[: n - n % world_size][rank::world_size]


@exercise(own=kit_shard)
def shard(answer: Callable[[int, int, int, int], Any], report: Report) -> None:
    """Check `shard(n, epoch, rank, world_size)`: no overlap, equal parts, one shuffled order for all, another next."""
    for n, world_size in ((12, 3), (11, 2), (50, 4)):
        parts = [_numbers(report.call(answer, n, 5, rank, world_size)) for rank in range(world_size)]
        drawn, what = [one for part in parts for one in part], f"{n} images, {world_size} processes"
        each = n // world_size
        lengths = [len(part) for part in parts]
        bad = f"{what}: the parts have {lengths} images, wanted {each} each; who has more keeps the others waiting"
        if not report.expect(lengths == [each] * world_size, f"{what}: {each} each", bad):
            return
        twice = len(drawn) - len(set(drawn))
        bad = f"{what}: {twice} images are in two parts; all must cut one order, the same in every process"
        if not report.expect(not twice, f"{what}: no image twice", bad):
            return
        inside = set(drawn) <= set(range(n))
        if not report.expect(inside, f"{what}: numbers from 0 to {n - 1}", f"{what}: numbers beyond 0 to {n - 1}"):
            return
    _check_order(answer, report)


def _check_order(answer: Callable[[int, int, int, int], Any], report: Report) -> None:
    """The order is random, the same when asked again, another one in the next epoch."""
    first, again, later = (_numbers(report.call(answer, 50, epoch, 0, 2)) for epoch in (0, 0, 1))
    bad = "asked twice for one epoch, the answers differ: seed a generator of its own with the epoch"
    report.expect(first == again, "the same when asked again", bad)
    bad = "epochs 0 and 1 have the same order: it must depend on the epoch"
    report.expect(first != later, "another order in the next epoch", bad)
    both = first + _numbers(report.call(answer, 50, 0, 1, 2))
    steps = {later - sooner for sooner, later in pairwise(both)}
    bad = "the images come in their order in the file: shuffle them (torch.randperm), or each batch has neighbours"
    report.expect(len(steps) > 3, "shuffled", bad)


def _numbers(part: Any) -> list[int]:
    """Indices as plain numbers, be they a tensor, an array or a list."""
    return [int(one) for one in part]


class Written:
    """A worker in a file, launched at most once: calling it starts the processes and returns what each has left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.__name__ = path.name
        self.told: list[Any] | None = None

    def __call__(self) -> list[Any]:
        """Of each process: [the t it was given, its gradients], or None where it left nothing."""
        if any(is_placeholder(line) for line in self.path.read_text(encoding="utf-8").splitlines()):
            raise Unanswered
        if self.told is None:
            self.told = launched(self.path)
        return self.told


def launched(path: Path) -> list[Any]:
    """Start two processes of a worker beside its file and load what they leave there, by rank."""
    left = [path.with_name(f"gradients-{rank}.pt") for rank in range(PROCESSES)]
    for file in left:
        file.unlink(missing_ok=True)
    torch.save(batch(), path.with_name("batch.pt"))
    launch(path.name, processes=PROCESSES, folder=path.parent)
    return [torch.load(file) if file.exists() else None for file in left]


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """x_0 (N, 3, 32, 32), t (N,), each t another one, and eps (N, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(8)
    x_0, eps = torch.randn(2, IMAGES, 3, 32, 32, generator=generator)
    return x_0.clamp(-1, 1), torch.arange(50, 1000, 1000 // IMAGES), eps


def reference_gradients() -> list[Tensor]:
    """The gradients of one process on the whole batch, with the weights of process 0."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        patient = baseline("smoke")
    loss_of = LossModule(patient.model, patient.process, denoising_loss)
    return list(torch.autograd.grad(loss_of(*batch()), list(loss_of.parameters())))


def worker(path: str | Path = "worker.py") -> list[list[Tensor]]:
    """Check the worker in a file; -> the gradients of each process, those of the kit's worker where it failed."""
    told = _checked(Written(Path(path).resolve()))()
    return [gradients for _, gradients in told]


def kit_worker() -> list[Any]:
    """What the processes of the kit's own worker leave."""
    with tempfile.TemporaryDirectory(prefix="course-worker-") as folder:
        own = Path(folder).resolve() / "kit_worker.py"
        own.write_text(KIT_WORKER, encoding="utf-8")
        return Written(own)()


def _look(answer: Callable[..., Any], report: Report) -> None:
    """Look at what two processes of a worker leave: whether both did, their shares, their gradients."""
    told = report.call(answer)
    for rank, one in enumerate(told):
        good = one is not None and all(gradient is not None for gradient in one[1])
        bad = f"process {rank} has no gradients: is backward() called on the loss of what DDP returned?"
        if not report.expect(good, f"process {rank} has gradients", bad):
            return
    shares, timesteps = [sorted(seen) for seen, _ in told], batch()[1].tolist()
    bad = f"the processes worked on images {[_places(seen, timesteps) for seen in shares]}, wanted each image in one"
    equal = len({len(seen) for seen in shares}) == 1
    if not report.expect(equal and sorted(chain(*shares)) == timesteps, "each image in one of equal shares", bad):
        return
    first, *others = [torch.cat([gradient.flatten() for gradient in gradients]) for _, gradients in told]
    bad = "the processes have different gradients: only calls of the module that DDP returns are averaged"
    if not all(report.expect(torch.equal(first, other), "all have the same gradients", bad) for other in others):
        return
    wanted = torch.cat([gradient.flatten() for gradient in reference_gradients()])
    hint = "do all start with the weights of process 0, and is it a mean, not a sum?"
    report.close("the gradients of one process with the whole batch", first, wanted, rtol=1e-3, atol=1e-5, hint=hint)


def _places(seen: Sequence[int], timesteps: Sequence[int]) -> list[int]:
    return [timesteps.index(t) for t in seen if t in timesteps]


_look.__name__ = "worker"
_checked = exercise(own=kit_worker)(_look)
