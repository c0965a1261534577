"""Where sources, student copies, masters and executed copies lie."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Folders", "find_folders", "write_text"]


@dataclass(frozen=True)
class Folders:
    """The four folders of authoring, all below the root of a clone."""

    root: Path

    @property
    def sources(self) -> Path:
        """Sources with solutions, `NN_topic.py`."""
        return self.root / "instructor"

    @property
    def students(self) -> Path:
        """Student copies, `NN_topic.ipynb`, committed."""
        return self.root / "notebooks"

    @property
    def masters(self) -> Path:
        """Solved masters with hidden checks, not committed."""
        return self.root / "build" / "masters"

    @property
    def course(self) -> Path:
        """Executed copies and their index, not committed."""
        return self.root / "results" / "local" / "course"


def find_folders(root: Path | None = None) -> Folders:
    """Return the folders below `root`; by default the clone this package runs from, else the working directory."""
    if root is not None:
        return Folders(root.resolve())
    clone = Path(__file__).resolve().parents[3]
    return Folders(clone if (clone / "notebooks").is_dir() else Path.cwd())


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step: a reader sees the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
