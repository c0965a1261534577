"""The figure of a grading run: for each exercise, how many students got what."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from course_utils.atomic import replacing
from course_utils.classroom.grading.session import Results
from course_utils.classroom.style import PALETTE, figure

__all__ = ["counts", "write_figure"]

KINDS = {
    "right": PALETTE[2],
    "not right": PALETTE[1],
    "raised an error": PALETTE[5],
    "stopped or timed out": PALETTE[3],
    "not answered": PALETTE[6],
    "not graded here": PALETTE[4],
}


def counts(results: Results) -> dict[str, Counter[str]]:
    """How many students got what in each exercise, by its key and the kinds of `KINDS`."""
    found: dict[str, Counter[str]] = {one.key: Counter() for exam in results.exams for one in exam.exercises}
    for graded in results.graded.values():
        for key, mark in graded.marks.items():
            found[key][_kind(mark.status)] += 1
    return found


def write_figure(results: Results, folder: Path) -> Path | None:
    """Write `points.png`, a bar for each exercise; None where nothing was graded."""
    found = counts(results)
    if not found:
        return None
    path = folder / "points.png"
    points = {one.key: one.points for exam in results.exams for one in exam.exercises}
    labels = [f"{key} ({points[key]:g})" for key in found]
    with figure(width=8.0, height=1.4 + 0.28 * len(found)) as (made, (axes,)):
        left = [0] * len(found)
        for kind, colour in KINDS.items():
            widths = [count[kind] for count in found.values()]
            if any(widths):
                axes.barh(labels, widths, left=left, color=colour, label=kind)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("students (number)")
        axes.set_title("What students got, by exercise (points in brackets)")
        axes.grid(axis="y", visible=False)
        made.legend(loc="outside lower center", ncols=3)
        with replacing(path) as temporary:
            made.savefig(temporary, format="png")
    return path


def _kind(status: str) -> str:
    if status.startswith("raised"):
        return "raised an error"
    return "stopped or timed out" if status in ("stopped", "timed out") else status
