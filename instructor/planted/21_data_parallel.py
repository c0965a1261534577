# %% [markdown]
# # Planted answers of `21_data_parallel`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="21.whole_gradient" case="plain-mean" points=0
def whole_gradient(gradients, sizes):
    """Gradient of the mean over all pictures: a list of tensors, one a shard, and the shards' sizes -> a tensor."""
    return sum(gradients) / len(gradients)


# %% answer="21.whole_gradient" case="not-divided" points=0
def whole_gradient(gradients, sizes):
    """Gradient of the mean over all pictures: a list of tensors, one a shard, and the shards' sizes -> a tensor."""
    return sum(size * gradient for size, gradient in zip(sizes, gradients, strict=True))


# %% answer="21.whole_gradient" case="divided-by-shards" points=0
def whole_gradient(gradients, sizes):
    """Gradient of the mean over all pictures: a list of tensors, one a shard, and the shards' sizes -> a tensor."""
    return sum(size * gradient for size, gradient in zip(sizes, gradients, strict=True)) / len(sizes)


# %% answer="21.whole_gradient" case="weights-upside-down" points=0
def whole_gradient(gradients, sizes):
    """Gradient of the mean over all pictures: a list of tensors, one a shard, and the shards' sizes -> a tensor."""
    return sum(gradient / size for size, gradient in zip(sizes, gradients, strict=True)) / sum(
        1 / size for size in sizes
    )


# %% answer="21.whole_gradient" case="stacked-and-weighed" points=1
def whole_gradient(gradients, sizes):
    """Gradient of the mean over all pictures: a list of tensors, one a shard, and the shards' sizes -> a tensor."""
    weights = torch.tensor(sizes, dtype=gradients[0].dtype)
    return torch.tensordot(weights / weights.sum(), torch.stack(gradients), dims=1)


# %% answer="21.whole_gradient" case="running-sum" points=1
def whole_gradient(gradients, sizes):
    """Gradient of the mean over all pictures: a list of tensors, one a shard, and the shards' sizes -> a tensor."""
    total, count = torch.zeros_like(gradients[0]), 0
    for gradient, size in zip(gradients, sizes):
        total += gradient * size
        count += size
    return total / count


# %% answer="21.shard" case="not-shuffled" points=0
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    each = n // world_size
    return torch.arange(n)[rank * each : (rank + 1) * each]


# %% answer="21.shard" case="each-its-own-order" points=0
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch + rank))
    each = n // world_size
    return order[rank * each : (rank + 1) * each]


# %% answer="21.shard" case="same-in-every-epoch" points=0
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    each = n // world_size
    return order[rank * each : (rank + 1) * each]


# %% answer="21.shard" case="rest-shared-unequally" points=0
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch))
    return order[rank::world_size]


# %% answer="21.shard" case="no-seed" points=0
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    order = torch.randperm(n)
    each = n // world_size
    return order[rank * each : (rank + 1) * each]


# %% answer="21.shard" case="every-nth" points=2
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1000 + epoch))
    return order[: n // world_size * world_size][rank::world_size]


# %% answer="21.shard" case="python-s-own-shuffle" points=2
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    import random

    order = list(range(n))
    random.Random(epoch).shuffle(order)
    return torch.tensor(order).split(n // world_size)[rank]


# %% answer="21.worker" case="not-wrapped-in-the-call" points=0
# %%writefile worker.py
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from course_utils.diffusion import LossModule, baseline, denoising_loss

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(rank)
patient, seen = baseline("smoke"), []
loss_of = LossModule(patient.model, patient.process, denoising_loss)
loss_of.register_forward_pre_hook(lambda module, given: seen.extend(given[1].tolist()))  # keeps account
x_0, t, eps = torch.load("batch.pt")  # the whole batch: (N, 3, 32, 32), (N,), (N, 3, 32, 32)
together = DistributedDataParallel(loss_of)
own = slice(rank, None, world_size)
loss_of(x_0[own], t[own], eps[own]).backward()
torch.save([seen, [weight.grad for weight in loss_of.parameters()]], f"gradients-{rank}.pt")
dist.destroy_process_group()

# %% answer="21.worker" case="the-whole-batch-each" points=0
# %%writefile worker.py
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from course_utils.diffusion import LossModule, baseline, denoising_loss

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(rank)
patient, seen = baseline("smoke"), []
loss_of = LossModule(patient.model, patient.process, denoising_loss)
loss_of.register_forward_pre_hook(lambda module, given: seen.extend(given[1].tolist()))  # keeps account
x_0, t, eps = torch.load("batch.pt")  # the whole batch: (N, 3, 32, 32), (N,), (N, 3, 32, 32)
together = DistributedDataParallel(loss_of)
together(x_0, t, eps).backward()
torch.save([seen, [weight.grad for weight in loss_of.parameters()]], f"gradients-{rank}.pt")
dist.destroy_process_group()

# %% answer="21.worker" case="never-backward" points=0
# %%writefile worker.py
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from course_utils.diffusion import LossModule, baseline, denoising_loss

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(rank)
patient, seen = baseline("smoke"), []
loss_of = LossModule(patient.model, patient.process, denoising_loss)
loss_of.register_forward_pre_hook(lambda module, given: seen.extend(given[1].tolist()))  # keeps account
x_0, t, eps = torch.load("batch.pt")  # the whole batch: (N, 3, 32, 32), (N,), (N, 3, 32, 32)
together = DistributedDataParallel(loss_of)
own = slice(rank, None, world_size)
loss = together(x_0[own], t[own], eps[own])
torch.save([seen, [weight.grad for weight in loss_of.parameters()]], f"gradients-{rank}.pt")
dist.destroy_process_group()

# %% answer="21.worker" case="halves-by-chunk" points=3
# %%writefile worker.py
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from course_utils.diffusion import LossModule, baseline, denoising_loss

dist.init_process_group("gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(rank)
patient, seen = baseline("smoke"), []
loss_of = LossModule(patient.model, patient.process, denoising_loss)
loss_of.register_forward_pre_hook(lambda module, given: seen.extend(given[1].tolist()))  # keeps account
x_0, t, eps = torch.load("batch.pt")  # the whole batch: (N, 3, 32, 32), (N,), (N, 3, 32, 32)
together = DistributedDataParallel(loss_of)
loss = together(*(part.chunk(world_size)[rank] for part in (x_0, t, eps)))
loss.backward()
torch.save([seen, [weight.grad for weight in loss_of.parameters()]], f"gradients-{rank}.pt")
dist.destroy_process_group()
