"""The best denoiser there is for a finite set of images, in closed form.

It needs no training and draws real pictures, because it recalls them: every sample is, in the end, an image of its
set. That makes it a model with known answers for samplers and instruments, and a first picture out of noise, honestly
labelled. Shapes: N noisy images, M images in the set, D = C x H x W.
"""

import torch
from torch import Tensor, nn

from course_utils.diffusion.baseline import Diffusion, Recipe, make_process
from course_utils.diffusion.data import to_float

__all__ = ["IdealDenoiser", "ideal_denoiser", "ideal_diffusion"]

_CHUNK = 2_048  # images of the set at a time: 25 MB of float32 at 3 x 32 x 32


class IdealDenoiser(nn.Module):
    """The posterior mean of x_0 given x_t when x_0 is one of `images`, each as likely: a `pred_x0` model.

    Karras et al., 2022, appendix B.3: sum_i w_i x_i with w = softmax_i(-|x_t - sqrt(a_t) x_i|^2 / (2 (1 - a_t))). The
    set is kept as uint8 and passed over once a call, in chunks, with a running softmax, so that memory does not grow
    with M x D in float32. Distances come from a float32 matrix product.
    """

    def __init__(self, images: Tensor, alphas_cumprod: Tensor) -> None:
        super().__init__()
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
            raise ValueError(f"images must be uint8 (M, C, H, W) with M at least 1, got {tuple(images.shape)}")
        self.images: Tensor
        self.alphas_cumprod: Tensor
        self.register_buffer("images", images.flatten(1))  # (M, D)
        self.register_buffer("alphas_cumprod", alphas_cumprod.double())  # (T,)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Average the set with each image's posterior probability, (N, C, H, W)."""
        a_t = self.alphas_cumprod[t][:, None]  # (N, 1)
        noisy = x_t.flatten(1).float()  # (N, D)
        largest = torch.full_like(a_t, -torch.inf)
        total, average = torch.zeros_like(a_t), torch.zeros_like(noisy)
        for chunk in self.images.split(_CHUNK):
            clean = to_float(chunk)  # (m, D)
            dot = (noisy @ clean.T).double()  # (N, m)
            square = clean.square().sum(1).double()  # (m,)
            logits = (a_t.sqrt() * dot - a_t * square / 2) / (1 - a_t)  # |x_t|^2 is the same for all and drops out
            peak = torch.maximum(largest, logits.amax(1, keepdim=True))
            shrink, weights = (largest - peak).exp(), (logits - peak).exp()
            total = shrink * total + weights.sum(1, keepdim=True)
            average = shrink.float() * average + weights.float() @ clean
            largest = peak
        return (average / total.float()).reshape(x_t.shape).to(x_t.dtype)


def ideal_denoiser(images: Tensor, *, beta_schedule: str = "sigmoid", num_timesteps: int = 1000) -> IdealDenoiser:
    """Build the optimal `pred_x0` denoiser of a set of images, uint8 (M, C, H, W); see `IdealDenoiser`."""
    process = make_process(objective="pred_x0", beta_schedule=beta_schedule, num_timesteps=num_timesteps)
    return IdealDenoiser(images, process.alphas_cumprod)


def ideal_diffusion(images: Tensor, *, beta_schedule: str = "sigmoid", num_timesteps: int = 1000) -> Diffusion:
    """Put the optimal denoiser of a set of images, uint8 (M, C, H, W), in the place of a trained model.

    It samples like any `Diffusion`; its recipe names it, but cannot rebuild it, since the images are its weights.
    Raises `ValueError` for images that are not uint8, for none, and for an unknown beta schedule.
    """
    settings = {"objective": "pred_x0", "beta_schedule": beta_schedule, "num_timesteps": num_timesteps}
    process = make_process(objective="pred_x0", beta_schedule=beta_schedule, num_timesteps=num_timesteps)
    model = IdealDenoiser(images, process.alphas_cumprod)
    channels, height, width = images.shape[1:]
    recipe = Recipe({"ideal_denoiser_of": len(images)}, settings, image_shape=(channels, height, width))
    return Diffusion(model, process, recipe)
