"""Submissions: a folder or an archive for each student, from which only notebooks are read, and never unpacked to disk.

An archive with a path that leads out of it, a link or a device, or that would swell up, is refused as a whole.
"""

from __future__ import annotations

import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["ARCHIVES", "Submission", "find_submissions", "read_submission"]

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
MAX_FILES, MAX_BYTES, MAX_TOTAL_BYTES = 5000, 20 * 2**20, 200 * 2**20
_SKIPPED = {".ipynb_checkpoints", "__MACOSX", ".git", ".venv"}


@dataclass(frozen=True)
class Submission:
    """A student and where the submission lies."""

    student: str
    path: Path


def find_submissions(folder: Path) -> tuple[list[Submission], list[str]]:
    """The submissions in a folder, by student, and a sentence for each entry that is none.

    Raises ValueError where there is no folder, nothing in it, or two submissions of one student.
    """
    if folder.is_file():
        raise ValueError(f"{folder} is a file: unpack it, and give the folder that holds one folder for each student")
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder}: give the one that holds a folder or an archive for each student"
        )
    found: dict[str, Submission] = {}
    ignored = []
    for path in sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name not in _SKIPPED):
        student = _student(path)
        if student is None:
            ignored.append(f"{path.name}: ignored, it is neither a folder nor one of {', '.join(ARCHIVES)}")
        elif student.casefold() in found:
            other = found[student.casefold()].path.name
            raise ValueError(f"{path.name} and {other} are both of the student {student!r}: keep one of them")
        else:
            found[student.casefold()] = Submission(student, path)
    if not found:
        raise ValueError(f"{folder} holds no submission: wanted a folder or an archive for each student")
    return list(found.values()), ignored


def read_submission(submission: Submission) -> dict[str, str]:
    """The texts of the notebooks, by their path inside; archives in a folder are looked into, those in archives not.

    Raises ValueError, in words for a student, where an archive cannot be read or is refused, and without a notebook.
    """
    path = submission.path
    texts = dict(_bounded(_in_folder(path) if path.is_dir() else _in_archive(path)))
    if not texts:
        raise ValueError("there is no notebook (.ipynb) in what was handed in: hand in those of `my/`")
    return texts


def _student(path: Path) -> str | None:
    """Whose submission a path is: the name of a folder, or of an archive without its suffix."""
    if path.is_symlink():
        return None
    name = unicodedata.normalize("NFC", path.name)  # as keyboards write it; macOS takes letters and accents apart
    if path.is_dir():
        return name
    suffix = _suffix(name)
    return name[: -len(suffix)] if suffix and path.is_file() else None


def _suffix(name: str) -> str | None:
    return next((one for one in ARCHIVES if name.lower().endswith(one) and name.lower() != one), None)


def _bounded(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    total = 0
    for name, content in files:
        total += len(content)
        if len(content) > MAX_BYTES or total > MAX_TOTAL_BYTES:
            raise ValueError(f"{name} is too large: a notebook has at most {MAX_BYTES // 2**20} MiB; clear its outputs")
        yield name, content.decode("utf-8", errors="replace")


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    seen = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = Path(place, name)
            seen += 1
            if seen > MAX_FILES:
                raise ValueError(f"there are more than {MAX_FILES} files: hand in the notebooks alone")
            if not stat.S_ISREG(path.lstat().st_mode):  # no links, no pipes
                continue
            inside = path.relative_to(folder).as_posix()
            if _is_notebook(name):
                with path.open("rb") as file:
                    yield inside, file.read(MAX_BYTES + 1)
            elif _suffix(name) and not name.startswith("."):
                yield from ((f"{inside}/{entry}", content) for entry, content in _in_archive(path))


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        yield from _in_zip(path) if path.name.lower().endswith(".zip") else _in_tar(path)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ValueError(f"the archive {path.name} cannot be read ({error}): pack it once more") from error


def _in_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _refuse_many(len(entries))
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            _refuse_unsafe(entry.filename, kind not in (0, stat.S_IFREG, stat.S_IFDIR))
        for entry in entries:
            if not entry.is_dir() and _is_notebook(entry.filename):
                with archive.open(entry) as file:
                    yield entry.filename, file.read(MAX_BYTES + 1)


def _in_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        swollen = 0
        for count, entry in enumerate(archive, start=1):
            _refuse_many(count)
            _refuse_unsafe(entry.name, not (entry.isfile() or entry.isdir()))
            swollen += entry.size
            if swollen > 2 * MAX_TOTAL_BYTES:
                raise ValueError(f"the archive unpacks to more than {2 * MAX_TOTAL_BYTES // 2**20} MiB: it is refused")
            if entry.isfile() and _is_notebook(entry.name) and (file := archive.extractfile(entry)):
                yield entry.name, file.read(MAX_BYTES + 1)


def _refuse_many(count: int) -> None:
    if count > MAX_FILES:
        raise ValueError(f"the archive has more than {MAX_FILES} entries: hand in the notebooks alone")


def _refuse_unsafe(name: str, is_special: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or any(part.endswith(":") for part in path.parts[:1]):
        raise ValueError(f"the archive is refused: its entry {name!r} leads out of it")
    if is_special:
        raise ValueError(f"the archive is refused: its entry {name!r} is a link or a device")


def _is_notebook(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or _SKIPPED & set(parts) or parts[-1].startswith("."):
        return False
    return parts[-1].lower().endswith(".ipynb")
