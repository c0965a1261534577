"""How good the guesses are: one beside its measurement as a picture, and all of the course as hit rates.

A guess *hits* when it lies within a factor of 1.5 of the measurement. Whoever says "80 % sure" should hit 8 times in
10. Only guesses made before their measurement was shown count, and nothing here is ever graded.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from course_utils.classroom.predictions import History, Reveal, histories
from course_utils.classroom.style import PALETTE, color, figure
from course_utils.measure.tables import Table, Tabular

__all__ = ["Calibration", "Guessed", "calibration", "draw_calibration", "reveal_picture", "wilson"]

HIT, NEAR = 1.5, 2.0  # factors
WIDTH, EDGE = 520, 20  # of the picture, in pixels
REACH = 10.0  # a factor beyond which guesses are drawn at the edge


@dataclass(frozen=True)
class Guessed:
    """A guess that was made blind, its measurement (both in `unit`), and the confidence said with it or None."""

    question: str
    unit: str
    guess: float
    measured: float
    confidence: float | None

    @property
    def factor(self) -> float:
        """How far off, as a factor of at least 1; infinite where the two differ in sign or one is zero."""
        if self.guess == self.measured:
            return 1.0
        ratio = self.guess / self.measured if self.measured else 0.0
        return max(ratio, 1 / ratio) if ratio > 0 else math.inf


@dataclass(frozen=True, repr=False)
class Calibration(Tabular):
    """What `calibration` returns: every blind guess that has a measurement."""

    guessed: tuple[Guessed, ...]

    def within(self, factor: float) -> int:
        """How many guesses lie within a factor of the measurement."""
        return sum(one.factor <= factor for one in self.guessed)

    def by_confidence(self) -> dict[float, tuple[int, int]]:
        """Stated confidence -> (hits within a factor of 1.5, guesses), in growing order."""
        said = sorted({one.confidence for one in self.guessed if one.confidence is not None})
        found = {}
        for level in said:
            alike = [one for one in self.guessed if one.confidence == level]
            found[level] = (sum(one.factor <= HIT for one in alike), len(alike))
        return found

    def table(self) -> Table:
        """How often the truth lay within a factor of 1.5 and of 2, and hits against each stated confidence."""
        if not self.guessed:
            return Table(("guesses", "hits", "rate"), [], note="no guess has a measurement beside it yet")
        n = len(self.guessed)
        rows = [_row(f"within a factor of {factor:g}", self.within(factor), n) for factor in (HIT, NEAR)]
        rows += [_row(f"said {level:.0%} sure: within {HIT:g}", *row) for level, row in self.by_confidence().items()]
        return Table(("guesses", "hits", "rate"), rows, note="made before the measurement was shown; never graded")

    def figure(self) -> Figure:
        """Guess over measurement for each question; hit rate against stated confidence where one was said."""
        return draw_calibration(self)


def calibration(path: Path | None = None) -> Calibration:
    """How your guesses of the whole course compare with their measurements, from the file of predictions.

    Raises ValueError for a line of the file that cannot be read.
    """
    return collected(histories(path).values())


def collected(known: Iterable[History]) -> Calibration:
    """The blind guesses among what is stored, each with its latest measurement."""
    found = []
    for one in known:
        if one.revealed is not None and one.prediction.honest is not None:
            guess, confidence = one.prediction.honest
            asked = one.prediction
            found.append(Guessed(asked.question, asked.unit, guess, one.revealed.measured, confidence))
    return Calibration(tuple(found))


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson, Probable Inference, JASA 1927)."""
    centre, spread = (hits + z * z / 2) / (n + z * z), z * math.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def draw_calibration(found: Calibration, title: str = "") -> Figure:
    """The figure of a calibration; see `Calibration.figure`. Raises ValueError where nothing was guessed."""
    if not found.guessed:
        raise ValueError("no guess has a measurement beside it yet: run a notebook up to its Reveal first.")
    levels = found.by_confidence()
    height = 0.3 * max(len(found.guessed), 6) + 1.2
    with figure(1, 2 if levels else 1, width=10.5 if levels else 7.5, height=height) as (made, axes):
        _draw_factors(axes[0], found.guessed)
        if levels:
            _draw_rates(axes[1], levels)
        axes[0].set_title(title or "Guess ÷ measurement")
    return made


def reveal_picture(shown: Reveal) -> str:
    """A guess on a logarithmic axis around its measurement, as SVG; nothing where one of them is not positive.

    The dark band is a factor of 1.5, the light one of 2; the thick line is the measurement's interval.
    """
    guess, measured, unit = shown.prediction.guess, shown.measured, html.escape(shown.prediction.unit)
    if shown.reason or guess is None or not (guess > 0 and measured > 0):
        return ""
    first = shown.prediction.guesses[0]
    at = _scale(
        measured, max(3.0, *(1.3 * max(each / measured, measured / each) for each in (guess, first) if each > 0))
    )
    bands = _band(at(measured / NEAR), at(measured * NEAR), 0.12) + _band(at(measured / HIT), at(measured * HIT), 0.2)
    marks = _line(at(shown.low or measured), at(shown.high or measured)) + _tick(at(measured))
    marks += (_dot(at(first), "white") if first not in (guess, 0.0) and first > 0 else "") + _dot(at(guess), PALETTE[1])
    words = f"{guess:.3g} {unit} guessed, {measured:.3g} {unit} measured"
    below = _text(at(measured), 53, f"measured {measured:.3g} {unit}", "start" if guess < measured else "end")
    above = _text(at(guess), 12, f"your guess {guess:.3g} {unit}", "end" if at(guess) > WIDTH / 2 else "start")
    return (
        f'<svg role="img" aria-label="{words}" width="{WIDTH}" height="58" viewBox="0 0 {WIDTH} 58" '
        f'style="max-width:100%;font:12px sans-serif" fill="currentColor">{bands}<line x1="{EDGE}" x2="{WIDTH - EDGE}" '
        f'y1="28" y2="28" stroke="currentColor" stroke-opacity="0.4"/>{marks}{below}{above}</svg>'
    )


def _scale(middle: float, reach: float) -> Callable[[float], float]:
    """From values to pixels: logarithmic, `middle` in the middle and a factor of `reach` to each end."""

    def at(value: float) -> float:
        share = math.log(max(value, 1e-300) / middle) / (2 * math.log(reach)) + 0.5
        return round(EDGE + (WIDTH - 2 * EDGE) * min(1.0, max(0.0, share)), 1)

    return at


def _row(name: str, hits: int, n: int) -> tuple[str, str, str]:
    return (name, f"{hits} of {n}", f"{hits / n:.0%}")


def _draw_factors(ax: Axes, guessed: tuple[Guessed, ...]) -> None:
    """A dot a question: guess over measurement, drawn at the edge beyond a factor of 10."""
    for factor, faint in ((NEAR, 0.10), (HIT, 0.18)):
        label = f"within a factor of {factor:g}"
        ax.axvspan(1 / factor, factor, color=color("baseline"), alpha=faint, linewidth=0, label=label)
    ax.axvline(1.0, color="#333333", linewidth=1.2)
    for row, one in enumerate(guessed):
        ratio = one.guess / one.measured if one.measured else math.nan
        inside = min(REACH, max(1 / REACH, ratio)) if ratio > 0 else 1 / REACH
        ax.plot(inside, row, "o", color=PALETTE[1], markersize=6)
    ax.set_yticks(range(len(guessed)), [_short(one.question) for one in guessed], fontsize=8)
    ax.set(xscale="log", xlim=(0.85 / REACH, REACH / 0.85), ylim=(len(guessed) - 0.4, -0.6))
    ax.xaxis.set(major_locator=FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10]), minor_locator=NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    ax.set(xlabel="guess ÷ measurement (x)")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def _draw_rates(ax: Axes, levels: dict[float, tuple[int, int]]) -> None:
    """Hit rate and its interval against what was said, beside the line of whoever knows what they know."""
    ax.plot([50, 95], [50, 95], color="#888888", linestyle="--", linewidth=1.2, label="well calibrated")
    for index, (level, (hits, n)) in enumerate(levels.items()):
        low, high = wilson(hits, n)
        bars = [[100 * (hits / n - low)], [100 * (high - hits / n)]]
        label = "hit rate, 95 % interval" if index == 0 else None
        ax.errorbar(100 * level, 100 * hits / n, yerr=bars, fmt="o", color=color("baseline"), capsize=3, label=label)
        ax.annotate(f"n = {n}", (100 * level, 100 * hits / n), xytext=(5, 4), textcoords="offset points", fontsize=8)
    ax.set(xlim=(47, 98), ylim=(-4, 104), xlabel="stated confidence (%)", ylabel=f"within a factor of {HIT:g} (%)")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
    ax.set_title("Said and hit")


def _short(text: str, most: int = 52) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _band(left: float, right: float, faint: float) -> str:
    shape = f'x="{left}" y="18" width="{right - left:.1f}" height="20"'
    return f'<rect {shape} fill="{color("baseline")}" fill-opacity="{faint}"/>'


def _line(left: float, right: float) -> str:
    return f'<line x1="{left}" x2="{right}" y1="28" y2="28" stroke="{color("baseline")}" stroke-width="6"/>'


def _tick(x: float) -> str:
    return f'<line x1="{x}" x2="{x}" y1="18" y2="40" stroke="{color("baseline")}" stroke-width="3"/>'


def _dot(x: float, shade: str) -> str:
    return f'<circle cx="{x}" cy="28" r="6" fill="{shade}" stroke="{PALETTE[1]}" stroke-width="2"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'
