"""Guess before you measure: a prediction is stored before its measurement exists, and is never graded."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType

from course_utils.measure import Ratio, Timing

__all__ = ["Prediction", "predict", "predictions_file", "reveal"]


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


def stored(path: Path, key: str) -> list[float]:
    """Every guess stored under a key, oldest first."""
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            if entry["key"] == key:
                found.append(float(entry["guess"]))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number} is no stored guess ({error}): delete it.") from error
    return found


def predict(question: str, guess: float | EllipsisType = ..., *, unit: str, key: str | None = None) -> Prediction:
    """Store a guess (in `unit`) before measuring; `...` means none yet, and an earlier one survives a kernel restart.

    A changed guess is added, not overwritten: `reveal` uses the latest and the first stays readable.
    """
    path, key = predictions_file(), key or slug(question)
    guesses = stored(path, key)
    if not isinstance(guess, EllipsisType):
        if isinstance(guess, bool) or not isinstance(guess, int | float):
            raise ValueError(f"guess must be a number in {unit}, seen {guess!r}: write a plain number such as 2.5.")
        if not guesses or guesses[-1] != float(guess):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps({"key": key, "guess": float(guess), "unit": unit, "time": time.time()}) + "\n")
            guesses.append(float(guess))
    return Prediction(question, unit, key, guesses)


def reveal(prediction: Prediction, measured: float | Timing | Ratio) -> Reveal:
    """Set a guess beside a measurement: a number in the prediction's unit, a `Timing` (median, s) or a `Ratio`."""
    if isinstance(measured, Timing):
        if prediction.unit != "s":
            raise ValueError(f"a Timing is in s, this prediction in {prediction.unit}: pass a number in that unit.")
        half = measured.iqr_s / 2
        return Reveal(prediction, measured.median_s, measured.median_s - half, measured.median_s + half)
    if isinstance(measured, Ratio):
        return Reveal(prediction, measured.value, measured.low, measured.high, measured.reason)
    return Reveal(prediction, float(measured))
