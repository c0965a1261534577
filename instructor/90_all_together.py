# %% [markdown] id="card" section="Card"
# # All together
#
# **The question:** each treatment was measured alone. Apply them one on top of the other: is the whole gain the product of the single gains, 3 times this times that, or less? And which of them would you keep?
#
# About 60 minutes. Afterwards you can
#
# - compose treatments in an order that works, and say why their gains do not simply multiply;
# - train the treated and the untreated network for equally many steps, and let a gate decide;
# - hand in one page that says what you predicted, what you measured, and what is still open.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# Every treatment of the kit by name: what kind it is, and what it claims. *Structural* ones change the weights and come first; *execution* ones change how the same weights are computed, and the compiler comes last.

# %% id="setup"
from types import SimpleNamespace

import torch

from course_utils.classroom import check, keep_step, plot_staircase, predict, report, show_images, steps
from course_utils.diffusion import Batches, adam, baseline, heldout_loss, load_heldout, sample, scale, train
from course_utils.experiments.one_step import training_step
from course_utils.measure import compare, count, same_denoiser, verdict
from course_utils.speedups import TREATMENTS, exactness_of, treat

size, smoke = scale(), scale().name == "smoke"
device = "cuda" if torch.cuda.is_available() else "cpu"
patient, real = baseline().to(device), load_heldout()
for known in TREATMENTS.values():
    print(f"{known.name:15} {known.kind:11} {known.exactness}")

# %% id="own-steps"
steps()

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# Above stand the steps that your own notebooks have kept (none in a fresh folder). Take `layout` and `half_precision`, each alone, against the baseline's training step; then both. Suppose alone they gain 1.05 and 1.5 times. If they did not know of each other, both would gain 1.05 × 1.5.
#
# **How many times the product of the single gains is the gain of both together?** 1 means exactly the product, below 1 that they get in each other's way, above 1 that they help each other.

# %% id="guess" tags=["answer"] answer="90.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 1.1
### END SOLUTION
guess = predict("Both together, as a multiple of the product of the single gains?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# Four variants of one training step, in turns. Counters stand beside: FLOP do not change, kernels do.

# %% id="measure"
ways = {
    "fp32": (),
    "channels_last": ("layout",),
    "bf16": ("half_precision",),
    "both": ("layout", "half_precision"),
}
images = size.batch_size
calls = {name: training_step(treat(patient, *how), images) for name, how in ways.items()}
race = compare(calls, images_per_call=images, rounds=5 if smoke else 15, warmup=1, max_time_s=5 if smoke else 60)
race

# %% id="counters"
for name, call in calls.items():
    work = count(call, per_module=False)
    print(f"{name:14} {work.flop / 1e9:6.1f} GFLOP {work.kernels:6,} kernels {work.bytes_moved / 1e9:6.2f} GB")

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# A treatment makes some parts of a step faster and leaves the rest as they were. If part $i$ takes the share $s_i$ of the time and becomes $g_i$ times as fast, and the shares add up to 1, the whole gains (Amdahl, 1967)
#
# $$G = \frac{1}{\sum_i s_i / g_i}$$
#
# The first treatment changes the shares that the next one meets. Once convolutions are three times as fast, they are no longer most of the time, and the next gain on them counts for less. Unless one treatment *enables* another: half-precision kernels spend so little time computing that a wrong layout becomes their largest cost.
#
# So gains are measured together, in the order in which they will be used, or they are not known.
#
# Quality composes too, though not by multiplication. What is *exact* stays exact on top of anything. Two *approximate* treatments, each within its tolerance, may leave it together, so the gate runs again on the whole. And with one that is *retrained*, the claim of the whole is retrained: the weakest claim holds.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# The napkin first: what gains of the parts mean for the whole.


# %% id="whole-gain" tags=["answer"] answer="90.whole_gain" points=1
def whole_gain(shares, gains):
    """Shares of the time before, which add up to 1, and the gain of each part; -> the gain of the whole."""
    ### BEGIN SOLUTION about 1 line
    return 1 / sum(share / gain for share, gain in zip(shares, gains, strict=True))
    ### END SOLUTION


# %% id="whole-gain-hidden" tags=["hidden-check"] answer="90.whole_gain"
print(*(f"{float(whole_gain(*a)):.4f}" for a in (([0.5, 0.5], [2.0, 1.0]), ([0.25, 0.5, 0.25], [1.0, 4.0, 0.5]))))
# expect: 1.3333 1.1429

# %% id="whole-gain-secret" tags=["hidden-check"] answer="90.whole_gain"
part = (1 + secret % 8) / 10
for made in (([part, 1 - part], [3.0, 1.0]), ([0.1, 0.9 - part / 2, part / 2], [1.0 + secret % 4, 0.5, 7.0])):
    print(f"{float(whole_gain(*made)):.4f}")

# %% id="whole-gain-check" tags=["check"]
whole_gain = check.whole_gain(whole_gain)

# %% [markdown] id="whole-gain-hints"
# <details><summary>Hint 1</summary>How long does a part take afterwards, if it took a share s before and got g times as fast?</details>
# <details><summary>Hint 2</summary>The new total is the sum of these; the old total was 1.</details>
# <details><summary>Hint 3</summary>Old total divided by new total. A gain below 1 makes its part slower, which the same formula covers.</details>

# %% [markdown] id="keep-words"
# Then the rule of the course. From several variants, each with its verdict, which one would you keep?


# %% id="best" tags=["answer"] answer="90.best" points=2
def best(verdicts):
    """{name: verdict}, with .outcome and .speed.value; -> (name,) of the fastest that lost nothing, or (None,)."""
    ### BEGIN SOLUTION about 2 lines, stub: name = ...
    kept = {name: one.speed.value for name, one in verdicts.items() if one.outcome == "preserved and faster"}
    name = max(kept, key=kept.get) if kept else None
    ### END SOLUTION
    return (name,)


# %% id="best-hidden" tags=["hidden-check"] answer="90.best"
def one(outcome, value):
    return SimpleNamespace(outcome=outcome, speed=SimpleNamespace(value=value))


some = {"a": one("faster but worse", 3.0), "b": one("preserved and faster", 1.4), "c": one("preserved and faster", 1.9)}
print(*best(some), *best({"a": some["a"], "d": one("inconclusive", 2.0)}), *best({"e": one("not faster", 0.5)}))
# expect: c None None

# %% id="best-secret" tags=["hidden-check"] answer="90.best"
words = ("preserved and faster", "faster but worse", "not faster", "inconclusive")
for shift in range(4):
    made = {f"v{i}": one(words[(i + secret + shift) % 4], 1 + (secret * 3 + 5 * i) % 11 / 10) for i in range(5)}
    print(*best(made))

# %% id="best-check" tags=["check"]
best = check.best(best)


# %% [markdown] id="best-hints"
# <details><summary>Hint 1</summary>Speed decides only among those that may stay.</details>
# <details><summary>Hint 2</summary>One of four outcomes lets a variant stay: *preserved and faster*. Inconclusive does not.</details>
# <details><summary>Hint 3</summary>First filter by outcome, then take the largest speed. If nothing is left, the answer is None: keep the baseline.</details>

# %% [markdown] id="own-words"
# Now your own composition. Any names from the table above, with parameters where you like, as in `"bottleneck(where=inside, reduction=2)"`. (A structural treatment on fresh weights is fine for speed; its quality is a matter of training. `compiled` takes minutes.)

# %% id="own" tags=["answer"] answer="90.own" points=0
### BEGIN SOLUTION about 1 line, stub: mine = ...
mine = ("fewer_blocks(blocks=1)", "layout", "half_precision")
### END SOLUTION
mine = ("layout", "half_precision") if mine is ... else tuple(mine)
print("claims to be", exactness_of(mine))
mine_race = compare(
    {"fp32": calls["fp32"], "mine": training_step(treat(patient, *mine), images)},
    images_per_call=images,
    rounds=5 if smoke else 15,
    max_time_s=4 if smoke else 40,
)
mine_race

# %% [markdown] id="equal-words"
# ### Equal steps
#
# The strongest proof for a way to *train*: from the same weights, with the same images, timesteps and noise, for equally many steps. At the end both are asked the same noisy test pictures. Here `bf16` and `both`, whose weights have the baseline's shapes, so that all three start equal. Each gets a gate of its own.

# %% id="equal"
num_steps = 3 if smoke else 20 if race.speedup("both").value < 0.5 else 100  # fewer where bf16 is emulated
trained = {}
for name in ("fp32", "bf16", "both"):
    start = treat(baseline(seed=0).to(device), *ways[name])
    batches = Batches(real, images, seed=0, device=device)
    trained[name] = train(start, batches, num_steps=num_steps, optimizer=adam(5e-4), ema_decay=0.98, seed=0).averaged()
losses = {name: heldout_loss(one, real.images, n=120 if smoke else 500).per_image for name, one in trained.items()}
gates = {name: same_denoiser(losses["fp32"], losses[name]) for name in ("bf16", "both")}
gates["both"]

# %% [markdown] id="equal-note"
# (So few steps on a thousand pictures teach a network little, and held-out here means only *the same question to both*. The recorded run on the whole data set, for more steps, stands in `results/reference/`: `python -m course_utils.experiments.equal_steps`.)

# %% id="pictures"
n, calls_each = (2, 2) if smoke else (8, 10)
pair = [sample(one, n, num_steps=calls_each, seed=3) for one in trained.values()]
show_images(torch.cat(pair), f"After {num_steps} steps: from above fp32, bf16, both", columns=n)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
gains = {name: race.speedup(name).value for name in ("channels_last", "bf16", "both")}
multiple = gains["both"] / (gains["channels_last"] * gains["bf16"])  # not a number where the machine was too noisy
guess.reveal(multiple) if multiple > 0 else print("Too noisy for a speed-up: the prediction stays open.")

# %% id="verdicts"
verdicts = {name: verdict(race.speedup(name), gates[name], exactness="approximate") for name in gates}
for name, decided in verdicts.items():
    print(f"{name}: {decided.outcome}, {decided.speed}")
print("kept:", *best(verdicts))

# %% [markdown] id="why"
# Above 1, the two help each other: under bf16 the layout saves reorderings that weigh more, since everything around them has become faster. That is to be expected on a CPU with bf16 units, and on tensor cores, whose kernels want channels last. Near 1, they do not know of each other. Below 1, they saved the same time twice. Where bf16 is emulated, it loses time, and there is little to multiply. Which of these is yours?
#
# Structural treatments usually come out *below* the product with execution ones: they remove the very convolutions that half precision makes cheap, and leave the norms, the launches and the attention that it does not touch. Put your own numbers into `whole_gain` and see whether the shares explain it.
#
# And the rule? *Inconclusive* and *faster but worse* are both reasons not to keep a treatment today. They differ in what to do next: the first asks for more pictures, seeds or quiet, the second for another idea.

# %% id="staircase"
for name, decided in verdicts.items():
    print(keep_step(" + ".join(ways[name]), decided, img_per_s=race.timings[name].per_second(images)))
plot_staircase()

# %% [markdown] id="report-words"
# The report collects your predictions, what was measured, every step with its verdict, and what is still missing. Open it in a browser; it is one file, and prints on paper.

# %% id="report"
report()

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# Gains compose through the shares of time, so measure them together. Claims compose to the weakest. Keep what is faster *and* preserved; say what was inconclusive and what it would take to settle it.
#
# *Go further.* Train your own composition with `python -m course_utils train --treatments ...` for a night, and `score` it against a run of equal steps, and against one of equal *time*. Which comparison is fairer to a treatment that is twice as fast?
