"""The patient: the baseline diffusion model, its data, samplers, training and checkpoints.

diffusion = baseline("laptop")
state = train(diffusion, Batches(load_images(), 16), num_steps=200)
images = sample(state.averaged(), 16, num_steps=20)  # uint8 (16, 3, 32, 32)
"""

from course_utils.diffusion.baseline import Diffusion, Predictor, Recipe, Treatment, baseline, build
from course_utils.diffusion.checkpoints import (
    latest,
    list_checkpoints,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from course_utils.diffusion.cifar_files import download_cifar10, find_cifar10
from course_utils.diffusion.data import (
    Batches,
    ImageSet,
    data_folders,
    describe,
    load_images,
    procedural_images,
    to_float,
    to_uint8,
)
from course_utils.diffusion.ema import EMA
from course_utils.diffusion.ideal import ideal_denoiser, ideal_diffusion
from course_utils.diffusion.losses import HeldoutLoss, denoising_loss, heldout_loss
from course_utils.diffusion.optimizers import adam
from course_utils.diffusion.process import Denoiser, Prediction, Process
from course_utils.diffusion.samplers import SAMPLERS, ddim, ddpm, sample
from course_utils.diffusion.scales import SCALES, Scale, scale
from course_utils.diffusion.schedules import (
    BETA_SCHEDULES,
    alphas_cumprod,
    cosine_betas,
    linear_betas,
    sigmoid_betas,
    timesteps,
)
from course_utils.diffusion.shipped_weights import (
    SHIPPED_MODELS,
    base_card,
    load_base,
    load_base_samples,
    load_heldout,
    load_shipped,
)
from course_utils.diffusion.training import LossModule, NotFiniteError, StepInfo, Stepper, TrainState, train

__all__ = [
    "BETA_SCHEDULES",
    "EMA",
    "SAMPLERS",
    "SCALES",
    "SHIPPED_MODELS",
    "Batches",
    "Denoiser",
    "Diffusion",
    "HeldoutLoss",
    "ImageSet",
    "LossModule",
    "NotFiniteError",
    "Prediction",
    "Predictor",
    "Process",
    "Recipe",
    "Scale",
    "StepInfo",
    "Stepper",
    "TrainState",
    "Treatment",
    "adam",
    "alphas_cumprod",
    "base_card",
    "baseline",
    "build",
    "cosine_betas",
    "data_folders",
    "ddim",
    "ddpm",
    "denoising_loss",
    "describe",
    "download_cifar10",
    "find_cifar10",
    "heldout_loss",
    "ideal_denoiser",
    "ideal_diffusion",
    "latest",
    "linear_betas",
    "list_checkpoints",
    "load_base",
    "load_base_samples",
    "load_checkpoint",
    "load_heldout",
    "load_images",
    "load_shipped",
    "load_weights",
    "procedural_images",
    "sample",
    "save_checkpoint",
    "save_weights",
    "scale",
    "sigmoid_betas",
    "timesteps",
    "to_float",
    "to_uint8",
    "train",
]
