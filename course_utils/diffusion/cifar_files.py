"""CIFAR-10 on disk: finding, checking, reading and downloading it.

Three forms are read: `cifar10.npz` (arrays x_train, y_train, x_test, y_test), the folder `cifar-10-batches-py` and the
archive `cifar-10-python.tar.gz` of the official Python version. The official files must match their published
checksums and are unpickled with everything but arrays forbidden; the pixels of an .npz must add up to those of
CIFAR-10.
"""

import hashlib
import io
import socket
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import Unpickler, UnpicklingError
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from course_utils.atomic import replacing

__all__ = ["CLASSES", "NPZ_NAME", "download_cifar10", "find_cifar10", "keep_as_npz", "read_cifar10"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NPZ_NAME, FOLDER_NAME, ARCHIVE_NAME = "cifar10.npz", "cifar-10-batches-py", "cifar-10-python.tar.gz"

COUNTS = {"train": 50_000, "test": 10_000}
CHANNEL_SUMS = {
    "train": (6_415_714_204, 6_295_060_180, 5_829_907_619),
    "test": (1_290_492_328, 1_266_775_083, 1_176_108_223),
}  # exact sums of all red, green and blue values, which no other order of the images changes

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]
_SILENCE_S = 30.0
_DAMAGE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, tarfile.TarError, UnpicklingError)
_ARRAY_NAMES: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np.ndarray((0,)).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def find_cifar10(place: Path) -> Path | None:
    """Find CIFAR-10 in a folder, or at a path that is one of its three forms itself; None where there is none."""
    names = (NPZ_NAME, FOLDER_NAME, ARCHIVE_NAME)
    if place.exists() and (place.suffix == ".npz" or place.name in names):
        return place
    return next((place / name for name in names if (place / name).exists()), None)


def read_cifar10(path: Path, split: str) -> Arrays:
    """Read one split, `train` or `test`: images uint8 (n, 3, 32, 32) and labels int64 (n,).

    Raises `ValueError` naming the file when it is truncated, altered or something else, and saying what was expected.
    """
    try:
        if path.suffix == ".npz":
            images, labels = _read_npz(path, split)
        elif path.is_dir():
            images, labels = _read_batches(lambda name: (path / name).read_bytes(), split)
        else:
            images, labels = _read_archive(path, split)
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is not a whole CIFAR-10 ({type(error).__name__}: {error}); "
            "remove it, then fetch the data again with: python -m course_utils data --download"
        ) from error
    return np.ascontiguousarray(images), labels.astype(np.int64)


def download_cifar10(folder: Path) -> Path:
    """Download the official archive with a progress bar, verify it, and keep it as `folder`/cifar10.npz.

    The file appears under its name only when it is complete. Raises `OSError` when it cannot be fetched, `ValueError`
    when what came is not CIFAR-10.
    """
    from torchvision.datasets import CIFAR10  # imports slowly, and only a download needs it
    from torchvision.datasets.utils import download_url

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".downloading-", dir=folder) as temporary, _impatient_sockets():
        try:
            download_url(CIFAR10.url, temporary, ARCHIVE_NAME, CIFAR10.tgz_md5)
        except RuntimeError as error:  # torchvision's word for a wrong checksum
            raise OSError(f"{CIFAR10.url} did not arrive whole: {error}") from error
        return keep_as_npz(Path(temporary) / ARCHIVE_NAME, folder / NPZ_NAME)


def keep_as_npz(path: Path, target: Path) -> Path:
    """Verify a CIFAR-10 in any of the three forms and write it as one .npz, whole or not at all.

    Raises `ValueError` as `read_cifar10` does.
    """
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(CLASSES)}
    for split in COUNTS:
        images, labels = read_cifar10(path, split)
        arrays |= {f"x_{split}": images.transpose(0, 2, 3, 1), f"y_{split}": labels.astype(np.uint8)}
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes ** for allow_pickle
    return target


@contextmanager
def _impatient_sockets() -> Iterator[None]:
    """Give up on a network that stays silent, instead of waiting for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read_npz(path: Path, split: str) -> Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    count = COUNTS[split]
    _expect(f"x_{split}", images, (count, 32, 32, 3))
    _expect(f"y_{split}", labels, (count,))
    sums = tuple(int(total) for total in images.sum(axis=(0, 1, 2), dtype=np.int64))
    if sums != CHANNEL_SUMS[split]:
        raise ValueError(f"the pixels of x_{split} add up to {sums}, those of CIFAR-10 to {CHANNEL_SUMS[split]}")
    if sorted(np.unique(labels).tolist()) != list(range(10)):
        raise ValueError(f"y_{split} must hold the labels 0 to 9, found {np.unique(labels)[:12].tolist()}")
    return images.transpose(0, 3, 1, 2), labels


def _expect(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{name} must be uint8 {shape}, found {array.dtype} {array.shape}")


def _read_archive(path: Path, split: str) -> Arrays:
    with tarfile.open(path) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(f"{FOLDER_NAME}/{name}")
            if member is None:
                raise ValueError(f"{name} in the archive is not a file")
            return member.read()

        return _read_batches(read, split)


def _read_batches(read: Any, split: str) -> Arrays:
    """Join the official batch files of a split; `read(name)` gives the bytes of one."""
    images, labels = [], []
    for name, md5 in _official_files(split):
        content = read(name)
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise ValueError(f"{name} has md5 {found}, the official one is {md5}")
        batch = _ArraysOnly(io.BytesIO(content)).load()
        images.append(batch["data"].reshape(-1, 3, 32, 32))
        labels.extend(batch["labels"])
    return np.concatenate(images), np.array(labels)


def _official_files(split: str) -> list[list[str]]:
    from torchvision.datasets import CIFAR10  # imports slowly, and only the official files need its list

    files: list[list[str]] = CIFAR10.train_list if split == "train" else CIFAR10.test_list
    return files


class _ArraysOnly(Unpickler):
    """Reads the Python 2 pickles of the official batches and refuses anything that is not a NumPy array."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """Resolve the three names that an array needs. Raises `UnpicklingError` for any other."""
        if (module, name) not in _ARRAY_NAMES:
            raise UnpicklingError(f"it asks for {module}.{name}, which a batch of images does not need")
        return _ARRAY_NAMES[module, name]
