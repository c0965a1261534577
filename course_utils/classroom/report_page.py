"""One page to keep or hand in: predictions beside measurements, the staircase with its verdicts, what is missing."""

from __future__ import annotations

import argparse
import html
import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from course_utils.atomic import replacing
from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.guess_calibration import collected
from course_utils.classroom.places import Place, place_of
from course_utils.classroom.predictions import History, histories
from course_utils.classroom.progress import Question, incomplete, questions
from course_utils.classroom.staircase import Steps, rate_text, steps
from course_utils.classroom.staircase_plot import draw_staircase
from course_utils.diffusion import scale
from course_utils.measure import manifest

__all__ = ["main", "report"]

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2rem; border-bottom: 2px solid #0072B2 }
table { border-collapse: collapse; width: 100%; font-size: 14px } th, td { padding: .3rem .6rem; text-align: left;
vertical-align: top; border-bottom: 1px solid #ccc } tr.step td:nth-child(3) { white-space: nowrap }
tr.reasons td { color: #444; font-size: 13px; padding-top: 0 } tr.step td { border-bottom: none; padding-top: .6rem }
.quiet { color: #555 } svg { width: 100%; height: auto }
@media print { body { margin: 0; max-width: none } h2, tr, svg { break-inside: avoid } h2 { break-after: avoid } }
"""


@dataclass(frozen=True)
class Contents:
    """All that the page shows."""

    made_on: Mapping[str, Any]
    place: Place
    asked: Sequence[Question]
    told: Mapping[str, History]
    kept: Steps

    def missing(self) -> list[str]:
        """What is still to be done."""
        return incomplete(self.asked, self.told, self.kept.kept)


def report(path: str | Path | None = None) -> Path:
    """Write the page and return where it lies, by default `results/local/report.html` of this clone.

    It is complete in itself: figure and style are in the file. Raises ValueError for a line of the reader's files that
    cannot be read, named by file and line.
    """
    return _write(_gathered(), path)


def main(argv: list[str] | None = None) -> int:
    """Write the report from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m course_utils report", description=__doc__)
    parser.add_argument("-o", "--out", metavar="FILE", help="the page (default: results/local/report.html)")
    options = parser.parse_args(argv)
    found = _gathered()
    path, missing = _write(found, options.out), len(found.missing())
    print(f"report: {path}\n{f'incomplete: {missing}, listed on its last lines' if missing else 'nothing is missing'}")
    return 0


def _gathered() -> Contents:
    """What the reader's files and the notebooks hold now."""
    made_on = manifest()
    asked, place = questions(find_folders().students), place_of(made_on, scale().name)
    return Contents(made_on, place, asked, histories(), steps())


def _write(found: Contents, path: str | Path | None) -> Path:
    target = find_folders().root / "results" / "local" / "report.html" if path is None else Path(path)
    with replacing(target) as temporary:
        temporary.write_text(_page(found), encoding="utf-8")
    return target


def _page(found: Contents) -> str:
    """The whole page as HTML."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Course report</title><style>{CSS}</style></head>
<body>
<h1>Course report</h1>
<p class="quiet">{_escaped(time.strftime("%d %B %Y, %H:%M"))}</p>
<h2>Machine</h2>
{_machine(found)}
<h2>Prediction and measurement</h2>
{_predictions(found)}
<h2>Calibration</h2>
{_calibration(found)}
<h2>Staircase</h2>
{_staircase(found.kept)}
<h2>Incomplete</h2>
{_missing(found.missing())}
</body></html>
"""


def _machine(found: Contents) -> str:
    """Device, scale and versions, as one table."""
    told, versions = found.made_on, found.made_on.get("versions", {})
    device = told.get("device") or {}
    commit = "unknown" if told.get("commit") is None else str(told["commit"])
    rows = {
        "Device": f"{found.place.device}{', driver ' + str(device['driver']) if device.get('driver') else ''}",
        "Cores and threads": f"{told.get('cores_granted')} cores granted, {told.get('threads')} threads used",
        "Scale": found.place.scale,
        "Versions": f"Python {versions.get('python')}, PyTorch {versions.get('torch')}, {versions.get('system')}",
        "Course": f"commit {commit}{', changed since' if told.get('dirty') else ''}",
    }
    return _table([], [[f"<strong>{_escaped(name)}</strong>", _escaped(said)] for name, said in rows.items()])


def _predictions(found: Contents) -> str:
    """A row a question: of the notebooks in their order, then the reader's own."""
    keys = {one.key for one in found.asked}
    own = [Question("", known.prediction.question, key) for key, known in found.told.items() if key not in keys]
    rows = [_prediction(one, found.told.get(one.key), found.place) for one in [*found.asked, *own]]
    if not rows:
        return "<p>No question was found and no guess is stored.</p>"
    names = ["Notebook", "Question", "First guess", "Latest guess", "Measured", "How close"]
    return f"{_table(names, rows)}\n<p class='quiet'>Predictions are never graded.</p>"


def _prediction(one: Question, known: History | None, place: Place) -> list[str]:
    """The cells of a question."""
    cells = [one.notebook, one.text, "–", "–", "–", "–"]
    if known is not None and known.prediction.guesses:
        unit, guesses = known.prediction.unit, known.prediction.guesses
        cells[2:4] = [_quantity(guesses[0], unit), _quantity(guesses[-1], unit)]
        cells[3] += f" ({known.prediction.late} after measuring)" if known.changed_after else ""
    if known is not None and known.revealed is not None:
        seen = known.revealed
        bounds = "" if seen.low is None or seen.high is None else f" ({_number(seen.low)}–{_number(seen.high)})"
        elsewhere = "" if known.place == place else f", on {known.place}"
        cells[4:] = [f"{_quantity(seen.measured, known.prediction.unit)}{bounds}{elsewhere}", seen.verdict()]
    return [_escaped(cell) for cell in cells]


def _calibration(found: Contents) -> str:
    """How often the guesses hit, and against what was said of them: table and figure."""
    known = collected(found.told.values())
    if not known.guessed:
        return "<p>No guess has a measurement beside it yet.</p>"
    told = known.table()
    drawn = _inline(known.figure(), "guess over measurement of each question, and hits against stated confidence")
    rows = [[_escaped(str(cell)) for cell in row] for row in told.rows]
    return f'{_table(told.columns, rows)}\n{drawn}\n<p class="quiet">{_escaped(told.note or "")}</p>'


def _staircase(kept: Steps) -> str:
    """The figure, and a table of steps with the reasons of each verdict below it."""
    if not kept.kept:
        return f"<p>{_escaped(str(kept))}</p>"
    names = ["Treatment", "What", "Speed-up", "Throughput", "Verdict"]
    rows = []
    for one in kept:
        rate = "–" if one.img_per_s is None else rate_text(one.img_per_s)
        cells = [one.name, one.what, one.speed.text(), rate, one.outcome]
        rows.append(f'<tr class="step">{_cells(map(_escaped, cells))}</tr>')
        rows.append(f'<tr class="reasons"><td colspan="{len(names)}">{_escaped(" ".join(one.reasons))}</td></tr>')
    head = "".join(f"<th>{name}</th>" for name in names)
    label = "speed-up and quality of each step, as in the table"
    figure = _inline(draw_staircase(list(kept), "Faster, and as good?"), label)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table>"
    return f'{figure}\n{table}\n<p class="quiet">{_escaped(kept.note())}</p>'


def _missing(said: Sequence[str]) -> str:
    if not said:
        return "<p>Nothing is missing.</p>"
    return "<ul>\n" + "\n".join(f"<li>{_escaped(one)}</li>" for one in said) + "\n</ul>"


def _inline(figure: Figure, label: str) -> str:
    """A figure as an SVG element of the page, without what names an address outside it."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    drawn = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text[text.index("<svg") :])
    return drawn.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _table(names: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    head = f"<thead><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr></thead>" if names else ""
    body = "\n".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f"<table>{head}<tbody>\n{body}\n</tbody></table>"


def _cells(row: Iterable[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in row)


def _quantity(value: float, unit: str) -> str:
    return f"{_number(value)}x" if unit == "x" else f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    """`0.0123`, `4.56`, `1,234`."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e15 else f"{value:.3g}"


def _escaped(text: str) -> str:
    return html.escape(text)
