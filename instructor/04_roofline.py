# %% [markdown] id="card" section="Card"
# # The roofline
#
# **The question:** if every number in the network took half the bytes, how much faster would it run here: 1.0x, 1.5x, 2.0x?
#
# About 60 minutes. Afterwards you can
#
# - count FLOP, bytes and arithmetic intensity of a layer by hand;
# - measure the roofs of the machine in front of you, and place every block of a network under them;
# - say which block is bound by what, and predict a gain before anybody writes code.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# `calibrate` measures this machine's ceilings: matrix products and convolutions for compute, long copies for memory, short ones for the cache. It takes about ten seconds the first time and is remembered. The last line picks the compute roof under which PyTorch's convolutions run: fp32, or TF32 on an NVIDIA GPU that has it, where that is the default for convolutions.

# %% id="setup"
import torch
from torch import nn

from course_utils.classroom import BlockExplorer, check, plot_predicted, plot_roofline, predict
from course_utils.diffusion import baseline, scale
from course_utils.measure import calibrate, compare, count, measure, profile

device = "cuda" if torch.cuda.is_available() else "cpu"
ceilings = calibrate(device)
dtype = "tf32" if "tf32" in ceilings.flop_per_s else "fp32"
ceilings

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# Elementwise work, such as an activation or an addition, does a handful of operations on every number it loads. Suppose the whole network worked on numbers of two bytes in place of four, at the same speed of arithmetic. What would the clock gain?
# Start with the simplest part. **By what factor would the elementwise addition of large tensors get faster here?** Would a wide convolution gain the same? Write the factor for the addition; the network's comes at the end.

# %% id="guess" tags=["answer"] answer="04.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 2.0
### END SOLUTION
guess = predict("How much faster is a large addition on two-byte numbers?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# Sixteen million numbers, 67 MB in fp32, more than most caches hold, added once as fp32 and once as bf16.

# %% id="measure"
large = torch.randn(2**24, device=device)
short = large.bfloat16()
additions = compare({"fp32": lambda: large + large, "bf16": lambda: short + short}, baseline="fp32")
additions

# %% id="reveal-addition"
guess.reveal(additions.speedup("bf16"))

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# Every operation must do arithmetic and must move data. The slower of the two decides, if both run at once and nothing else gets in the way:
#
# $$\text{FLOP/s} \;\le\; \min\left(\text{peak},\; I \times \text{bandwidth}\right), \qquad I = \frac{\text{FLOP}}{\text{bytes moved}}$$
#
# $I$ is the **arithmetic intensity**. The two limits meet at the **ridge**, at $I$ = peak ÷ bandwidth. Left of the ridge, faster arithmetic gains nothing; right of it, a faster memory gains nothing.
#
# ![Two roofs over a plane of FLOP per byte and FLOP per second, with three points below them](figures/04_roofline.svg)
#
# Count for a convolution with kernel $K$ on $N$ pictures of $H \times W$ pixels, stride 1, same size out. Each output value needs $C_\text{in} K^2$ multiply-adds, and a multiply-add is 2 FLOP:
#
# $$\text{FLOP} = 2\, N\, H W\, C_\text{out}\, C_\text{in} K^2$$
#
# Input, weight and output cross memory at least once each. The bytes are what one value takes times the number of values in the three.
#
# A network in eager mode moves more than that: every small operation reads and writes main memory, or the cache, on its own. `count` reports both the bytes that eager kernels move and the bytes that would be left if all elementwise work were fused into its neighbours.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# First the count.


# %% id="conv-work" tags=["answer"] answer="04.conv_work" points=2
def conv_work(n, c_in, c_out, size, k, bytes_per_value=4):
    """A stride-1 convolution, same size out, no bias, k x k kernel, n pictures of size x size; -> (flop, bytes)."""
    ### BEGIN SOLUTION about 3 lines, stub: flop = moved = ...
    flop = 2 * n * size * size * c_out * c_in * k * k
    values = n * c_in * size * size + c_out * c_in * k * k + n * c_out * size * size
    moved = values * bytes_per_value
    ### END SOLUTION
    return flop, moved


# %% id="conv-work-hidden" tags=["hidden-check"] answer="04.conv_work"
print(*([round(float(part)) for part in conv_work(*a)] for a in ((2, 3, 5, 4, 3, 2), (1, 7, 2, 6, 1))))
# expect: [8640, 782] [1008, 1352]

# %% id="conv-work-secret" tags=["hidden-check"] answer="04.conv_work"
odd = (1 + secret % 4, 3 + secret % 5, 2 + secret % 7, 5 + secret % 6)
print(*([round(float(part)) for part in conv_work(*odd, *rest)] for rest in ((3, 2), (5,), (1, 1))))

# %% id="conv-work-check" tags=["check"]
conv_work = check.conv_work(conv_work)

# %% [markdown] id="conv-work-hints"
# <details><summary>Hint 1</summary>How many output values are there, and how many multiply-adds does each need?</details>
# <details><summary>Hint 2</summary>Three tensors move: the input, the weight (c_out × c_in × k × k) and the output.</details>
# <details><summary>Hint 3</summary>Sum the three numbers of values, then multiply by the bytes of one value. FLOP has a factor 2 that bytes do not have.</details>

# %% [markdown] id="attainable-words"
# Then the roof itself: how fast can work of this intensity possibly run?


# %% id="attainable" tags=["answer"] answer="04.attainable" points=1
def attainable(intensity, flop_per_s, bytes_per_s):
    """The most FLOP/s at an intensity (FLOP/byte), under a compute roof and a memory roof."""
    ### BEGIN SOLUTION about 1 line
    return min(flop_per_s, intensity * bytes_per_s)
    ### END SOLUTION


# %% id="attainable-hidden" tags=["hidden-check"] answer="04.attainable"
print(*(f"{float(attainable(*a)) / 1e9:.3f}" for a in ((3.0, 1e12, 2e11), (30.0, 1e12, 2e11))))
# expect: 600.000 1000.000

# %% id="attainable-secret" tags=["hidden-check"] answer="04.attainable"
roofs = (1 + secret % 3) * 1e12, (2 + secret % 5) * 1e11
print(*(f"{float(attainable(x, *roofs)) / 1e9:.3f}" for x in (0.25, 1.5, 40.0)))

# %% id="attainable-check" tags=["check"]
attainable = check.attainable(attainable)

# %% [markdown] id="attainable-hints"
# <details><summary>Hint 1</summary>What would the rate be if only memory limited it?</details>
# <details><summary>Hint 2</summary>FLOP/byte times byte/s is FLOP/s.</details>
# <details><summary>Hint 3</summary>The lower of the two limits holds.</details>

# %% [markdown] id="by-hand-words"
# ### By hand against the clock
#
# Two layers as they occur in the U-Net: a wide 3×3 convolution, and a 1×1 convolution. Your count, this machine's roofs, and then the clock. (More than 100 %? The next section says what that can mean.)

# %% id="by-hand"
for k in (3, 1):
    conv = nn.Conv2d(128, 128, k, padding=k // 2, bias=False, device=device)
    x = torch.randn(8, 128, 16, 16, device=device)
    flop, moved = conv_work(8, 128, 128, 16, k)
    with torch.no_grad():
        timing = measure(conv, x)
    roof = attainable(flop / moved, ceilings.flop_per_s[dtype], ceilings.bytes_per_s) / 1e9
    reached = flop / timing.median_s / 1e9
    print(f"{k}x{k}: {flop / moved:6.1f} FLOP/byte", end=", ")
    print(f"roof {roof:6.0f} GFLOP/s, measured {reached:6.0f}: {reached / roof:.0%}")

# %% [markdown] id="network-words"
# ### The whole network
#
# `count` runs the network once and adds up every kernel; `.per_module` has the blocks. Compare the eager bytes with the fused ones: the difference is elementwise traffic.

# %% id="count-network"
size = scale()
unet = baseline().to(device).model
x_t, t = torch.randn(size.batch_size, 3, 32, 32, device=device), torch.full((size.batch_size,), 500, device=device)
with torch.no_grad():
    work = count(unet, x_t, t)
work

# %% id="profile-network"
with torch.no_grad():
    blocks = profile(unet, x_t, t, backward=False)
plot_roofline(blocks, ceilings)

# %% [markdown] id="cache-words"
# Each dot is a block of the network; a larger dot takes more of the time. Dots may lie *above* the memory roof. They are not wrong: the data of a small block stays in the cache and never travels to main memory, so its roof is the dashed one. Without the cache's roof such dots look like magic. (Dots above the *flat* roof say that the roof was measured in a busy moment: `calibrate(device, refresh=True)` measures again.)
#
# Which side of the ridge are the most expensive blocks on? On its left memory is the lower roof, on its right compute. The side names the roof *above* a block, not how close the block comes to it.

# %% id="bound"
ridge = ceilings.ridge(dtype)
for row in sorted(blocks.rows, key=lambda row: -row.forward_s)[:6]:
    intensity = row.forward_flop / row.forward_bytes
    bound = "compute" if intensity > ridge else "memory"
    print(f"{row.name:16} {row.share:6.1%} of the time, {intensity:6.1f} FLOP/byte: {bound} roof")
print(f"ridge of this machine: {ridge:.1f} FLOP/byte")

# %% id="explore-blocks"
BlockExplorer(unet, x_t, t, ceilings=ceilings, measured=blocks)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal
#
# The roofline predicts each block's time as FLOP ÷ attainable FLOP/s. On the diagonal it is right. Below it a block is faster, as a rule because its data came from the cache. Above it a block is slower than its roofs allow, and one reason lies in the block itself: it is a chain of kernels, some waiting for memory, others for arithmetic, and their times add up, while the roofline takes only the larger of the two sums. That alone can cost up to a factor of 2, the dashed line.

# %% id="predicted"
plot_predicted(blocks, ceilings, dtype)

# %% [markdown] id="half-words"
# Now the prediction that the card asked for. Halve the bytes of every block and leave the arithmetic as fast as it is: what does the roofline say for the whole network? It lets arithmetic and memory overlap fully within a block. The second line assumes the opposite: they take turns, as they mostly do in eager mode.


# %% id="half-bytes"
def network_s(bytes_factor):
    """Predicted seconds of all blocks when each moves bytes_factor times its bytes."""
    total = 0.0
    for row in blocks.rows:
        if row.forward_flop:
            intensity = row.forward_flop / (row.forward_bytes * bytes_factor)
            total += row.forward_flop / attainable(intensity, ceilings.flop_per_s[dtype], ceilings.bytes_per_s)
    return total


print(f"half the bytes, same arithmetic: {network_s(1.0) / network_s(0.5):.2f}x")

# %% id="half-bytes-in-turns"
arithmetic_s, memory_s = work.flop / ceilings.flop_per_s[dtype], work.bytes_moved / ceilings.bytes_per_s
print(f"the same if the two take turns:  {(arithmetic_s + memory_s) / (arithmetic_s + memory_s / 2):.2f}x")
print(f"no elementwise traffic at all:   {work.bytes_moved / work.fused_bytes:.1f} times fewer bytes")

# %% [markdown] id="why"
# The addition has little but bytes, so half the bytes should bring it close to 2. If yours gained less, something else than memory took part: one core that cannot saturate the memory, the conversion to bf16 and back on a CPU without units for it, or a cache larger than the tensors.
# The network gains less than the addition, as far as its blocks sit right of the ridge: they need faster *arithmetic*, which half precision also brings where the hardware has units for it. Keep your numbers: the lesson on half precision will ask for them.
#
# Where a block lies far below both roofs, neither explains it. Candidates are kernels too small to fill the machine, the launch of each kernel, and layouts that make memory walk in small steps. The tools of notebook 03 help to tell them apart.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# Arithmetic intensity decides what can help: left of the ridge move fewer bytes, right of it do less arithmetic. Roofs are measured, not copied from a data sheet, and the cache has a roof of its own. A roofline that is wrong by a known amount still tells you what is not worth trying.
#
# *Go further.* Move along the axis: count the same network at batch 1 and at batch 64. Which blocks change side, and why does the weight matter less as the batch grows? Then find your favourite GPU in `course_utils.measure.DATASHEETS` and compute its ridge.
