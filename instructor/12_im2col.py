# %% [markdown] id="card" section="Card"
# # A convolution is a matrix product
#
# **The question:** matrix products are the best tuned programs on earth. Write a 3×3 convolution as one of them, and the input must first be copied into a matrix. How many times larger than the input is that matrix: 1, 3 or 9 times? And is the whole faster or slower than the library's convolution *here*?
#
# About 60 minutes. Afterwards you can
#
# - write a convolution three ways: as loops, as unfold and matrix product, and as a call of the library, and prove them equal;
# - count the bytes that im2col adds, and say from them where it loses;
# - read a treatment that does not help as what it is: a result, with its reason.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# One layer as it occurs in the U-Net, in three sizes, and the trained base for the end.

# %% id="setup"
import torch
import torch.nn.functional as F

from course_utils.classroom import check, keep_step, plot_by_size, plot_staircase, predict, show_images
from course_utils.diffusion import load_base, sample, scale
from course_utils.measure import calibrate, compare, count, same_function, verdict
from course_utils.speedups import im2col

size, smoke = scale(), scale().name == "smoke"
device = "cuda" if torch.cuda.is_available() else "cpu"
channels, batch = (16, 2) if smoke else (64, 8)
base = load_base(device=device)
if device == "cuda":  # products compute in true fp32 here; convolutions would take TF32: let both do the same
    torch.backends.cudnn.conv.fp32_precision = "ieee"


# %% id="layer"
def layer(side, k=3):
    """Input and weight of a convolution that keeps the size: x (N, C, side, side), weight (C, C, k, k)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, side, side, generator=generator)
    return x.to(device), torch.randn(channels, channels, k, k, generator=generator).to(device) / (
        k * k * channels
    ) ** 0.5


# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# PyTorch's own convolution is given to a library: oneDNN on a CPU, cuDNN on an NVIDIA GPU. Yours will copy every 3×3 patch of the input into a column of a matrix (im2col, *image to columns*), and multiply. The arithmetic is the same to the last multiply-add.
#
# Count in piles as large as the input. The library reads one and writes one. How many does im2col move: the input read, the matrix written, the matrix read, the output written? That would be the factor if only memory counted.
#
# **What is the speed of im2col, as a factor of the library's, on 64 channels at 32×32?** 2 means twice as fast, 0.5 half as fast.

# %% id="guess" tags=["answer"] answer="12.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 0.3
### END SOLUTION
guess = predict("How many times as fast as the library is im2col on 64 channels at 32 x 32?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# First the baseline alone: what does the library reach, against the roof of this machine?

# %% id="measure"
x, weight = layer(32)
library = compare({"library": lambda: F.conv2d(x, weight, padding=1), "again": lambda: F.conv2d(x, weight, padding=1)})
flop = count(lambda: F.conv2d(x, weight, padding=1)).flop
reached, ceilings = flop / library.timings["library"].median_s, calibrate(device)
print(
    f"{flop / 1e9:.2f} GFLOP at {reached / 1e9:,.0f} GFLOP/s; the fp32 roof: {ceilings.flop_per_s['fp32'] / 1e9:,.0f}"
)

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# An output value at position $p$ is a product of a filter with the patch of the input around $p$:
#
# $$y_{o,p} = \sum_{c,\,i,\,j} w_{o,c,i,j}\; x_{c,\,p+(i,j)} \qquad\Longleftrightarrow\qquad Y = W X_\text{col}$$
#
# Flatten each filter to a row of $W$, of length $C K^2$, and each patch to a column of $X_\text{col}$, and the sum is a matrix product: $(O \times C K^2)$ times $(C K^2 \times L)$, with $L$ positions.
#
# ![Overlapping patches of a picture become the columns of a matrix, filters the rows of another](figures/12_im2col.svg)
#
# The idea made convolutional networks practical on GPUs (Chellapilla et al., 2006; Caffe, 2014), because a tuned matrix product existed and a tuned convolution did not. Its price stands in the drawing: neighbouring patches overlap, so each input value is copied $K^2$ times.
#
# Whoever tunes a convolution today does the same product, but gathers the patches block by block in the cache or in registers (*implicit* im2col): the big matrix never exists.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# Three ways, from the most literal. First the definition: go over all output positions, and multiply the patch there with every filter. No padding yet.


# %% id="conv-loops" tags=["answer"] answer="12.conv_loops" points=1
def conv_loops(x, weight):
    """Stride 1, no padding; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H - K + 1, W - K + 1)."""
    k, height, width = weight.shape[-1], x.shape[2], x.shape[3]
    ### BEGIN SOLUTION about 5 lines, stub: y = ...
    y = x.new_empty(len(x), len(weight), height - k + 1, width - k + 1)
    for i in range(height - k + 1):
        for j in range(width - k + 1):
            patch = x[:, :, i : i + k, j : j + k]  # (N, C, K, K)
            y[:, :, i, j] = torch.einsum("ncij,ocij->no", patch, weight)
    ### END SOLUTION
    return y


# %% id="conv-loops-hidden" tags=["hidden-check"] answer="12.conv_loops"
a, b = torch.arange(96.0).view(2, 3, 4, 4) % 7, torch.arange(54.0).view(2, 3, 3, 3) % 5 - 2
print(tuple(conv_loops(a, b).shape), [round(one) for one in conv_loops(a, b)[1, :, 0, 1].tolist()])
# expect: (2, 2, 2, 2) [-9, -1]

# %% id="conv-loops-secret" tags=["hidden-check"] answer="12.conv_loops"
source, taps = torch.Generator().manual_seed(secret), 2 + secret % 2
a = torch.randint(-4, 5, (2, 3, 5, 6 + secret % 3), generator=source).double()
b = torch.randint(-4, 5, (4, 3, taps, taps), generator=source).double()
y = conv_loops(a, b)
weighed = (y * (torch.arange(y.numel()) % 13).view(y.shape)).sum((0, 2, 3))
print(tuple(y.shape), [round(one) for one in weighed.tolist()])

# %% id="conv-loops-check" tags=["check"]
conv_loops = check.conv_loops(conv_loops)

# %% [markdown] id="conv-loops-hints"
# <details><summary>Hint 1</summary>Two loops are enough: over rows and over columns of the output. Pictures, channels and filters go through all at once.</details>
# <details><summary>Hint 2</summary>The patch that belongs to position (i, j) begins at row i and column j of the input and is k wide and high.</details>
# <details><summary>Hint 3</summary>Make an empty y of the right shape. In the loops, sum patch times weight over channel, row and column of the patch; einsum with the letters n, c, i, j and o says that in one call.</details>

# %% [markdown] id="conv-im2col-words"
# Now all patches at once. `F.unfold(x, k, padding=padding)` gives the columns, of shape (N, C·K·K, L): channel by channel, row by row. One matrix product, and the positions fold back into rows and columns.


# %% id="conv-im2col" tags=["answer"] answer="12.conv_im2col" points=2
def conv_im2col(x, weight, padding=1):
    """Stride 1; x (N, C, H, W), weight (O, C, K, K) -> y (N, O, H + 2 padding - K + 1, W + 2 padding - K + 1)."""
    rows = x.shape[2] + 2 * padding - weight.shape[-1] + 1
    ### BEGIN SOLUTION about 3 lines
    columns = F.unfold(x, weight.shape[-1], padding=padding)  # (N, C K K, L)
    flat = weight.flatten(1) @ columns  # (O, C K K) times (N, C K K, L) -> (N, O, L)
    return flat.unflatten(2, (rows, -1))
    ### END SOLUTION


# %% id="conv-im2col-hidden" tags=["hidden-check"] answer="12.conv_im2col"
a, b = torch.arange(144.0).view(2, 3, 4, 6) % 7, torch.arange(108.0).view(4, 3, 3, 3) % 5 - 2
y = conv_im2col(a, b)
print(tuple(y.shape), tuple(conv_im2col(a, b, 0).shape))
print([round(one) for one in y[1, :, 2, 3].tolist()], [round(one) for one in y[0, :, 0, 5].tolist()])
# expect: (2, 4, 4, 6) (2, 4, 2, 4)
# expect: [-6, 10, -4, 12] [-5, 5, 5, -5]

# %% id="conv-im2col-secret" tags=["hidden-check"] answer="12.conv_im2col"
source, taps = torch.Generator().manual_seed(secret), 3 + 2 * (secret % 2)
a = torch.randint(-4, 5, (2, 3, 6, 7), generator=source).double()
b = torch.randint(-4, 5, (4, 3, taps, taps), generator=source).double()
for edge in (taps // 2, 0, 1 + secret % 2):
    y = conv_im2col(a, b, edge)
    weighed = (y * (torch.arange(y.numel()) % 13).view(y.shape)).sum((0, 2, 3))
    print(tuple(y.shape), [round(one) for one in weighed.tolist()])

# %% id="conv-im2col-check" tags=["check"]
conv_im2col = check.conv_im2col(conv_im2col)

# %% [markdown] id="conv-im2col-hints"
# <details><summary>Hint 1</summary>The columns have one axis for pictures, one for what a filter sees, one for positions. Which axis of the flattened weight fits?</details>
# <details><summary>Hint 2</summary>`weight.flatten(1)` is (O, C·K·K). A matrix times a batch of matrices broadcasts over the batch.</details>
# <details><summary>Hint 3</summary>Unfold, multiply from the left by the flat weight, then split the last axis into `rows` and the rest with `unflatten`.</details>

# %% [markdown] id="work-words"
# Last the napkin: how much does im2col move? Unfold reads the input and writes the columns; the product reads columns and weight, and writes the output. Stride 1, same size out, as in the U-Net.


# %% id="im2col-work" tags=["answer"] answer="12.im2col_work" points=1
def im2col_work(n, c_in, c_out, side, k, bytes_per_value=4):
    """Unfold and matrix product on n pictures of side x side, same size out; -> (flop, bytes moved)."""
    flop = 2 * n * side * side * c_out * c_in * k * k
    ### BEGIN SOLUTION about 3 lines, stub: moved = ...
    pictures = n * side * side
    columns = pictures * c_in * k * k
    moved = bytes_per_value * (pictures * c_in + 2 * columns + c_out * c_in * k * k + pictures * c_out)
    ### END SOLUTION
    return flop, moved


# %% id="im2col-work-hidden" tags=["hidden-check"] answer="12.im2col_work"
print(*([round(float(part)) for part in im2col_work(*a)] for a in ((2, 3, 5, 4, 3), (1, 7, 2, 6, 1, 2))))
# expect: [8640, 8476] [1008, 1684]

# %% id="im2col-work-secret" tags=["hidden-check"] answer="12.im2col_work"
odd = (1 + secret % 4, 3 + secret % 5, 2 + secret % 7, 5 + secret % 6)
print(*([round(float(part)) for part in im2col_work(*odd, *rest)] for rest in ((3,), (5, 2), (1, 1))))

# %% id="im2col-work-check" tags=["check"]
im2col_work = check.im2col_work(im2col_work)

# %% [markdown] id="im2col-work-hints"
# <details><summary>Hint 1</summary>Four tensors take part: input, columns, weight, output. One of them is both written and read.</details>
# <details><summary>Hint 2</summary>The columns hold every input value k × k times.</details>
# <details><summary>Hint 3</summary>Count values first (input once, columns twice, weight once, output once), and multiply by the bytes of one at the end.</details>

# %% [markdown] id="again-words" section="Measure again"
# ## Measure again
#
# All three, in turns, on growing pictures. Watch the axis: both are logarithmic.

# %% id="again"
ways = {
    "library": lambda x, weight: F.conv2d(x, weight, padding=weight.shape[-1] // 2),
    "im2col": lambda x, weight: conv_im2col(x, weight, weight.shape[-1] // 2),
    "loops": lambda x, weight: conv_loops(F.pad(x, (1, 1, 1, 1)), weight),
}
sides = (4, 8) if smoke else (4, 8, 16, 32)
races = {side: compare(ways, *layer(side), max_time_s=1 if smoke else 8) for side in sides}
plot_by_size(races, "side of the picture (pixels)", "A 3x3 convolution, three ways")

# %% id="again-largest"
races[sides[-1]]

# %% [markdown] id="intensity-words"
# Why? Set your count beside the convolution's own, which needs each tensor once. (Notebook 04: below the ridge, memory decides.)

# %% id="intensity"
pair = {name: ways[name] for name in ("library", "im2col")}
for k in (1, 3, 5):
    x, weight = layer(sides[-1], k)
    flop, moved = im2col_work(batch, channels, channels, sides[-1], k)
    least = 4 * (2 * x.numel() + weight.numel())
    speed = compare(pair, x, weight, max_time_s=1 if smoke else 5, memory=False).speedup("im2col")
    print(f"{k}x{k}: {flop / least:6.1f} FLOP/byte at best, {flop / moved:5.1f} with im2col, {speed}")
print(f"ridge of this machine: {ceilings.ridge('fp32'):.1f} FLOP/byte")

# %% [markdown] id="network-words"
# And the whole network. `im2col(model)` from the kit is what you built, for any stride, padding, dilation and groups: it returns a copy in which every convolution is unfold and product, with the same weights.

# %% id="network"
unfolded = im2col(base.model)
n = 2 if smoke else 4
x_t, t = torch.randn(n, 3, 32, 32, device=device), torch.full((n,), 500, device=device)
with torch.no_grad():
    whole = compare({"library": base.model, "im2col": unfolded}, x_t, t, rounds=5, warmup=1, max_time_s=30)
whole

# %% [markdown] id="draw-words" section="Does it still draw?"
# ## Does it still draw?
#
# Nothing was approximated, so the strongest evidence is within reach: the same function, output by output, up to the order of sums. Below, pictures from the same noise by both networks.

# %% id="gate"
gate = same_function(base.model, unfolded, x_t, t, rtol=1e-3, atol=1e-4)
decided = verdict(whole.speedup("im2col"), gate, exactness="exact")
decided

# %% id="pictures"
steps = 2 if smoke else 10
pair = [sample(one, n, num_steps=steps, seed=1) for one in (base, base.with_model(unfolded))]
show_images(torch.cat(pair), "Above, the library's convolution; below, im2col", columns=n)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
guess.reveal(races[sides[-1]].speedup("im2col"))

# %% [markdown] id="why"
# The matrix is nine times the input, and it is written once and read once: about eighteen times the input's traffic that the direct convolution does not have. Arithmetic intensity falls about tenfold. Where that crosses your ridge, memory decides; where it does not, `unfold` is still a pure copy that takes time of its own before the product starts. At 1×1 nothing is copied twice, and what is left of the gap is `unfold` copying what was a matrix already.
#
# On the smallest pictures the gap may close, or turn around: there the columns fit into the cache, and what a call costs weighs more than what it moves. The loops lose for another reason. Each turn is a handful of launches for very little arithmetic, so their time grows with the number of positions, whatever the machine could do.
#
# The library does the *same* product. It wins because it never builds the matrix: it gathers patches into a block that stays in the cache, in a layout of its choosing (channels side by side, see notebook 14), with an inner loop written for this very processor.
#
# So im2col is not a treatment to keep. It is exact, and slower; the verdict says so, and that is a result. It is worth knowing where libraries have no kernel of their own: odd data types, new hardware, quantised products, or a convolution nobody has tuned.

# %% id="step"
print(keep_step("im2col", decided, img_per_s=n / whole.timings["im2col"].median_s, what="forward"))
plot_staircase()

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A convolution *is* a matrix product; what differs between implementations is what they move. im2col multiplies traffic by about 2 K² for the input and gains nothing where a tuned convolution exists. An optimisation that loses, with the reason, saves the next person a week.
#
# *Go further.* The backward pass of `unfold` is `fold`, which adds overlapping patches back. Count its bytes, time `backward()` of both ways, and compare with your count. Then read about Winograd's algorithm, which does a 3×3 convolution with fewer multiplications, and ask which kind of evidence it would need.
