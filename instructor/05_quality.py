# %% [markdown] id="card" section="Card"
# # As good as before?
#
# **The question:** a thousand *real* pictures are not at distance 0 from fifty thousand real pictures. By what factor does that distance grow if you count only 300 of them?
#
# About 60 minutes. Afterwards you can
#
# - say what a Fréchet distance measures, what it is blind to, and when two of them may be compared;
# - choose among three kinds of evidence that a faster model is as good as before;
# - read a gate that says *preserved*, *worse* or *inconclusive*, and say how many pictures would settle it.

# %% [markdown] id="setup-words" section="Setup"
# ## Setup
#
# Everything this lesson needs is shipped with the kit: the trained base model, a thousand pictures it has drawn (DDIM, 10 steps), a thousand real test pictures, and `cifar-cnn`, a small classifier whose inner features describe a picture by 128 numbers. Its features of the training pictures come along: mean and covariance of all 50,000, and 5,000 one by one for the kernel distance.

# %% id="setup"
import torch

from course_utils.classroom import check, plot_small_samples, predict, show_images
from course_utils.diffusion import heldout_loss, load_base, load_base_samples, load_heldout, sample, scale
from course_utils.experiments.damage import add_noise, blur, drop_classes, duplicate
from course_utils.measure import cifar_cnn, compare, extract, kernel_distance, reference
from course_utils.measure import same_denoiser, same_distribution, verdict

size, smoke = scale(), scale().name == "smoke"
device = "cuda" if torch.cuda.is_available() else "cpu"
real, drawn = load_heldout(), load_base_samples()
cnn, train = cifar_cnn(device=device), reference("train")
train

# %% id="look"
show_images(torch.cat([real.images[:16], drawn[:16]]), "Above, real pictures; below, drawn by the base", columns=16)

# %% [markdown] id="predict-words" section="Predict"
# ## Predict
#
# Describe each picture by its 128 features, and a pile of pictures by the mean and the covariance of these. The *Fréchet distance* says how far two such piles are apart. Take 1,000 real test pictures against all 50,000 training pictures: a small number, though not 0. Now take only the first 300 of them.
#
# They are just as real, and nothing about them is worse. **By what factor does the distance grow?** Napkin arithmetic: what a mean or a covariance gets wrong for want of pictures, squared, shrinks like 1 ÷ n.
# And how far may one particular pile be from that?

# %% id="guess" tags=["answer"] answer="05.guess" points=0
### BEGIN SOLUTION about 1 line, stub: factor = ...
factor = 3.3
### END SOLUTION
guess = predict("How many times farther are 300 real pictures than 1,000?", factor, unit="x")
guess

# %% [markdown] id="measure-words" section="Measure"
# ## Measure
#
# Features first; distances come when you have built one.

# %% id="measure"
real_features = extract(cnn, real.images, of="1,000 CIFAR-10 test pictures")
drawn_features = extract(cnn, drawn, of="1,000 pictures of the base, DDIM, 10 steps")
drawn_features

# %% [markdown] id="idea" section="Idea"
# ## Idea
#
# Fit a Gaussian to each pile of features: mean $\mu$, covariance $\Sigma$. The distance that Fréchet gave for two Gaussians is
#
# $$d^2 = \lVert \mu_a - \mu_b \rVert^2 + \operatorname{tr}\left(\Sigma_a + \Sigma_b - 2\left(\Sigma_a^{1/2}\, \Sigma_b\, \Sigma_a^{1/2}\right)^{1/2}\right)$$
#
# With the features of one certain Inception network and 50,000 drawn pictures this is **FID** (Heusel et al., 2017). Change the network, the number of pictures, or the way they are resized, and it is another quantity: `FD (cifar-cnn), 1,000 images` is an honest name, a bare *FID* is not. For FID the weights of Inception must be at hand; this lesson uses `cifar-cnn` throughout.
#
# What it is **not**: a judge of single pictures (it sees piles), a proof of variety (a pile that repeats itself may pass), a physical unit (only ratios under equal conditions mean anything). A second distance, the **kernel distance** (KID with Inception's features), compares all pairs of pictures with a polynomial kernel. It has no bias from small piles, though more scatter.
#
# A distance is also a weak witness. If the variant is the *same function*, comparing outputs proves more for a thousandth of the price. The kit knows three kinds of evidence, and a verdict names the one it has:
#
# ![Three kinds of evidence, and three conclusions from an interval](figures/05_evidence.svg)
#
# The *held-out loss* is what training makes small, taken on pictures that were never trained on; *paired* means that both models get the same pictures, timesteps and noise.
#
# The last two work alike: a ratio *variant ÷ baseline*, an interval, and a **tolerance** agreed on beforehand: 1.02 for the held-out loss, 1.05 for a distance. Each end of the interval holds in 95 cases of 100; the kit finds them by leaving out one twentieth of the pictures after another and watching how far the ratio moves (a *jackknife*). No interval, no conclusion. The first kind needs none: outputs agree to rounding, or they do not.

# %% [markdown] id="build-words" section="Build"
# ## Build
#
# The root of a product of covariances is what makes this slow and fragile in many programs, because the product is not symmetric. The form above is: take the root of $\Sigma_a$ by `torch.linalg.eigh`, put it on both sides of $\Sigma_b$, and the trace of the outer root is the sum of the roots of the eigenvalues.


# %% id="frechet" tags=["answer"] answer="05.frechet" points=2
def frechet(mean_a, cov_a, mean_b, cov_b):
    """Squared Fréchet distance of two Gaussians: means (D,), covariances (D, D), float64 -> a number."""
    ### BEGIN SOLUTION about 4 lines
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap
    ### END SOLUTION


# %% id="frechet-hidden" tags=["hidden-check"] answer="05.frechet"
a = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
b = torch.tensor([[1.0, -0.5, 0.2], [-0.5, 2.0, 0.0], [0.2, 0.0, 4.0]], dtype=torch.float64)
print(f"{float(frechet(a[0], a, b[0], b)):.4f} {float(frechet(a[0], a, a[1], a)):.4f}")
# expect: 5.2231 5.2500

# %% id="frechet-secret" tags=["hidden-check"] answer="05.frechet"
clouds = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(secret), dtype=torch.float64)
a, b = ((cloud.mean(0), cloud.T @ cloud / 9) for cloud in clouds * torch.tensor([1.0, 2.0]).view(2, 1, 1))
print(f"{float(frechet(*a, *b)):.3f} {float(frechet(*b, *a)):.3f}")

# %% id="frechet-check" tags=["check"]
frechet = check.frechet(frechet)

# %% [markdown] id="frechet-hints"
# <details><summary>Hint 1</summary>A symmetric matrix is V diag(λ) Vᵀ. Its root has the same V and the roots of the λ.</details>
# <details><summary>Hint 2</summary>Of the outer root you need only the trace, so never build it. Rounding may leave an eigenvalue a hair below zero: clamp before taking roots.</details>
# <details><summary>Hint 3</summary>Scale the columns of `vectors` by the roots of `values` and multiply by its transpose. Then `torch.linalg.eigvalsh` of the three-fold product, clamp, root, sum.</details>

# %% [markdown] id="trap-words"
# ### The small-sample trap
#
# Real pictures and drawn ones, in piles of growing size, against the same 50,000.


# %% id="trap"
def distance(features):
    """Your distance of a pile of features to the training pictures."""
    pile = features.statistics()
    return float(frechet(pile.mean, pile.covariance, train.statistics.mean, train.statistics.covariance))


counts = (300, 400, 500, 700, 1000)
piles = {"real": real_features, "drawn by the base": drawn_features}
trap = {name: [distance(pile.first(n)) for n in counts] for name, pile in piles.items()}
plot_small_samples(counts, trap)

# %% [markdown] id="trap-after"
# The curve of the real ones falls, and no picture got better on the way. Numbers from piles of unlike size must not be compared: the kit refuses to.
#
# ### Break some pictures
#
# Five hundred pictures each, real but for what the name says. Which damage does which measure notice? The *floor* is what undamaged pictures get.

# %% id="break"
pile = real.images[:500]
broken = {
    "floor": pile,
    "blurred": blur(pile, 0.7),
    "noise of 8 grey levels": add_noise(pile, 8),
    "four classes missing": drop_classes(real.images, real.labels, [0, 1, 2, 3])[:500],
    "250 pictures, each twice": duplicate(pile, 2),
    "the same 250 once": pile[:250],
}

# %% id="break-table"
for name, images in broken.items():
    found = extract(cnn, images, of=name)
    kernel = 1000 * kernel_distance(found, train.features)
    print(f"{name:26} FD (cifar-cnn) {distance(found):7.3f}   KD x 1,000 {kernel:7.2f}")

# %% [markdown] id="own-words"
# Now yours. Turn `pile`, uint8 of shape (500, 3, 32, 32), into something a person would call worse, or into something a person would *not* notice, and see whether the measures agree with the person.

# %% id="own-damage" tags=["answer"] answer="05.own_damage" points=0
### BEGIN SOLUTION about 1 line, stub: mine = ...
mine = pile.flip(1)  # red and blue change places
### END SOLUTION
if mine is not ...:
    found = extract(cnn, mine, of="mine")
    print(f"FD (cifar-cnn) {distance(found):.3f}   KD x 1,000 {1000 * kernel_distance(found, train.features):.2f}")

# %% [markdown] id="decide-words"
# ### A gate
#
# A ratio without an interval decides nothing. Given both ends of the interval, what does a gate say?


# %% id="decide" tags=["answer"] answer="05.decide" points=1
def decide(low, high, tolerance):
    """From an interval of variant / baseline: "preserved", "worse" or "inconclusive"."""
    ### BEGIN SOLUTION about 3 lines
    if high <= tolerance:
        return "preserved"
    return "worse" if low > tolerance else "inconclusive"
    ### END SOLUTION


# %% id="decide-hidden" tags=["hidden-check"] answer="05.decide"
print(decide(0.9, 1.019, 1.02), decide(1.021, 1.5, 1.02), decide(0.5, 2.0, 1.02), decide(1.01, 1.04, 1.02))
# expect: preserved worse inconclusive inconclusive

# %% id="decide-secret" tags=["hidden-check"] answer="05.decide"
edge = 1.01 + secret % 9 / 100
near = (edge - 0.2, edge - 0.004, edge, edge + 0.004, edge + 0.3)
print(*(decide(low, high, edge) for low in near for high in near if low < high))

# %% id="decide-check" tags=["check"]
decide = check.decide(decide)

# %% [markdown] id="decide-hints"
# <details><summary>Hint 1</summary>Only an interval that lies on one side of the tolerance settles the question.</details>
# <details><summary>Hint 2</summary>A slightly worse variant may pass: the tolerance was agreed on beforehand.</details>
# <details><summary>Hint 3</summary>Three cases: `high` at or below the tolerance, `low` above it, anything else.</details>

# %% [markdown] id="denoiser-words"
# **Same denoiser?** Here is a variant: the base with every weight rounded to one of 24 values on either side of zero, between five and six bits. Both see the same noisy test pictures, so their losses are compared picture by picture. First with a hundred pictures, then with more. Then try 16 values.
#
# Below each gate stands what it could have seen: how often an equal variant would pass, how bad one must be to be caught 4 times in 5, and, where that is little, how many pictures it would take.


# %% id="denoiser"
def rounded(diffusion, levels):
    """A copy whose weights take at most so many values on each side of zero, tensor by tensor."""
    copy = diffusion.to(device)  # the kit's `to` returns a copy
    with torch.no_grad():
        for weight in copy.model.parameters():
            step = weight.abs().max() / levels
            weight.copy_((weight / step).round() * step)
    return copy


base = load_base(device=device)
variant = rounded(base, 24)

# %% id="denoiser-gate"
n = 120 if smoke else 1000
losses = [heldout_loss(model, real.images, n=n).per_image for model in (base, variant)]
few = same_denoiser(losses[0][:100], losses[1][:100])
denoiser = same_denoiser(*losses)
print(few, denoiser, sep="\n\n")

# %% [markdown] id="distribution-words"
# **Same distribution?** The next variants are the same network, asked less often: 9 or 5 steps in place of 10. No loss can tell, so pictures must be drawn (in a smoke test there is no time for it, and blurred ones stand in). Same seeds, so picture *i* starts from the same noise in both piles. This takes a minute or two on a laptop.
#
# The first line costs nothing: two halves of the base's own pile, the same network from *other* seeds. It cannot be worse than itself. Can the gate tell?

# %% id="distribution"
first, rest = drawn_features.first(500), drawn_features.without(slice(0, 500))
gates = {"10 steps, other seeds": same_distribution(first, rest, train)}
for steps, stand_in in ((9, 0.3), (5, 0.6)):
    pictures = blur(drawn[:500], stand_in) if smoke else sample(base, 500, num_steps=steps, seed=0)
    found = extract(cnn, pictures, of=f"500 pictures, {steps} steps")
    gates[f"{steps} steps"] = same_distribution(first, found, train)

# %% id="distribution-gates"
for name, gate in gates.items():
    print(f"{name}, by your rule: {decide(gate.low, gate.high, gate.tolerance)}", gate, "", sep="\n")

# %% id="verdict"
count = 2 if smoke else 16
drawing = {steps: lambda steps=int(steps): sample(base, count, num_steps=steps) for steps in ("10", "5")}
timing = compare(drawing, baseline="10", max_time_s=2 if smoke else 20, memory=False)
verdict(timing.speedup("5"), gates["5 steps"])

# %% [markdown] id="reveal-words" section="Reveal"
# ## Reveal

# %% id="reveal"
dozen = sorted(distance(real_features.without(torch.randperm(1000)[300:])) for _ in range(12))
print(f"the first 300: {trap['real'][0]:.3f}; twelve random piles of 300: {dozen[0]:.3f} to {dozen[-1]:.3f}")
guess.reveal(sum(dozen) / 12 / trap["real"][-1])

# %% [markdown] id="why"
# The 300 pictures are as real as the others; what grew is the error of the estimate, and by the napkin it grows by 1,000 ÷ 300, or 3.3. On average over random piles it does. A single pile may come out at twice or at four times: the first 300 happen to lie at 4.2. A distance is a measurement with scatter. One number from one pile, without an interval, is not yet a result.
#
# For the drawn pictures the curve hardly bends: their distance is real, and the same error vanishes beside it. The better a model becomes, the more of its distance is error, and the more pictures a gate needs.
#
# What did your broken pictures show? The two measures do not even agree on the worst: for the Fréchet distance it was the missing classes, though no single picture is wrong, for the kernel distance the blur. Of duplicates the Fréchet distance sees only what the same 250 pictures show once. The kernel distance is unbiased for *independent* pictures; pictures that repeat are not, and it rises far above its floor.
#
# A gate that says *inconclusive* has not failed: it says what it could have seen. The same network from other seeds came out inconclusive, since an interval that wide passes an equal variant hardly more often than a coin would. For 9 steps against 10 it is ten times narrower, so the gate sees that 9 steps are some 3 % farther, and surely less than the 5 % that were allowed: preserved. *Pairing* did that: equal noise makes equal mistakes, and they cancel in the ratio. Held-out losses are paired through and through, which is why a few hundred suffice. Use the strongest evidence that fits the change, then the cheapest.

# %% [markdown] id="take-away" section="Take away"
# ## Take away
#
# A distance between piles of pictures needs a name (features, count, reference), an interval and a tolerance. Unlike counts are not compared. *Faster* counts only with *preserved* beside it, and *inconclusive* is an answer.
#
# How each measure orders known damage on thousands of pictures stands in the README, from recorded runs in `results/reference/`.
#
# *Go further.* `python -m course_utils score base-50 --against base` runs the whole gate on the base after half of its training. With how few pictures (`-n`, 500 or more) is it still sure?
