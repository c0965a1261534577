# %% [markdown] id="card" section="Card"
# # Data parallel
#
# **The question:** two processor cores, one batch. One process may use both cores, or two processes one core each, which then have to agree on every gradient. How many times as many pictures a second do the two processes train: 0.5x, 1.0x or 1.5x?
#
# About 60 minutes. Afterwards you can
#
# - say what `DataParallel` does in every step, and why it disappoints;
# - say what `DistributedDataParallel` (DDP) does instead, and what it pays for;
# - write a worker, start it with torchrun, and prove that two processes train what one would.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# Everything here runs on a CPU: two processes that talk by *gloo*, where GPUs talk by NCCL. The program is the same. With two GPUs or more, they do the timed steps.

# %% id="setup"
import torch
from torch import nn

from course_utils.classroom import check, keep_step, plot_layouts, predict
from course_utils.classroom.checks.parallel import reference_gradients
from course_utils.diffusion import baseline, scale
from course_utils.experiments.one_step import training_step
from course_utils.experiments.scaling import time_scaling
from course_utils.measure import compare, cores_granted, same_function, verdict
from course_utils.speedups import data_parallel, replicated

# %% id="sizes"
on, smoke = "cuda" if torch.cuda.device_count() > 1 else "cpu", scale().name == "smoke"
size = scale("laptop") if on == "cpu" and not smoke else scale()
patient, batch = baseline(size.name).to(on), size.batch_size
print(f"{patient.num_parameters:,} weights, {batch} pictures a step, {cores_granted()} cores")

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# With $n$ processes each works on $1/n$ of the batch, and then they add up their gradients: four bytes a weight, which two processes send once each way. At the memory's speed, of some GB a second, how long does that take for the number of weights above? Against a training step of half a second on a laptop?
#
# On the other side: one process with two threads splits *each operation*. What is too small to be split, and Python itself, one core does alone. **Two processes of one thread against one process of two: how many times as many pictures a second, at the same batch?**

# %% id="guess" tags=["answer"] answer="21.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 1.1
### END SOLUTION
guess = predict("How many times as many pictures a second do two processes train as two threads?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# The obvious way first: one process, two copies of the network, each on half of the batch. On GPUs that is one line, `nn.DataParallel(model)`. `replicated` is the same by hand, small enough to be read, and runs on a CPU.

# %% id="measure"
copies = patient.with_model(data_parallel(patient.model) if on == "cuda" else replicated(patient.model, 2))
steps = {"one network": training_step(patient, batch), "two copies": training_step(copies, batch)}
compare(steps, images_per_call=batch, max_time_s=3 if smoke else 30, memory=False)

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# The loss of a batch is a mean over its pictures, and so is its gradient. Cut the batch $B$ into shards $B_1 \dots B_n$, and
#
# $$\nabla \frac{1}{|B|}\sum_{x \in B} \ell(x) = \sum_i \frac{|B_i|}{|B|}\, g_i, \qquad g_i = \nabla \frac{1}{|B_i|}\sum_{x \in B_i} \ell(x)$$
#
# Nothing is approximated. All that is left is to arrange who works on what, and who sends what to whom.
#
# ![DataParallel: one process copies weights to both devices and fetches answers and gradients, in each step; DDP: two processes keep their weights and exchange gradients alone](figures/21_data_parallel.svg)
#
# **DataParallel** is one Python process. In *every* step it cuts the batch, copies all weights to all other devices, calls the copies in threads that share one interpreter, fetches all answers to the first device, computes the loss there, and collects all gradients there. The first device does the rest (clipping, Adam, the average) while the others wait. PyTorch's own manual advises against it.
#
# **DDP** is one process a device. Weights are sent once, at the start. Then each process draws its own shard, runs its own forward and backward pass, and in each step gradients alone are exchanged: an *all-reduce*, after which all have their mean. Since all begin equal and apply equal gradients, their weights stay equal, and no process is the first. The gradients leave in *buckets* of 25 MiB as soon as the backward pass has made them, so that sending and computing overlap (Li et al., 2020). Notebook 22 counts what remains.
#
# What DDP pays: a copy of everything in each process, and the wait for the slowest.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# First the mean. Each shard's gradient is one of a mean over *its* pictures.


# %% id="whole-gradient" tags=["answer"] answer="21.whole_gradient" points=1
def whole_gradient(gradients, sizes):
    """Gradient of the mean over all pictures: a list of tensors, one a shard, and the shards' sizes -> a tensor."""
    ### BEGIN SOLUTION about 2 lines
    total = sum(size * gradient for size, gradient in zip(sizes, gradients, strict=True))
    return total / sum(sizes)
    ### END SOLUTION


# %% id="whole-gradient-hidden" tags=["hidden-check"] answer="21.whole_gradient"
made = [torch.tensor([1.0, -2.0]), torch.tensor([4.0, 0.5]), torch.tensor([0.0, 8.0])]
print(*(f"{value:.4f}" for value in whole_gradient(made, [5, 1, 2]).tolist()))
# expect: 1.1250 0.8125

# %% id="whole-gradient-secret" tags=["hidden-check"] answer="21.whole_gradient"
made = list(torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(secret)))
told = whole_gradient(made, [1 + secret % 5, 7, 2, 3 + secret % 3])
print(tuple(told.shape), *(f"{value:.4f}" for value in told.flatten().tolist()))

# %% id="whole-gradient-check" tags=["check"]
whole_gradient = check.whole_gradient(whole_gradient)

# %% [markdown] id="whole-gradient-hints"
# <details><summary>Hint 1</summary>Undo each mean: what is the sum of a shard's gradients, if you know their mean and their number?</details>
# <details><summary>Hint 2</summary>Add up the sums of all shards. By how many pictures must that be divided?</details>
# <details><summary>Hint 3</summary>Multiply each gradient by its shard's size, add up, and divide by the sum of the sizes. `zip` walks through both lists together.</details>

# %% [markdown] id="fails-words"
# DDP does not know your sizes: it takes the plain mean, each shard counts as much as another. When is that wrong? And is there anything that no weighting mends?


# %% id="gradient"
def gradient(net, x):
    """All gradients of a small network's mean loss on x (N, 3, 8, 8), as one vector."""
    parts = torch.autograd.grad(net(x).square().mean(), list(net.parameters()))
    return torch.cat([part.flatten() for part in parts])


# %% id="fails"
x = torch.randn(8, 3, 8, 8) * torch.arange(1, 9).view(8, 1, 1, 1)
for norm in (nn.GroupNorm(2, 4), nn.BatchNorm2d(4)):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.SiLU(), nn.Conv2d(4, 1, 3))
    whole = gradient(net, x)
    for sizes in ((4, 4), (6, 2)):
        shards = [gradient(net, part) for part in x.split(sizes)]
        ways = {"plain mean": sum(shards) / 2, "by size": whole_gradient(shards, sizes)}
        off = {way: f"{((mean - whole).norm() / whole.norm()).item():.1%}" for way, mean in ways.items()}
        print(type(norm).__name__, sizes, off)

# %% [markdown] id="fails-why"
# Unequal shards need weights, and the simplest cure is never to make any. Batch norm is another matter: its answer for a picture depends on the other pictures of the *shard*, so two shards of four are another function than one batch of eight (`SyncBatchNorm` exchanges the statistics as well, in each layer). Our U-Net normalises each picture by itself.
#
# So: equal shards, without overlap. All processes must cut the *same* shuffled order, without a word to each other, and shuffle anew in each epoch. What does not divide is left out.


# %% id="shard" tags=["answer"] answer="21.shard" points=2
def shard(n, epoch, rank, world_size):
    """Which of n pictures process `rank` of `world_size` takes in an epoch -> int64 (n // world_size,)."""
    ### BEGIN SOLUTION about 3 lines
    order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch))
    each = n // world_size
    return order[rank * each : (rank + 1) * each]
    ### END SOLUTION


# %% id="shard-hidden" tags=["hidden-check"] answer="21.shard"
parts = [[int(one) for one in shard(103, 7, rank, 4)] for rank in range(4)]
drawn = [one for part in parts for one in part]
again = [int(one) for one in shard(103, 7, 3, 4)]
print([len(part) for part in parts], len(set(drawn)), max(drawn) < 103, again == parts[3], drawn == sorted(drawn))
# expect: [25, 25, 25, 25] 100 True True False

# %% id="shard-secret" tags=["hidden-check"] answer="21.shard"
asked, among, epoch = 90 + secret % 60, 3 + secret % 4, secret % 1000
parts = [[int(one) for one in shard(asked, epoch, rank, among)] for rank in range(among)]
drawn = [one for part in parts for one in part]
later = [int(one) for one in shard(asked, epoch + 1, 0, among)]
print([len(part) for part in parts], len(set(drawn)), min(drawn) >= 0, max(drawn) < asked, later == parts[0])

# %% id="shard-check" tags=["check"]
shard = check.shard(shard)

# %% [markdown] id="shard-hints"
# <details><summary>Hint 1</summary>A generator seeded with the epoch gives the same order in every process: `torch.randperm` takes one.</details>
# <details><summary>Hint 2</summary>How many pictures does each get, if all get equally many? Integer division.</details>
# <details><summary>Hint 3</summary>Shuffle all n with `torch.Generator().manual_seed(...)` of the epoch, then take the slice that begins at rank times the length of a part.</details>

# %% [markdown] id="worker-words"
# Now the worker: a *program*, which torchrun starts as often as you say. It tells each process its rank in the environment, and `init_process_group` lets them find each other. Note the seed: every process begins with weights of its own. What DDP does when it is made sets that right.
#
# Wrap the loss module, take your share of the batch, call what you wrapped, and run backward.

# %% id="worker" tags=["answer"] answer="21.worker" points=3
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
### BEGIN SOLUTION about 3 lines
together = DistributedDataParallel(loss_of)
own = slice(rank, None, world_size)
together(x_0[own], t[own], eps[own]).backward()
### END SOLUTION
torch.save([seen, [weight.grad for weight in loss_of.parameters()]], f"gradients-{rank}.pt")
dist.destroy_process_group()

# %% id="worker-hidden" tags=["hidden-check"] answer="21.worker"
from pathlib import Path
from course_utils.experiments.launcher import launch

source = torch.Generator().manual_seed(secret)
x_0, eps = torch.randn(2, 8, 3, 32, 32, generator=source)  # each (8, 3, 32, 32)
torch.save((x_0, 100 * torch.arange(8) + secret % 100, eps), "batch.pt")
launch("worker.py", folder=Path.cwd(), show=False)
told = [torch.load(f"gradients-{rank}.pt") for rank in range(2)]
print(sorted(told[0][0] + told[1][0]), [len(seen) for seen, _ in told])
print(*(f"{torch.stack([part.norm() for part in parts]).norm().item():.3f}" for _, parts in told))

# %% id="worker-check" tags=["check"]
gradients = check.worker("worker.py")

# %% [markdown] id="worker-hints"
# <details><summary>Hint 1</summary>`DistributedDataParallel` takes a module and returns one that is called the same way. Only its own calls are averaged.</details>
# <details><summary>Hint 2</summary>Each of the three tensors has the picture as its first dimension: cut all three alike, by rank. Every second picture is as good as one half.</details>
# <details><summary>Hint 3</summary>One line wraps `loss_of`, one makes the slice that starts at your rank and goes in steps of the number of processes, one calls what you wrapped on the three cut tensors, and goes backward from the loss.</details>

# %% [markdown] id="again-words" section="Measure again"
# ## Measure again
#
# Now whole training steps in several layouts, in turns within one run of torchrun: one process with one and with two threads, the two copies, and two processes with DDP. They are given the whole batch each, half of it each, and the whole batch without any exchange, which shows what the other process costs by being there.

# %% id="again"
race = time_scaling(processes=2, batch_size=batch, rounds=3 if smoke else 9, size=size.name, device=on)
race

# %% id="again-plot"
plot_layouts(race, "Training steps on this machine")

# %% [markdown] id="draw-words" section="Does it still draw?"
# ## Does it still draw?
#
# Two processes must train what one would. So compare gradients, before any step is made of them: those of process 0 and 1 with those of one process that has the whole batch. The order of the sums differs, so the last digits may.

# %% id="gate"
single = torch.cat([part.flatten() for part in reference_gradients()])
both = [torch.cat([part.flatten() for part in parts]) for parts in gradients]
print("the processes agree to the bit:", torch.equal(*both))
gate = same_function(single, both[1], rtol=1e-3, atol=1e-5)
gate

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
halves, single_process = f"2 processes, {batch // 2} each", "1 process, 2 threads" if on == "cpu" else "1 process"
gained = race.speedup(halves, single_process)
guess.reveal(gained)

# %% [markdown] id="why"
# Two cores are two cores, however they are shared out, so nothing like 2x was to be had. If the processes won, it is by what threads cannot split: small operations, and Python. If they lost, it is by the exchange, and by reading all weights twice through one memory. Compare the rows with and without exchange: their difference is the all-reduce and the wait for the slower one.
#
# The two copies in one process gain in the forward pass at most: on a CPU the backward pass of all of them runs in one thread. On GPUs each device has a thread for that, yet weights travel to all devices and gradients back in every step, through the first device's link, while one interpreter launches the kernels of all.
#
# On GPUs the question is another one. A second process brings a second device with its own memory, so the row to hope for is the one with the whole batch each, at twice the pictures a second. What is left of that with 2 and with 1,024 of them is notebook 22. There DDP is the only sensible choice, `python -m course_utils train --ddp` under torchrun or srun.
#
# Its exactness holds for *equal global batches*. Twice the devices at the old batch for each is twice the batch: another training run, with its own learning rate.

# %% id="step"
decided = verdict(gained, gate, exactness="exact")
if size == scale():  # else it was timed on the CPU of a machine that has a GPU
    print(keep_step("distributed", decided, img_per_s=batch / race.median_s(halves)))
decided

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# The gradient of a mean is the mean of gradients: data parallelism is exact, as long as shards are equal and pictures do not see each other. One process a device, weights sent once, gradients alone exchanged while the backward pass still runs. `DataParallel` does everything again in every step, and one process does it for all.
#
# *Go further.* Take `register_forward_pre_hook` out of your worker and time ten steps. Then call `loss_of` in the place of the wrapped module: does anything warn you? And what do the processes do if only one of them skips a batch?
