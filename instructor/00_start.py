# %% [markdown] id="card" section="Card"
# # A picture forms out of noise
#
# **The question:** a diffusion model calls its network 1,000 times for one picture. How many seconds is that on *your* machine?
#
# About 45 minutes. Afterwards you can
#
# - say what a DDPM does when it draws, and what it pays for it;
# - turn one measured model call into the price of a picture, a batch, a gallery;
# - find your way through the course: predict, measure, build, measure again, and keep only what did not make the pictures worse.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# The next cell loads the kit and the pictures of CIFAR-10: 32 × 32 pixels, ten classes. If they are not on this computer and cannot be fetched, the kit
# makes a small set of its own and says *not CIFAR-10* wherever it is used.

# %% id="setup"
import torch

from course_utils.classroom import check, film_strip, predict, show_images
from course_utils.classroom.doctor import diagnose, table
from course_utils.diffusion import base_card, baseline, ddim, ddpm, ideal_diffusion
from course_utils.diffusion import load_base, load_images, scale, timesteps
from course_utils.measure import detect, measure

size = scale()
device = "cuda" if torch.cuda.is_available() else "cpu"
images = load_images("train", n=size.num_images)
print(f"{images.label}: {len(images)} pictures, scale {size.name!r}")
detect(device)

# %% [markdown] id="doctor-words"
# Can this machine run the course, and in full? The doctor's table says so; a row that is not *ok* names its own remedy.

# %% id="doctor"
print(table(diagnose()))

# %% [markdown] id="first-words"
# Now watch. We start from pure noise and take twenty steps. The top row is where the sampler stands; the bottom row is the picture that the network believes in at that moment.
#
# The network is the course's *base*, trained by this kit on a few processor cores and shipped with it. How long it was allowed to learn stands in the title, and it shows: published models have seen more than a thousand times as many pictures, and the lesson on quality tells how far this one got. The sampler is DDIM, which may skip noise levels; DDPM, the original, visits all 1,000 and adds fresh noise at each.

# %% id="first-picture"
base, card = load_base(device=device), base_card()
learned = f"after {card['budget']['images_seen']:,} training pictures"
seen, believed, at = [], [], []


def watch(i, t, x_t, x_0):
    if i % 3 == 0 or i == 19:
        seen.append(x_t[0].float())
        believed.append(x_0[0].float())
        at.append(f"t = {t}")


torch.manual_seed(3)
x_0 = ddim(base.predictor(), torch.randn(8, 3, 32, 32).to(device), timesteps(20), callback=watch)
film_strip({"x_t": seen, "believed x_0": believed}, at, f"Twenty steps from noise to a picture, {learned}")

# %% id="first-gallery"
show_images(x_0, f"Eight pictures that never were, drawn by the base {learned}")

# %% [markdown] id="ideal-words"
# What would a perfect network draw? For a finite set of pictures the *best possible* denoiser is a formula: an average of all pictures, weighted by how well each explains what is seen. From the same noise:

# %% id="ideal-gallery"
ideal = ideal_diffusion(images.images).to(device)
torch.manual_seed(3)
recalled = ddim(ideal.predictor(), torch.randn(8, 3, 32, 32).to(device), timesteps(20))
show_images(recalled, f"The same noise, recalled by the ideal denoiser ({images.label})")

# %% [markdown] id="ideal-after"
# Sharp, and copied: the formula has every training picture at hand and in the end recalls one. A network has to manage with a few million numbers. It cannot store the set, and that is one reason why it draws pictures that were never there.

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# The course's network is a U-Net. Below you will measure one call of it on one picture. Before you look: DDPM as published takes 1,000 calls
# for a picture. **How many seconds will one picture take on this machine?**
#
# Napkin arithmetic: the laptop-sized network does about 0.85 GFLOP a call, the full one 3.65 GFLOP. Two laptop cores reach perhaps 50 to 100 GFLOP/s on a good day. A data-centre
# GPU reaches hundreds of times that, if it is kept busy; one small picture will not keep it busy. Put a number in place of the dots. It is stored, shown again at the end, and never graded.

# %% id="guess" tags=["answer"] answer="00.guess" points=0
### BEGIN SOLUTION about 1 line, stub: seconds = ...
seconds = 12.0
### END SOLUTION
guess = predict("How many seconds does one picture of 1,000 steps take here?", seconds, unit="s")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# `measure` calls a function until the median is stable and tells you how far the repeats scatter. Weights do not matter for time, so the network may be untrained.

# %% id="measure"
unet = baseline().to(device)
one = torch.randn(1, 3, 32, 32, device=device), torch.tensor([500], device=device)
with torch.no_grad():
    call = measure(unet.model, *one)
call

# %% [markdown] id="batch-words"
# One number is never enough. Does a batch cost as many times more as it has pictures?

# %% id="measure-batch"
batch = torch.randn(size.grid, 3, 32, 32, device=device), torch.full((size.grid,), 500, device=device)
with torch.no_grad():
    batch_call = measure(unet.model, *batch)
print(f"one picture a call:  {call.per_second(1):8.1f} img/s")
print(f"{size.grid} pictures a call: {batch_call.per_second(size.grid):8.1f} img/s")

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# Training pictures are drowned in noise, a little more at each step $t$, until nothing is left:
#
# $$x_t = \sqrt{\bar\alpha_t}\; x_0 + \sqrt{1 - \bar\alpha_t}\; \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I)$$
#
# where $\bar\alpha_t$ falls from nearly 1 to nearly 0: the share of the picture, in variance, that is left at step $t$.
#
# A network learns to look at $x_t$ and tell $x_0$ from $\varepsilon$. To draw, we walk back: start at $t = 999$ with noise, ask the network, step a little towards its belief, ask again.
#
# ![A chain of pictures from clean to noise, and the way back, one network call a step](figures/00_chain.svg)
#
# Every step back needs one call of the *whole* network, and the next step cannot start before the last has ended. The number of calls for a picture has a name, **NFE** (number of function evaluations).
# The price of a picture is
#
# $$\text{seconds} = \frac{\text{NFE} \times \text{seconds a call}}{\text{pictures a call}}$$
#
# which leaves exactly three ways to go faster: fewer calls, cheaper calls, better-filled calls. The course takes each in turn.
#
# ### The map
#
# | part | what you do there |
# |---|---|
# | **Measure** 00–05 | the baseline, honest timing, profiles, the roofline, and a gate for picture quality |
# | **A cheaper network** 10–14 | half precision, 1×1 bottlenecks, im2col, fewer blocks, memory layout and the compiler |
# | **More devices** 20–23 | a cluster, data parallelism, scaling, one GPU against another |
# | later | faster samplers, distillation, parallel sampling, stage-wise decoders, adapters, int8 |
# | **All together** 90 | your own staircase of speed against quality |
#
# Parts that have no notebook beside this one yet are still to come.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# Write the price of a picture as a function. It is one line, and the whole course is about making its result smaller.


# %% id="seconds-per-picture" tags=["answer"] answer="00.seconds_per_picture" points=1
def seconds_per_picture(call_s, num_steps, batch_size):
    """Seconds for one picture: a call takes call_s, serves batch_size pictures, and num_steps of them are needed."""
    ### BEGIN SOLUTION about 1 line
    return call_s * num_steps / batch_size
    ### END SOLUTION


# %% id="seconds-hidden" tags=["hidden-check"] answer="00.seconds_per_picture"
print(*(f"{float(seconds_per_picture(*a)):.4f}" for a in ((0.03, 250, 8), (2.0, 1, 4))))
# expect: 0.9375 0.5000

# %% id="seconds-secret" tags=["hidden-check"] answer="00.seconds_per_picture"
for given in ((0.07, 10 + secret % 91, 5), (1.5, 20, 2 + secret % 7)):
    print(f"{float(seconds_per_picture(*given)):.4f}")

# %% id="seconds-check" tags=["check"]
seconds_per_picture = check.seconds_per_picture(seconds_per_picture)

# %% [markdown] id="hints"
# <details><summary>Hint 1</summary>How often is the network called for one batch, and how long does that take in all?</details>
# <details><summary>Hint 2</summary>A batch of eight needs as many calls as a single picture, and gives eight pictures.</details>
# <details><summary>Hint 3</summary>Multiply the seconds of a call by the number of steps, then divide by the pictures in a batch.</details>

# %% [markdown] id="price-words"
# With it, the price list of this machine. The seconds of a call were measured; the rest is multiplication. *Alone* means one picture a call, and the last column takes the batch's price.

# %% id="price-list"
for name, nfe in (
    ("DDPM, 1,000 steps", 1000),
    ("DDIM, 250 steps", 250),
    ("DDIM, 50 steps", 50),
    ("DDIM, 20 steps", 20),
):
    alone = seconds_per_picture(call.median_s, nfe, 1)
    shared = seconds_per_picture(batch_call.median_s, nfe, size.grid)
    hours = shared * 50_000 / 3600
    print(f"{name:18} alone {alone:8.2f} s   in a batch {shared:8.3f} s   50,000 pictures {hours:8.1f} h")

# %% [markdown] id="fifty-thousand"
# Why 50,000? Because the usual measure of picture quality, FID, is computed on that many. To check how well a model draws can cost more than to train for a while: keep that in mind until the part on quality.

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal
#
# The product is a prediction too, so let us hold it against a clock: a real sampler, a real network, fewer steps, scaled up. Sampling adds a little arithmetic of its own to each call.

# %% id="reveal-run"
predict_one = unet.predictor()
few = 20


def draw():
    return ddpm(predict_one, one[0], timesteps(few))


with torch.no_grad():
    sampling = measure(draw, max_time_s=20)
print(
    f"measured {sampling.median_s:.3f} s for {few} steps, the product says {seconds_per_picture(call.median_s, few, 1):.3f} s"
)
guess.reveal(sampling.median_s * 1000 / few)

# %% [markdown] id="why"
# If your guess was too low, you are in good company: a network that answers in milliseconds *feels* free until it is called a thousand times in a row. If it was too high, look at the size again:
# the scale printed at the top decides between 0.85 and 3.65 GFLOP a call (smoke is far smaller). And if the two seconds above differ, the sampler's own arithmetic is one reason, a machine with other work the other.
#
# The batch tells a second story. Compare the two rates you measured. If a batch served more pictures a second, the machine was not fully busy with one picture. If not, one picture filled it already. Where such slack comes from, and how to see it, is what notebooks 02 to 04 are about.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A diffusion model pays one full network call for every step of every picture. The price is NFE × seconds a call ÷ pictures a call, so there are three ways down: fewer calls, cheaper calls, fuller calls. None of them counts
# unless the pictures stay as good.
#
# | who measured | network | one picture, DDPM-1000 |
# |---|---|---|
# | you, just now | the scale printed above | your own number |
# | recorded elsewhere | see `results/reference/` | shown there with the machine it came from |
#
# *Go further.* If your scale is laptop, change `baseline()` to `baseline("gpu")` above: that network has fourteen times as many parameters and about four times the FLOP. Which of the two does the clock follow?
