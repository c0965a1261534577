"""Where Inception's weights are: found on disk or downloaded, and verified before anything in them is unpickled."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from urllib.request import urlopen

import torch
from tqdm.auto import tqdm

from course_utils.atomic import replacing
from course_utils.measure.quality.distances import INCEPTION
from course_utils.shipped import sha256_of

__all__ = ["FILE_NAME", "SHA256", "InceptionWeights", "find_inception", "inception_weights"]

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE_NAME}"
_SILENCE_S = 30.0


@dataclass(frozen=True)
class InceptionWeights:
    """A verified file of weights; only the published ones go by the plain name `inception-v3`."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        """The extractor's name with these weights."""
        return INCEPTION if self.sha256 == SHA256 else f"{INCEPTION}, sha256 {self.sha256[:8]}"


def find_inception(path: str | Path | None = None) -> Path | None:
    """The file at `path`, else at `COURSE_INCEPTION`, else in torch hub's cache; None where there is none.

    Raises `FileNotFoundError` when a file that was named does not exist.
    """
    for origin, place in (("path", path), ("COURSE_INCEPTION", os.environ.get("COURSE_INCEPTION"))):
        if place:
            named = Path(place).expanduser()
            if not named.is_file():
                raise FileNotFoundError(f"{origin} is {str(place)!r}, which is no file; name Inception's weights there")
            return named
    cached = _cache()
    return cached if cached.is_file() else None


def inception_weights(path: str | Path | None = None, *, download: bool = True) -> InceptionWeights:
    """Find the weights, or download them, and verify them.

    Raises `FileNotFoundError` where there are none, and `ValueError` for a file that is neither the published one nor
    made of tensors alone.
    """
    found = find_inception(path)
    if found is None:
        found = _downloaded(download)
    weights = InceptionWeights(found, sha256_of(found))
    if weights.sha256 != SHA256:
        _refuse_more_than_tensors(weights)
    return weights


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME


def _downloaded(download: bool) -> Path:
    """Fetch the published weights into torch hub's cache, whole and verified or not at all."""
    how = f"fetch {_URL} elsewhere and name the file in COURSE_INCEPTION, or use cifar_cnn()"
    if not download or os.environ.get("COURSE_OFFLINE") == "1":
        why = "COURSE_OFFLINE=1 forbids the download" if download else "no download was wanted"
        raise FileNotFoundError(f"Inception's weights are not on this machine and {why}: {how}.")
    cached = _cache()
    try:
        with replacing(cached) as temporary:
            _fetch(temporary)
    except (OSError, HTTPException) as error:
        raise FileNotFoundError(f"Inception's weights could not be downloaded ({error}): {how}.") from error
    return cached


def _fetch(target: Path) -> None:
    """Download with a progress bar. Raises `OSError` when the network fails or what came is something else."""
    with urlopen(_URL, timeout=_SILENCE_S) as answer, target.open("wb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        with tqdm.wrapattr(file, "write", total=total, desc="Inception's weights", dynamic_ncols=True) as counted:
            shutil.copyfileobj(answer, counted)
    if sha256_of(target) != SHA256:
        raise OSError(f"what came has a SHA-256 that begins with {sha256_of(target)[:8]}, wanted {SHA256[:8]}")


def _refuse_more_than_tensors(weights: InceptionWeights) -> None:
    """Unpickling may run code: torch-fidelity allows all of it, so a file of unknown origin must do with tensors."""
    try:
        torch.load(weights.path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"{weights.path} is not Inception's published file (its SHA-256 begins with {weights.sha256[:8]}, wanted "
            f"{SHA256[:8]}) and holds more than tensors or is damaged, so it was not unpickled: name another file."
        ) from error
