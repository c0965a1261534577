# %% [markdown] id="card" section="Card"
# # Fewer sampling blocks
#
# **The question:** the innermost stage of this U-Net holds three quarters of its weights. How much of a training step does it take: 75 %, 30 % or 10 %? And drawing pictures *while* the network trains, as often as the library does: how many times longer does that make a run?
#
# About 60 minutes. Afterwards you can
#
# - say stage by stage where a U-Net keeps its weights, and where it spends FLOP, bytes and time;
# - take blocks out, and tell which counter foretells what is gained;
# - choose how often a training run stops to draw.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# "Sampling blocks" has two meanings, and both cost time: the blocks of the network that sample the picture down and up, and the stretches of a training run in which pictures are sampled.

# %% id="imports"
import copy
import math

import torch
from torch import nn

from course_utils.classroom import check, keep_step, plot_cadence, plot_stages, plot_staircase, predict, show_images
from course_utils.diffusion import Batches, baseline, heldout_loss, load_heldout, load_shipped, sample, scale, train
from course_utils.experiments.claims import retrained
from course_utils.experiments.one_step import training_step
from course_utils.measure import collect_regions, compare, count, profile, region, same_denoiser, same_function, verdict
from course_utils.speedups import STRUCTURAL, fewer_blocks

# %% id="setup"
size, smoke = scale(), scale().name == "smoke"
device = "cuda" if torch.cuda.is_available() else "cpu"
patient, real = baseline().to(device), load_heldout()
batch = 1 if smoke else size.batch_size
x_t, t = torch.randn(batch, 3, 32, 32, device=device), torch.full((batch,), 500, device=device)
unet, stages = patient.model, len(patient.model.downs)

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# From one stage to the next the sides of the picture halve and the channels double. A 3×3 convolution on $C$ channels and $S \times S$ pixels has $9C^2$ weights and takes $18\,C^2 S^2$ FLOP. One stage further in: how many times the weights, how many times the FLOP, how many times the values to read and write?
#
# The middle works at the innermost resolution too, so count it with the innermost stage. **What percentage of a training step's forward and backward passes does that stage take?**

# %% id="guess" tags=["answer"] answer="13.guess" points=0
### BEGIN SOLUTION about 1 line, stub: percent = ...
percent = 30
### END SOLUTION
guess = predict("What percentage of forward and backward does the innermost stage take?", percent, unit="%")
guess

# %% [markdown] id="predict-drawing-words"
# The second meaning. The library's `Trainer` trains on 16 pictures a step. By default it stops every 1,000 steps, draws 50,000 pictures with 1,000 model calls each, and scores them. A training step costs about three forward passes a picture (notebook 03). Forward passes of one picture: how many in 1,000 steps, how many in one evaluation? **How many times longer does a run become by that?**

# %% id="guess-drawing" tags=["answer"] answer="13.guess_drawing" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 1000
### END SOLUTION
guess_drawing = predict("How many times longer does a run become by the library's evaluation?", factor, unit="x")
guess_drawing

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# Every block of the network alone, forward and backward, in turns with all the others.

# %% id="measure"
blocks = profile(unet, x_t, t, rounds=3 if smoke else 7)
blocks.head(6)

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# A stage of this U-Net has two residual blocks, an attention layer, and a convolution that changes the resolution. A residual block adds something to its input, which a 1×1 convolution $s$ first brings to the right width where need be:
#
# $$y = s(x) + f(x, t)$$
#
# Leave $f$ out, and what remains is the shortcut. The network still fits together, only shallower. Or leave out whole stages from the inside: of a U of three resolutions remains one of two, with a new middle.
#
# ![A stage with its second block reduced to the shortcut, a U-Net without its innermost stage, and two training runs that stop to draw more and less often](figures/13_fewer_blocks.svg)
#
# Either way the network has to be trained again, and no count says what it will have lost.
#
# The other meaning loses nothing. Every $k$ steps of $\tau$ seconds a run draws $n$ pictures with `nfe` model calls each, $c$ seconds a call and picture. The evaluation's share of the time is
#
# $$\frac{n \cdot \text{nfe} \cdot c}{n \cdot \text{nfe} \cdot c + k\,\tau}$$

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# First add up by stage, from the outside (0) in. In the library's names `downs.0` is the outermost stage on the way down, but `ups.0` the *innermost* on the way up. The middle (`mid_block1`, `mid_attn`, `mid_block2`) belongs to the innermost stage. All the rest works at full size: to stage 0 with it.


# %% id="stage-share" tags=["answer"] answer="13.stage_share" points=2
def stage_share(costs, stages):
    """Each stage's part of the sum: costs {"downs.1.2": a number, "mid_attn": ...} -> a list, from the outside in."""
    shares, total = [0.0] * stages, sum(costs.values())
    ### BEGIN SOLUTION about 9 lines, stub: shares = ...
    for name, cost in costs.items():
        part, *place = name.split(".")
        if part == "downs":
            stage = int(place[0])
        elif part == "ups":
            stage = stages - 1 - int(place[0])
        else:
            stage = stages - 1 if part.startswith("mid_") else 0
        shares[stage] += cost / total
    ### END SOLUTION
    return shares


# %% id="stage-share-hidden" tags=["hidden-check"] answer="13.stage_share"
made = {"final_conv": 4, "downs.3.0": 3, "mid_block1": 5, "ups.0.1": 6, "ups.2.2": 8, "downs.1.3": 14, "ups.3.0": 10}
print(*(f"{float(share):.4f}" for share in stage_share(made, 4)))
# expect: 0.2800 0.4400 0.0000 0.2800

# %% id="stage-share-secret" tags=["hidden-check"] answer="13.stage_share"
names = ("downs.0.1", "mid_attn", "ups.0.0", "init_conv", "ups.1.2", "downs.2.3", "ups.2.1", "time_mlp", "downs.1.0")
made = {name: 1 + (secret + 7 * i * i) % 23 for i, name in enumerate(names)}
print(*(f"{float(share):.4f}" for share in stage_share(made, 3)))

# %% id="stage-share-check" tags=["check"]
stage_share = check.stage_share(stage_share)

# %% [markdown] id="stage-share-hints"
# <details><summary>Hint 1</summary>Go through names and costs. `name.split(".")` takes a name apart: what comes first says which of three cases it is, down, up or the rest, and the next, if any, is the place in the list.</details>
# <details><summary>Hint 2</summary>`ups` counts from the inside: its place 0 is the last stage, its last place is stage 0.</details>
# <details><summary>Hint 3</summary>Find the stage in an if with three branches, the last for names that begin with "mid" and for the rest. Then add the cost, divided by the total, to that stage's entry.</details>

# %% id="shares"
parts = {row.name: unet.get_submodule(row.name) for row in blocks.rows}
costs = {
    "weights": {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()},
    "FLOP": {row.name: row.flop for row in blocks.rows},
    "bytes": {row.name: row.bytes_moved for row in blocks.rows},
    "time": {row.name: row.time_s for row in blocks.rows},
}
shares = {quantity: stage_share(cost, stages) for quantity, cost in costs.items()}
plot_stages(shares, [f"{32 >> stage} x {32 >> stage} pixels" for stage in range(stages)])

# %% [markdown] id="one-block-words"
# Now take blocks out. This shall remain of a block. It is called like one, with the time, which it leaves alone.


# %% id="shortcut"
class Shortcut(nn.Module):
    """A residual block without its f: (N, C, H, W) -> (N, C_out, H, W)."""

    def __init__(self, block):
        super().__init__()
        self.res_conv = block.res_conv  # the identity, or a 1x1 convolution where the width changes

    def forward(self, x, time_emb=None):
        return self.res_conv(x)


# %% [markdown] id="one-block-task"
# Replace the second block of every stage by its shortcut, on both ways, and leave the original as it is. A stage can be written to like a list: `unet.downs[0][1] = ...` changes the second block of the first stage.


# %% id="one-block" tags=["answer"] answer="13.one_block" points=2
def one_block(unet):
    """A copy of the U-Net in which only the shortcut of each stage's second block is left."""
    ### BEGIN SOLUTION about 3 lines, stub: smaller = ...
    smaller = copy.deepcopy(unet)
    for stage in (*smaller.downs, *smaller.ups):
        stage[1] = Shortcut(stage[1])
    ### END SOLUTION
    return smaller


# %% id="one-block-hidden" tags=["hidden-check"] answer="13.one_block"
whole = baseline("smoke").model
cut = one_block(whole)
print([sum(weight.numel() for weight in net.parameters()) for net in (cut, whole)])
print(len({weight.data_ptr() for weight in cut.parameters()} & {weight.data_ptr() for weight in whole.parameters()}))
# expect: [67195, 79787]
# expect: 0

# %% id="one-block-secret" tags=["hidden-check"] answer="13.one_block"
cut = one_block(baseline("smoke", seed=secret % 1000).model)
seen = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(secret))
out = cut(seen, torch.tensor([3, secret % 1000]))
print(tuple(out.shape), *(f"{out[i, i, 3, 4 + i].item():.3f}" for i in (0, 1)), f"{out.abs().mean().item():.3f}")

# %% id="one-block-check" tags=["check"]
one_block = check.one_block(one_block)

# %% [markdown] id="one-block-hints"
# <details><summary>Hint 1</summary>`copy.deepcopy` copies a network with its weights. Change the copy.</details>
# <details><summary>Hint 2</summary>Both `downs` and `ups` are lists of stages; in each stage, place 1 is the second block.</details>
# <details><summary>Hint 3</summary>Go through the stages of both lists of the copy, put a Shortcut made of the second block in its place, and return the copy.</details>

# %% [markdown] id="share-words"
# For the other meaning, the equation above as a function.


# %% id="evaluation-share" tags=["answer"] answer="13.evaluation_share" points=1
def evaluation_share(every, images, nfe, call_s, step_s):
    """Part of a run's time (0 to 1) in drawing: images pictures of nfe calls, every so many steps of step_s seconds."""
    ### BEGIN SOLUTION about 2 lines
    drawing_s = images * nfe * call_s
    return drawing_s / (drawing_s + every * step_s)
    ### END SOLUTION


# %% id="evaluation-share-hidden" tags=["hidden-check"] answer="13.evaluation_share"
print(*(f"{float(evaluation_share(*a)):.5f}" for a in ((1000, 50_000, 1000, 1.0, 48.0), (25, 8, 10, 0.5, 2.0))))
# expect: 0.99904 0.44444

# %% id="evaluation-share-secret" tags=["hidden-check"] answer="13.evaluation_share"
for made in ((100 + secret % 77, 3 + secret % 5, 20, 0.25, 1.5), (40, 6, 10 + secret % 9, 0.5, 1.0 + secret % 3)):
    print(f"{float(evaluation_share(*made)):.5f}")

# %% id="evaluation-share-check" tags=["check"]
evaluation_share = check.evaluation_share(evaluation_share)

# %% [markdown] id="evaluation-share-hints"
# <details><summary>Hint 1</summary>Write the seconds of one evaluation, then the seconds of the steps between two.</details>
# <details><summary>Hint 2</summary>`call_s` is the time of one call for one picture: how many of these does an evaluation take?</details>
# <details><summary>Hint 3</summary>The share is the evaluation's seconds over the sum of both.</details>

# %% [markdown] id="cadence-words"
# And turned around: how many steps must lie between two evaluations, so that they take a share of `most` at the most? Solve for `every`, and answer with a whole number of steps.


# %% id="cadence" tags=["answer"] answer="13.cadence" points=1
def cadence(most, images, nfe, call_s, step_s):
    """The least whole number of steps between two evaluations with which they take at most a share of `most`."""
    ### BEGIN SOLUTION about 2 lines
    drawing_s = images * nfe * call_s
    return math.ceil(drawing_s * (1 - most) / (most * step_s))
    ### END SOLUTION


# %% id="cadence-hidden" tags=["hidden-check"] answer="13.cadence"
print(*(round(float(cadence(*a))) for a in ((0.05, 50_000, 1000, 1.0, 48.1), (0.25, 64, 20, 0.5, 7.0))))
# expect: 19750520 275

# %% id="cadence-secret" tags=["hidden-check"] answer="13.cadence"
for most in (0.25, 0.1):
    wait = float(cadence(most, 1 + 7 * (secret % 50), 2 + 7 * (secret % 3), 1.0, 7.0))
    print(round(wait), wait.is_integer())

# %% id="cadence-check" tags=["check"]
cadence = check.cadence(cadence)

# %% [markdown] id="cadence-hints"
# <details><summary>Hint 1</summary>Of the whole time, `most` is for drawing and 1 - `most` for training.</details>
# <details><summary>Hint 2</summary>So the steps between two evaluations must last (1 - `most`) / `most` times as long as one evaluation.</details>
# <details><summary>Hint 3</summary>Divide those seconds by `step_s`, and round up with `math.ceil`: one step fewer would be too few.</details>

# %% [markdown] id="again-words" section="Measure again"
# ## Measure again
#
# Your network, and the same U without its inner stages, which the kit's `fewer_blocks(model, stages=...)` takes out. First what counts say.

# %% id="again-count"
nets = {"baseline": unet, "blocks=1": one_block(unet)}
nets |= {f"stages={k}": fewer_blocks(unet, stages=k) for k in range(stages - 1, 0, -1)}
works = {name: count(net, x_t[:1], t[:1], per_module=False) for name, net in nets.items()}
for name, work in works.items():
    weights = sum(weight.numel() for weight in nets[name].parameters())
    print(f"{name:9} {weights / 1e6:6.2f} M weights {work.flop / 1e9:6.2f} GFLOP ", end="")
    print(f"{work.bytes_moved / 1e6:5.0f} MB {work.kernels:4} kernels a picture")

# %% [markdown] id="again-time-words"
# Then the clock: a whole training step (forward, backward, Adam, average of the weights).

# %% id="again-time"
raced = ("baseline", "blocks=1", f"stages={stages - 1}")
steps = {name: training_step(patient.with_model(nets[name]), batch) for name in raced}
limits = {"rounds": 5, "max_time_s": 2} if smoke else {"rounds": 15, "max_time_s": 60}
race = compare(steps, images_per_call=batch, warmup=1, **limits)
with torch.no_grad():
    forwards = compare({name: nets[name] for name in raced}, x_t, t, warmup=1, memory=False, **limits)
for name in raced[1:]:
    foretold = works["baseline"].flop / works[name].flop
    print(f"{name}: {foretold:.2f}x by FLOP; forward {forwards.speedup(name)}, step {race.speedup(name)}")
race

# %% [markdown] id="drawing-words"
# Now the stops. How long is a model call for one picture, inside the sampler, on this machine? From that and the training step you can foretell a run of your own, and check it: a few steps, a few pictures, and a timer around each.

# %% id="drawing"
n, calls, every = (2, 4, 3) if smoke else (4, 20, 10)
step_s, drawn = race.timings["baseline"].median_s, lambda: sample(patient, n, num_steps=calls)
drawing = compare({"drawing": drawn, "again": drawn}, rounds=5, warmup=1, max_time_s=20, memory=False)
call_s = drawing.timings["drawing"].median_s / (n * calls)
with collect_regions() as spent:
    for i in range(2 * every):
        with region("training"):
            steps["baseline"]()
        if (i + 1) % every == 0:
            with region("drawing"):
                drawn()

# %% id="drawing-share"
seconds = {name: total.total_s for name, total in spent.totals.items()}
foretold = evaluation_share(every, n, calls, call_s, step_s)
print(f"share of drawing: {foretold:.0%} foretold, {seconds['drawing'] / sum(seconds.values()):.0%} measured")

# %% id="cadence-plot"
plans = {
    "50,000 pictures, 1,000 calls": (50_000, 1000),
    "5,000 pictures, 50 calls": (5_000, 50),
    "64 pictures, 20 calls": (64, 20),
    "held-out loss, 1,000 pictures": (1_000, 1),
}
for name, plan in plans.items():
    print(f"{name:30} at most 5 %: every {cadence(0.05, *plan, call_s, step_s):12,} steps")
between = [round(10 ** (power / 4)) for power in range(4, 33)]
plot_cadence({name: {k: evaluation_share(k, *plan, call_s, step_s) for k in between} for name, plan in plans.items()})

# %% [markdown] id="draw-words" section="Does it still draw?"
# ## Does it still draw?
#
# *One block a stage* is another network. The kit brings one that was trained from scratch with the seed, the data and the number of steps of `base-25`, the base after a quarter of its training. That comparison is fair in steps; in time, the smaller network had less.
#
# Retrained networks owe two kinds of evidence: paired held-out losses, taken here, and the distance of drawn pictures, which takes too long for a lesson and was recorded.

# %% id="gate"
base = load_shipped("base-25", device=device)
variant = load_shipped("fewer-blocks-25", treatments=STRUCTURAL, device=device)
losses = [heldout_loss(one, real.images, n=100 if smoke else 1000).per_image for one in (base, variant)]
recorded = [one for one in retrained("fewer-blocks-25").evidence() if one.kind == "same distribution"]
decided = verdict(race.speedup("blocks=1"), [same_denoiser(*losses), *recorded], exactness="retrained")
decided

# %% id="equal-time"
means = [loss.mean() for loss in losses]
longer = heldout_loss(load_shipped("base-50", device=device), real.images, n=len(losses[0])).per_image.mean()
fast, lost, twice = race.speedup("blocks=1").value, means[1] / means[0], means[0] / longer
worth = twice ** -math.log2(fast)  # if each doubling of the pictures divides the loss as from base-25 to base-50
print(f"one block, at equal steps: {lost:.3f} times the loss of base-25")
told = f"equal time, {fast:.2f}x the pictures: {worth:.3f} times the loss; product: {lost * worth:.3f}"
print(told if fast > 0 else "The race was too noisy for a speed-up: run it again.")

# %% id="pictures"
n, num_steps = (4, 1) if smoke else (12, 20)
pair = [sample(one, n, num_steps=num_steps, seed=2) for one in (base, variant)]
show_images(torch.cat(pair), "Above, base-25; below, one block", columns=n)

# %% [markdown] id="cadence-gate-words"
# Drawing less often owes less: no weight may notice. Two runs from the same weights, one of which draws after every step, must end as the same function.

# %% id="cadence-gate"
batches = Batches(real, batch, device=device)
plain, watched = patient.to(device), patient.to(device)  # copies
train(plain, batches, num_steps=3)
train(watched, batches, num_steps=3, on_step=lambda info: sample(watched, 1, num_steps=2))
same_function(plain.model.eval(), watched.model.eval(), x_t, t)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
print(guess.reveal(100 * shares["time"][-1]))
of_16_s = step_s * 16 / batch  # a step on 16 pictures
guess_drawing.reveal(1 / (1 - evaluation_share(1000, 50_000, 1000, call_s, of_16_s)))

# %% [markdown] id="why"
# Inward a convolution has four times the weights, the same FLOP, and half the values to move. So weights pile up inside and bytes outside, and the number of weights says little about time. At laptop scale the innermost stage has 77 % of the weights, 32 % of the forward pass's FLOP and 21 % of its bytes.
#
# Then why does dropping it save only 9 % of the FLOP, and none of the bytes? The U needs a new middle, on four times the pixels, and the library gives the innermost stage full attention, whose table of scores grows with the *square* of the number of pixels. With one stage left, 32×32 pixels attend to 32×32 pixels, and the network with an eighth of the weights costs 2.5 times the FLOP.
#
# One block a stage is plainer: FLOP, bytes and kernels all fall by a fifth to a quarter. Where counters agree, the clock follows; where they disagree, as for two stages of three, only the clock knows. Fewer weights alone gain a step a little: Adam and the average visit each once.
#
# Read the gate with care: its interval speaks of pictures, not of seeds. The base's two *seeds* end 1.5 % apart in held-out loss (`results/reference/gates.jsonl`), and earlier in training seeds differ by more. So a few per cent say nothing certain about the *architecture*: it takes several seeds of both. A much larger difference does not need them. Nor must a quarter of a training tell how it ends. At equal *time* a product below 1 wins, as far as one seed can tell.
#
# The stops are the cheapest gain of the course. By the napkin the library's default draws for 1,042 times as long as it trains (50,000 × 1,000 calls against 1,000 × 16 × 3), and the evidence is the strongest there is, since the trained function is the same. For watching, a held-out loss or a handful of pictures is enough; the full score belongs at the end.

# %% id="step"
print(keep_step("fewer_blocks(blocks=1)", decided, img_per_s=race.timings["blocks=1"].per_second(batch)))
plot_staircase()

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# Weights, FLOP, bytes and time are spread differently over a U-Net: ask for what you pay with. Taking blocks out is easy to count and hard to judge, since only training tells what was lost. How often a run draws is a free choice, and a default may hide a factor of a thousand.
#
# *Go further.* `fewer_blocks(baseline().model, stages=2, blocks=1)` does both. Give a `Unet` of one stage linear attention everywhere (`full_attn=(False,)`) and count again: was it the stage, or the attention? Then put a held-out loss every 100 steps into a run of your own, by `on_step`.
