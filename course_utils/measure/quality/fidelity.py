"""FID and KID by torch-fidelity itself, for numbers that are to stand beside published ones.

Shapes: N images, 3 channels, H x W pixels.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from course_utils.measure.precision import float32_arithmetic
from course_utils.measure.quality.distances import name_of
from course_utils.measure.quality.features import refuse_other_images
from course_utils.measure.quality.inception_weights import InceptionWeights, inception_weights
from course_utils.measure.tables import Table, Tabular

__all__ = ["Fidelity", "fid_kid"]

CACHE = Path("results/local/torch-fidelity")
_SUBSET, _SUBSETS = 1_000, 100  # torch-fidelity's own


@dataclass(frozen=True, repr=False)
class Fidelity(Tabular):
    """torch-fidelity's FID and KID (mean over random subsets, and their standard deviation) of `n` images.

    The standard deviation is that of subsets which overlap: it is no interval of the mean.
    """

    fid: float
    kid: float
    kid_std: float
    n: int
    reference: str
    extractor: str
    sha256: str
    kid_subset_size: int
    kid_subsets: int

    def table(self) -> Table:
        """A row for each distance."""
        subsets = f"mean of {self.kid_subsets:,} subsets of {self.kid_subset_size:,}, which scatter by"
        rows = [
            [name_of("frechet", self.extractor, self.n), f"{self.fid:.4g}", f"{self.n:,}", self.reference],
            [name_of("kernel", self.extractor), f"{self.kid:.4g}", f"{self.n:,}", self.reference],
        ]
        note = f"By torch-fidelity; the kernel distance is the {subsets} {self.kid_std:.2g}."
        return Table(["distance", "value", "images", "against"], rows, note=note)


def fid_kid(
    images: Tensor,
    reference: Tensor | str,
    *,
    weights: str | Path | None = None,
    download: bool = True,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    kid_subset_size: int | None = None,
    kid_subsets: int = _SUBSETS,
    cache: str | Path = CACHE,
    verbose: bool = False,
) -> Fidelity:
    """FID and KID of uint8 `images` (N, 3, H, W) against `reference`: images too, or the name of a data set.

    The names are torch-fidelity's, such as `cifar10-train`, which it then fetches itself. Inception's weights are
    searched as `inception` does. The features of the reference are kept in `cache`, in a folder of these very weights.
    Subsets of the kernel distance have 1,000 images, or all where there are fewer. Raises `ValueError` for other
    images or an unknown name and `FileNotFoundError` without weights.
    """
    known = inception_weights(weights, download=download)
    count = _check(images, reference)
    options: dict[str, Any] = {
        "feature_extractor_weights_path": str(known.path),
        "cuda": torch.device(device).type == "cuda",
        "batch_size": batch_size,
        "kid_subset_size": min(_SUBSET, count) if kid_subset_size is None else kid_subset_size,
        "kid_subsets": kid_subsets,
        "verbose": verbose,
        **_reference_options(reference, known, Path(cache), download),
    }
    return _calculated(images, reference, known, torch.device(device), options)


def _calculated(
    images: Tensor, reference: Tensor | str, known: InceptionWeights, device: torch.device, options: dict[str, Any]
) -> Fidelity:
    """What torch-fidelity says with these options."""
    import torch_fidelity  # imports slowly

    with float32_arithmetic(), _current(device):
        told = torch_fidelity.calculate_metrics(
            input1=_Images(images), fid=True, kid=True, save_cpu_ram=True, **options
        )
    return Fidelity(
        fid=told[torch_fidelity.KEY_METRIC_FID],
        kid=told[torch_fidelity.KEY_METRIC_KID_MEAN],
        kid_std=told[torch_fidelity.KEY_METRIC_KID_STD],
        n=len(images),
        reference=reference if isinstance(reference, str) else f"{len(reference):,} images",
        extractor=known.name,
        sha256=known.sha256,
        kid_subset_size=options["kid_subset_size"],
        kid_subsets=options["kid_subsets"],
    )


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one, which is the one that torch-fidelity works on; put back afterwards."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _check(images: Tensor, reference: Tensor | str) -> int:
    """How many images the smaller set has, once both are fit; a named set is taken to be the larger one."""
    from torch_fidelity.registry import DATASETS_REGISTRY  # imports slowly

    if isinstance(reference, str) and reference not in DATASETS_REGISTRY:
        names = ", ".join(DATASETS_REGISTRY)
        raise ValueError(f"{reference!r} is no data set of torch-fidelity: give images, or choose from {names}")
    given = [images] if isinstance(reference, str) else [images, reference]
    for one in given:
        refuse_other_images(one)
        if len(one) < 2:
            raise ValueError("a single image has no distribution: give at least 2 images on each side")
    return min(map(len, given))


def _reference_options(reference: Tensor | str, known: InceptionWeights, cache: Path, download: bool) -> dict[str, Any]:
    """How torch-fidelity is to take the reference, and where it keeps what it found: by content and by weights."""
    fetch = download and os.environ.get("COURSE_OFFLINE") != "1"
    root = {"cache_root": str(cache / f"inception-{known.sha256[:16]}"), "datasets_download": fetch}
    if isinstance(reference, str):
        return {"input2": reference, **root}
    digest = hashlib.sha256(f"{tuple(reference.shape)}".encode())
    digest.update(reference.cpu().contiguous().numpy().data)
    return {"input2": _Images(reference), "input2_cache_name": f"images-{digest.hexdigest()[:16]}", **root}


class _Images(Dataset[Tensor]):
    """Images one by one, as torch-fidelity wants them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.cpu()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.images[i]
