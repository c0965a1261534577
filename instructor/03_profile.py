# %% [markdown] id="card" section="Card"
# # Where the time goes
#
# **The question:** a training step runs the network forward once and backward once. How many times longer is the way back?
#
# About 60 minutes. Afterwards you can
#
# - split a training step into phases, blocks, operators and lines, each with the tool made for it;
# - write the backward pass of a convolution yourself, and know from it what backward costs;
# - tell what a profiler does to the time it reports.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup

# %% id="setup"
import cProfile
import pstats

import torch
import torch.nn.functional as F

from course_utils.classroom import TraceExplorer, check, plot_profile, predict
from course_utils.diffusion import Batches, baseline, denoising_loss, load_images, scale, train
from course_utils.measure import collect_regions, count, line_profile, profile, profiler_overhead, region

device = "cuda" if torch.cuda.is_available() else "cpu"
size, diffusion = scale(), baseline().to(device)
unet, process = diffusion.model, diffusion.process

# %% id="a-batch"
batches = Batches(load_images("train", n=size.num_images), size.batch_size, seed=0, device=device)
x_0 = batches(0)
eps, t = torch.randn_like(x_0), torch.randint(0, 1000, (len(x_0),), device=device)

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# A layer's forward pass multiplies its input with its weight. Its backward pass has to find out how the loss changes with the input, and how it changes with the weight.
# **How many times longer does the backward pass of the whole network take than the forward pass?**

# %% id="guess" tags=["answer"] answer="03.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 2.0
### END SOLUTION
guess = predict("How many times longer is backward than forward?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# The coarsest split is by phase. `region("name")` marks a stretch of code for every tool at once: for the GPU vendor's timeline (nvtx), for torch's profiler, and for a small timer of the kit that collects the totals. The training loop takes `region` as an argument and puts it around its five phases; in your own code you would write `with region("data"):` around two lines.

# %% id="measure"
train(diffusion, batches, num_steps=1)  # the first step is an event of its own, above all on a GPU
with collect_regions() as phases:
    train(diffusion, batches, num_steps=4, region=region)
phases

# %% [markdown] id="blocks-words"
# Read the shares first. Data costs next to nothing, because the pictures lie in memory as bytes; with image files and worker processes this row can be the largest. The optimizer and the average of the weights cost as much for one picture as for a thousand: they touch every parameter once a step, whatever the batch. So their share falls as the batch grows, and at batch 16 it is worth a look.
#
# Next, by block. `profile` runs every block of the network alone, on the input it really gets, in turns with all the others. So a row can be trusted without the others, and what the sum of the rows misses of the whole is printed too.

# %% id="blocks"
blocks = profile(unet, x_0, t)
blocks.head(8)

# %% id="blocks-plot"
plot_profile(blocks, "Time by block, forward and backward")

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# Most of these blocks are made of convolutions, and most of them take longer on the way back. Why? Look at one convolution $y = x * w$ and a loss $L$; the star is what `F.conv2d` computes, and no kernel is flipped. Backward receives $\partial L / \partial y$ and owes two answers:
#
# ![One convolution forward, two backward: one for the data, one for the weight](figures/03_conv_backward.svg)
#
# $$\frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} * \operatorname{rot}_{180}(w)^{\top}, \qquad
# \frac{\partial L}{\partial w} = x * \frac{\partial L}{\partial y}$$
#
# Both are convolutions again, with as many multiply-adds as the forward one. For the first, every output gradient is spread back over the pixels it came from, with input and output channels swapped: that is what `F.conv_transpose2d` does.
# For the second, the gradient acts as the *kernel*, sliding over the input. A convolution sums over its input channels; here the sum runs over the pictures of the batch, so the batch has to stand where the channels stood.
#
# And $\partial L/\partial w$ needs $x$. That is why training must keep the input of every convolution until the way back, and why it needs so much more memory than sampling.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# Write both gradients for a stride-1 convolution with an odd kernel and padding `K // 2`. No autograd: `F.conv_transpose2d`, `F.conv2d` and `transpose(0, 1)` are enough.


# %% id="conv-backward" tags=["answer"] answer="03.conv_backward" points=3
def conv_backward(x, weight, grad_out):
    """x (N, C_in, H, W), weight (C_out, C_in, K, K), grad_out (N, C_out, H, W); -> (grad_x, grad_weight)."""
    padding = weight.shape[-1] // 2
    ### BEGIN SOLUTION about 3 lines, stub: grad_x = grad_weight = ...
    grad_x = F.conv_transpose2d(grad_out, weight, padding=padding)
    swapped = F.conv2d(x.transpose(0, 1), grad_out.transpose(0, 1), padding=padding)  # (C_in, C_out, K, K)
    grad_weight = swapped.transpose(0, 1)
    ### END SOLUTION
    return grad_x, grad_weight


# %% id="conv-backward-hidden" tags=["hidden-check"] answer="03.conv_backward"
made = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5) / 100
kernel, upstream = torch.linspace(-1, 1, 4 * 3 * 9).reshape(4, 3, 3, 3), torch.linspace(0, 1, 200).reshape(2, 4, 5, 5)
back = conv_backward(made, kernel, upstream)
print(*(tuple(part.shape) for part in back), *(f"{part.sum().item():.1f}" for part in back))
# expect: (2, 3, 5, 5) (4, 3, 3, 3) 319.6 1900.4

# %% id="conv-backward-secret" tags=["hidden-check"] answer="03.conv_backward"
source, k = torch.Generator().manual_seed(secret), 3 + 2 * (secret % 2)
made = torch.randn(2, 3, 6, 5, generator=source)
kernel, upstream = torch.randn(4, 3, k, k, generator=source), torch.randn(2, 4, 6, 5, generator=source)
for part in conv_backward(made, kernel, upstream):
    print(f"{(part * torch.arange(part.numel()).sin().view(part.shape)).sum().item():.2f}")

# %% id="conv-backward-check" tags=["check"]
conv_backward = check.conv_backward(conv_backward)

# %% [markdown] id="hints"
# <details><summary>Hint 1</summary>Start with <code>grad_x</code>: it is the transposed convolution of <code>grad_out</code> with the same weight and padding.</details>
# <details><summary>Hint 2</summary>For <code>grad_weight</code> treat channels as a batch: <code>x.transpose(0, 1)</code> is (C_in, N, H, W), and <code>grad_out.transpose(0, 1)</code> is a weight of shape (C_out, N, H, W).</details>
# <details><summary>Hint 3</summary><code>F.conv2d</code> of those two with the same padding gives (C_in, C_out, K, K): swap the first two axes.</details>

# %% [markdown] id="count-words"
# Now count instead of timing: counts are the same each time.

# %% id="count"
forward = count(unet, x_0, t, per_module=False)
both = count(unet, x_0, t, backward=True, per_module=False)
print(
    f"FLOP:    forward {forward.flop / 1e9:8.2f} G, backward {(both.flop - forward.flop) / 1e9:8.2f} G: "
    f"{both.flop / forward.flop - 1:.2f}x"
)
print(f"kernels: forward {forward.kernels:8,}, backward {both.kernels - forward.kernels:8,}")
both

# %% [markdown] id="operators-words"
# ### Operators, functions, lines
#
# You have seen two tools, for phases and for blocks. Three more ask finer questions. **torch.profiler** asks which *operator* costs. It sees what happens below Python. Some names to know: `bmm` belongs to attention, `linalg_vector_norm` to the normalisation layers.

# %% id="torch-profiler"
with torch.profiler.profile() as prof:
    denoising_loss(unet, process, x_0, t, eps).mean().backward()
own = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
for event in sorted(prof.key_averages(), key=lambda event: -getattr(event, own))[:8]:
    print(f"{event.key[:44]:44} {event.count:5} calls {getattr(event, own) / 1e3:9.2f} ms of its own")

# %% [markdown] id="trace-words"
# The same events in their order are a *timeline*. This one, of a GPU, is made up. Zoom in: why does the device wait?

# %% id="trace"
TraceExplorer()

# %% [markdown] id="cprofile-words"
# **cProfile** asks which Python *function* costs. It knows nothing of the device, and where work is queued it blames whoever waits for it.

# %% id="cprofile"
watcher = cProfile.Profile()
watcher.enable()
with torch.no_grad():
    for _ in range(3):
        unet(x_0, t)
watcher.disable()
top = sorted(pstats.Stats(watcher).stats.items(), key=lambda item: -item[1][2])[:6]
for (_, _, name), (_, calls, own_s, _, _) in top:
    print(f"{name[:44]:44} {calls:6} calls {own_s * 1e3:9.2f} ms of its own")

# %% [markdown] id="lines-words"
# **line_profiler** asks which *line* costs. Here it reads one residual block of the library, line by line.

# %% id="lines"
block = unet.downs[0][0]
line_profile(unet, x_0, t, functions=[type(block).forward])

# %% [markdown] id="overhead-words"
# ### What watching costs
#
# A profiler is a guest in the process it observes. How much does each slow the network down? An interval that contains 1 means: nothing to be seen above this machine's noise. What a profiler costs it costs for each operator, call or line, so a network of many small operations suffers most.

# %% id="overhead"
with torch.no_grad():
    overhead = profiler_overhead(unet, x_0, t)
overhead

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
forward_s = sum(row.forward_s for row in blocks.rows)
backward_s = sum(row.backward_s or 0.0 for row in blocks.rows)
guess.reveal(backward_s / forward_s)

# %% [markdown] id="why"
# The arithmetic says 2: two convolutions back for one forward. The clock may say something else. Elementwise work has a backward of its own, with different traffic; the very first layer owes no gradient to the picture; and a library may have a better
# kernel for one direction than for the other. Where clock and count disagree, believe both and ask why: this is where speed is found.
#
# The rule of thumb stays useful. A training step costs about three forward passes, so a trick that speeds up the forward pass alone leaves two thirds of training untouched.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# Backward is two products for one, so a training step costs about three forwards. Ask each question of its own tool: regions for phases, `profile` for blocks, torch.profiler for operators, cProfile for functions, line_profiler for lines. A tool can slow what it watches, and unevenly, so profile to find *where*, and time without a profiler to find *how much*.
#
# *Go further.* Use `trace(unet, x_0, t, path="unet.json")` from `course_utils.measure` and open the file at <https://ui.perfetto.dev>, which reads it in your browser. Can you find the attention of the middle block? Then profile a network of your own: nothing in these tools knows what a U-Net is.
