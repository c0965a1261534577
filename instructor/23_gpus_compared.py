# %% [markdown] id="card" section="Card" kind="lesson"
# # GPUs compared, by their limits and not by their names
#
# **The question:** the data sheet of one GPU promises 63 times the arithmetic of another's. How many times faster is a training step at batch 16: 63x, 6x, or 1x?
#
# About 60 minutes. Afterwards you can
#
# - calculate the time of a step from three numbers of a network and three of a device;
# - say from which batch size on a device works instead of waiting for its next kernel;
# - tell a calculated number from a measured one, and what it takes to trust the first.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# `DATASHEETS` holds what vendors promise; `calibrate` measures the device in front of you. Most of us never touch six kinds of GPU, so most of this notebook *calculates*. Whatever was measured says on what.

# %% id="setup"
import torch

from course_utils.classroom import RooflineExplorer, check, plot_batches, plot_calculated, predict
from course_utils.classroom.step_model import StepWork, against_records, calculated_table, counted_step
from course_utils.classroom.step_model import limits_of, recorded_steps
from course_utils.diffusion import baseline, scale
from course_utils.measure import DATASHEETS, calibrate, measure

device, smoke = "cuda" if torch.cuda.is_available() else "cpu", scale().name == "smoke"
ceilings = calibrate(device)
ceilings

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# A data sheet has a rate of arithmetic and a rate of memory. A third number stands on none: the time to *launch* a kernel, some microseconds in which Python, PyTorch and the driver prepare what the device does next.
#
# You can feel it on any machine, with the smallest network of the course. A batch of 16 has 16 times the pictures of a batch of 1. **How many times as long does a forward pass take here?**

# %% id="guess" tags=["answer"] answer="23.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 8.0
### END SOLUTION
guess = predict("How many times as long does a tiny network take at 16 times the batch?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure

# %% id="measure"
tiny = baseline("smoke").to(device).model.eval()
timings = {}
for batch in (1, 2, 4, 8, 16, 32):
    x_t, t = torch.randn(batch, 3, 32, 32, device=device), torch.full((batch,), 500, device=device)
    with torch.no_grad():
        timings[batch] = measure(tiny, x_t, t)
plot_batches(timings, f"Forward pass of the smallest network, measured on {ceilings.device.name}")

# %% id="reveal-measured"
guess.reveal(timings[16].median_s / timings[1].median_s)

# %% [markdown] id="floor-words"
# Left of the bend you pay for kernels, whatever is in them; right of it for pictures. `calibrate` measured the smallest kernel there is:

# %% id="launch"
print(f"launch on {ceilings.device.name}: {1e6 * ceilings.launch_s:.1f} µs, measured with an addition to one number")

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# Three things must happen in a step, and on a GPU they go on at once: the host launches kernels ahead of time, units compute, memory streams. The slowest of the three is the time of the step:
#
# $$t = \max\left(\frac{\text{FLOP}}{\text{FLOP/s}},\; \frac{\text{bytes}}{\text{bytes/s}},\; \text{kernels} \times t_\text{launch}\right)$$
#
# The first two are the roofline of notebook 04, for a whole step. The third is a floor under everything: it does not know the batch.
#
# ![Time of a step against the batch size: a flat floor of launches, then a slope of memory or of arithmetic; a faster GPU only lowers the slope and moves the bend to the right](figures/23_limits.svg)
#
# A faster device lowers the slopes and leaves the floor where it is, so the bend moves to the right: **a faster GPU needs a larger batch to be faster at all.**
#
# What goes in must be known. *Work* is counted: FLOP, bytes and kernels of one step of the kit's loop, as eager PyTorch runs it. *Rates* are promises of data sheets, dense, never reached. *A launch* is assumed to take 5 µs. NVIDIA's own example ("Getting Started with CUDA Graphs", 2019) needs about 4 µs a kernel from C++; Python adds its share. Where a GPU sits in this machine, put in your measured number.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# `work` has `.flop`, `.bytes_moved`, `.kernels`; `limits` has `.flop_per_s`, `.bytes_per_s`, `.launch_s`. Return the time, and one of the words "compute", "memory", "launch" for what decides it.


# %% id="step-time" tags=["answer"] answer="23.step_time" points=2
def step_time(work, limits):
    """Time of a step on a device: (seconds, "compute" or "memory" or "launch")."""
    ### BEGIN SOLUTION about 6 lines
    seconds = {
        "compute": work.flop / limits.flop_per_s,
        "memory": work.bytes_moved / limits.bytes_per_s,
        "launch": work.kernels * limits.launch_s,
    }
    slowest = max(seconds, key=seconds.get)
    return seconds[slowest], slowest
    ### END SOLUTION


# %% id="step-time-hidden" tags=["hidden-check"] answer="23.step_time"
from course_utils.classroom.step_model import Limits

some = Limits("some", "fp32", 2e13, 5e11, 4e-6, "made up")
for made in (StepWork(4, 1e11, 1e9, 2000), StepWork(4, 1e12, 1e9, 2000), StepWork(4, 1e12, 5e10, 2000)):
    told = step_time(made, some)
    print(f"{1e3 * float(told[0]):.3f} ms", told[1])
# expect: 8.000 ms launch
# expect: 50.000 ms compute
# expect: 100.000 ms memory

# %% id="step-time-secret" tags=["hidden-check"] answer="23.step_time"
some = Limits("some", "bf16", (1 + secret % 9) * 1e13, (1 + secret % 5) * 1e11, (1 + secret % 3) * 1e-6, "made up")
for made in (StepWork(2, 3e13, 1e9, 900), StepWork(2, 1e10, 7e11, 900), StepWork(2, 1e9, 1e6, 9000)):
    told = step_time(made, some)
    print(f"{1e3 * float(told[0]):.3f} ms", told[1])

# %% id="step-time-check" tags=["check"]
step_time = check.step_time(step_time)

# %% [markdown] id="step-time-hints"
# <details><summary>Hint 1</summary>Three quotients or products, each in seconds, each with its word.</details>
# <details><summary>Hint 2</summary>A dictionary from word to seconds keeps them together.</details>
# <details><summary>Hint 3</summary>`max(d, key=d.get)` is the key of the largest value; return the value under it, and the key.</details>

# %% [markdown] id="traffic-words"
# Not all bytes grow with the batch. The update of the weights (Adam, clipping, average) moves the same bytes for one picture as for a thousand. `counted_step` does a step of the large network under the counters, at small batches that a laptop can bear (some 20 s on two cores). From two of them get both parts, and with them any batch.

# %% id="count"
network = "smoke" if smoke else "gpu"
small, large = (counted_step(network, batch, device=device) for batch in (4, 16))
print(small, large, sep="\n")


# %% id="traffic" tags=["answer"] answer="23.traffic" points=1
def traffic(small, large):
    """Split the traffic of a step: (bytes at any batch, bytes for each picture); both know .batch and .bytes_moved."""
    ### BEGIN SOLUTION about 2 lines, stub: fixed = per_image = ...
    per_image = (large.bytes_moved - small.bytes_moved) / (large.batch - small.batch)
    fixed = small.bytes_moved - per_image * small.batch
    ### END SOLUTION
    return fixed, per_image


# %% id="traffic-hidden" tags=["hidden-check"] answer="23.traffic"
print([round(float(part)) for part in traffic(StepWork(3, 1e9, 2.3e6, 10), StepWork(13, 4e9, 9.3e6, 10))])
# expect: [200000, 700000]

# %% id="traffic-secret" tags=["hidden-check"] answer="23.traffic"
least, each = (1 + secret % 9) * 1e6, (1 + secret % 7) * 1e5
few, many = (StepWork(n, 1e9, least + each * n, 10) for n in (2 + secret % 3, 17))
print(*(round(float(part)) for part in traffic(few, many)))

# %% id="traffic-check" tags=["check"]
traffic = check.traffic(traffic)

# %% [markdown] id="traffic-hints"
# <details><summary>Hint 1</summary>Two points, one straight line: bytes = always + batch × each.</details>
# <details><summary>Hint 2</summary>The slope is the difference in bytes over the difference in batch.</details>
# <details><summary>Hint 3</summary>With the slope, go back from the smaller batch to batch 0: what is left is always there.</details>

# %% [markdown] id="crossover-words"
# Now the bend. The floor is kernels times launch. Memory overtakes it at one batch size, arithmetic at another. The smaller of the two is the bend; where memory decides at any batch, it is 0.


# %% id="crossover" tags=["answer"] answer="23.crossover" points=2
def crossover(work, fixed, per_image, limits):
    """The batch size, not rounded, from which a device is no longer bound by launches; work is that of any batch."""
    ### BEGIN SOLUTION about 4 lines
    floor_s = work.kernels * limits.launch_s
    by_memory = (floor_s * limits.bytes_per_s - fixed) / per_image
    by_compute = floor_s * limits.flop_per_s * work.batch / work.flop
    return max(0.0, min(by_memory, by_compute))
    ### END SOLUTION


# %% id="crossover-hidden" tags=["hidden-check"] answer="23.crossover"
from course_utils.classroom.step_model import Limits

some = Limits("some", "fp32", 2e13, 5e11, 4e-6, "made up")
print(*(f"{float(crossover(StepWork(4, flop, 1e9, 2000), 1e9, 1e8, some)):.3f}" for flop in (4e9, 4e10)))
print(float(crossover(StepWork(4, 4e9, 1e10, 2000), 5e9, 1e8, some)) <= 0)
# expect: 30.000 16.000
# expect: True

# %% id="crossover-secret" tags=["hidden-check"] answer="23.crossover"
some = Limits("some", "fp32", (1 + secret % 7) * 1e13, 4e11, (3 + secret % 4) * 1e-6, "made up")
for flop, least in ((5e9, 2e8), (6e10, 1e8), (1e9, 5e8)):
    print(f"{float(crossover(StepWork(8, flop, 3e9, 1500), least, 5e7, some)):.3f}")

# %% id="crossover-check" tags=["check"]
crossover = check.crossover(crossover)

# %% [markdown] id="crossover-hints"
# <details><summary>Hint 1</summary>Write each of the three times for a batch of n, and set the floor equal to the others.</details>
# <details><summary>Hint 2</summary>FLOP for one picture are those of the work over its batch; bytes at batch n are the fixed ones plus n times the others.</details>
# <details><summary>Hint 3</summary>For memory: bytes that pass during the floor, without the fixed ones, over those of a picture. For arithmetic: FLOP that fit into the floor over those of a picture. Never below 0.</details>

# %% [markdown] id="devices-words"
# ### Six data sheets
#
# In half precision the work is another: autocast moves fewer bytes and launches *more* kernels, because it casts. So it is counted, too.

# %% id="works"
counted = {"fp32": (small, large)}
counted["bf16"] = tuple(counted_step(network, n, "half_precision", device=device) for n in (4, 16))
counted["tf32"] = counted["fp32"]  # the same tensors, multiplied by other units


def work_at(batch, dtype):
    """The work of a step at any batch size, on the line through the two counted ones."""
    fixed, per_image = traffic(*counted[dtype])
    few = counted[dtype][0]
    return StepWork(batch, few.flop / few.batch * batch, fixed + per_image * batch, few.kernels)


# %% id="times"
names = ("V100 SXM2", "RTX 8000", "A100 80 GB SXM", "L40S", "H100 SXM", "H200")
launch_s = ceilings.launch_s if device == "cuda" else 5e-6
times = {}
for name in names:
    for dtype in ("fp32", "tf32", "bf16"):
        if limits := limits_of(name, dtype, launch_s=launch_s):
            times[f"{name}, {dtype}"] = {n: step_time(work_at(n, dtype), limits) for n in (1, 16, 128, 512)}
calculated_table(times, f"A training step, {1e6 * launch_s:.1f} µs a launch")

# %% id="plot"
best = {name: [key for key in times if key.startswith(name)][-1] for name in names}
plot_calculated({key: times[key] for key in best.values()})

# %% id="bends"
for name, key in best.items():
    limits = limits_of(name, key.split(", ")[1], launch_s=launch_s)
    fixed, per_image = traffic(*counted[limits.dtype])
    bend = crossover(counted[limits.dtype][0], fixed, per_image, limits)
    print(f"{key:22} {limits.flop_per_s / limits.bytes_per_s:5.0f} FLOP/byte at the ridge, bend at batch {bend:5.1f}")

# %% id="explore-devices"
RooflineExplorer(ceilings)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal
#
# The card's question, *calculated*:

# %% id="reveal-card"
old, new = times["V100 SXM2, fp32"], times["H200, bf16"]
print(f"arithmetic: {DATASHEETS['H200'].flop_per_s['bf16'] / DATASHEETS['V100 SXM2'].flop_per_s['fp32']:.0f}x")
for batch in old:
    print(f"batch {batch:3}: {old[batch][0] / new[batch][0]:5.1f}x  ({old[batch][1]} against {new[batch][1]})")

# %% [markdown] id="records-words"
# And what was measured? All training steps that lie in `results/`: shipped ones, and your own from `python -m course_utils bench`.

# %% id="records"
against_records(recorded_steps(), ceilings, step_time, launch_s=launch_s)

# %% [markdown] id="why"
# By the formula, at batch 16 the newest GPU waits for its launches and the oldest nearly so: both take about as long, and half precision, with its additional casts, may even take longer. A data sheet's factor appears only where arithmetic decides. This network in eager mode seldom gets there: most of its kernels are elementwise, so on the modern cards, with their hundreds of FLOP per byte at the ridge, memory takes over where launches leave off. There the ratio of *bandwidths* is what you buy.
#
# That is why remedies differ by regime. Launch-bound: a larger batch, a compiler that makes one kernel of five, CUDA graphs. Memory-bound: fusion, fewer bytes a number, channels last. Compute-bound: another number format, a cheaper network.
#
# **How far to trust this.** A row with a ratio compares a record with the formula: on a processor, which has no queue for launches and takes them in turn with the work, it should lie above 1. Devices in the last line have no record here, and their numbers are calculations, nothing else. The formula is an optimist: rates that nobody reaches, full overlap, no gap between kernels, a launch that may take twice as long with a slow host. Use it for ratios and for the *kind* of limit; before you spend a budget, measure: `sbatch slurm/bench_gpus.sh` on each type, and this table grows by a row.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A device is three numbers, and so is a training step; the slowest pair decides. Small batches make all GPUs equal. Ask which limit a step sits at before you ask for a faster card, and keep calculated and measured numbers apart.
#
# *Go further.* Set `launch_s` to 1 µs, as if a CUDA graph replayed the step: which bends move below batch 16? Then replace the bytes by fused ones (`count(...).fused_bytes` in notebook 04): which cards become compute-bound?
