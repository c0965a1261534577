"""Executes every notebook at this machine's scale and leaves executed copies and an index to read in a browser."""

from __future__ import annotations

import argparse
import html
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from course_utils.classroom.authoring.copies import master
from course_utils.classroom.authoring.execution import Outcome, execute
from course_utils.classroom.authoring.folders import Folders, find_folders, write_text
from course_utils.classroom.authoring.source import read_sources
from course_utils.diffusion.scales import scale

__all__ = ["Chapter", "main", "run_course"]

CELL_LIMIT_S = 3600
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} cells [{elapsed}, {remaining} left]"


@dataclass(frozen=True)
class Chapter:
    """A notebook to execute, and its name."""

    name: str
    notebook: NotebookNode

    @property
    def title(self) -> str:
        """The first Markdown heading, or the name."""
        texts = [cell.source for cell in self.notebook.cells if cell.cell_type == "markdown"]
        lines = "\n".join(texts).splitlines()
        return next((line.lstrip("# ") for line in lines if line.startswith("#")), self.name)

    @property
    def code_cells(self) -> int:
        """How many cells there are to run."""
        return sum(cell.cell_type == "code" for cell in self.notebook.cells)


def run_course(
    folders: Folders, chapters: Sequence[Chapter], size: str, records: Path | None = None
) -> dict[str, Outcome]:
    """Execute the chapters at scale `size` in order, going on after a failure; copies and index grow as each one ends.

    With `records` the seconds of each one that ran to its end are appended there. Returns how each ended, by its name.
    """
    outcomes: dict[str, Outcome] = {}
    env = dict(os.environ) | {"COURSE_SCALE": size}
    total = sum(chapter.code_cells for chapter in chapters)
    with tqdm(total=total, bar_format=BAR, smoothing=0, disable=None) as bar, _ticking(bar):
        for chapter in chapters:
            outcomes[chapter.name] = outcome = _run_chapter(chapter, env, bar)
            _write_copy(folders, chapter)
            write_text(folders.course / "index.html", _index(chapters, outcomes, size))
            if records is not None and outcome.ok:
                _record(records, chapter.name, outcome.wall_s, size)
            bar.write(f"{chapter.name}  {_status(outcome)}  {outcome.wall_s / 60:.1f} min")
    return outcomes


def main(argv: Sequence[str] | None = None) -> int:
    """Execute the course; return 0 when every notebook ran to its end, 1 when one did not, 130 after Ctrl-C.

    Raises ValueError for a scale or a notebook that does not exist.
    """
    options = _parser().parse_args(argv)
    folders = find_folders(options.root)
    chapters = _chapters(folders, options.unsolved, options.names)
    size = scale(options.scale).name
    print(f"{len(chapters)} notebooks at {size} scale")
    try:
        outcomes = run_course(folders, chapters, size, options.record)
    except KeyboardInterrupt:
        print(f"course: stopped; what had finished is in {folders.course}", file=sys.stderr)
        return 130
    print(f"index: {folders.course / 'index.html'}")
    return 0 if all(outcome.ok for outcome in outcomes.values()) else 1


def _chapters(folders: Folders, unsolved: bool, names: Sequence[str]) -> list[Chapter]:
    if folders.sources.is_dir() and not unsolved:
        found = [Chapter(source.name, master(source)) for source in read_sources(folders.sources)]
    else:
        paths = sorted(folders.students.glob("[0-9][0-9]_*.ipynb"))
        found = [Chapter(path.stem, nbformat.read(path, as_version=4)) for path in paths]
    if unknown := set(names) - {chapter.name for chapter in found}:
        raise ValueError(f"no notebook is called {sorted(unknown)}; there are {[chapter.name for chapter in found]}")
    chosen = [chapter for chapter in found if not names or chapter.name in names]
    if not chosen:
        raise ValueError(f"there is no notebook in {folders.students}: run 'python -m course_utils build'")
    return chosen


def _run_chapter(chapter: Chapter, env: Mapping[str, str], bar: Any) -> Outcome:
    reached = bar.n + chapter.code_cells
    started: list[str] = []

    def on_cell(cell_id: str) -> None:
        bar.update(1 if started else 0)  # the cell before this one has ended
        started.append(cell_id)
        bar.set_description(f"{chapter.name} · {cell_id}")

    with tempfile.TemporaryDirectory(prefix="course-") as folder:
        files = {"COURSE_PREDICTIONS": "predictions.jsonl", "COURSE_STEPS": "steps.jsonl"}
        own = dict(env) | {name: str(Path(folder) / file) for name, file in files.items()}  # not the reader's
        outcome = execute(chapter.notebook, cwd=Path(folder), env=own, timeout_s=CELL_LIMIT_S, on_cell=on_cell)
    bar.update(reached - bar.n)  # also past the cells that a failure left out
    return outcome


def _record(path: Path, name: str, wall_s: float, size: str) -> None:
    from course_utils.measure import manifest, record  # brings torch, which only a recorded run needs

    record("notebook", name, {"scale": size}, wall_s, "s", n=1, path=path, manifest=manifest(step="a whole notebook"))


@contextmanager
def _ticking(bar: Any) -> Iterator[None]:
    """Redraw the bar every second, so that its clock runs while a long cell does."""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1.0):
            bar.refresh()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _write_copy(folders: Folders, chapter: Chapter) -> None:
    from nbconvert import HTMLExporter  # slow to import, needed only here

    write_text(folders.course / f"{chapter.name}.ipynb", nbformat.writes(chapter.notebook) + "\n")
    exporter = HTMLExporter(embed_images=True)  # figures are linked relative to the student copies
    resources = {"metadata": {"name": chapter.title, "path": str(folders.students)}}
    page, _ = exporter.from_notebook_node(chapter.notebook, resources=resources)
    write_text(folders.course / f"{chapter.name}.html", page)


def _index(chapters: Sequence[Chapter], outcomes: Mapping[str, Outcome], size: str) -> str:
    rows = "\n".join(_row(chapter, outcomes.get(chapter.name)) for chapter in chapters)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The course, executed</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 56rem; margin: 3rem auto }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ padding: .4rem .8rem; text-align: left;
border-bottom: 1px solid #ccc }} td.number {{ text-align: right }}</style></head>
<body><h1>The course, executed at {size} scale</h1>
<table><tr><th>Notebook</th><th>Minutes</th><th>Status</th></tr>
{rows}
</table></body></html>
"""


def _row(chapter: Chapter, outcome: Outcome | None) -> str:
    title = html.escape(chapter.title)
    if outcome is None:
        return f"<tr><td>{title}</td><td></td><td>not run yet</td></tr>"
    link = f'<a href="{chapter.name}.html">{title}</a>'
    status = html.escape(_status(outcome))
    return f'<tr><td>{link}</td><td class="number">{outcome.wall_s / 60:.1f}</td><td>{status}</td></tr>'


def _status(outcome: Outcome) -> str:
    return "ok" if outcome.ok else f"failed in cell {outcome.failed_cell}: {outcome.error}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_utils course", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NN_topic", help="notebooks to execute (default: all)")
    parser.add_argument("--unsolved", action="store_true", help="execute the student copies instead of solved masters")
    parser.add_argument("--scale", help="smoke, laptop or gpu (default: COURSE_SCALE, else this machine's)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the seconds of each notebook as a record")
    parser.add_argument("--root", type=Path, help="the clone to work in (default: the one this package runs from)")
    return parser
