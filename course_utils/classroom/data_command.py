"""Which images would be used, and how to get CIFAR-10: `python -m course_utils data`."""

import argparse
from pathlib import Path

from course_utils.diffusion.cifar_files import NPZ_NAME, download_cifar10, find_cifar10, keep_as_npz
from course_utils.diffusion.data import data_folders, describe, load_images

__all__ = ["main"]

DATA = Path(__file__).resolve().parents[2] / "data"


def main(argv: list[str] | None = None) -> int:
    """Command line: show the set that the course would use, after fetching it or taking it in where asked to."""
    parser = argparse.ArgumentParser(prog="python -m course_utils data", description=__doc__)
    parser.add_argument(
        "--download", action="store_true", help="fetch CIFAR-10 into data/ (170 MB) if it is nowhere yet"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="PATH",
        type=Path,
        help="verify a CIFAR-10 (.npz, batches or .tar.gz) and keep it",
    )
    arguments = parser.parse_args(argv)
    if arguments.source is not None:
        _take_in(arguments.source)
    elif arguments.download and not any(find_cifar10(folder) for folder in data_folders()):
        download_cifar10(DATA)
    for split in ("train", "test"):
        print(describe(load_images(split, download=False)), end="\n\n")
    return 0


def _take_in(source: Path) -> None:
    """Keep a verified copy as data/cifar10.npz."""
    found = find_cifar10(source) if source.exists() else None
    if found is None:
        wanted = "an .npz, the folder cifar-10-batches-py or the archive cifar-10-python.tar.gz"
        raise FileNotFoundError(f"{source} holds no CIFAR-10: name {wanted}, or the folder that one of them lies in.")
    print(f"Verified {found}, kept as {keep_as_npz(found, DATA / NPZ_NAME)}\n")
