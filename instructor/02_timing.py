# %% [markdown] id="card" section="Card"
# # Measure honestly
#
# **The question:** a published table says that half precision made training 17 % *slower* while the GPU worked 38 % *less*. How can both be true?
#
# About 60 minutes. Afterwards you can
#
# - write a timer that survives asynchronous devices, slow first calls and heavy tails;
# - read a timing: median, scatter, drift, floor, and when it says nothing at all;
# - compare two variants so that a difference means something;
# - find the mistakes in a table that cannot be right.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup

# %% id="setup"
import time

import torch

from course_utils.classroom import check, plot_samples_s, predict
from course_utils.diffusion import baseline, scale
from course_utils.measure import compare, measure, rigged

size = scale()
unet = baseline().model
x_t, t = torch.randn(4, 3, 32, 32), torch.full((4,), 500)
device = "cuda" if torch.cuda.is_available() else "cpu"
unet, x_t, t = unet.to(device), x_t.to(device), t.to(device)

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# The network above has not been called yet. Its first call will have to find memory, pick algorithms and pack weights. **How many times longer will the first call take than a later one?**
# Write a factor: 1 means no difference. (A first call happens once: if you run this page a second time, restart the kernel before.)

# %% id="guess" tags=["answer"] answer="02.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 3.0
### END SOLUTION
guess = predict("How many times longer is the first call of the network?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# First the way everyone does it once: look at the clock, call, look again. Thirty times, and nothing thrown away.

# %% id="measure"
naive = []
with torch.no_grad():
    for _ in range(30):
        start = time.perf_counter()
        unet(x_t, t)
        naive.append(time.perf_counter() - start)
plot_samples_s({"one by one": naive}, "Thirty calls of one network, in order")

# %% id="reveal-first"
guess.reveal(naive[0] / sorted(naive[1:])[14])

# %% [markdown] id="measure-more"
# Which of these thirty numbers is *the* time of a call? The first is a different kind of event: you pay it once. High ones later on mostly belong to whatever else ran on this machine.
# The mean mixes all of that; the **median** ignores it, and the distance between the quartiles (IQR) tells how far to trust the median.
#
# On a GPU the naive clock goes wrong in a worse way: a call only *queues* work and returns at once, so the clock times the queueing. The remedy is to wait for the device, to *synchronise*, before each look at the clock.

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# ![Host and device as two lines: without waiting the clock stops when the work has been queued, with waiting when it is done](figures/02_clock.svg)
#
# A timer can fall into four traps, and each has a remedy:
#
# | trap | what the naive clock sees | remedy |
# |---|---|---|
# | asynchronous work | queueing, not working | synchronise before both looks at the clock |
# | slow first call | compilation, allocation | call once or more before timing |
# | heavy tail | somebody else's work | time calls one by one, take the median |
# | tiny operations | the clock itself | many calls between two looks, divide |
#
# A fifth has no remedy: **drift**. When a laptop heats up, every call is slower than the last and no single number is right. All a timer can do is say so.
#
# With $n$ durations $d_1 \dots d_n$ sorted by size, the summary we use everywhere is $\tilde d = \operatorname{median}(d_i)$ with $\mathrm{IQR} = d_{0.75} - d_{0.25}$. If the IQR is above a tenth of the median, the timing is called *noisy*.
#
# How do you test a timer? Not on a real machine, where nobody knows the truth. On **rigged** operations: they carry their own clock, which moves only when they move it, so the right answer is known exactly.

# %% id="rigged-demo"
operation = rigged.asynchronous()
start = operation.clock()
operation()
naive_s = operation.clock() - start
print(f"naive: {naive_s * 1e3:.3f} ms   truth: {operation.true_s * 1e3:.3f} ms")
print(operation.diagnose(naive_s))

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# Write a timer that gets the rigged operations right: a steady one, an asynchronous one, one with a slow first call, one with a heavy tail. (Tiny ones can wait for *Go further*.) Use the two functions you are given, `clock` to read the time in seconds and `synchronize` to wait: on a real GPU they would be `time.perf_counter` and `torch.cuda.synchronize`.


# %% id="timer" tags=["answer"] answer="02.timer" points=3
def my_timer(fn, clock, synchronize):
    """Seconds that one call of fn() takes, the median of at least 21 timed calls."""
    ### BEGIN SOLUTION about 9 lines
    fn()
    durations = []
    for _ in range(21):
        synchronize()
        start = clock()
        fn()
        synchronize()
        durations.append(clock() - start)
    return sorted(durations)[10]
    ### END SOLUTION


# %% id="timer-hidden" tags=["hidden-check"] answer="02.timer"
for made in (
    rigged.asynchronous(0.02, launch_s=1e-5),
    rigged.first_call(0.05, first_s=9.0),
    rigged.heavy_tail(0.03, seed=7),
):
    print(f"{made.name} {float(my_timer(made, made.clock, made.synchronize)):.3f}")
# expect: asynchronous operation 0.020
# expect: slow first call 0.050
# expect: heavy tail 0.030

# %% id="timer-secret" tags=["hidden-check"] answer="02.timer"
for made in (
    rigged.asynchronous(0.01 + secret % 11 / 500, launch_s=2e-5),
    rigged.first_call(0.02 + secret % 5 / 100, first_s=30.0),
    rigged.heavy_tail(0.03 + secret % 7 / 200, seed=secret),
):
    print(f"{made.name} {float(my_timer(made, made.clock, made.synchronize)):.3f}")

# %% id="timer-check" tags=["check"]
my_timer = check.timer(my_timer)

# %% [markdown] id="hints"
# <details><summary>Hint 1</summary>Run the check on a first, simple version. It names the trap: mend one at a time.</details>
# <details><summary>Hint 2</summary>Inside the loop: wait, look, call, wait, look. Append the difference to a list.</details>
# <details><summary>Hint 3</summary>Call <code>fn()</code> once before the loop; after it, sort the list and return the middle one.</details>

# %% [markdown] id="use-words"
# Your timer and the kit's, on the real network. `measure` adds what a list of durations can tell beyond its middle: the first call, drift, the tail, and whether the operation is too short to be timed at all.

# %% id="use"
wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
with torch.no_grad():
    mine_s = my_timer(lambda: unet(x_t, t), time.perf_counter, wait)
    timing = measure(unet, x_t, t)
print(f"your timer {mine_s * 1e3:.2f} ms, the kit's {timing.median_s * 1e3:.2f} ms")
timing

# %% [markdown] id="refuse-words"
# Two limits it admits. Doing nothing has no time of its own: the table says that it stands at the timer's floor. And while a profiler watches every call, no time is honest: there it refuses.

# %% id="refuse"
print(measure(lambda: None))
with torch.profiler.profile():
    try:
        measure(unet, x_t, t)
    except RuntimeError as refusal:
        print("refused:", refusal)

# %% [markdown] id="compare-words"
# ### Two numbers are not a comparison
#
# Time A for a minute, then B for a minute: if the machine slowed down in between, B looks worse. `compare` takes turns, A B A B, divides within each turn, and gives the median ratio with an interval.
# The best test of such an instrument is a question whose answer you know. Here is one network under two names.

# %% id="compare-same"
with torch.no_grad():
    twins = compare({"one": unet, "the same again": unet}, x_t, t, baseline="one")
twins

# %% [markdown] id="compare-half-words"
# *Inconclusive* is the right answer here, and it is a third answer beside *faster* and *slower*. A 95 % interval misses the truth about once in twenty times; if yours did, run the cell again. A dash in place of a ratio means that the machine was too restless to say. Now a real difference: half the batch. Is it twice as fast?

# %% id="compare-half"
with torch.no_grad():
    halves = compare({"batch 4": lambda: unet(x_t, t), "batch 2": lambda: unet(x_t[:2], t[:2])}, baseline="batch 4")
halves

# %% [markdown] id="case"
# ### A case for a detective
#
# A student project on this very subject published the table below: CIFAR-10, 100 steps, with and without automatic mixed precision (AMP), on one and on two GPUs. CUDA time is the time during which a GPU computed.

# %% id="case-table"
table = {  # name: (wall seconds, CUDA seconds)
    "fp32, 1 GPU": (428.0, 41.0),
    "AMP, 1 GPU": (502.0, 25.5),
    "fp32, 2 GPUs": (559.0, 25.3),
    "AMP, 2 GPUs": (572.0, 25.4),
}
for name, (wall_s, cuda_s) in table.items():
    print(f"{name:13} wall {wall_s:5.0f} s   GPU computing {cuda_s / wall_s:5.1%} of it   a step {wall_s / 100:.2f} s")

# %% [markdown] id="case-question"
# Start with twins. Different experiments should not agree within one percent. Write a function that finds every pair of rows whose **CUDA time** agrees within a tolerance.


# %% id="suspects" tags=["answer"] answer="02.suspects" points=2
def suspects(rows, tolerance):
    """A list of pairs (name, name) out of rows {name: (wall_s, cuda_s)}: CUDA times at most tolerance x the larger apart."""
    ### BEGIN SOLUTION about 7 lines
    names = list(rows)
    pairs = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            larger = max(rows[a][1], rows[b][1])
            if abs(rows[a][1] - rows[b][1]) <= tolerance * larger:
                pairs.append((a, b))
    return pairs
    ### END SOLUTION


# %% id="suspects-hidden" tags=["hidden-check"] answer="02.suspects"
made = {"p": (1, 10.0), "r": (3, 30.0), "q": (2, 10.4), "u": (5, 10.9), "s": (4, 29.9)}
print(sorted({tuple(sorted(pair)) for pair in suspects(made, 0.039)}))
# expect: [('p', 'q'), ('r', 's')]

# %% id="suspects-secret" tags=["hidden-check"] answer="02.suspects"
drawn = torch.randint(100, 130, (7,), generator=torch.Generator().manual_seed(secret)).tolist()
made = {name: (200.0 - one, one / 10) for name, one in zip("abcdefg", drawn, strict=True)}
print(sorted({tuple(sorted(pair)) for pair in suspects(made, 0.0404)}))

# %% id="suspects-check" tags=["check"]
suspects = check.suspects(suspects)
suspects(table, 0.02)

# %% [markdown] id="suspects-hints"
# <details><summary>Hint 1</summary>Every name meets every later name once.</details>
# <details><summary>Hint 2</summary>Two loops: the outer over positions, the inner over the names after it.</details>
# <details><summary>Hint 3</summary>The CUDA seconds of a row are <code>rows[name][1]</code>; compare their difference with the tolerance times the larger of the two.</details>

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal
#
# Fold this open when you have your own list of mistakes. The project's code and logs gave them away.
#
# <details><summary>What went wrong, and what would have caught it</summary>
#
# 1. **The profiler was on while timing**, with stacks and memory. A GPU that computes 4 to 10 % of the time was waiting for a busy host. *Caught by:* `measure` refuses under a profiler.
# 2. **No warm-up:** 100 steps include the first one, with all its set-up. *Caught by:* the first call is kept apart.
# 3. **"fp32, 2 GPUs" ran the AMP script.** Its CUDA time is AMP's. *Caught by:* your function, and records of one configuration under two names are flagged.
# 4. **The second GPU most likely idled:** plain `python` started the run, so one process used one GPU: with two GPUs the CUDA time is that of one. *Caught by:* every requested device must have done work.
# 5. **48 data workers in an 8-CPU allocation,** because `cpu_count()` counts the machine, not the share that was granted. *Caught by:* records check workers against the allocation.
# 6. **No picture was ever scored.** Even a right speed-up would have proved nothing. *Caught by:* a comparison says "quality: not checked" until a gate has run.
#
# </details>
#
# So both halves of the question can be true: AMP did cut the GPU's work, from 41.0 to 25.5 s, and the wall clock measured something else entirely.
# The first call you guessed at the start is a small member of the same family.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A duration without its scatter, its warm-up and its synchronisation is an anecdote. Two variants are compared in turns, by ratios, and *inconclusive* is an honest result. A number that cannot be traced to its configuration will sooner or later belong to another one.
#
# *Go further.* Plug in your laptop's power supply, or unplug it, and run `measure` for half a minute: does it report drift? Then time an addition of two numbers with your own timer. What is it really measuring?
