"""Guess before you measure: a prediction is stored before its measurement exists, and is never graded."""

from __future__ import annotations

import html
import json
import math
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, field, replace
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
    """A guess and its history; `guess` is None until the reader has given one.

    `confidences` stand beside `guesses`: from 0.5 to 0.95, how sure the reader is that the measurement lies within a
    factor of 1.5 of the guess, None where not said. `blind` of the guesses came before the first measurement was shown;
    it is None until then. With `asks` a notebook shows a box to type a guess into.
    """

    question: str
    unit: str
    key: str
    guesses: list[float] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)
    blind: int | None = None
    asks: bool = False

    @property
    def guess(self) -> float | None:
        """The latest guess, or None."""
        return self.guesses[-1] if self.guesses else None

    @property
    def confidence(self) -> float | None:
        """What was said with the latest guess."""
        return self.confidences[-1] if self.confidences else None

    @property
    def changed_after(self) -> bool:
        """Whether the latest guess came after its measurement had been shown."""
        return self.blind is not None and len(self.guesses) > self.blind

    @property
    def late(self) -> str:
        """How the latest guess came after its measurement: `made` or `changed`; empty where it came before."""
        return "" if not self.changed_after else "changed" if self.blind else "made"

    @property
    def honest(self) -> tuple[float, float | None] | None:
        """The last guess made before any measurement was shown, with its confidence; None without one."""
        count = len(self.guesses) if self.blind is None else self.blind
        return (self.guesses[count - 1], self.confidences[count - 1]) if count else None

    def keep(self, guess: float, confidence: float | None = None) -> None:
        """Store a guess in the prediction's unit, with a confidence from 0.5 to 0.95; a repeated one adds nothing.

        Raises ValueError for what is no finite number, and for another confidence.
        """
        _refuse_strange(guess, confidence, self.unit)
        known = histories().get(self.key)
        if known is not None:  # another box or kernel may have added to the file since
            told = known.prediction
            self.guesses, self.confidences, self.blind = list(told.guesses), list(told.confidences), told.blind
        said = self.confidence if confidence is None else confidence
        if not self.guesses or (self.guesses[-1], self.confidence) != (float(guess), said):
            about = {"key": self.key, "question": self.question, "guess": float(guess), "unit": self.unit}
            _store(about if confidence is None else about | {"confidence": float(confidence)})
            self.guesses.append(float(guess))
            self.confidences.append(None if confidence is None else float(confidence))

    def reveal(self, measured: float | Timing | Ratio) -> Reveal:
        """The guess beside the measurement (see `reveal`)."""
        return reveal(self, measured)

    def __repr__(self) -> str:
        """One line: the question, the guess, and that it was changed where it was."""
        if self.guess is None:
            return f"{self.question}  no guess yet: put a number in place of `...` (it is never graded)"
        first = f"first guess {self.guesses[0]:g} {self.unit}" if len(self.guesses) > 1 else ""
        told = "; ".join(filter(None, [first, f"{self.late} after the measurement was shown" if self.late else ""]))
        return f"{self.question}  your guess: {self.guess:g} {self.unit}{f' ({told})' if told else ''}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """In a notebook that still has `...` for a guess: the box beside the text."""
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if not self.asks or getattr(shell, "kernel", None) is None:
            return {}
        from course_utils.classroom.widgets import GuessBox

        shown: dict[str, Any] = GuessBox(self)._repr_mimebundle_()[0]
        return shown


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
        late = self.prediction.late
        later = f" ({late} after the measurement was shown)" if late else ""
        return f"you {guess:.3g} {unit}{later}, {line}: {self.verdict()}"

    def _repr_html_(self) -> str:
        """The line, and below it the guess on an axis around the measurement."""
        from course_utils.classroom.guess_calibration import reveal_picture

        return f"<p>{html.escape(repr(self))}</p>{reveal_picture(self)}"

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
    """All that is stored under a key: every guess, the latest reveal and its place.

    `place` is where the measurement was made; None where nothing has been revealed.
    """

    prediction: Prediction
    revealed: Reveal | None = None
    place: Place | None = None

    @property
    def changed_after(self) -> bool:
        """Whether a guess came after a measurement."""
        return self.prediction.changed_after


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


def predict(
    question: str,
    guess: float | EllipsisType = ...,
    *,
    unit: str,
    key: str | None = None,
    confidence: float | None = None,
) -> Prediction:
    """Store a guess (in `unit`) before measuring; `...` means none yet, and an earlier one survives a kernel restart.

    A notebook shows a box for `...`, which stores what is typed there. A changed guess is added, not overwritten:
    `reveal` uses the latest and the first stays readable. `confidence` (0.5 to 0.95) is how sure you are that the
    measurement lies within a factor of 1.5; see `calibration`.
    """
    key = key or slug(question)
    known = histories().get(key)
    told = known.prediction if known else Prediction(question, unit, key)
    made = replace(told, question=question, unit=unit, asks=isinstance(guess, EllipsisType))
    if not isinstance(guess, EllipsisType):
        made.keep(guess, confidence)
    return made


def reveal(prediction: Prediction, measured: float | Timing | Ratio) -> Reveal:
    """Set a guess beside a measurement: a number in the prediction's unit, a `Timing` (median, s) or a `Ratio`.

    The measurement is stored, for the report and so that a guess made later is known as one; of several the latest
    counts.
    """
    shown = _shown(prediction, measured)
    numbers = [shown.measured, *(bound for bound in (shown.low, shown.high) if bound is not None)]
    if not shown.reason and all(map(math.isfinite, numbers)):
        about = {"key": prediction.key, "question": prediction.question, "unit": prediction.unit}
        _store(about | {"measured": shown.measured, "low": shown.low, "high": shown.high, "place": asdict(here())})
        if prediction.blind is None:
            prediction.blind = len(prediction.guesses)
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


def _refuse_strange(guess: Any, confidence: Any, unit: str) -> None:
    """Raise ValueError for a guess that is no finite number, or a confidence beside the scale."""
    if isinstance(guess, bool) or not isinstance(guess, int | float) or not math.isfinite(guess):
        raise ValueError(f"guess must be a number in {unit}, seen {guess!r}: write a plain number such as 2.5.")
    if confidence is not None and not (isinstance(confidence, int | float) and 0.5 <= confidence <= 0.95):
        raise ValueError(f"confidence must be a number from 0.5 to 0.95, seen {confidence!r}: 0.8 means 80 % sure.")


def _store(entry: dict[str, Any]) -> None:
    """Add one line to the file of predictions, in a single write, so that two kernels cannot mix their lines."""
    path = predictions_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(entry | {"time": time.time()}) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)
        os.fsync(file)
    finally:
        os.close(file)


def _take_in(found: dict[str, History], entry: dict[str, Any]) -> None:
    """Add a stored line to what is known of its key; lines of an older kit hold neither question nor unit."""
    key = entry["key"]
    known = found.setdefault(key, History(Prediction(entry.get("question", key), entry.get("unit", ""), key)))
    if "measured" not in entry:
        said = entry.get("confidence")
        known.prediction.guesses.append(float(entry["guess"]))
        known.prediction.confidences.append(None if said is None else float(said))
        return
    low, high = (None if entry[name] is None else float(entry[name]) for name in ("low", "high"))
    known.revealed = Reveal(known.prediction, float(entry["measured"]), low, high)
    known.place = Place(**entry["place"])
    if known.prediction.blind is None:
        known.prediction.blind = len(known.prediction.guesses)
