"""What drawn images are held against: the statistics of all real ones, and the features of some of them, in a file.

Shapes: n images, D features. A file holds, for each split, mean and covariance in float64 and the features in float16.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from course_utils.atomic import replacing
from course_utils.measure.quality.features import Features, Statistics, refuse_unlike
from course_utils.measure.tables import Table, Tabular
from course_utils.shipped import shipped

__all__ = [
    "MADE_HERE",
    "Reference",
    "kept_reference",
    "load_reference",
    "reference",
    "reference_from",
    "save_references",
]

MADE_HERE = Path("results/local/quality")
KEPT = 5_000
_SHIPPED = "reference-cifar-cnn.safetensors"
_FORMAT = 1


@dataclass(frozen=True, repr=False, eq=False)
class Reference(Tabular):
    """`statistics` of all images of a reference, and the `features` of the first of them for kernel distances.

    Raises `ValueError` when the two are of unlike extractors.
    """

    statistics: Statistics
    features: Features

    def __post_init__(self) -> None:
        refuse_unlike(self.statistics, self.features)

    @property
    def extractor(self) -> str:
        """The extractor whose features these are."""
        return self.statistics.extractor

    @property
    def sha256(self) -> str:
        """SHA-256 of that extractor's weights."""
        return self.statistics.sha256

    @property
    def of(self) -> str:
        """In words, which images."""
        return self.statistics.of

    @property
    def n(self) -> int:
        """How many images the statistics are of."""
        return self.statistics.n

    def table(self) -> Table:
        """One row."""
        row = [self.of, f"{self.n:,}", f"{self.features.n:,}", self.statistics.width, self.extractor]
        return Table(["reference", "images", "features kept of", "features", "extractor"], [row])


def reference_from(features: Features, *, kept: int = KEPT) -> Reference:
    """Make a reference of the features of all its images, of which the first `kept` are kept (all, if fewer)."""
    return Reference(features.statistics(), features.first(min(kept, features.n)))


def reference(split: str = "train") -> Reference:
    """The shipped reference in features of `cifar-cnn`: CIFAR-10's split `train` or `test`, 8 bit, no flips.

    Raises `FileNotFoundError` or `ValueError` for a missing or damaged file and `ValueError` for another split.
    """
    return load_reference(shipped(_SHIPPED), split)


def kept_reference(extractor: str, sha256: str, *, folder: Path = MADE_HERE) -> Path:
    """The file in which CIFAR-10's training images in the features of an extractor are kept once they were made."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", extractor).strip("-")
    return folder / f"reference-{plain}-{sha256[:12] or 'unnamed'}.safetensors"


def save_references(path: str | Path, references: Mapping[str, Reference]) -> Path:
    """Write references by the name of their split into one safetensors file; features become float16.

    Raises `ValueError` for features too large for float16.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    told = {}
    for split, one in references.items():
        features = one.features.values.to(torch.float16)
        if not bool(features.isfinite().all()):
            raise ValueError(f"a feature of {one.of!r} is too large for float16, whose largest number is 65,504")
        tensors[f"{split}.mean"] = one.statistics.mean.contiguous()
        tensors[f"{split}.covariance"] = one.statistics.covariance.contiguous()
        tensors[f"{split}.features"] = features.contiguous()
        told[split] = {"extractor": one.extractor, "sha256": one.sha256, "of": one.of, "n": one.n}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"references": json.dumps({"format": _FORMAT, "splits": told})})
    return path


def load_reference(path: str | Path, split: str = "train") -> Reference:
    """Read one split of what `save_references` wrote.

    Raises `FileNotFoundError` without a file, `ValueError` for another file or a split that is not in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of references {path}; `save_references` writes one")
    try:
        with safe_open(path, framework="pt") as file:
            told = _told(path, file.metadata() or {}, split)
            parts = (file.get_tensor(f"{split}.{part}") for part in ("mean", "covariance", "features"))
            mean, covariance, features = parts
        n, *who = (told[what] for what in ("n", "extractor", "sha256", "of"))
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or not a file of references ({error}); write it again") from error
    return Reference(Statistics(mean, covariance, n, *who), Features(features.double(), *who))


def _told(path: Path, header: Mapping[str, str], split: str) -> dict[str, Any]:
    """What a file says of a split."""
    if "references" not in header:
        raise ValueError(f"{path} is a safetensors file but holds no references; `save_references` writes one")
    told: dict[str, Any] = json.loads(header["references"])
    if told["format"] != _FORMAT:
        raise ValueError(f"{path} holds references in format {told['format']}, wanted {_FORMAT}: write it again")
    splits: dict[str, dict[str, Any]] = told["splits"]
    if split not in splits:
        raise ValueError(f"{path} holds no split {split!r}: choose from {', '.join(splits)}")
    return splits[split]
