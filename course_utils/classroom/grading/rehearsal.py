"""Rehearses a night of grading: `python -m course_utils.classroom.grading.rehearsal -n 100`.

Plants submissions of which it knows what they must get, grades them, kills the grader half-way, lets it go on, compares
the gradebook, and appends how long it took and how much memory it had to results/reference/grading.jsonl.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.grading.command import exams_of
from course_utils.classroom.grading.planting import Plant, plant, plants
from course_utils.classroom.grading.sandbox import find_sandbox
from course_utils.entry import StatedDefaults, run_main
from course_utils.measure import manifest, record

__all__ = ["Rehearsed", "complaints", "main", "rehearse"]

CELL_LIMIT_S = 20
LOOK_S = 0.5


@dataclass(frozen=True)
class Rehearsed:
    """How a rehearsal went: what is wrong with the gradebook, notebooks graded, wall seconds, and peak memory."""

    complaints: list[str]
    notebooks: int
    killed_at: int
    wall_s: float
    peak_bytes: int


def rehearse(planted: Sequence[Plant], folder: Path, *, workers: int, root: Path) -> Rehearsed:
    """Grade planted submissions in `folder`, with a SIGKILL when half of them are done."""
    for one in planted:
        plant(one, folder / "submissions")
    grades = folder / "grades"
    command = [sys.executable, "-m", "course_utils", "grade", str(folder / "submissions"), "-o", str(grades)]
    command += ["--workers", str(workers), "--cell-limit", str(CELL_LIMIT_S), "--root", str(root)]
    started, half = time.perf_counter(), len(planted) // 2
    first = _watched(command, grades, stop_at=half)
    killed_at = _done(grades)
    second = _watched(command, grades)
    wall_s = time.perf_counter() - started
    return Rehearsed(complaints(planted, grades), _done(grades), killed_at, wall_s, max(first, second))


def complaints(planted: Sequence[Plant], grades: Path) -> list[str]:
    """Where the gradebook does not say what each plant must get, a sentence each."""
    path = grades / "gradebook.csv"
    if not path.exists():
        return ["there is no gradebook"]
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    found = [f"{student}: not planted" for student in sorted(set(rows) - {one.student for one in planted})]
    for one in planted:
        row = rows.get(one.student)
        if row is None:
            found.append(f"{one.student}: not in the gradebook")
            continue
        got = {key: row[key] for key in one.points if row[key] != "not graded here"}
        wrong = {key: value for key, value in got.items() if float(value or 0) != one.points[key]}
        found += [f"{one.student}: {key} got {value!r}, must get {one.points[key]:g}" for key, value in wrong.items()]
        if one.flag not in row["flags"]:
            found.append(f"{one.student}: {one.flag!r} is not among the flags")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Rehearse; return 0 where every student got what was planned, else 1."""
    options = _parser().parse_args(argv)
    folders = find_folders()
    exams = exams_of(folders.sources, options.notebooks)
    planted = plants(exams, options.n)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        went = rehearse(planted, Path(name), workers=options.workers, root=folders.root)
    each_s = went.wall_s / max(went.notebooks, 1)
    print(f"{went.notebooks} notebooks of {len(planted)} students, killed after {went.killed_at} and gone on:")
    print(f"  {each_s:.1f} s a submission and notebook, {went.peak_bytes / 2**30:.2f} GiB at the peak")
    print("\n".join(went.complaints) or "  every student got exactly what was planned")
    if not went.complaints and options.record is not None:
        _record(options, went, each_s, [exam.name for exam in exams])
    return 1 if went.complaints else 0


def _record(options: argparse.Namespace, went: Rehearsed, each_s: float, notebooks: list[str]) -> None:
    config = {
        "submissions": options.n,
        "notebooks": notebooks,
        "notebooks_graded": went.notebooks,
        "killed_after": went.killed_at,
        "confined": find_sandbox().bwrap is not None,
        "cell_limit_s": CELL_LIMIT_S,
        "wall_s": round(went.wall_s, 1),
    }
    told = manifest(step="a submission and notebook", device="cpu", workers=options.workers)
    for name, value, unit in (("grading time", each_s, "s"), ("grading peak memory", float(went.peak_bytes), "B")):
        record("grading", name, config, value, unit, n=went.notebooks, path=options.record, manifest=told)


def _watched(command: list[str], grades: Path, stop_at: int | None = None) -> int:
    """Run the grader to its end, or kill it once `stop_at` notebooks are done; -> bytes in use at the peak."""
    process = subprocess.Popen(command)
    peak = 0
    try:
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            if stop_at is not None and _done(grades) >= stop_at:
                process.kill()
            time.sleep(LOOK_S)
    finally:
        process.kill()
        process.wait()
    return peak


def _memory(pid: int) -> int:
    """Bytes in use by a process and all that it started."""
    total = 0
    try:
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.Error:
        return total
    return total


def _done(grades: Path) -> int:
    return len(list((grades / "work" / "results").glob("*/*.json")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.classroom.grading.rehearsal", description=__doc__, formatter_class=StatedDefaults
    )
    default = find_folders().root / "results" / "reference" / "grading.jsonl"
    parser.add_argument("-n", type=int, default=100, metavar="N", help="how many students to plant")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NN", help="plant these alone, such as 02 12")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="notebooks at once")
    parser.add_argument("--record", type=Path, default=default, help="the file of records to append to")
    parser.add_argument("--no-record", dest="record", action="store_const", const=None, help="append nothing")
    return parser


if __name__ == "__main__":
    sys.exit(run_main(main))
