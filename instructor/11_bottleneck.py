# %% [markdown] id="card" section="Card"
# # Bottlenecks
#
# **The question:** narrow the channels before each 3×3 convolution, widen them after it, and less than half of the network's arithmetic is left. How many times faster is a training step: 1.0x, 1.5x or 2.2x?
#
# About 75 minutes. Afterwards you can
#
# - count what a bottleneck saves, and foretell from the counters how much of it the clock will see;
# - build the two classic forms, and start one of them from trained weights;
# - say when a retrained network may be called as good as before, and when one seed cannot tell.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# The baseline at this machine's scale, to be timed, and trained networks that come with the kit, to be judged.

# %% id="setup"
import math

import torch
from torch import nn

from course_utils.classroom import check, keep_step, plot_staircase, predict, show_images
from course_utils.diffusion import Batches, adam, baseline, heldout_loss, load_base, load_heldout, load_shipped
from course_utils.diffusion import sample, scale, train
from course_utils.experiments.claims import retrained
from course_utils.experiments.one_step import training_step
from course_utils.measure import calibrate, compare, count, same_denoiser, verdict
from course_utils.speedups import STRUCTURAL, treat

# %% id="setup-patient"
size, smoke = scale(), scale().name == "smoke"
device = "cuda" if torch.cuda.is_available() else "cpu"
patient, base, real = baseline().to(device), load_base(device=device), load_heldout()
batch = 2 if smoke else size.batch_size
limits = {"rounds": 5, "warmup": 1, "max_time_s": 2} if smoke else {"rounds": 15, "max_time_s": 60}
roofs = calibrate(device)
kind = "tf32" if "tf32" in roofs.flop_per_s else "fp32"  # in which convolutions compute here

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# A convolution with a $k \times k$ kernel takes $k^2\, C_\text{in}\, C_\text{out}$ multiply-adds for each pixel. Take a 3×3 from 64 to 64 channels. In its place put three: a 1×1 from 64 to 32, a 3×3 from 32 to 32, a 1×1 from 32 to 64. How many multiply-adds before, how many after? (Where channels fall, as on the way up, more is saved: over all 3×3 here 3.4 times.)
#
# In the baseline 3×3 convolutions do three quarters of the FLOP (at laptop scale). What would the FLOP alone promise? But a step also normalises, adds, attends and updates weights. **How many times faster is a whole training step when every 3×3 has become such a bottleneck?**

# %% id="guess" tags=["answer"] answer="11.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 1.4
### END SOLUTION
guess = predict("How many times faster is a training step with bottlenecks inside every 3x3?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# Which convolutions are there, and how long is a step?

# %% id="measure"
convs = [one for one in patient.model.modules() if isinstance(one, nn.Conv2d) and one.kernel_size == (3, 3)]
falling = [conv for conv in convs if conv.in_channels > conv.out_channels]
print(f"{len(convs)} 3x3 convolutions, {len(falling)} with more channels in than out")
step = training_step(patient, batch)
compare({"baseline": step, "again": step}, images_per_call=batch, memory=False, **limits)

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# Channels of a trained network repeat one another. A 1×1 convolution mixes the channels of each pixel for a ninth of the price of a 3×3, so let it pick $m$ mixtures, and let the 3×3 work on these. Two forms:
#
# ![A 3x3 convolution and its two bottlenecks, with channels as heights and the multiply-adds of each](figures/11_bottleneck.svg)
#
# **Between** (Inception: Szegedy et al., 2015) puts one 1×1 before the 3×3. It suits the way up of a U-Net best: there the skip connection has just set two sets of channels side by side, often with similar content. **Inside** (ResNet: He et al., 2016) narrows, convolves and widens again. Per pixel, in FLOP:
#
# $$\text{between: } 2\,(C_\text{in}\, m + 9\, m\, C_\text{out}) \qquad \text{inside: } 2\,(C_\text{in}\, m + 9\, m^2 + m\, C_\text{out})$$
#
# Both papers put a nonlinearity between the parts. Here there is none: the parts together are still *one* 3×3 convolution, though not any: its *rank* over channels is at most $m$. So nothing about the new network is certain but its price. It must be trained, and then judged.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# The price first, in FLOP (a multiply-add is 2).


# %% id="bottleneck-flop" tags=["answer"] answer="11.bottleneck_flop" points=2
def bottleneck_flop(c_in, c_out, m, pixels, where):
    """FLOP of a 3x3 convolution with m channels in its narrow part; where is "between" or "inside"."""
    ### BEGIN SOLUTION about 4 lines, stub: flop = ...
    if where == "between":
        flop = 2 * pixels * (c_in * m + 9 * m * c_out)
    else:
        flop = 2 * pixels * (c_in * m + 9 * m * m + m * c_out)
    ### END SOLUTION
    return flop


# %% id="bottleneck-flop-hidden" tags=["hidden-check"] answer="11.bottleneck_flop"
print(*(round(float(bottleneck_flop(6, 5, 2, 7, where))) for where in ("between", "inside")))
# expect: 1428 812

# %% id="bottleneck-flop-secret" tags=["hidden-check"] answer="11.bottleneck_flop"
for where in ("inside", "between"):
    print(round(float(bottleneck_flop(5 + secret % 7, 3 + secret % 5, 2 + secret % 3, 11, where))))

# %% id="bottleneck-flop-check" tags=["check"]
bottleneck_flop = check.bottleneck_flop(bottleneck_flop)

# %% [markdown] id="bottleneck-flop-hints"
# <details><summary>Hint 1</summary>Count one pixel: each part has its own channels in and out, and its own number of taps, 1 or 9.</details>
# <details><summary>Hint 2</summary>Both forms begin alike: a 1×1 from c_in to m.</details>
# <details><summary>Hint 3</summary>Then comes a 3×3, from m to c_out or from m to m, and inside one more 1×1, from m to c_out. Sum, times the pixels, times two.</details>

# %% [markdown] id="by-hand-words"
# What does each kind of convolution in the network save, with half of the channels left?

# %% id="by-hand"
for c_in, c_out in sorted({(conv.in_channels, conv.out_channels) for conv in convs}):
    plain = 2 * 9 * c_in * c_out
    between = plain / bottleneck_flop(c_in, c_out, c_in // 2, 1, "between")
    within = plain / bottleneck_flop(c_in, c_out, min(c_in, c_out) // 2, 1, "inside")
    print(f"{c_in:4} -> {c_out:3}: between {between:.2f}x, inside {within:.2f}x fewer FLOP")

# %% [markdown] id="inside-words"
# Now the form *inside*, for one convolution. Give a bias to the last part only; what an earlier one adds, the last can add as well.


# %% id="inside" tags=["answer"] answer="11.inside" points=2
def inside(conv, m):
    """A bottleneck with m channels for a 3x3 convolution that keeps the size: an nn.Sequential of three nn.Conv2d."""
    ### BEGIN SOLUTION about 4 lines
    narrow = nn.Conv2d(conv.in_channels, m, 1, bias=False)
    middle = nn.Conv2d(m, m, 3, padding=1, bias=False)
    widen = nn.Conv2d(m, conv.out_channels, 1)
    return nn.Sequential(narrow, middle, widen)
    ### END SOLUTION


# %% id="inside-hidden" tags=["hidden-check"] answer="11.inside"
made = inside(nn.Conv2d(6, 5, 3, padding=1), 2)
print([tuple(weight.shape) for weight in made.parameters()], tuple(made(torch.ones(1, 6, 4, 7)).shape))
# expect: [(2, 6, 1, 1), (2, 2, 3, 3), (5, 2, 1, 1), (5,)] (1, 5, 4, 7)

# %% id="inside-secret" tags=["hidden-check"] answer="11.inside"
wide = 4 + secret % 3
made = inside(nn.Conv2d(wide, 3, 3, padding=1), 2)
for weight in made.parameters():
    weight.data = torch.arange(secret % 10, secret % 10 + weight.numel()).sin().view(weight.shape)
out = made(torch.arange(20 * wide).cos().view(1, wide, 4, 5))
print(tuple(out.shape), *(f"{out[0, i, i, j].item():.3f}" for i, j in ((0, 0), (1, 2), (2, 4))))

# %% id="inside-check" tags=["check"]
inside = check.inside(inside)

# %% [markdown] id="inside-hints"
# <details><summary>Hint 1</summary>`conv.in_channels` and `conv.out_channels` tell the two ends. In the narrow part there are m.</details>
# <details><summary>Hint 2</summary>A 3×3 keeps the size of a picture with padding=1, a 1×1 without any.</details>
# <details><summary>Hint 3</summary>Kernels of size 1, 3 and 1, the first two with bias=False, listed in this order.</details>

# %% [markdown] id="low-rank-words"
# Last, a good start for *between*. Unfold a trained kernel into a matrix with a row for each input channel. Its singular value decomposition, cut off after $m$ values, is the nearest matrix of rank $m$ (Eckart and Young, 1936): $U_m$ becomes the 1×1, $S_m V_m^\top$ the 3×3.


# %% id="low-rank" tags=["answer"] answer="11.low_rank" points=2
def low_rank(weight, m):
    """The nearest kernel of rank m: weight (O, C, 3, 3) -> narrow (m, C, 1, 1) and core (O, m, 3, 3)."""
    unfolding = weight.transpose(0, 1).flatten(1)  # (C, O x 9)
    ### BEGIN SOLUTION about 3 lines, stub: narrow = core = ...
    u, s, vh = torch.linalg.svd(unfolding, full_matrices=False)
    narrow = u[:, :m].T[:, :, None, None]
    core = (s[:m, None] * vh[:m]).unflatten(1, (len(weight), 3, 3)).transpose(0, 1)
    ### END SOLUTION
    return narrow, core


# %% id="low-rank-hidden" tags=["hidden-check"] answer="11.low_rank"
filters = (torch.arange(216.0).view(4, 6, 3, 3) * 7 % 11 - 5).double()
for m in (1, 3, 6):
    first, second = low_rank(filters, m)
    off = (torch.einsum("omhw,mc->ochw", second, first[:, :, 0, 0]) - filters).norm().item()
    print(tuple(first.shape), tuple(second.shape), f"{abs(off):.3f}")
# expect: (1, 6, 1, 1) (4, 1, 3, 3) 36.712
# expect: (3, 6, 1, 1) (4, 3, 3, 3) 19.993
# expect: (6, 6, 1, 1) (4, 6, 3, 3) 0.000

# %% id="low-rank-secret" tags=["hidden-check"] answer="11.low_rank"
source = torch.Generator().manual_seed(secret)
filters = torch.randn(5, 4 + secret % 4, 3, 3, generator=source, dtype=torch.float64)
for m in (1, 2 + secret % 2):
    first, second = low_rank(filters, m)
    near = torch.einsum("omhw,mc->ochw", second, first[:, :, 0, 0])
    print(
        tuple(first.shape), tuple(second.shape), f"{(near - filters).norm().item():.3f} {near[1, 2, 0, 1].item():.3f}"
    )

# %% id="low-rank-check" tags=["check"]
low_rank = check.low_rank(low_rank)

# %% [markdown] id="low-rank-hints"
# <details><summary>Hint 1</summary>`torch.linalg.svd(unfolding, full_matrices=False)` gives U, the singular values in falling order, and V transposed.</details>
# <details><summary>Hint 2</summary>A 1×1 kernel is (m, C, 1, 1): the first m columns of U, transposed, with two axes of length 1 at the end.</details>
# <details><summary>Hint 3</summary>Scale the first m rows of V transposed by their singular values, `unflatten` the long axis into O, 3 and 3, and exchange the first two axes.</details>

# %% [markdown] id="spectra-words"
# How much of a kernel, in squared norm, is lost with half of its input channels? The trained ones of the base, beside random ones of the same shape:

# %% id="spectra"
with torch.no_grad():
    for name, conv in base.model.named_modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3) and conv.in_channels > conv.out_channels:
            lost = []
            for kernel in (conv.weight, torch.randn_like(conv.weight)):
                narrow, core = low_rank(kernel, conv.in_channels // 2)
                missing = kernel - torch.einsum("omhw,mc->ochw", core, narrow[:, :, 0, 0])
                lost.append((missing.norm() / kernel.norm()).item() ** 2)
            print(f"{name:28} trained: {lost[0]:5.1%} lost, random: {lost[1]:5.1%}")

# %% [markdown] id="again-words" section="Measure again"
# ## Measure again
#
# One convolution: the FLOP, the clock, and the arithmetic intensity of each part (notebook 04: left of the ridge, memory decides).

# %% id="again-layer"
width, n = (16, 2) if smoke else (64, 8)
conv = nn.Conv2d(width, width, 3, padding=1, device=device)
narrow, x = inside(conv, width // 2).to(device), torch.randn(n, width, 32, 32, device=device)
fewer = 9 * width**2 * 2 / bottleneck_flop(width, width, width // 2, 1, "inside")
with torch.no_grad():
    layers = compare({"3x3": conv, "bottleneck": narrow}, x, memory=False, max_time_s=1 if smoke else 10)
    print(f"{fewer:.2f}x fewer FLOP, on the clock {layers.speedup('bottleneck')}")
    print(f"ridge of this machine: {roofs.ridge(kind):.1f} FLOP/byte")
    print(f"plain 3x3: {count(conv, x).intensity:6.1f} FLOP/byte")
    for part in narrow:
        print(f"part, {part.kernel_size[0]}x{part.kernel_size[1]}: {count(part, x).intensity:5.1f} FLOP/byte")
        x = part(x)

# %% [markdown] id="again-network-words"
# Now the network. The kit's `bottleneck` treats every 3×3 (*inside*) or those with more channels in than out (*between*), with half of the channels left. First the counters of a forward pass, then the clock, for whole training steps.

# %% id="counters"
forms = {"between": "bottleneck(where=between, reduction=2)", "inside": "bottleneck(where=inside, reduction=2)"}
nets = {"baseline": patient} | {form: treat(patient, text) for form, text in forms.items()}
x_t, t, works = torch.randn(batch, 3, 32, 32, device=device), torch.full((batch,), 500, device=device), {}
with torch.no_grad():
    for name, net in nets.items():
        work = works[name] = count(net.model, x_t, t, per_module=False)
        weights = sum(weight.numel() for weight in net.model.parameters())
        moved = f"{work.bytes_moved / 1e9:.3f} GB in {work.kernels} kernels"
        print(f"{name:8} {work.flop / 1e9:7.3f} GFLOP, {moved}, {weights / 1e6:.2f} M parameters")

# %% id="again"
race = compare({name: training_step(net, batch) for name, net in nets.items()}, images_per_call=batch, **limits)
race


# %% id="in-turns"
def in_turns_s(work):
    """Seconds at the roofs of this machine, if arithmetic and memory take turns."""
    return work.flop / roofs.flop_per_s[kind] + work.bytes_moved / roofs.bytes_per_s


for form in forms:
    by_flop = works["baseline"].flop / works[form].flop
    by_both = in_turns_s(works["baseline"]) / in_turns_s(works[form])
    print(f"{form}: {by_flop:.2f}x by FLOP, {by_both:.2f}x by FLOP and bytes, measured: {race.speedup(form)}")

# %% [markdown] id="draw-words" section="Does it still draw?"
# ## Does it still draw?
#
# First the start. The trained base gets *between* bottlenecks, with random kernels and with yours, and no step of training. Then both are trained for a moment. The shipped test pictures are cut in two: the first half judges, and the rest trains, so that no network is judged on what it has seen.

# %% id="starts"
torch.manual_seed(0)
few, short = (12, 3) if smoke else (500, 40)


def judge(net):
    """Mean held-out loss on the judging half."""
    return heldout_loss(net, real.images[:500], n=few).mean


low = "bottleneck(where=between, reduction=2, start=low_rank)"
starts = {"random start": treat(base, forms["between"]), "low-rank start": treat(base, low)}
whole, batches = judge(base), Batches(real.images[500:], 2 if smoke else 16, device=device)
for name, net in starts.items():
    before = judge(net)
    after = judge(train(net, batches, num_steps=short, optimizer=adam(1e-4)).averaged())
    print(f"{name}: loss {before / whole:.3f} times the base's, after {short} steps {after / whole:.3f}")

# %% [markdown] id="gate-words"
# Now in earnest. The kit brings both forms trained from scratch, with the seed, the data and the number of steps of `base-25`, the base after a quarter of its training.
#
# Networks that were trained anew owe two kinds of evidence: paired held-out losses, taken here, and the distance of drawn pictures, which was recorded. (A smoke test judges one form only.)

# %% id="gate-losses"
judged = [(forms["inside"], "inside", "bottleneck-inside-25", "base-25")]
if not smoke:
    judged += [(forms["between"], "between", "bottleneck-between-25", "base-25")]
names = dict.fromkeys(name for entry in judged for name in entry[2:])
trained = {name: load_shipped(name, treatments=STRUCTURAL, device=device) for name in names}
n = 100 if smoke else 1000
losses = {name: heldout_loss(net, real.images, n=n).per_image for name, net in trained.items()}

# %% id="gate"
decided = {}
for text, form, variant, against in judged:
    drawn = [one for one in retrained(variant, against).evidence() if one.kind == "same distribution"]
    evidence = [same_denoiser(losses[against], losses[variant]), *drawn]
    decided[text] = verdict(race.speedup(form), evidence, exactness="retrained")
    print(f"{variant} against {against}", decided[text], "", sep="\n")

# %% [markdown] id="seeds-words"
# These bounds are over pictures, for certain sets of weights. Would another seed say the same? The base was trained to its end with two seeds. Take what these differ by for what seeds differ by, and give it to the gate. Those two were trained four times as long as the networks judged here, and after a quarter of the training seeds may differ by more. So take the new bounds as too narrow rather than too wide.

# %% id="seeds"
seeds = [judge(load_base(seed=seed, device=device)) for seed in (0, 1)]
twice = judge(trained["base-25"]) / judge(load_base(50, device=device))
print(f"loss of seed 1 / seed 0: {seeds[1] / seeds[0]:.3f}; of base-25 / base-50: {twice:.3f}")
same_denoiser(losses["base-25"], losses["bottleneck-inside-25"], seed_spread=seeds)

# %% [markdown] id="equal-time-words"
# So far both had equal steps. In equal *time* the faster one sees more pictures. Say that each doubling of the pictures divides a loss by as much as it did from base-25 to base-50: what are the additional pictures worth?

# %% id="equal-time"
fast, lost = race.speedup("inside").value, losses["bottleneck-inside-25"].mean() / losses["base-25"].mean()
worth = twice ** -math.log2(fast)
print(f"inside, at equal steps: {lost:.3f} times the loss of base-25")
told = f"{fast:.2f}x the pictures: {worth:.3f} times the loss; both: {lost * worth:.3f} times"
print(told if fast > 0 else "The race was too noisy for a speed-up: run it again.")

# %% id="pictures"
n, num_steps = (4, 1) if smoke else (12, 20)
pair = [sample(trained[name], n, num_steps=num_steps, seed=2) for name in ("base-25", "bottleneck-inside-25")]
show_images(torch.cat(pair), "Above, base-25; below, inside", columns=n)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
guess.reveal(race.speedup("inside"))

# %% [markdown] id="why"
# The counters said it beforehand. FLOP fall as you computed, parameters with them. Bytes hardly move: the wide tensors are still read and written, by normalisation, activations and shortcuts, and each bottleneck adds narrow ones. Kernels become *more*. Whoever is bound by arithmetic gains most of the factor; whoever is bound by memory, or by launching kernels, gains little, and a smoke-sized network may lose.
#
# The parts tell the same story. A 1×1 convolution does a ninth of the arithmetic on tensors just as large, so its intensity is far below that of a 3×3, near the ridge or left of it. FLOP that are saved where they were cheap save little time.
#
# *Between* touches a few convolutions only, and saves a little. Its low-rank start, however, begins close to the base, and a few steps bring it closer: trained kernels have fewer independent channels than random ones. It keeps the lineage, the same weights with a part cut off, so the ratio to the base speaks of the treatment more than of luck with a seed.
#
# From scratch there is that luck. How far are the two seeds of *one* network apart, beside the 2 % that the gate allows? A difference between base and variant below that spread cannot be settled by one seed each. A spread known from two seeds alone makes the bounds so wide that the honest word is often *inconclusive*. That is a result, and it says what is missing: more seeds, not more pictures.
#
# Which budget is fair? At equal steps the variant had less time. Your speed-up says how many times more pictures it could have seen in the time of the base, and base-25 against base-50 what twice the pictures are worth to the base. Multiply the two: below 1, *inside* wins at equal time, as far as one seed can tell, although it may lose at equal steps.

# %% id="step"
for text, form, *_ in judged:
    print(keep_step(text, decided[text], img_per_s=race.timings[form].per_second(batch)))
plot_staircase()

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A bottleneck removes arithmetic, and leaves bytes and kernels; count all three before you hope. A network with another structure has to be trained again, and judged at an equal budget, with seeds in mind. A low-rank start turns retraining into a repair.
#
# *Go further.* Set `reduction=4`: what do the counters promise, and where does the low-rank start begin? Then try it with `where=inside` (`start=low_rank` works there too): why does it begin so much farther away?
