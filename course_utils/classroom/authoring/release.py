"""The student release: one dated archive of what students get, proved to hold nothing that is for instructors.

It has no `instructor/`, none of the tests that know right answers, no solution and no line of a hidden check. What it
does have are the kit's own functions, with which a lesson goes on while an exercise is open.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from course_utils.atomic import replacing
from course_utils.classroom.authoring.proofs import telling
from course_utils.classroom.authoring.solutions import regions
from course_utils.classroom.authoring.source import Source, read_sources

__all__ = ["complaints", "contents", "pack", "release"]

LEFT_OUT = re.compile(
    r"instructor/|\.ci/|\.github/|tests/classroom/(?:test_check|test_guide|asked_checks|test_grading|grading_lesson)"
)
"""Tracked files that students do not get: those for instructors, and tests that hold right answers."""
LONG = 40  # characters of a line that two people do not write alike by chance
_OWN = "course_utils/"  # the kit's own functions, which lessons go on with, look like solutions
_TEXT = (".py", ".md", ".txt", ".sh", ".ipynb", ".toml", ".yml", ".json", ".env", "Makefile")
_FOR_INSTRUCTORS = re.compile(r"^.*\b(?:instructor/|for instructors\b).*\n", re.MULTILINE)


@dataclass(frozen=True)
class Commit:
    """What the clone stands at: the commit's name, and when it was made in seconds since 1970."""

    name: str
    time: int


def release(root: Path, *, today: date | None = None) -> Path:
    """Write `build/diffusion-course-DATE.tar.gz` with what is committed; -> its path.

    Raises ValueError where the folder is no git clone, where tracked files differ from what is committed, and for
    anything in the archive that only an instructor may see.
    """
    commit, day = _commit(root), today or date.today()
    files = contents(root) | {"RELEASE.json": _stamp(commit, day)}
    found = list(complaints(files, read_sources(root / "instructor")))
    if found:
        raise ValueError("Nothing was released, since the archive would tell too much:\n  " + "\n  ".join(found))
    name = f"diffusion-course-{day.isoformat()}"
    path = root / "build" / f"{name}.tar.gz"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(pack(files, name, commit.time, _programs(root)))
    return path


def contents(root: Path) -> dict[str, bytes]:
    """What students get, by path: tracked files, without those that `LEFT_OUT` names."""
    names = [name for name in _git(root, "ls-files", "-z").split("\0") if name and not LEFT_OUT.match(name)]
    files = {name: (root / name).read_bytes() for name in names}
    if "README.md" in files:
        files["README.md"] = _FOR_INSTRUCTORS.sub("", files["README.md"].decode()).encode()
    return files


def complaints(files: Mapping[str, bytes], sources: Sequence[Source]) -> Iterator[str]:
    """Complain about files for instructors, lines of hidden checks anywhere, and solutions outside the package."""
    yield from (f"{name} is for instructors" for name in files if LEFT_OUT.match(name))
    lines = {name: _lines(data) for name, data in files.items() if name.endswith(_TEXT)}
    for source in sources:
        for cell in source.cells:
            if "hidden-check" in cell.tags:
                yield from _told(
                    lines, f"a hidden check of {source.name}", telling(cell.text.splitlines()), whole=False
                )
            for region in regions(cell.text):
                outside = {name: told for name, told in lines.items() if not name.startswith(_OWN)}
                yield from _told(outside, f"a solution of {source.name}", telling(region.lines), whole=True)


def _told(lines: Mapping[str, set[str]], what: str, secrets: set[str], *, whole: bool) -> Iterator[str]:
    """Complain where a file has all of the secret lines, or, if not `whole`, half of them; short ones may be chance."""
    wanted = len(secrets) if whole else max(1, len(secrets) // 2)
    for name, told in lines.items():
        found = sorted(secrets & told, key=len)
        if found and len(found) >= wanted and (len(found) > 1 or len(found[-1]) >= LONG):
            yield f"{name} holds {what}: {found[-1]!r}"


def _lines(data: bytes) -> set[str]:
    """The lines of a text without their indentation; those of a notebook's cells, for a notebook."""
    text = data.decode("utf-8")
    if text.startswith("{") and '"cells"' in text:
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return {line.strip() for line in text.splitlines()}


def pack(files: Mapping[str, bytes], folder: str, time: int, programs: set[str]) -> bytes:
    """A .tar.gz with all files below one folder; the same files give the same bytes."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=time) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(files[name]), time, 0o755 if name in programs else 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()


def _commit(root: Path) -> Commit:
    if changed := _git(root, "status", "--porcelain", "--untracked-files=no").split("\n")[0].strip():
        raise ValueError(f"tracked files differ from what is committed ({changed}): commit or undo, then release.")
    name, time = _git(root, "log", "-1", "--format=%h %ct").split()
    return Commit(name, int(time))


def _stamp(commit: Commit, day: date) -> bytes:
    return (json.dumps({"released": day.isoformat(), "commit": commit.name}) + "\n").encode()


def _programs(root: Path) -> set[str]:
    """Tracked files that may be executed."""
    staged = _git(root, "ls-files", "-z", "--stage").split("\0")
    return {line.partition("\t")[2] for line in staged if line.startswith("100755")}


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ValueError(f"a release is made in a git clone, and git says: {said[-1] if said else done.returncode}")
    return done.stdout
