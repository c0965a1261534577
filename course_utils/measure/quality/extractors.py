"""The two extractors: `cifar-cnn`, which is shipped, and Inception, whose distances are FID and KID.

Shapes: N images, 3 channels, H x W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from course_utils.measure.quality.cifar_cnn import CifarCNN
from course_utils.measure.quality.distances import INCEPTION
from course_utils.measure.quality.features import Extractor, extractor_from
from course_utils.measure.quality.inception_weights import InceptionWeights, find_inception, inception_weights
from course_utils.measure.quality.references import kept_reference
from course_utils.shipped import sha256_of, shipped

__all__ = ["best_extractor", "cifar_cnn", "inception"]

CIFAR_CNN = "cifar-cnn"
_WIDTHS = ("body.0.0.weight", "body.1.0.weight", "body.3.0.weight", "body.6.0.weight")


def cifar_cnn(path: str | Path | None = None, *, device: torch.device | str = "cpu") -> Extractor:
    """The features of the kit's own classifier, 128 of each image of 32 x 32 pixels: shipped, or from a file.

    Features of another file are not compared with those of the shipped one. Raises `FileNotFoundError` without the
    file, `ValueError` for one that holds something else.
    """
    path = shipped(f"{CIFAR_CNN}.safetensors") if path is None else Path(path)
    model = _classifier(path).to(device).to(memory_format=torch.channels_last).eval()

    def features(images: Tensor) -> Tensor:
        if images.shape[2:] != (32, 32):
            raise ValueError(f"{CIFAR_CNN} sees images of 32 x 32 pixels, got {tuple(images.shape[2:])}: resize them")
        x = images.to(device, torch.float32) / 127.5 - 1
        return model.features(x.contiguous(memory_format=torch.channels_last))

    return extractor_from(CIFAR_CNN, features, sha256_of(path))


def inception(
    path: str | Path | None = None, *, download: bool = True, device: torch.device | str = "cpu"
) -> Extractor:
    """The 2,048 features of torch-fidelity's Inception v3, of images of any size, which it resizes itself.

    The weights are those at `path` or `COURSE_INCEPTION`, else in torch hub's cache, else downloaded unless
    `download=False` or `COURSE_OFFLINE=1`. Only with the published ones is the name `inception-v3`. Raises
    `FileNotFoundError` where none are to be had and `ValueError` for a file that is something else.
    """
    weights = inception_weights(path, download=download)
    model = _inception(weights).to(device)

    def features(images: Tensor) -> Tensor:
        made: Tensor = model(images.to(device))[0]
        return made

    return extractor_from(weights.name, features, weights.sha256)


def best_extractor(*, device: torch.device | str = "cpu", tell: Callable[[str], object] | None = None) -> Extractor:
    """Inception where its weights and its reference of CIFAR-10 are on disk, `cifar-cnn` otherwise.

    Nothing is downloaded, and no reference is made, which takes 50,000 images through Inception. `tell` is given a
    sentence that says which and why, as `print` wants it.
    """
    found = find_inception()
    lacking = "Inception's weights are not on this machine" if found is None else _without_reference(found)
    if tell is not None:
        ready = f"{INCEPTION}, since its weights and its reference of CIFAR-10 are here"
        tell(f"Extractor: {f'{CIFAR_CNN}, since {lacking}' if lacking else ready}.")
    return cifar_cnn(device=device) if lacking else inception(found, download=False, device=device)


def _without_reference(path: Path) -> str:
    """Why Inception's weights at `path` are of no use yet; empty where they are."""
    known = InceptionWeights(path, sha256_of(path))
    if kept_reference(known.name, known.sha256).is_file():
        return ""
    made = "asked for by name, Inception makes it once, from 50,000 images"
    return f"Inception's weights are here, but not CIFAR-10's reference in its features ({made})"


def _inception(weights: InceptionWeights) -> nn.Module:
    """torch-fidelity's own network with these weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # imports slowly

    try:
        return FeatureExtractorInceptionV3(weights.name, ["2048"], feature_extractor_weights_path=str(weights.path))
    except (RuntimeError, TypeError, AttributeError) as error:
        told = str(error).splitlines()[0]
        raise ValueError(f"{weights.path} does not hold Inception's weights ({told}): name another file.") from error


def _classifier(path: Path) -> CifarCNN:
    """The classifier in a safetensors file, of the widths that its tensors have."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no classifier {path}; without a path the shipped one is taken")
    try:
        tensors = load_file(path)
        stem, quarter, eighth, last = (tensors[name].shape[0] for name in _WIDTHS)
        model = CifarCNN((stem, quarter, eighth, last), classes=tensors["head.weight"].shape[0])
        model.load_state_dict(tensors)
    except (SafetensorError, KeyError, RuntimeError) as error:
        told = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold the weights of {CIFAR_CNN} ({told}): name another file.") from error
    return model
