"""A box to type a guess into: a number, its unit, and how sure you are."""

from __future__ import annotations

import math
import re
from typing import Any

import traitlets

from course_utils.classroom.predictions import Prediction
from course_utils.classroom.widgets.page import Page, script

__all__ = ["GuessBox"]


class GuessBox(Page):
    """Stores what is typed as a guess of `prediction`, before its measurement exists.

    The page sends `asked` = {"guess": text, "confidence": percent, "at": number}; `said` answers in a sentence,
    `problem` tells whether it is a complaint, and `answered` is `at` again: without it no Python has listened. Nothing
    typed here is graded.
    """

    _esm = script("drawing", "guess")
    question = traitlets.Unicode().tag(sync=True)
    unit = traitlets.Unicode().tag(sync=True)
    confidence = traitlets.Int(70, min=50, max=95).tag(sync=True)
    asked: traitlets.Dict[Any, Any] = traitlets.Dict().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Bool(False).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)

    def __init__(self, prediction: Prediction, **options: Any) -> None:
        self.prediction = prediction
        known = prediction.confidence
        options.setdefault("confidence", 70 if known is None else round(100 * known))
        super().__init__(question=prediction.question, unit=prediction.unit, **options)
        self.said = self._stored() if prediction.guesses else "Not guessed yet. It is never graded."

    def told(self) -> str:
        """What stands here, in words that stay true whatever is typed later."""
        return f"{self.question}  a box for a guess, in {self.unit} (it is never graded)"

    @traitlets.observe("asked")
    def _keep(self, change: Any) -> None:
        asked = change["new"]
        if not asked:
            return
        self.answered = int(asked.get("at", 0))
        try:
            guess, percent = _number(asked.get("guess"), self.unit), asked.get("confidence", self.confidence)
            self.prediction.keep(guess, round(percent) / 100)
        except ValueError as error:
            self.set_trait("problem", True)
            self.said = str(error)
            return
        self.confidence = round(percent)
        self.set_trait("problem", False)
        self.said = self._stored()

    def _stored(self) -> str:
        """What is stored, the first guess included, and that the latest came late where it did."""
        told, unit = self.prediction, self.prediction.unit
        sure = "" if told.confidence is None else f", {told.confidence:.0%} sure"
        parts = [f"Stored: {told.guess:g} {unit}{sure}."]
        if len(told.guesses) > 1:
            parts.append(f"First guess: {told.guesses[0]:g} {unit}.")
        if told.late:
            counts = "the guess before it counts" if told.late == "changed" else "it does not count"
            parts.append(f"{told.late.capitalize()} after the measurement was shown, so {counts} for your calibration.")
        return " ".join(parts)


def _number(text: object, unit: str) -> float:
    """What was typed as a number; a comma may stand for the point where it cannot mean thousands.

    Raises ValueError in one sentence, for a ratio (unit x) also where it is not above 0.
    """
    typed = str(text).strip()
    try:
        found = float(typed.replace(",", "."))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{typed[:40]!r} is no number: type a plain one such as 2.5.")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", typed):
        raise ValueError(f"Is {typed} a thousand and more? Write {typed.replace(',', '')} or {found:g}.")
    if unit == "x" and found <= 0:
        raise ValueError(f"A ratio is above 0, seen {found:g}: 2 means twice, 0.5 means half.")
    return found
