"""Builds student copies and solved masters out of the sources in `instructor/`, and proves that they are right."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from course_utils.classroom.authoring.copies import master, notebook_text, student_copy
from course_utils.classroom.authoring.folders import Folders, find_folders, write_text
from course_utils.classroom.authoring.lessons import read_lessons
from course_utils.classroom.authoring.proofs import PROOFS, RUN_PROOF
from course_utils.classroom.authoring.source import read_sources

__all__ = ["build", "check", "main"]


def build(folders: Folders) -> list[Path]:
    """Write every student copy and every master; return the paths of the student copies that changed."""
    changed = []
    for source in read_sources(folders.sources):
        write_text(folders.masters / f"{source.name}.ipynb", notebook_text(master(source)))
        path = folders.students / f"{source.name}.ipynb"
        text = notebook_text(student_copy(source))
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            changed.append(path)
    return changed


def check(folders: Folders, *, run: bool = False) -> dict[str, list[str]]:
    """Return each proof's complaints by its name; `run` adds the slow one that executes every unsolved copy."""
    lessons = read_lessons(folders)
    found = {proof.name: list(proof.complaints(lessons)) for proof in PROOFS}
    names = {lesson.name for lesson in lessons}
    found[PROOFS[0].name] += [
        f"{path.name} has no source {path.stem}.py: write one or delete the copy"
        for path in sorted(folders.students.glob("*.ipynb"))
        if path.stem not in names
    ]
    if run:
        found[RUN_PROOF.name] = list(RUN_PROOF.complaints(lessons))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Build the notebooks, or with `--check` prove them; return 0, or 1 where a proof has complaints.

    Raises ValueError where a source or a student copy cannot be read.
    """
    options = _parser().parse_args(argv)
    folders = find_folders(options.root)
    if not folders.sources.is_dir():
        raise ValueError(f"there is no folder {folders.sources}: run this in a clone that has the sources")
    return _report(check(folders, run=options.run)) if options.check else _build(folders)


def _build(folders: Folders) -> int:
    count = len(read_sources(folders.sources))
    changed = build(folders)
    for path in changed:
        print(f"wrote {path.relative_to(folders.root)}")
    masters = folders.masters.relative_to(folders.root)
    print(f"{count} notebooks built, {len(changed)} student copies changed, masters in {masters}")
    return 0


def _report(found: dict[str, list[str]]) -> int:
    for name, complaints in found.items():
        print(f"{'no' if complaints else 'ok'}  {name}")
        for complaint in complaints:
            print(f"      {complaint}")
    return 1 if any(found.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_utils build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; prove that the copies on disk are right")
    parser.add_argument("--run", action="store_true", help="with --check: also run every unsolved copy at smoke scale")
    parser.add_argument("--root", type=Path, help="the clone to work in (default: the one this package runs from)")
    return parser
