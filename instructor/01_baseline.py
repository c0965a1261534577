# %% [markdown] id="card" section="Card"
# # The patient: a DDPM
#
# **The question:** published models have seen 100 million pictures before they draw well. How long would this machine need to show them that many?
#
# About 60 minutes, some of them waiting. Afterwards you can
#
# - write the forward process and the training loss of a DDPM in a few lines, and train with them;
# - train the course's baseline on real pictures, stop it, and go on exactly where it was;
# - say what a loss curve tells about pictures, and what it does not.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup

# %% id="setup"
import torch

from course_utils.classroom import check, film_strip, live_training, plot_losses, predict, show_images
from course_utils.diffusion import Batches, adam, baseline, heldout_loss, load_checkpoint, load_images, sample
from course_utils.diffusion import save_checkpoint, scale, to_float, train
from course_utils.measure import measure

size = scale()
device = "cuda" if torch.cuda.is_available() else "cpu"
images = load_images("train", n=size.num_images)
test_images = load_images("test", n=size.num_images)
batches = Batches(images, size.batch_size, seed=0, device=device)
show_images(images, "What the model is to learn", n=16)

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# One training step costs about as much as three calls of the network on the same batch: one forward, two for the way back.
# **How many pictures a second will this machine train on?** (In the first notebook you saw how many it serves in a forward call.)

# %% id="guess" tags=["answer"] answer="01.guess" points=0
### BEGIN SOLUTION about 1 line, stub: img_per_s = ...
img_per_s = 30.0
### END SOLUTION
guess = predict("On how many pictures a second does this machine train the baseline?", img_per_s, unit="img/s")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# `baseline()` is the U-Net of `denoising-diffusion-pytorch` as shipped, at this machine's scale. We time two training steps of a copy, so that the patient stays untouched.

# %% id="measure"
diffusion = baseline().to(device)
trial = baseline().to(device)
step = measure(lambda: train(trial, batches, num_steps=2, log_every=2), max_time_s=15)
speed = step.per_second(2 * size.batch_size)
print(diffusion)
print(f"{speed:.1f} img/s, so 100 million pictures take {100e6 / speed / 86400:,.1f} days")
guess.reveal(speed)

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# **Forward.** A schedule $\bar\alpha_t$ falls from almost 1 to almost 0. A picture at step $t$ is
#
# $$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon .$$
#
# The index $t$ runs from 0 to 999. No chain is needed to get there: any $t$ in one go. So each training step draws a random $t$ for every picture of the batch.
#
# **What the network predicts.** It sees $x_t$ and $t$. It could answer with $\varepsilon$, with $x_0$, or with a mixture that behaves well at both ends, the *velocity*
#
# $$v = \sqrt{\bar\alpha_t}\,\varepsilon - \sqrt{1-\bar\alpha_t}\,x_0 ,$$
#
# which is the library's default. From $v$ and $x_t$ one gets the other two back; for instance $\hat\varepsilon = \sqrt{\bar\alpha_t}\,\hat v + \sqrt{1-\bar\alpha_t}\,x_t$.
#
# **The loss.** The original DDPM asks how far the noise was missed: the mean of $(\hat\varepsilon - \varepsilon)^2$. The library weighs the error of $v$ by $\bar\alpha_t$, and that is the same number: insert the formula above and everything but
# $\sqrt{\bar\alpha_t}\,(\hat v - v)$ cancels.
#
# **The network.**
#
# ![A U-Net: resolution falls and rises again, with skip connections across](figures/01_unet.svg)

# %% id="forward-process"
bar_alpha = diffusion.process.alphas_cumprod.to(device)  # (1000,), float64
ts = [0, 100, 300, 500, 700, 999]
x_0 = to_float(images.images[:1])
noisy = [diffusion.process.add_noise(x_0, torch.tensor([t]), torch.randn_like(x_0))[0] for t in ts]
film_strip({"x_t": noisy}, [f"t = {t}" for t in ts], f"One picture drowning ({images.label})")

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# The forward process, for a batch in which every picture has its own $t$. The schedule is float64, to be exact near its ends; the network reads float32, so give $x_t$ the dtype of $x_0$.


# %% id="add-noise" tags=["answer"] answer="01.add_noise" points=2
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    ### BEGIN SOLUTION about 2 lines
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    return a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps
    ### END SOLUTION


# %% id="add-noise-hidden" tags=["hidden-check"] answer="01.add_noise"
made = add_noise(torch.ones(2, 1, 1, 1), torch.tensor([0, 1]), -torch.ones(2, 1, 1, 1), torch.tensor([0.64, 0.36]))
print(*(f"{value:.3f}" for value in made.flatten().tolist()))
# expect: 0.200 -0.200

# %% id="add-noise-secret" tags=["hidden-check"] answer="01.add_noise"
source = torch.Generator().manual_seed(secret)
clean, noise = torch.randn(2, 3, 2, 4, 5, generator=source)  # each (3, 2, 4, 5)
made = add_noise(clean, torch.tensor([0, 7 + secret % 40, 49]), noise, torch.linspace(1, 0.01, 50).double())
print(made.dtype, tuple(made.shape), *(f"{value:.3f}" for value in made[:, 1, 2, 3].tolist()))

# %% id="add-noise-check" tags=["check"]
add_noise = check.add_noise(add_noise)

# %% [markdown] id="add-noise-hints"
# <details><summary>Hint 1</summary>Look up the schedule at every picture's own t: indexing with a tensor gives a tensor of the same length.</details>
# <details><summary>Hint 2</summary>Shape (N,) does not multiply with (N, C, H, W). Give it three more axes of length 1.</details>
# <details><summary>Hint 3</summary><code>alphas_cumprod[t].reshape(-1, 1, 1, 1)</code>, with <code>.to(x_0.dtype)</code> behind it, then the formula as it stands, with both square roots.</details>

# %% [markdown] id="loss-words"
# Now the loss, for a model that answers with $\hat v$: `model(x_t, t)` has the shape of `x_t`. Use your `add_noise`; the schedule is handed in again.


# %% id="training-loss" tags=["answer"] answer="01.training_loss" points=2
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    ### BEGIN SOLUTION about 5 lines
    x_t = add_noise(x_0, t, eps, alphas_cumprod)
    v = model(x_t, t)
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    eps_hat = a_t.sqrt() * v + (1 - a_t).sqrt() * x_t
    return (eps_hat - eps).square().mean()
    ### END SOLUTION


# %% id="training-loss-hidden" tags=["hidden-check"] answer="01.training_loss"
ramp = torch.linspace(-1, 1, 3 * 48).reshape(3, 3, 4, 4)
when, schedule = torch.tensor([10, 400, 900]), bar_alpha.cpu()
print(f"{float(training_loss(lambda x, t: 0.25 * x, ramp, when, ramp.flip(0), schedule)):.3f}")
# expect: 0.262

# %% id="training-loss-secret" tags=["hidden-check"] answer="01.training_loss"
source = torch.Generator().manual_seed(secret)
clean, noise = torch.randn(2, 5, 3, 4, 4, generator=source)  # each (5, 3, 4, 4)
when = torch.randint(0, 1000, (5,), generator=source)
weight = torch.tensor(0.3 + secret % 7 / 10, requires_grad=True)
missed = training_loss(lambda x, t: weight * x + t.view(-1, 1, 1, 1) / 1000, clean, when, noise, bar_alpha.cpu())
missed.backward()
print(f"{missed.item():.3f} {weight.grad.item():.3f}")

# %% id="training-loss-check" tags=["check"]
training_loss = check.training_loss(training_loss)

# %% [markdown] id="training-loss-hints"
# <details><summary>Hint 1</summary>Make x_t, ask the model once, turn its v into noise, compare with the true noise.</details>
# <details><summary>Hint 2</summary>The formula for the noise stands above the picture of the U-Net; it needs x_t, not x_0.</details>
# <details><summary>Hint 3</summary>The two square roots are the same as in <code>add_noise</code>; end with <code>.square().mean()</code>.</details>

# %% [markdown] id="ten-lines-words"
# That is a DDPM. Ten lines train it:

# %% id="ten-lines"
model = baseline().model.to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step_index in range(3):
    x_0 = batches(step_index)
    t, eps = torch.randint(0, 1000, (len(x_0),), device=device), torch.randn_like(x_0)
    loss = training_loss(model, x_0, t, eps, bar_alpha)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step_index + 1}: loss {loss.item():.3f}")

# %% [markdown] id="train-words"
# ### Train the baseline
#
# `train` is the same loop with what a long run needs: a running average of the weights (EMA), which usually draws better than the weights themselves, gradient clipping, seeds, and no waiting for the device at each step.
# We train in two halves with a full stop between them, and draw eight pictures before, between and after. On a laptop this takes some minutes.

# %% id="train-first-half"
half, drawing = size.train_steps // 2, {"num_steps": size.num_steps, "seed": 0}
untrained = sample(diffusion, 8, **drawing)
live = live_training(f"Baseline, {images.label}", size.train_steps)
state = train(diffusion, batches, num_steps=half, optimizer=adam(5e-4), on_step=live, log_every=2)

# %% id="stop"
halfway = sample(state.averaged(), 8, **drawing)
checkpoint = save_checkpoint("checkpoints", state)
del state
print(f"stopped at step {half}, saved as {checkpoint}")

# %% id="resume"
state = load_checkpoint(checkpoint, device=device)
print(f"resumed at step {state.step}")
onwards = {"state": state, "optimizer": adam(5e-4), "on_step": live, "log_every": 2}
state = train(state.diffusion, batches, num_steps=size.train_steps, **onwards)

# %% [markdown] id="exact-words"
# Is a resumed run the *same* run? Claims of that kind are easy to test: four steps in one go, and two steps, a save, a load, and two more. The difference of every weight has to be zero, not small.
# The smallest network, on the CPU, is enough for that. (A GPU may add up in another order each time, so there even two equal runs can differ in the last digits.)

# %% id="exact"
few = Batches(images, 8, seed=0)
straight = train(baseline("smoke"), few, num_steps=4, seed=1)
part = train(baseline("smoke"), few, num_steps=2, seed=1)
again = load_checkpoint(save_checkpoint("checkpoints-exact", part))
again = train(again.diffusion, few, num_steps=4, state=again, seed=1)
pairs = zip(straight.diffusion.model.parameters(), again.diffusion.model.parameters(), strict=True)
print("largest difference of any weight:", max((a - b).abs().max().item() for a, b in pairs))

# %% [markdown] id="draw-words"
# ### What has it learned?
#
# On a laptop it has seen a few thousand pictures by now, less than a ten-thousandth of a proper run. Colours and large blobs come first, edges later, dogs last. The three rows start from the same noise, so you can follow each picture down its column. Look at it as it is: on a laptop no objects yet, but no noise either: soft patches of colour that belong together, as in a photograph far out of focus.

# %% id="draw"
now = sample(state.averaged(), 8, **drawing)
rows = torch.cat([untrained, halfway, now])
show_images(rows, f"From the same noise: untrained, halfway, {state.images_seen:,} pictures seen ({images.label})")

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal
#
# The training loss jumps because every step draws its own $t$: guessing the noise is hard when there is little of it, easy when there is hardly anything else. To compare two models, ask them the same questions: fixed pictures, fixed $t$, fixed noise. That is the **held-out loss**. The ± is the standard error over the pictures. Most of it comes from the spread of $t$, which both models share, so their difference is surer than the two ± suggest.

# %% id="heldout"
fresh = heldout_loss(baseline().to(device), test_images.images, n=64, seed=0)
trained = heldout_loss(state.averaged(), test_images.images, n=64, seed=0)
print("before training:", fresh)
print("after training: ", trained)

# %% id="curve"
curves = {
    "train": (live.images_seen, live.losses),
    "held-out": ([0, state.images_seen], [fresh.mean, trained.mean]),
}
plot_losses(curves, f"Loss over the run ({images.label})")

# %% [markdown] id="why"
# The speed you guessed meets the price of training: a step is a forward and a backward pass, so expect about a third of what a forward pass of the same batch serves, and somewhat less for the optimiser and the data. On a laptop 100 million pictures are a matter of weeks or months;
# that is why the kit has three scales, and why a later part of the course goes to a cluster.
#
# A loss like this falls fast at first and slowly later on. It says little about beauty: after some training most of it is paid at small $t$, where the picture is already there and only grain is left to guess. Whether pictures are *good* needs a measure of its own; that is a later lesson.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A DDPM is one formula forward, one network, one squared error. A training step costs about three calls of the network, and a proper run shows it tens of millions of pictures, so every percent of speed counts. A run that cannot be stopped and resumed exactly is a run you will do twice.
#
# *Go further.* In a terminal, `python -m course_utils train --help` lists what a long run can do. Start one, press Ctrl-C in the middle, start it again with the same words: where does it go on?
