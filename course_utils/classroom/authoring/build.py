"""Builds student copies and solved masters out of the sources in `instructor/`, and proves that they are right."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import nbformat

from course_utils.classroom.authoring.copies import master, notebook_text, student_copy
from course_utils.classroom.authoring.folders import Folders, find_folders, write_text
from course_utils.classroom.authoring.lessons import read_lessons
from course_utils.classroom.authoring.proofs import PROOFS, RUN_PROOF, unsolved_run
from course_utils.classroom.authoring.release import release
from course_utils.classroom.authoring.source import read_sources

__all__ = ["build", "check", "check_release", "main"]


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
        return _report(check_release(folders, run=options.run)) if options.check else _refuse(folders)
    if options.release:
        path = release(folders.root)
        size = path.stat().st_size / 1e6
        print(f"{path.relative_to(folders.root)}: {size:.1f} MB, no solved notebook and no hidden check in it")
        return 0
    return _report(check(folders, run=options.run)) if options.check else _build(folders)


def check_release(folders: Folders, *, run: bool = False) -> dict[str, list[str]]:
    """What can be proved of a student release, which has no sources: with `run` that every copy runs to its end."""
    if not (folders.root / "RELEASE.json").is_file():
        _refuse(folders)
    print(f"{folders.sources.name}/ is not part of a student release: its proofs were made before it was packed.")
    copies = {path.stem: nbformat.read(path, as_version=4) for path in sorted(folders.students.glob("[0-9]*.ipynb"))}
    return {RUN_PROOF.name: list(unsolved_run(copies))} if run else {}


def _refuse(folders: Folders) -> int:
    raise ValueError(f"there is no folder {folders.sources}: run this in a clone that has the sources")


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
    parser.add_argument("--release", action="store_true", help="pack what students get into build/, proved to be safe")
    parser.add_argument("--root", type=Path, help="the clone to work in (default: the one this package runs from)")
    return parser
