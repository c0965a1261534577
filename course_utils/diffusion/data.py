"""Training images: CIFAR-10, or a procedural stand-in that says so, kept as uint8 in memory.

Shapes: N images, C channels, H x W pixels.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from course_utils.diffusion.cifar_files import CLASSES, COUNTS, download_cifar10, find_cifar10, read_cifar10
from course_utils.diffusion.procedural import PROCEDURAL_CLASSES, draw_images
from course_utils.diffusion.seeds import generator, sent

__all__ = [
    "Batches",
    "ImageSet",
    "data_folders",
    "describe",
    "load_images",
    "procedural_images",
    "to_float",
    "to_uint8",
]

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROCEDURAL_COUNTS = {"train": 2_000, "test": 500}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels: uint8 (N, 3, 32, 32) and int64 (N,)."""

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    is_cifar10: bool

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ImageSet({self.name}: {len(self):,} images of {self.label}, from {self.source})"

    @property
    def label(self) -> str:
        """What these images are, for tables and plots."""
        return "CIFAR-10" if self.is_cifar10 else "procedural images, not CIFAR-10"


def load_images(
    split: str = "train", *, folder: str | Path | None = None, download: bool = True, n: int | None = None
) -> ImageSet:
    """Load the first `n` images (all, if None) of the `train` or `test` split.

    Searched in this order: `folder`, the environment variable `COURSE_DATA`, `data/` here and in the repository; then
    the official download, unless `download=False` or `COURSE_OFFLINE=1`. Where none of them has CIFAR-10 it says so in
    one printed sentence and draws procedural images instead: see `ImageSet.label`. Raises `ValueError` for an unknown
    split or a damaged file, `FileNotFoundError` for a folder that was named and does not exist.
    """
    _check_split(split, n)
    folders = data_folders(folder)
    path = next((found for place in folders if (found := find_cifar10(place))), None)
    if path is None:
        path = _downloaded(folders, download)
    if path is None:
        return procedural_images(split, n=n)
    images, labels = read_cifar10(path, split)
    return ImageSet(split, *_first(n, torch.from_numpy(images), torch.from_numpy(labels)), CLASSES, str(path), True)


def procedural_images(split: str = "train", *, n: int | None = None) -> ImageSet:
    """Draw the procedural set: 2,000 images to train on, 500 to test, or the `n` asked for; always the same ones."""
    _check_split(split, n)
    images, labels = draw_images(n or _PROCEDURAL_COUNTS[split], seed=list(COUNTS).index(split))
    return ImageSet(split, images, labels, PROCEDURAL_CLASSES, "course_utils.diffusion.procedural", False)


def data_folders(folder: str | Path | None = None) -> list[Path]:
    """Where `load_images` looks, in order. Raises `FileNotFoundError` when a place that was named does not exist."""
    named = {"folder": folder, "COURSE_DATA": os.environ.get("COURSE_DATA")}
    places = [(origin, Path(place).expanduser()) for origin, place in named.items() if place]
    for origin, place in places:
        if not place.exists():
            raise FileNotFoundError(f"{origin} is {str(place)!r}, which does not exist; create it or name another")
    return list(dict.fromkeys([*(place for _, place in places), Path("data"), _REPOSITORY / "data"]))


def describe(images: ImageSet) -> str:
    """Say in a few lines what a set holds: count, source, classes, and the mean and spread of each channel (0 to 1)."""
    counts = torch.bincount(images.labels, minlength=len(images.classes)).tolist()
    pixels = images.images.double() / 255
    mean, spread = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3), correction=0).tolist()
    rows = {
        images.label: f"{len(images):,} {images.name} images {tuple(images.images.shape[1:])}, uint8",
        "source": images.source,
        "classes": ", ".join(f"{name} {count:,}" for name, count in zip(images.classes, counts, strict=True)),
        "channels": "mean " + _three(mean) + ", standard deviation " + _three(spread),
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items())


def to_float(images: Tensor) -> Tensor:
    """Map uint8 images (0 to 255) to float32 in [-1, 1]."""
    return images.to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Map images in [-1, 1] to uint8 (0 to 255), rounding to the nearest and clamping what lies outside."""
    return images.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


class Batches:
    """Batches of training images as a pure function of (seed, step), so that a run resumes exactly.

    The images are passed over in one random order after another, without a gap between the passes; each is mirrored
    with probability 1/2 if `flip`. With `world_size` processes a step takes world_size x `batch_size` images and this
    process, of rank `rank`, its share: together they see what one process with the whole batch would. The images stay
    on `device` as uint8. Raises `ValueError` for an empty set or numbers out of range.
    """

    def __init__(
        self,
        images: Tensor | ImageSet,
        batch_size: int,
        *,
        seed: int = 0,
        flip: bool = True,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        pixels = images.images if isinstance(images, ImageSet) else images
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or len(pixels) == 0:
            raise ValueError(f"images must be uint8 (N, C, H, W), got {pixels.dtype} {tuple(pixels.shape)}")
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(
                f"batch_size must be positive and rank below world_size, got {batch_size=} {rank=} {world_size=}"
            )
        self.images = pixels.to(device)
        self.batch_size, self.seed, self.flip = batch_size, seed, flip
        self.rank, self.world_size = rank, world_size
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def __call__(self, step: int) -> Tensor:
        """The batch of a step, counted from 0: float32 (batch_size, C, H, W) in [-1, 1]."""
        chosen = self.images.index_select(0, self.indices(step))  # (batch_size, C, H, W)
        if self.flip:
            rows = self._mirrored(step)
            chosen.index_copy_(0, rows, chosen.index_select(0, rows).flip(-1))
        return to_float(chosen)

    def indices(self, step: int) -> Tensor:
        """Which images a step takes, int64 (batch_size,)."""
        start = (step * self.world_size + self.rank) * self.batch_size
        parts, left = [], self.batch_size
        while left:
            epoch, offset = divmod(start, len(self.images))
            parts.append(self._permutation(epoch)[offset : offset + left])
            start, left = start + len(parts[-1]), left - len(parts[-1])
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        """The order of one pass; the latest is kept, as its next batch asks for it again."""
        if self._order[0] != epoch:
            order = torch.randperm(len(self.images), generator=generator(self.seed, 0, epoch))
            self._order = (epoch, sent(order, self.images.device))
        return self._order[1]

    def _mirrored(self, step: int) -> Tensor:
        """Which rows of a batch are mirrored; found on the CPU and sent, so that a GPU need not be waited for."""
        size = self.world_size * self.batch_size
        coins = torch.rand(size, generator=generator(self.seed, 1, step)) < 0.5
        own = coins[self.rank * self.batch_size :][: self.batch_size]
        return sent(own.nonzero().flatten(), self.images.device)


def _downloaded(folders: Sequence[Path], download: bool) -> Path | None:
    """Download into the first folder, or print why not and what happens instead."""
    target = next((place for place in folders if place.is_dir()), _REPOSITORY / "data")
    if os.environ.get("COURSE_OFFLINE") == "1":
        reason = "COURSE_OFFLINE=1 forbids the download"
    elif not download:
        reason = "download=False"
    else:
        try:
            return download_cifar10(target)
        except OSError as error:
            reason = f"the download failed: {error}"
    print(
        f"No CIFAR-10 in {', '.join(map(str, folders))} ({reason}): using procedural images, which are not CIFAR-10. "
        "To get it: python -m course_utils data --download, on a connected machine, then put cifar10.npz into "
        f"{target}."
    )
    return None


def _check_split(split: str, n: int | None) -> None:
    if split not in COUNTS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, got {n}")


def _first(n: int | None, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The first n images; a copy when fewer than all, so that the rest is freed."""
    if n is None or n >= len(images):
        return images, labels
    return images[:n].clone(), labels[:n].clone()


def _three(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
