"""The features of all CIFAR-10 training images by an extractor: shipped for `cifar-cnn`, made once for any other."""

from __future__ import annotations

from pathlib import Path

from tqdm.auto import tqdm

from course_utils.diffusion import load_images
from course_utils.measure.quality import (
    Extractor,
    Reference,
    extract,
    load_reference,
    reference,
    reference_from,
    save_references,
)
from course_utils.measure.quality.extractors import CIFAR_CNN
from course_utils.measure.quality.references import MADE_HERE, kept_reference

__all__ = ["train_reference"]


def train_reference(extractor: Extractor, *, folder: Path = MADE_HERE) -> Reference:
    """The reference of the training images in this extractor's features.

    That of `cifar-cnn` is shipped. For another one, or other weights, all 50,000 images pass through the extractor
    once; the result is kept in `folder` under the extractor's name and checksum, and read back, so that the first use
    and the next give the same numbers. Raises `ValueError` where that is needed and CIFAR-10 is not here.
    """
    if extractor.name == CIFAR_CNN:
        known = reference("train")
        if known.sha256 == extractor.sha256:
            return known
    path = kept_reference(extractor.name, extractor.sha256, folder=folder)
    if extractor.sha256 and path.is_file():
        return load_reference(path)
    made = _made(extractor)
    if not extractor.sha256:  # nobody could tell whose features were kept
        return made
    return load_reference(save_references(path, {"train": made}))


def _made(extractor: Extractor) -> Reference:
    images = load_images("train", download=False)
    if not images.is_cifar10:
        raise ValueError(
            f"distances by {extractor.name} are taken to CIFAR-10's training images, which are not here: get them with "
            "`python -m course_utils data --download`, or use --extractor cifar-cnn, whose reference is shipped."
        )
    with tqdm(total=len(images), unit="img", desc=f"{extractor.name}, once", dynamic_ncols=True) as bar:
        features = extract(extractor, images.images, of=f"{images.label} train, 8 bit, no flips", progress=bar.update)
    return reference_from(features)
