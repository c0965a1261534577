# %% [markdown]
# # Planted answers of `01_baseline`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="01.add_noise" case="no-roots" points=0
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    return a_t * x_0 + (1 - a_t) * eps


# %% answer="01.add_noise" case="one-t-for-all" points=0
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    a_t = alphas_cumprod[t[0]].to(x_0.dtype)
    return a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps


# %% answer="01.add_noise" case="not-reshaped" points=0
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    a_t = alphas_cumprod[t].to(x_0.dtype)
    return a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps


# %% answer="01.add_noise" case="stays-float64" points=0
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1)
    return a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps


# %% answer="01.add_noise" case="factors-swapped" points=0
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    return (1 - a_t).sqrt() * x_0 + a_t.sqrt() * eps


# %% answer="01.add_noise" case="root-inside-the-bracket" points=0
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    return a_t.sqrt() * x_0 + (1 - a_t.sqrt()) * eps


# %% answer="01.add_noise" case="gather-and-none" points=2
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    keep = torch.sqrt(alphas_cumprod.gather(0, t))[:, None, None, None]
    lose = torch.sqrt(1.0 - alphas_cumprod.gather(0, t))[:, None, None, None]
    return (keep * x_0 + lose * eps).to(x_0.dtype)


# %% answer="01.add_noise" case="picture-by-picture" points=2
def add_noise(x_0, t, eps, alphas_cumprod):
    """x_0, eps (N, C, H, W), t (N,) integers, alphas_cumprod (1000,) float64; -> x_t (N, C, H, W) in x_0's dtype."""
    made = []
    for picture, noise, when in zip(x_0, eps, t.tolist()):
        a = float(alphas_cumprod[when])
        made.append(a**0.5 * picture + (1 - a) ** 0.5 * noise)
    return torch.stack(made)


# %% answer="01.training_loss" case="v-taken-for-noise" points=0
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    x_t = add_noise(x_0, t, eps, alphas_cumprod)
    return (model(x_t, t) - eps).square().mean()


# %% answer="01.training_loss" case="sign-of-the-second-term" points=0
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    x_t = add_noise(x_0, t, eps, alphas_cumprod)
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    eps_hat = a_t.sqrt() * model(x_t, t) - (1 - a_t).sqrt() * x_t
    return (eps_hat - eps).square().mean()


# %% answer="01.training_loss" case="sum-for-mean" points=0
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    x_t = add_noise(x_0, t, eps, alphas_cumprod)
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    eps_hat = a_t.sqrt() * model(x_t, t) + (1 - a_t).sqrt() * x_t
    return (eps_hat - eps).square().sum()


# %% answer="01.training_loss" case="clean-picture-shown" points=0
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    eps_hat = a_t.sqrt() * model(x_0, t) + (1 - a_t).sqrt() * x_0
    return (eps_hat - eps).square().mean()


# %% answer="01.training_loss" case="cut-from-the-graph" points=0
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    x_t = add_noise(x_0, t, eps, alphas_cumprod)
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    eps_hat = a_t.sqrt() * model(x_t, t) + (1 - a_t).sqrt() * x_t
    return torch.tensor((eps_hat - eps).square().mean().item())


# %% answer="01.training_loss" case="weighed-error-of-v" points=2
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    a_t = alphas_cumprod[t].reshape(-1, 1, 1, 1).to(x_0.dtype)
    x_t = add_noise(x_0, t, eps, alphas_cumprod)
    v = a_t.sqrt() * eps - (1 - a_t).sqrt() * x_0
    return (a_t * (model(x_t, t) - v) ** 2).mean()


# %% answer="01.training_loss" case="functional-mse" points=2
def training_loss(model, x_0, t, eps, alphas_cumprod):
    """Mean squared error of the noise that the model's v implies; shapes as in add_noise; -> a scalar."""
    a_t = alphas_cumprod.to(x_0.dtype)[t].view(-1, 1, 1, 1)
    x_t = a_t.sqrt() * x_0 + (1 - a_t).sqrt() * eps
    guess_of_eps = torch.sqrt(a_t) * model(x_t, t) + torch.sqrt(1 - a_t) * x_t
    return torch.nn.functional.mse_loss(guess_of_eps, eps)
