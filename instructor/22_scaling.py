# %% [markdown] id="card" section="Card" kind="reading"
# # Scaling
#
# **The question:** 1,024 GPUs, each with its own 128 pictures a step. How much of their time is useful: nine tenths, a half or an eighth? Two processes on this machine and one formula will answer it, and then a second question turns out to matter more.
#
# About 60 minutes. Afterwards you can
#
# - say how long an all-reduce takes, from a link's latency and bandwidth;
# - fit both to times that you measured yourself;
# - predict weak and strong scaling, and name the assumption under each number.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# Two processes on this machine take the place of GPUs. They talk through the kernel's memory, by gloo.

# %% id="setup"
import numpy as np

from course_utils.classroom import check, plot_forecast, plot_messages, predict
from course_utils.diffusion import baseline, load_base, load_heldout, scale
from course_utils.experiments.all_reduce import SIZES, time_all_reduce
from course_utils.experiments.noise_scale import squared_norms
from course_utils.experiments.scaling import predicted, time_scaling
from course_utils.measure import Link, critical_batch, useful_share

# %% id="sizes"
smoke = scale().name == "smoke"
size = scale("smoke" if smoke else "laptop")  # processes on a CPU, also where there is a GPU
gradient_bytes = 4 * baseline(size.name).num_parameters
print(f"{gradient_bytes / 1e6:.1f} MB of gradients at {size.name} scale")

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# Both processes hold a message of a megabyte, and in the end both shall hold the sum. Each sends half of it to the other, adds what it gets, and sends the sum back: a megabyte out and a megabyte in, for each. Memory moves some 10 GB/s on a core, but a message between processes is copied several times: into the kernel, out of it, and once more to be added.
#
# **How many MB does each process send per second while they add up a megabyte?**

# %% id="guess" tags=["answer"] answer="22.guess" points=0
### BEGIN SOLUTION about 1 line, stub: rate = ...
rate = 1000
### END SOLUTION
guess = predict("How many MB/s does each of two processes send in an all-reduce of 1 MiB?", rate, unit="MB/s")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# An all-reduce of messages from 1 KiB to 16 MiB, in turns, the slower of the two processes counting. (The last column is the kit's own fit. Yours follows.)

# %% id="measure"
sizes = SIZES[1::2] if smoke else SIZES
messages = time_all_reduce(sizes, processes=2, rounds=5 if smoke else 30, device="cpu")
messages

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# Were all to send everything to one process, that one's link would carry $n - 1$ messages. In a **ring** each sends to its neighbour alone, a part of the message at a time. After $n - 1$ steps each holds one part of the sum, after $n - 1$ more all parts have gone round:
#
# $$T(S, n) = 2(n-1)\left(\alpha + \frac{S}{n B}\right)$$
#
# with $S$ bytes, a link of $B$ bytes a second in one direction, and $\alpha$ seconds that each step takes before its first byte moves. The second term is $\frac{2(n-1)}{n} \cdot \frac{S}{B}$: it stops growing. Ten GPUs or a thousand, each sends the gradients not quite twice. The first term does grow with $n$.
#
# ![One step of a ring of four processes, its six steps, and a training step whose exchange begins during the backward pass](figures/22_ring.svg)
#
# DDP begins to send as soon as the backward pass has filled a first bucket. If the share $h$ of the compute goes on beside the exchange, only the rest is waited for:
#
# $$T_\text{step} = T_\text{compute} + \max(0,\; T(S, n) - h\,T_\text{compute})$$
#
# The backward pass is about two thirds of the compute, so $h \le 2/3$. On a CPU nothing is free: who sends, computes less.
#
# **Weak scaling** leaves each process its batch: compute stays, and all together do $n$ times the pictures. **Strong scaling** divides one batch: compute shrinks as $1/n$, and the exchange does not. *Efficiency* is the compute's share of the time.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# The ring.


# %% id="ring" tags=["answer"] answer="22.ring_s" points=1
def ring_s(nbytes, n, alpha_s, bytes_per_s):
    """Seconds of an all-reduce of nbytes among n processes."""
    ### BEGIN SOLUTION about 1 line
    return 2 * (n - 1) * (alpha_s + nbytes / (n * bytes_per_s))
    ### END SOLUTION


# %% id="ring-hidden" tags=["hidden-check"] answer="22.ring_s"
print(*(f"{1e6 * float(ring_s(*a)):.3f}" for a in ((3e6, 3, 2e-5, 1e9), (8e6, 8, 0, 7e9), (0, 6, 1e-5, 1e9))))
# expect: 4080.000 2000.000 100.000

# %% id="ring-secret" tags=["hidden-check"] answer="22.ring_s"
for made in ((4e6, 2 + secret % 9, 3e-5, 2e9), ((1 + secret % 50) * 1e4, 5, 1e-4, 1e9)):
    print(f"{1e6 * float(ring_s(*made)):.3f}")

# %% id="ring-check" tags=["check"]
ring_s = check.ring_s(ring_s)

# %% [markdown] id="ring-hints"
# <details><summary>Hint 1</summary>How many steps are there, and how many bytes does each of them carry?</details>
# <details><summary>Hint 2</summary>A step takes its latency, and then its bytes over the bandwidth. It carries one part of n.</details>
# <details><summary>Hint 3</summary>Twice n - 1 steps, times the sum of two terms: alpha_s, and nbytes over n over bytes_per_s.</details>

# %% [markdown] id="fit-words"
# Now find $\alpha$ and $B$ in measured times. Against $S$ the time is a straight line: what are its constant and its slope? A plain least-squares fit cares for the longest times alone, and $\alpha$ lives in the shortest: weigh each error by its own time (`np.polyfit` takes `w`).


# %% id="fit" tags=["answer"] answer="22.fit_ring" points=2
def fit_ring(nbytes, seconds, n):
    """Latency and bandwidth of the ring that fits: lists of message sizes and times -> (alpha_s, bytes_per_s)."""
    ### BEGIN SOLUTION about 3 lines
    slope, constant = np.polyfit(nbytes, seconds, 1, w=1 / np.array(seconds))
    steps = 2 * (n - 1)
    return constant / steps, steps / n / slope
    ### END SOLUTION


# %% id="fit-hidden" tags=["hidden-check"] answer="22.fit_ring"
at = [10.0**power for power in range(3, 9)]
exact = [10 * (3e-5 + one / 6 / 2e9) for one in at]
wobbling = [one * (1.1 if i % 2 else 0.9) for i, one in enumerate(exact)]
found, rough = fit_ring(at, exact, 6), fit_ring(at, wobbling, 6)
print(f"{float(found[0]) * 1e6:.2f} {float(found[1]) / 1e9:.3f}", 2.5e-5 < float(rough[0]) < 3.5e-5)
# expect: 30.00 2.000 True

# %% id="fit-secret" tags=["hidden-check"] answer="22.fit_ring"
at, among = [4.0**power for power in range(5, 14)], 2 + secret % 7
start_s, pace = (1 + secret % 9) * 1e-5, (1 + secret % 4) * 1e9
exact = [2 * (among - 1) * (start_s + one / among / pace) for one in at]
found = fit_ring(at, exact, among)
rough = fit_ring(at, [one * (0.95, 1.05, 1.0)[i % 3] for i, one in enumerate(exact)], among)
print(f"{float(found[0]) * 1e6:.2f} {float(found[1]) / 1e9:.3f}")
print(0.8 < float(rough[0]) / start_s < 1.2, 0.8 < float(rough[1]) / pace < 1.2)

# %% id="fit-check" tags=["check"]
fit_ring = check.fit_ring(fit_ring)

# %% [markdown] id="fit-hints"
# <details><summary>Hint 1</summary>`np.polyfit(x, y, 1)` returns the slope first, then the constant.</details>
# <details><summary>Hint 2</summary>In the formula above, what stands without S? And by what is S multiplied? Solve both for what you want.</details>
# <details><summary>Hint 3</summary>Weights: one over the times, as an array. The constant is 2 (n - 1) times alpha_s. The slope is 2 (n - 1) over n over bytes_per_s.</details>

# %% id="fitted"
alpha_s, bytes_per_s = fit_ring(list(messages.seconds), list(messages.seconds.values()), messages.n)
own = Link("your fit", max(float(alpha_s), 0.0), float(bytes_per_s))
print(own)
plot_messages(messages, {"your fit": own}, "All-reduce between two processes")

# %% [markdown] id="step-words"
# A line does not know caches: where a message outgrows them, the points leave it. Last, the step.


# %% id="step" tags=["answer"] answer="22.step_s" points=1
def step_s(compute_s, exchange_s, hidden):
    """Seconds of a step whose exchange may go on beside the share `hidden` of its compute."""
    ### BEGIN SOLUTION about 2 lines
    waited_s = max(0.0, exchange_s - hidden * compute_s)
    return compute_s + waited_s
    ### END SOLUTION


# %% id="step-hidden" tags=["hidden-check"] answer="22.step_s"
print(*(f"{float(step_s(*a)):.4f}" for a in ((2.0, 1.0, 0.25), (2.0, 0.4, 0.25), (1.0, 3.0, 0.0))))
# expect: 2.5000 2.0000 4.0000

# %% id="step-secret" tags=["hidden-check"] answer="22.step_s"
for made in ((1.0 + secret % 7, 0.3, 0.5), (1.0 + secret % 5, 9.0, 0.25), (0.8, 0.5 + secret % 3, 0.0)):
    print(f"{float(step_s(*made)):.4f}")

# %% id="step-check" tags=["check"]
step_s = check.step_s(step_s)

# %% [markdown] id="step-hints"
# <details><summary>Hint 1</summary>How many seconds of the exchange can be hidden at most?</details>
# <details><summary>Hint 2</summary>If the exchange is shorter than that, nothing is waited for. A time is never negative.</details>
# <details><summary>Hint 3</summary>The larger of zero and what the exchange takes beyond the hidden share of the compute, added to the compute.</details>

# %% [markdown] id="two-words"
# The model against this machine: whole training steps with one process and with two, in turns.

# %% id="two"
race = time_scaling(processes=2, batch_size=size.batch_size, rounds=3 if smoke else 9, size=size.name, device="cpu")
race

# %% id="two-model"
batch = size.batch_size
alone_s, exchange_s = race.median_s("1 process"), ring_s(gradient_bytes, 2, own.alpha_s, own.bytes_per_s)
for name, compute_s in {f"{batch} each": alone_s, f"{batch // 2} each": alone_s / 2}.items():
    low, high = step_s(compute_s, exchange_s, 2 / 3), step_s(compute_s, exchange_s, 0)
    measured = race.median_s(f"2 processes, {name}")
    print(f"2 processes, {name}: model {1e3 * low:.1f} to {1e3 * high:.1f} ms, measured {1e3 * measured:.1f} ms")
beside_s = race.median_s(f"2 processes, {batch} each, no exchange")
print(f"A step takes {1e3 * alone_s:.1f} ms alone, {1e3 * beside_s:.1f} ms beside a process that it never talks to.")

# %% [markdown] id="forecast-words"
# Two processes on one chip share its memory and its clock, which the model does not know. GPUs share neither. Now let $n$ grow to 1,024. Nobody here has them, so every number below stands on the assumptions printed under it: the full network (35.7 million weights), H100s at 30 % of their bf16 peak, one flat ring whose every link is as slow as the network's.

# %% id="forecast"
forecast = predicted("InfiniBand NDR", batch=128)
forecast

# %% id="forecast-plot"
plot_forecast({name: predicted(name, batch=128) for name in ("NVLink 4", "InfiniBand NDR", "Ethernet 25G")})

# %% [markdown] id="noise-words"
# So at 128 pictures each the exchange outlasts the backward pass from four GPUs on, and at a thousand nearly all is waiting, most of it for latencies. Larger batches or trees instead of a ring would mend that. But here is the second question: 1,024 × 128 = 131,072 pictures a step, of a set that has 50,000. Does a gradient get better by them?
#
# A batch's gradient is the true one plus noise, whose square falls as one over the batch. Data parallelism has the means to measure it: the squared norm of one shard's gradient, and of the mean after the exchange. Both together give the **critical batch** (McCandlish et al., 2018), at which noise and gradient are equally large. Beyond it a larger batch mostly measures more exactly what was known well enough.

# %% id="noise"
small, shards, repeats = (4, 4, 2) if smoke else (8, 8, 4)
small_square, large_square = squared_norms(load_base(), load_heldout().images, small, shards, repeats=repeats)
critical = critical_batch(small, small_square, small * shards, large_square)
print(f"critical batch of the shipped base: about {critical:,.0f} pictures (a rough figure, from {repeats} draws)")
for batch in (128, 1024, 131_072):
    print(f"a batch of {batch:,}: {useful_share(batch, critical):.1%} of its pictures are needed")

# %% id="noise-plot"
plot_forecast({"InfiniBand NDR": forecast}, critical)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
megabyte = 2**20 if 2**20 in messages.seconds else max(messages.seconds)
guess.reveal(messages.bus_bytes_per_s(megabyte) / 1e6)

# %% [markdown] id="why"
# Small messages pay latency, large ones bandwidth, and the two meet at $S = n\,\alpha B$. That is why DDP collects gradients in buckets: a hundred small tensors sent one by one would pay $\alpha$ a hundred times.
#
# In *weak* scaling the exchange hides behind the backward pass as long as it is shorter, and the part that the bandwidth decides hardly grows with $n$. What grows is $2(n-1)\,\alpha$. At a thousand processes it is the larger part, which is why NCCL then takes trees, with about $2\log_2 n$ steps. A ring is the pessimist's forecast there. An optimist's assumption is in it too: that all processes are equally fast. The slowest of 1,024 sets the pace, and the model has no stragglers.
#
# In *strong* scaling compute shrinks until the exchange stands alone. With 128 pictures in all, 128 GPUs have one each, and long before that a GPU is too empty to be fast, which the model, with its constant time a picture, does not know either.
#
# The dotted line is the one that counts. Efficiency says how busy the machines are, not what for. Beyond the critical batch they are busy and useless: twice the GPUs, hardly fewer steps. The critical batch grows during training, as gradients become small against their noise; the figure above is that of the shipped base where it stands. The way out of such a limit is another kind of parallelism, or a cheaper step: the rest of this course.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# Measure two numbers, $\alpha$ and $B$, and the ring tells what an exchange costs at any size. Weak scaling is limited by latency, by the slowest, and by the critical batch; strong scaling by compute that becomes too little. A prediction is worth as much as the assumptions beside it.
#
# *Go further.* `python -m course_utils.experiments.all_reduce --processes 4` starts four processes on your cores: does the ring with your two numbers still hold? On a cluster, start it by srun with `--ddp` on two nodes, and compare with the data sheet. Then predict for half as many bytes: gradients in bf16.
