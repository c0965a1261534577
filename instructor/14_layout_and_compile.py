# %% [markdown] id="card" section="Card"
# # Layout, compiler, and a loop that does not wait
#
# **The question:** the same weights, the same arithmetic, the same numbers out. How many times faster is a training step if only the order of values in memory and the kernels change: 1.0x, 1.2x, 1.5x? And after how many steps has the compiler earned its own time back?
#
# About 60 minutes, some of them waiting for a compiler. Afterwards you can
#
# - say where each value of a picture lies in memory in either layout, and which one convolutions want;
# - let a compiler fuse what eager mode does one kernel at a time, and count what that saves;
# - write a training loop that reads losses without stopping the device at every step.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# What a practitioner does first, before any new idea: nothing here changes what is computed. `compiler()` names the C++ compiler that PyTorch would call on a CPU; without one, the compiled rows are left out and the rest goes on.

# %% id="setup"
import torch

from course_utils.classroom import check, keep_step, plot_break_even, plot_staircase, predict
from course_utils.diffusion import baseline, load_base, load_heldout, scale
from course_utils.experiments.one_step import training_step
from course_utils.measure import compare, count, float32_arithmetic, same_function, verdict
from course_utils.speedups import compiled, compiler, layout, treat

size, smoke = scale(), scale().name == "smoke"
device = "cuda" if torch.cuda.is_available() else "cpu"
patient, base = baseline().to(device), load_base(device=device)
can_compile = device == "cuda" or compiler() is not None
print(patient, "compiler:", compiler(), sep="\n")

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# Eager mode runs one kernel after the other, and each reads its input from memory and writes its output back. A normalisation is five kernels in a row, six with the activation after it. Compiled, they are one.
#
# Notebook 04 counted eager bytes and fused bytes for this very network. If a share $s$ of the step is elementwise work, and fusion makes that $f$ times as fast, the step gains $1/(1 - s + s/f)$. Guess $s$ from your profile in notebook 03. **How many times faster is a whole training step when both layout and compiler have done their work?**

# %% id="guess" tags=["answer"] answer="14.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 1.3
### END SOLUTION
guess = predict("How many times faster is a training step with channels_last and compiled?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# The baseline: one whole step of the kit's loop (fetch, forward, backward, clip, fused Adam, EMA), and one block of the network under the counters.

# %% id="measure"
step = training_step(patient, size.batch_size)
before = compare({"fp32": step, "again": step}, images_per_call=size.batch_size, max_time_s=4 if smoke else 15)
before

# %% id="measure-block"
block = patient.model.downs[0][0].block1  # a convolution, RMS normalisation, SiLU
x = torch.randn(size.batch_size, block.proj.in_channels, 32, 32, device=device)
eager = count(block, x)
print(
    f"{eager.kernels} kernels move {eager.bytes_moved / 1e6:.1f} MB; fused they would move {eager.fused_bytes / 1e6:.1f} MB"
)

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# **Layout.** Memory is a line. A batch of pictures $(N, C, H, W)$ is laid onto it by *strides*: value $(n, c, h, w)$ lies at
#
# $$n\,s_N + c\,s_C + h\,s_H + w\,s_W$$
#
# PyTorch's default keeps a row of pixels together, channel by channel. A convolution, however, sums over the *channels* of a pixel, and processors load neighbours: with the channels of a pixel side by side (channels last, NHWC) every load is useful, and the library need not reorder its input first.
#
# ![The same six values of two channels in both orders, and a chain of kernels against one fused kernel](figures/14_layout.svg)
#
# **Fusion.** A compiler that sees the whole program (`torch.compile`: Ansel et al., 2024) writes one kernel for a chain of elementwise operations. It moves the input once and the output once. Matrix products and convolutions stay with their libraries.
#
# **Waiting.** A GPU works off a queue. Whoever reads a number from it (`.item()`, printing the loss) waits until the queue is empty, and while Python then prepares the next step, the device idles. On a CPU there is no queue, and this costs nothing. The library's `Trainer` reads the loss at every step.
#
# None of this is a new algorithm. The compiler asks a price in advance: minutes at the first call, and again when the shape changes: often only once, since the second compilation is for any batch size.
#
# *Flash attention* is not on this list. It spares the table of scores, which grows with the square of the tokens. The only tables in this network are in its innermost stage, with 64 tokens at laptop scale and 16 at gpu scale: there is nothing to spare.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# First the layout: how far apart are neighbours along each axis?


# %% id="strides" tags=["answer"] answer="14.strides" points=1
def strides(shape, channels_last=False):
    """How many values apart the neighbours along each axis lie; shape (N, C, H, W) -> (s_N, s_C, s_H, s_W)."""
    _, c, h, w = shape
    ### BEGIN SOLUTION about 3 lines
    if channels_last:
        return (c * h * w, 1, w * c, c)
    return (c * h * w, h * w, w, 1)
    ### END SOLUTION


# %% id="strides-hidden" tags=["hidden-check"] answer="14.strides"
print(*([int(one) for one in strides((7, 5, 4, 3), channels_last=last)] for last in (False, True)))
# expect: [60, 12, 3, 1] [60, 1, 15, 5]

# %% id="strides-secret" tags=["hidden-check"] answer="14.strides"
shape = (2, 3 + secret % 5, 4 + secret % 7, 6 + secret % 3)
print(*([int(one) for one in strides(shape, last)] for last in (True, False)))

# %% id="strides-check" tags=["check"]
strides = check.strides(strides)

# %% [markdown] id="strides-hints"
# <details><summary>Hint 1</summary>The axis that is laid out innermost has stride 1. Which one is it in each layout?</details>
# <details><summary>Hint 2</summary>An axis has the stride of the axis inside it, times that axis's length.</details>
# <details><summary>Hint 3</summary>By default the order from inside is W, H, C, N. In channels last it is C, W, H, N.</details>

# %% [markdown] id="quietly-words"
# Then the loop. `step()` returns a loss that still lies on the device. Run it `n` times and return all losses as plain numbers, but go to fetch them only every `every` steps and at the end.


# %% id="quietly" tags=["answer"] answer="14.run_quietly" points=2
def run_quietly(step, n, every):
    """Call step() n times; -> n losses as floats, read from the device ceil(n / every) times."""
    ### BEGIN SOLUTION about 6 lines, stub: losses = ...
    losses, unread = [], []
    for i in range(1, n + 1):
        unread.append(step())
        if i % every == 0 or i == n:
            losses += torch.stack(unread).tolist()
            unread = []
    ### END SOLUTION
    return losses


# %% id="quietly-hidden" tags=["hidden-check"] answer="14.run_quietly"
numbers = iter(range(100))
print(run_quietly(lambda: torch.tensor(float(next(numbers))), 7, 3), next(numbers))
# expect: [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0] 7

# %% id="quietly-secret" tags=["hidden-check"] answer="14.run_quietly"
from course_utils.classroom.checks.layouts import Watched

numbers = iter(range(secret % 50, 1000))
count_of, often = 5 + secret % 6, 2 + secret % 3
Watched.reads = 0
told = run_quietly(lambda: torch.tensor(0.5 * next(numbers)).as_subclass(Watched), count_of, often)
print(Watched.reads <= -(-count_of // often), next(numbers), *(f"{float(one):.1f}" for one in told))

# %% id="quietly-check" tags=["check"]
run_quietly = check.run_quietly(run_quietly)

# %% [markdown] id="quietly-hints"
# <details><summary>Hint 1</summary>Keep the tensors in a list. A tensor in a list has not been read.</details>
# <details><summary>Hint 2</summary>`torch.stack(list).tolist()` fetches many numbers with one wait.</details>
# <details><summary>Hint 3</summary>After every `every` calls, and after the last one, fetch what is unread, add it to the losses, and begin a new list.</details>

# %% [markdown] id="break-even-words"
# And the price of the compiler, on a napkin.


# %% id="break-even" tags=["answer"] answer="14.break_even" points=1
def break_even(first_s, eager_s, compiled_s):
    """After how many steps the compiled loop has caught up: first call first_s, later ones compiled_s; not rounded."""
    ### BEGIN SOLUTION about 3 lines
    if compiled_s >= eager_s:
        return float("inf")
    return (first_s - compiled_s) / (eager_s - compiled_s)
    ### END SOLUTION


# %% id="break-even-hidden" tags=["hidden-check"] answer="14.break_even"
print(*(f"{float(break_even(*a)):.4f}" for a in ((101.0, 2.0, 1.0), (30.0, 1.0, 1.0), (4.5, 1.0, 0.5))))
# expect: 100.0000 inf 8.0000

# %% id="break-even-secret" tags=["hidden-check"] answer="14.break_even"
for made in ((20.3 + secret % 31, 2.5, 1.0), (9.0, 1.0 + secret % 5, 0.75), (9.0, 1.0, 1.0 + secret % 4)):
    print(f"{float(break_even(*made)):.4f}")

# %% id="break-even-check" tags=["check"]
break_even = check.break_even(break_even)

# %% [markdown] id="break-even-hints"
# <details><summary>Hint 1</summary>Write the time of k steps for both, and set them equal.</details>
# <details><summary>Hint 2</summary>Eager: k times eager_s. Compiled: first_s for the first step, compiled_s for each of the k - 1 others.</details>
# <details><summary>Hint 3</summary>What must be won back is first_s without the one step it also did. Each step wins the difference of the two; where there is none, the answer is infinite.</details>

# %% [markdown] id="again-words" section="Measure again"
# ## Measure again
#
# The block first: its kernels, compiled into few.

# %% id="again-block"
ways = {"eager": block, "channels_last": layout(block)} | ({"compiled": compiled(block)} if can_compile else {})
with torch.no_grad():
    blocks = compare(ways, x, max_time_s=2 if smoke else 8)
blocks

# %% [markdown] id="again-network-words"
# Now the whole step. The compiler takes a minute or two for the network, more on a slow machine (in a smoke test only the layout is compared). A second time it finds its results on disk and is quick: the price is that of the first run.

# %% id="again"
ways = {"fp32": (), "channels_last": ("layout",)}
if can_compile and not smoke:
    ways["channels_last, compiled"] = ("layout", "compiled")
steps = {name: training_step(treat(patient, *treatments), size.batch_size) for name, treatments in ways.items()}
race = compare(steps, images_per_call=size.batch_size, warmup=2, max_time_s=4 if smoke else 60)
race

# %% id="break-even-plot"
best = "channels_last, compiled" if "channels_last, compiled" in ways else "channels_last"
eager_s, timing = race.timings["fp32"].median_s, race.timings[best]
if "compiled" in best:
    even = break_even(timing.first_s, eager_s, timing.median_s)
    print(f"first call {timing.first_s:.1f} s; even after {even:,.0f} steps")
drawn = {best: (timing.first_s, timing.median_s)}
plot_break_even(eager_s, drawn) if "compiled" in best else print("No compiled step was measured: nothing to win back.")

# %% [markdown] id="waiting-words"
# Does waiting cost anything here? The same steps, with the loss read after each one and after ten.

# %% id="waiting"
every = {"read at every step": 1, "read every 10": 10}
loops = {name: lambda k=k: run_quietly(steps["fp32"], 2 if smoke else 10, k) for name, k in every.items()}
compare(loops, rounds=5, warmup=1, max_time_s=10 if smoke else 60, memory=False)

# %% [markdown] id="optimizers-words"
# Last, the optimizer: the same Adam as a loop over the weights, in groups of them (foreach), and as one fused kernel. A third habit was recorded elsewhere: on two CPU cores, pictures held in memory came 18 to 25 times as fast as from image files (`results/reference/bench-cpu2-laptop.jsonl`).

# %% id="optimizers"
updates = {}
for name, option in {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}.items():
    weights = [weight.detach().clone() for weight in patient.model.parameters()]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    updates[name] = torch.optim.Adam(weights, **option).step
compare(updates, baseline="loop", max_time_s=2 if smoke else 8, memory=False)

# %% [markdown] id="draw-words" section="Does it still draw?"
# ## Does it still draw?
#
# Exact treatments need the strongest evidence: the same function, on trained weights. Sums are taken in another order, so the last digits may differ. (`float32_arithmetic()` keeps a GPU from cutting digits in either.)

# %% id="gate"
x_t, t = load_heldout().images[:4].to(device).float() / 127.5 - 1, torch.arange(4, device=device) * 250
gates = {}
for name in list(ways)[1:]:
    treated = treat(base, *ways[name]).model.eval()
    with float32_arithmetic():
        gates[name] = same_function(base.model, treated, x_t, t, rtol=1e-3, atol=1e-4)
decided = verdict(race.speedup(best), gates[best], exactness="exact")
decided

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
is_open = "No compiled step was measured here, so the prediction stays open."
guess.reveal(race.speedup(best)) if "compiled" in best else print(is_open)

# %% [markdown] id="why"
# How much you gained depends on where your time went. Elementwise work, most of the eager bytes, nearly vanishes from memory traffic when it is fused; convolutions and matrix products do not move faster. On two CPU cores convolutions take most of the time, so fusion gains a fifth or so. On a GPU, where arithmetic is cheap and launching two thousand kernels a step is not, the same compiler gains far more.
#
# The layout alone gains little on a CPU in fp32: oneDNN reorders its operands into blocks of its own, either way. It pays together with half precision (notebook 10), whose kernels are fast enough for a reordering to show.
#
# A single block may gain more than the network: it is the best case, short of convolution and long of elementwise work. Never extrapolate from a block that was chosen because it gains.
#
# Reading the loss at every step costs nothing measurable on a CPU, where each kernel has finished before Python goes on. On a GPU count the syncs (`count(...).syncs`) and look at a trace.
#
# And the price: below the break-even, the compiler made this run *slower*. For a smoke test, a lesson or a hyperparameter search of many short runs, leave it out.

# %% id="step"
for name in list(ways)[1:]:
    own = verdict(race.speedup(name), gates[name], exactness="exact")
    print(keep_step(" + ".join(ways[name]), own, img_per_s=race.timings[name].per_second(size.batch_size)))
plot_staircase()

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# Before any new idea: data in memory, the layout the kernels want, one optimizer kernel, no waiting, a compiler for long runs. All of it is exact, so one comparison of outputs is proof enough. A compile time that is not reported is a speed-up that was not measured.
#
# *Go further.* Change the batch size after compiling and time the next call: what was compiled again? Then put a `print` into a block's forward and look at `torch._dynamo.explain`: what does a graph break cost?
