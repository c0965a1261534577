"""Guess before you measure: a prediction is stored before its measurement exists, and is never graded."""

from __future__ import annotations

import json
import math
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import Any

from course_utils.classroom.places import Place, here
from course_utils.measure import Ratio, Timing

__all__ = ["History", "Prediction", "Reveal", "histories", "predict", "predictions_file", "reveal", "slug"]


def predictions_file() -> Path:
    """Where guesses are kept, one JSON line each: `COURSE_PREDICTIONS`, else `results/local/predictions.jsonl`."""
    named = os.environ.get("COURSE_PREDICTIONS")
    return Path(named) if named else Path(__file__).parents[2] / "results" / "local" / "predictions.jsonl"


@dataclass
class Prediction:
    """A guess and its history; `guess` is None until the reader has given one."""

    question: str
    unit: str
    key: str
    guesses: list[float] = field(default_factory=list)

    @property
    def guess(self) -> float | None:
        """The latest guess, or None."""
        return self.guesses[-1] if self.guesses else None

    def reveal(self, measured: float | Timing | Ratio) -> Reveal:
        """The guess beside the measurement (see `reveal`)."""
        return reveal(self, measured)

    def __repr__(self) -> str:
        """One line: the question, the guess, and that it was changed where it was."""
        if self.guess is None:
            return f"{self.question}  no guess yet: put a number in place of `...` (it is never graded)"
        changed = f" (first guess {self.guesses[0]:g} {self.unit})" if len(self.guesses) > 1 else ""
        return f"{self.question}  your guess: {self.guess:g} {self.unit}{changed}"


@dataclass(frozen=True)
class Reveal:
    """A guess, the measurement and its interval where it has one."""

    prediction: Prediction
    measured: float
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def __repr__(self) -> str:
        """One line: guess, measurement, and how far apart they are as a factor; or why nothing was measured."""
        if self.reason:
            return f"nothing to reveal yet, {self.reason}: run the measurement again when the machine is quiet"
        unit, interval = self.prediction.unit, ""
        if self.low is not None and self.high is not None:
            interval = f" ({self.low:.3g}–{self.high:.3g})"
        line = f"measured {self.measured:.3g} {unit}{interval}"
        guess = self.prediction.guess
        if guess is None:
            return f"no guess was made; {line}"
        return f"you {guess:.3g} {unit}, {line}: {self.verdict()}"

    def verdict(self) -> str:
        """How far the guess was off, in words."""
        guess = self.prediction.guess
        if guess is None:
            return "no guess was made"
        if self.low is not None and self.high is not None and self.low <= guess <= self.high:
            return "within the interval"
        if guess <= 0 or self.measured <= 0:
            return f"off by {guess - self.measured:+.3g}"
        factor = guess / self.measured
        if 0.9 <= factor <= 1.1:
            return "within 10 %"
        return f"{factor:.1f} times too high" if factor > 1 else f"{1 / factor:.1f} times too low"


def slug(text: str) -> str:
    """A key made of a question's own words."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:80]


@dataclass
class History:
    """All that is stored under a key: every guess, the latest reveal and its place, and whether a guess came after it.

    `place` is where the measurement was made; None where nothing has been revealed.
    """

    prediction: Prediction
    revealed: Reveal | None = None
    place: Place | None = None
    changed_after: bool = False


def histories(path: Path | None = None) -> dict[str, History]:
    """What is stored in the file of predictions, by key, in the order of the first guesses.

    Raises ValueError for a line that is neither a guess nor a reveal, named by file and line.
    """
    path = predictions_file() if path is None else path
    found: dict[str, History] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            _take_in(found, json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number} is no stored guess ({error}): delete it.") from error
    return found


def predict(question: str, guess: float | EllipsisType = ..., *, unit: str, key: str | None = None) -> Prediction:
    """Store a guess (in `unit`) before measuring; `...` means none yet, and an earlier one survives a kernel restart.

    A changed guess is added, not overwritten: `reveal` uses the latest and the first stays readable.
    """
    key = key or slug(question)
    known = histories().get(key)
    guesses = list(known.prediction.guesses) if known else []
    if not isinstance(guess, EllipsisType):
        if isinstance(guess, bool) or not isinstance(guess, int | float):
            raise ValueError(f"guess must be a number in {unit}, seen {guess!r}: write a plain number such as 2.5.")
        if not guesses or guesses[-1] != float(guess):
            _store({"key": key, "question": question, "guess": float(guess), "unit": unit})
            guesses.append(float(guess))
    return Prediction(question, unit, key, guesses)


def reveal(prediction: Prediction, measured: float | Timing | Ratio) -> Reveal:
    """Set a guess beside a measurement: a number in the prediction's unit, a `Timing` (median, s) or a `Ratio`.

    Where there is a guess, the measurement is stored beside it, for the report; of several the latest counts.
    """
    shown = _shown(prediction, measured)
    numbers = [shown.measured, *(bound for bound in (shown.low, shown.high) if bound is not None)]
    if prediction.guesses and not shown.reason and all(map(math.isfinite, numbers)):
        about = {"key": prediction.key, "question": prediction.question, "unit": prediction.unit}
        _store(about | {"measured": shown.measured, "low": shown.low, "high": shown.high, "place": asdict(here())})
    return shown


def _shown(prediction: Prediction, measured: float | Timing | Ratio) -> Reveal:
    if isinstance(measured, Timing):
        if prediction.unit != "s":
            raise ValueError(f"a Timing is in s, this prediction in {prediction.unit}: pass a number in that unit.")
        half = measured.iqr_s / 2
        return Reveal(prediction, measured.median_s, measured.median_s - half, measured.median_s + half)
    if isinstance(measured, Ratio):
        return Reveal(prediction, measured.value, measured.low, measured.high, measured.reason)
    return Reveal(prediction, float(measured))


def _store(entry: dict[str, Any]) -> None:
    """Add one line to the file of predictions."""
    path = predictions_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry | {"time": time.time()}) + "\n")


def _take_in(found: dict[str, History], entry: dict[str, Any]) -> None:
    """Add a stored line to what is known of its key; lines of an older kit hold neither question nor unit."""
    key = entry["key"]
    known = found.setdefault(key, History(Prediction(entry.get("question", key), entry.get("unit", ""), key)))
    if "measured" not in entry:
        known.prediction.guesses.append(float(entry["guess"]))
        known.changed_after = known.revealed is not None
        return
    low, high = (None if entry[name] is None else float(entry[name]) for name in ("low", "high"))
    known.revealed = Reveal(known.prediction, float(entry["measured"]), low, high)
    known.place = Place(**entry["place"])
