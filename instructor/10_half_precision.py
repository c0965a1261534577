# %% [markdown] id="card" section="Card"
# # Half precision
#
# **The question:** let convolutions and matrix products compute in 16 bits in place of 32. How many times faster is a training step *here*: 0.1x, 1.5x, 3x? And is it still the same denoiser?
#
# About 75 minutes. Afterwards you can
#
# - say what bf16 and fp16 each give up, and find the numbers of a real network that suffer;
# - put a network under autocast, and explain what stays in 32 bits;
# - scale a loss so that fp16 gradients survive, and prove that a half-precision network lost nothing.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# The roofs of this machine in each type tell what the hardware *could* gain. Look at them before you guess.

# %% id="setup"
import torch
from torch import nn

from course_utils.classroom import check, keep_step, plot_staircase, predict, show_images
from course_utils.diffusion import baseline, denoising_loss, heldout_loss, load_base, load_heldout, sample, scale
from course_utils.experiments.one_step import training_step
from course_utils.measure import calibrate, compare, count, same_denoiser, verdict
from course_utils.speedups import half_precision, range_report, treat

size, smoke = scale(), scale().name == "smoke"
device = "cuda" if torch.cuda.is_available() else "cpu"
patient, base, real = baseline().to(device), load_base(device=device), load_heldout()
roofs = calibrate(device)
roofs

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# Two things may gain: arithmetic, if the processor has units for the short type (compare the roofs), and memory, since every activation takes half the bytes. Two things cost: conversions between the types, and whatever has to stay in 32 bits. Notebook 04 predicted what half the bytes alone would bring; use your number.
#
# **How many times faster is a whole training step in bf16?**

# %% id="guess" tags=["answer"] answer="10.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 1.5
### END SOLUTION
guess = predict("How many times faster is a training step in bf16?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# The baseline's training step in fp32, and one convolution of it in all three types. (A type without its own units is emulated, and that can be slow indeed.) On a GPU, convolutions in fp32 read TF32 already, so the first row is not true fp32: put the call under `with float32_arithmetic():`, from `course_utils.measure`, to see that one.

# %% id="measure"
images = size.batch_size
steps = {"fp32": training_step(patient, images)}
x = torch.randn(1 if smoke else 8, 64, 16, 16, device=device)
weight = torch.randn(64, 64, 3, 3, device=device) / 24  # answers of size 1
types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
pairs = {name: (x.to(dtype), weight.to(dtype)) for name, dtype in types.items()}
with torch.no_grad():
    ways = {name: lambda pair=pair: nn.functional.conv2d(*pair, padding=1) for name, pair in pairs.items()}
    layers = compare(ways, baseline="fp32", max_time_s=3 if smoke else 10)
layers

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# A floating-point number is a sign, an exponent $e$ and a mantissa $m$ of $b$ bits: $\pm\, 2^{e} (1 + m / 2^{b})$. The exponent decides the range, the mantissa how fine the numbers lie.
#
# ![Sign, exponent and mantissa bits of fp32, TF32, bf16 and fp16, and the range that each covers](figures/10_formats.svg)
#
# **bf16** keeps the range of fp32 and gives up precision: 8 significant bits, less than three decimal digits. **fp16** keeps 11 bits, and gives up range: above 65,504 is infinity, below about 0.00006 the digits fade, below 0.00000006 is zero. (**TF32** is no storage format: tensor cores *read* fp32 numbers, cut to 11 bits. Data stay at four bytes.)
#
# Neither may be used everywhere. A sum of a thousand terms in 8 bits stops growing; a timestep of 997 is not a number that bf16 has. So **autocast** chooses for each operation: products and convolutions in 16 bits, with sums kept in 32 inside the unit; what is delicate in 32, by lists that differ between devices (on a GPU softmax and exponentials are among them). What is on no list goes on in the type it is given: bf16 times an fp32 weight gives fp32, as at the end of each norm here. Weights stay in 32 bits too, because an update of a thousandth of a weight is below what bf16 can add to it (Micikevicius et al., 2018).

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# How far is it from a number to the next one that the format has?


# %% id="spacing" tags=["answer"] answer="10.spacing" points=1
def spacing(value, mantissa_bits):
    """Distance from a positive value to the next larger number with so many bits of mantissa (range left aside)."""
    exponent = torch.frexp(torch.tensor(value, dtype=torch.float64)).exponent.item() - 1  # 2^e <= value < 2^(e + 1)
    ### BEGIN SOLUTION about 1 line
    return 2.0 ** (exponent - mantissa_bits)
    ### END SOLUTION


# %% id="spacing-hidden" tags=["hidden-check"] answer="10.spacing"
print(*(f"{float(spacing(*a)) * 4096:.3f}" for a in ((999.0, 7), (999.0, 10), (1.0, 7), (0.3, 10))))
# expect: 16384.000 2048.000 32.000 1.000

# %% id="spacing-secret" tags=["hidden-check"] answer="10.spacing"
for made in ((1 + secret % 97 / 100) * 2.0 ** (secret % 9 - 3), 700.0 + secret % 300):
    print(*(f"{float(spacing(made, bits)) * 2**20:.3f}" for bits in (7, 10, 4 + secret % 13)))

# %% id="spacing-check" tags=["check"]
spacing = check.spacing(spacing)

# %% [markdown] id="spacing-hints"
# <details><summary>Hint 1</summary>Between one power of two and the next lie as many equal steps as the mantissa has values.</details>
# <details><summary>Hint 2</summary>That interval is as long as the lower power of two itself.</details>
# <details><summary>Hint 3</summary>Length of the interval, 2 to the exponent, divided by the number of steps, 2 to the mantissa bits.</details>

# %% [markdown] id="spacing-after"
# Timesteps run to 999, and bf16 has a number only every 4 there, so a timestep must not be stored in it. A plain `model.to(torch.bfloat16)` does not get that far: the time embedding makes its sines in fp32, and the layer behind them has bf16 weights.

# %% id="plain-cast"
cast = treat(base, "layout").model.to(torch.bfloat16)  # treat made a copy: base stays as it is
try:
    cast(torch.randn(1, 3, 32, 32, device=device).bfloat16(), torch.tensor([997], device=device))
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown] id="halved-words"
# Now the wrapper. Under `torch.autocast(device_type, dtype)` eligible operations run in the short type; leave the block before answering, and answer in fp32, so that samplers and losses notice nothing.


# %% id="halved" tags=["answer"] answer="10.Halved" points=2
class Halved(nn.Module):
    """Runs a denoiser under autocast: (x_t, t) -> raw output in float32."""

    def __init__(self, module, dtype=torch.bfloat16):
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x_t, t):
        ### BEGIN SOLUTION about 3 lines
        with torch.autocast(x_t.device.type, self.dtype):
            answer = self.module(x_t, t)
        return answer.float()
        ### END SOLUTION


# %% id="halved-hidden" tags=["hidden-check"] answer="10.Halved"
probe = nn.Conv2d(1, 1, 1, bias=False)
probe.forward = lambda x_t, t: nn.functional.conv2d(x_t, probe.weight)
probe.weight.data.fill_(1 + 2**-9)
out = Halved(probe)(torch.full((1, 1, 1, 1), 3.0), torch.tensor([0]))
print(out.dtype, round(512 * (out.item() - 3)), probe.weight.dtype, torch.is_autocast_enabled("cpu"))
# expect: torch.float32 0 torch.float32 False

# %% id="halved-secret" tags=["hidden-check"] answer="10.Halved"
heard, probe = [], nn.Conv2d(1, 1, 1, bias=False)
probe.weight.data.fill_(1 + 2**-9)  # in bf16 this is 1, in fp16 it is not
probe.forward = lambda x_t, t: (heard.append(t.tolist()), nn.functional.conv2d(x_t, probe.weight))[1]
for kind in (torch.bfloat16, torch.float16):
    out = Halved(probe, kind)(torch.full((2, 1, 1, 1), 1.0 + secret % 3), torch.tensor([secret % 1000, 5]))
    print(out.dtype, [round(512 * (one - 1 - secret % 3)) for one in out.flatten().tolist()], heard[-1])

# %% id="halved-check" tags=["check"]
Halved = check.Halved(Halved)


# %% [markdown] id="halved-hints"
# <details><summary>Hint 1</summary>`torch.autocast` is a context manager: only what is called inside the block is affected.</details>
# <details><summary>Hint 2</summary>Its first argument is the kind of device, "cpu" or "cuda": take it from the input.</details>
# <details><summary>Hint 3</summary>Call the inner module inside the block; convert its answer after it.</details>

# %% [markdown] id="underflow-words"
# ### Small gradients
#
# Autocast covers the way forward; on the way back each gradient has the type its operation had. Are the gradients of a real network within the range of fp16? Here are those of the weights for one batch, as each type would hold them, with and without a factor. (Autocast keeps these in fp32. The gradients of activations do pass through fp16, and behave alike.)

# %% id="ranges"
model = treat(base, "layout").model  # a copy, to collect gradients in
x_0 = real.images[:images].to(device).float() / 127.5 - 1
t, eps = torch.linspace(0, 999, images, device=device).long(), torch.randn_like(x_0)
denoising_loss(model, base.process, x_0, t, eps).mean().backward()
gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
for dtype, factor in ((torch.bfloat16, 1), (torch.float16, 1), (torch.float16, 2**16), (torch.float16, 2**30)):
    total = range_report({name: one * factor for name, one in gradients.items()}, dtype).total
    print(
        f"{dtype} x {factor:<13,} to zero {total.flushed:.1%}, fading {total.subnormal:.1%}, overflow {total.overflow:.1%}"
    )
range_report(gradients, torch.float16)

# %% [markdown] id="scaled-words"
# Whatever is below the range of fp16 is gone, and its weights stop learning. The cure: multiply the *loss* by a large number, and by the chain rule every gradient grows with it; divide afterwards, in fp32. If the number was too large, a gradient is infinite, and the step must be skipped.


# %% id="scaled" tags=["answer"] answer="10.scaled_gradients" points=2
def scaled_gradients(loss, parameters, factor):
    """Gradients of loss by way of factor x loss; -> a list, one a parameter, in float32, or None after an overflow."""
    ### BEGIN SOLUTION about 4 lines, stub: gradients = ...
    gradients = torch.autograd.grad(loss * factor, parameters)
    gradients = [gradient.float() / factor for gradient in gradients]
    if not all(gradient.isfinite().all() for gradient in gradients):
        return None
    ### END SOLUTION
    return gradients


# %% id="scaled-hidden" tags=["hidden-check"] answer="10.scaled_gradients"
w = torch.tensor([3.0], requires_grad=True)
for scale_up in (1.0, 2.0**12, 2.0**60):
    lost = (w.half() * torch.tensor([2.0**-20]).half()).float().sum() * 2.0**-12
    told = scaled_gradients(lost, [w], scale_up)
    print(None if told is None else f"{told[0].dtype} {told[0].item() * 2**32:.3f}")
# expect: torch.float32 0.000
# expect: torch.float32 1.000
# expect: None

# %% id="scaled-secret" tags=["hidden-check"] answer="10.scaled_gradients"
small, plain = torch.tensor([2.0], requires_grad=True), torch.tensor([5.0], requires_grad=True)
steep = torch.tensor([(1 + secret % 4) * 2.0**-14]).half()
for scale_up in (1.0, 2.0 ** (10 + secret % 3), 2.0**40):
    lost = (small.half() * steep).float().sum() * 2.0**-14 + plain.square().sum() * (3 + secret % 9)
    told = scaled_gradients(lost, [small, plain], scale_up)
    print(None if told is None else f"{told[0].item() * 2**28:.3f} {told[1].item():.3f}")

# %% id="scaled-check" tags=["check"]
scaled_gradients = check.scaled_gradients(scaled_gradients)

# %% [markdown] id="scaled-hints"
# <details><summary>Hint 1</summary>`torch.autograd.grad(something, parameters)` returns a tuple of gradients. Of what should it be taken?</details>
# <details><summary>Hint 2</summary>Divide in float32: in fp16 the division would lose what the multiplication saved.</details>
# <details><summary>Hint 3</summary>Multiply the loss, take gradients, convert and divide each, and answer None unless all values of all of them are finite.</details>

# %% [markdown] id="scaled-after"
# Which factor? `torch.amp.GradScaler`, in the kit `loss_scaler(device)`, starts at 65,536, halves it at each overflow and skips that step, and doubles it after 2,000 steps without one. On a GPU, training in fp16 reads
#
# `train(treat(patient, "half_precision(dtype=float16)"), batches, num_steps=1000, scaler=loss_scaler(device))`
#
# bf16 has the range of fp32 and needs no scaler.

# %% [markdown] id="again-words" section="Measure again"
# ## Measure again
#
# The kit's `half_precision(model)` is your wrapper. In turns: fp32 and bf16, each also in the layout that convolutions prefer (notebook 14).

# %% id="again"
steps["fp32, channels_last"] = training_step(treat(patient, "layout"), images)
steps["bf16"] = training_step(treat(patient, "half_precision"), images)
steps["bf16, channels_last"] = training_step(treat(patient, "layout", "half_precision"), images)
race = compare(steps, images_per_call=images, rounds=5 if smoke else 15, warmup=1, max_time_s=4 if smoke else 60)
race

# %% id="roof"
x_t, t = torch.randn(images, 3, 32, 32, device=device), torch.full((images,), 500, device=device)
with torch.no_grad():
    for name, model in {"fp32": patient.model, "bf16": half_precision(patient.model)}.items():
        work = count(model, x_t, t, per_module=False)
        ridge = f"{roofs.ridge(name):.0f}" if name in roofs.flop_per_s else "not measured"
        print(f"{name}: {work.kernels} kernels, {work.bytes_moved / 1e9:.2f} GB")
        print(f"      {work.intensity:.1f} FLOP/byte, ridge of {name}: {ridge}")

# %% [markdown] id="draw-words" section="Does it still draw?"
# ## Does it still draw?
#
# Not the same function: 8 bits are not 24. The same *denoiser*? The shipped base, with the weights it has, under autocast: the same noisy test pictures, loss by loss. Then pictures from the same noise. (The layout is exact, so the gate of bf16 speaks for both rows.)

# %% id="gate"
halved = base.with_model(Halved(base.model))
slow = race.speedup("bf16").value < 0.5  # emulated: ask fewer pictures
n = 120 if smoke else 200 if slow else 1000
losses = [heldout_loss(one, real.images, n=n).per_image for one in (base, halved)]
gate = same_denoiser(*losses)
decided = verdict(race.speedup("bf16, channels_last"), gate, exactness="approximate")
decided

# %% id="pictures"
n, num_steps = (2, 2) if smoke else (4, 10) if slow else (12, 20)
pair = [sample(one, n, num_steps=num_steps, seed=2) for one in (base, halved)]
show_images(torch.cat(pair), "Above, fp32; below, bf16, from the same noise", columns=n)

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
guess.reveal(race.speedup("bf16"))

# %% [markdown] id="why"
# Compare three factors: the roofs (what the units could give), the single convolution (what the library gets out of them), and the step. Usually the step gains least, because autocast leaves much of the elementwise work and the optimizer in 32 bits, and pays with conversions: the counters show more kernels than before. Bytes do not halve either. On the roofline the point moves to the right as bytes fall, while the compute roof rises and the ridge moves to the right with it.
#
# Compare what channels last does for either type. Where the rows say that it helps bf16 more than fp32, the bf16 kernels are fast enough for the reordering of operands to show, and the layout saves it. Where their intervals overlap, this machine has not told.
#
# If your processor has no bf16 units, the factor is below 1, perhaps far below: each value is converted, computed in fp32 and converted back. Then the verdict is *not faster*, and that is the honest result for this machine. fp16 on a CPU is nearly always of that kind.
#
# The gate is easy to pass here, since a denoiser is asked to guess noise that is far larger than the rounding. Pictures from the same noise stay the same pictures, up to details. Quantities that *accumulate* are another matter: weights under training, running averages, the sampler's state. They stay in 32 bits or more in every treatment of this course.

# %% id="step"
for name, treatments in {"bf16": "half_precision", "bf16, channels_last": "layout + half_precision"}.items():
    own = verdict(race.speedup(name), gate, exactness="approximate")
    print(keep_step(treatments, own, img_per_s=race.timings[name].per_second(images)))
plot_staircase()

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# bf16 has the range and lacks digits, fp16 has digits and lacks range, which loss scaling lends it. Autocast halves products and convolutions; most of what is delicate stays in 32 bits, and so do the weights. The gain is bounded by the units you have and by everything that stays behind.
#
# *Go further.* `half_precision(model, mode="pure")` stores the weights in 16 bits too. Train it for 200 steps beside fp32 and watch the loss: where does it stop? On a GPU, compare TF32 with fp32 by `torch.backends.fp32_precision`.
