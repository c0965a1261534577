"""The files that come with the repository: found in `data/`, and proved to be the ones that were put there.

`data/SHA256SUMS` lists them in the form that `sha256sum -c SHA256SUMS` reads. Only the standard library is imported, so
that the doctor can ask on any machine.
"""

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["SHIPPED", "SUMS", "card", "checksums", "sha256_of", "shipped", "shipped_names"]

SHIPPED = Path(__file__).resolve().parents[1] / "data"
SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\]+)")


def shipped(name: str, *, folder: Path | None = None) -> Path:
    """The shipped file `name`, once its SHA-256 is the one listed; each version of a file is read once a process.

    `folder` is `data/` of the repository unless given. Raises `FileNotFoundError` for a file that is not listed or not
    there, `ValueError` for one that is damaged; each says how to get it back.
    """
    folder = folder or SHIPPED
    listed = checksums(folder)
    path = folder / name
    if name not in listed:
        raise FileNotFoundError(
            f"{name!r} is not among the shipped files; {folder / SUMS} lists {', '.join(listed) or 'none'}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, though {SUMS} lists it: {_restore(name)}.")
    found = sha256_of(path)
    if found != listed[name]:
        raise ValueError(
            f"{path} is damaged: its SHA-256 begins with {found[:8]}, {SUMS} says {listed[name][:8]}; {_restore(name)}."
        )
    return path


def shipped_names(folder: Path | None = None) -> list[str]:
    """Names of the files that are shipped, in alphabetical order; whether they are whole, `shipped` finds out."""
    return list(checksums(folder))


def checksums(folder: Path | None = None) -> dict[str, str]:
    """SHA-256 of each shipped file by name, in alphabetical order; empty where nothing is shipped.

    Raises `ValueError` for a line that is not a checksum, two spaces and a plain file name.
    """
    path = (folder or SHIPPED) / SUMS
    listed = {}
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], 1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"{path}, line {number} is {line[:80]!r}, not a checksum and a name: {_restore(SUMS)}.")
        listed[found[2]] = found[1]
    return dict(sorted(listed.items()))


def card(name: str, *, folder: Path | None = None) -> dict[str, Any]:
    """How a shipped file was made: `data/STEM.json`, for `name` with or without its ending.

    Raises `FileNotFoundError` where there is no card, `ValueError` for one that is no JSON or describes another file.
    """
    folder = folder or SHIPPED
    path = folder / f"{Path(name).stem}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the card of {name}, is missing: {_restore(path.name)}.")
    try:
        read: dict[str, Any] = json.loads(path.read_text())
        listed = checksums(folder)[read["file"]]
        told = read["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not the card of a shipped file ({error}): {_restore(path.name)}.") from error
    if told != listed:
        raise ValueError(
            f"{path} describes a file whose SHA-256 begins with {told[:8]}, {SUMS} says {listed[:8]}: "
            f"{_restore(path.name, SUMS)}."
        )
    return read


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; read again only when its size or its time of change is another."""
    known = path.stat()
    return _digest(path.resolve(), known.st_size, known.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _restore(*names: str) -> str:
    files = " ".join(f"data/{name}" for name in names)
    return f"bring it back with `git checkout -- {files}`, or unpack it again from the course's archive"
