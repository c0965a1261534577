"""The reader's own staircase: after each treatment a step, with its speed-up, its verdict and the evidence."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from course_utils.classroom.places import Place, here, place_of
from course_utils.classroom.predictions import predictions_file
from course_utils.diffusion import scale
from course_utils.measure import Evidence, Ratio, Record, Table, Verdict, load, manifest, record
from course_utils.measure.tables import Tabular
from course_utils.measure.verdicts import Decision

__all__ = ["STEP", "Step", "Steps", "keep_step", "quality_of", "rate_text", "steps", "steps_file"]

STEP = "training step"
PARTS = ("kind", "what", "value", "low", "high", "tolerance", "n")


@dataclass(frozen=True, repr=False)
class Step:
    """A treatment (or several, joined by `+`), its speed-up in doing `what`, the verdict and the evidence on quality.

    `img_per_s` is the throughput with the treatment; `reasons` are the verdict's sentences.
    """

    name: str
    speed: Ratio
    outcome: Decision
    quality: tuple[Evidence, ...] = ()
    what: str = STEP
    img_per_s: float | None = None
    reasons: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name, and what was timed where that is no training step."""
        return self.name if self.what == STEP else f"{self.name} ({self.what})"

    def __str__(self) -> str:
        """One line: treatment, speed-up with its interval, outcome; or why no step was kept."""
        if math.isnan(self.speed.value):
            why = self.speed.reason or "no speed-up was reported"
            return f"{self.label}: no step kept, {why}. Compare again when the machine is quiet."
        return f"{self.label}: {self.speed.text()}, {self.outcome}"

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class Steps(Tabular):
    """The steps kept at one place, in the order recorded; `left_out` counts those of other machines and scales."""

    kept: tuple[Step, ...]
    place: Place
    left_out: int = 0

    def __iter__(self) -> Iterator[Step]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def note(self) -> str:
        """Where the steps were measured, and how many were left out."""
        return f"Measured on {self.place}. {self.left_out_text()}".rstrip()

    def left_out_text(self) -> str:
        """A sentence on the steps of other places; empty where there are none."""
        if not self.left_out:
            return ""
        count = "1 step was" if self.left_out == 1 else f"{self.left_out} steps were"
        return f"{count} measured on another machine or at another scale and left out."

    def table(self) -> Table:
        """A row a step: treatment, what was timed, speed-up, throughput, outcome."""
        rates = [None if one.img_per_s is None else rate_text(one.img_per_s) for one in self.kept]
        shown = zip(self.kept, rates, strict=True)
        rows = [[one.name, one.what, one.speed.text(), rate, one.outcome] for one, rate in shown]
        return Table(["treatment", "what", "speed-up", "throughput", "outcome"], rows, note=self.note())

    def __str__(self) -> str:
        if self.kept:
            return str(self.table())
        make = "keep_step(...) at the end of a treatment's notebook makes one."
        return f"No step is kept yet on {self.place}: {make} {self.left_out_text()}".rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() if self.kept else str(self)


def steps_file() -> Path:
    """Where steps are kept, one JSON line each: `COURSE_STEPS`, else `steps.jsonl` beside the predictions."""
    named = os.environ.get("COURSE_STEPS")
    return Path(named) if named else predictions_file().with_name("steps.jsonl")


def keep_step(treatment: str, decided: Verdict, *, img_per_s: float, what: str = STEP) -> Step:
    """Add a step to the reader's own staircase; of the same `treatment` and `what` the latest counts.

    `treatment` is text as `treat` takes it, several joined by `+`; `what` was timed, and ran at `img_per_s` with the
    treatment. A verdict without a speed-up keeps nothing, and the step says why. Raises ValueError for what is no
    verdict, an empty name and a throughput that is not positive.
    """
    name = _checked(treatment, decided, img_per_s)
    step = Step(name, decided.speed, decided.outcome, decided.quality, what, float(img_per_s), decided.reasons)
    if math.isnan(step.speed.value):
        return step
    config = {
        "what": what,
        "scale": scale().name,
        "outcome": step.outcome,
        "exactness": decided.exactness,
        "img_per_s": step.img_per_s,
        "evidence": [{part: _plain(getattr(one, part)) for part in PARTS} for one in step.quality],
        "reasons": list(step.reasons),
        "time": time.time(),
    }
    speed, told = step.speed, manifest(step=what)
    bounds: dict[str, Any] = {"low": speed.low, "high": speed.high, "n": speed.n}
    record("step", name, config, speed.value, "x", **bounds, path=steps_file(), manifest=told)
    return step


def steps() -> Steps:
    """The latest step of each treatment and `what` on this machine at this scale, in the order recorded.

    Raises ValueError for a line of the file that is no step.
    """
    path, place = steps_file(), here()
    records = load(path) if path.exists() else []
    latest: dict[tuple[Place, str, str], Step] = {}
    for number, one in enumerate(records, 1):
        if one.kind != "step":
            continue
        at, step = _read(one, f"{path.name}, record {number}")
        latest.pop((at, step.name, step.what), None)
        latest[at, step.name, step.what] = step
    mine = tuple(step for (at, _, _), step in latest.items() if at == place)
    return Steps(mine, place, len(latest) - len(mine))


def quality_of(entries: Sequence[Mapping[str, Any]]) -> tuple[Evidence, ...]:
    """Evidence from the plain values that a record holds: `kind`, `value`, `low`, `high`, `tolerance`, `n`.

    None in place of a number stands for one that was not finite.
    """
    found = []
    for one in entries:
        value, high, tolerance = (_number(one[part]) for part in ("value", "high", "tolerance"))
        low = _number(one["low"], -math.inf)
        found.append(Evidence(one["kind"], one.get("what", ""), value, low, high, tolerance, int(one["n"])))
    return tuple(found)


def rate_text(img_per_s: float) -> str:
    """A throughput: `9.8 img/s`, `1,240 img/s`."""
    return f"{img_per_s:,.0f} img/s" if img_per_s >= 99.95 else f"{img_per_s:.3g} img/s"


def _checked(treatment: str, decided: Verdict, img_per_s: float) -> str:
    """The name of a step, its parts joined alike."""
    name = " + ".join(part.strip() for part in treatment.split("+")) if isinstance(treatment, str) else ""
    if not name:
        raise ValueError(f"treatment is {treatment!r}, wanted its name, such as 'half_precision'.")
    if not isinstance(decided, Verdict):
        raise ValueError(f"decided is a {type(decided).__name__}, wanted what verdict(speed, evidence) returns.")
    if not (math.isfinite(img_per_s) and img_per_s > 0):
        raise ValueError(f"img_per_s is {img_per_s}, wanted a positive number of images a second.")
    return name


def _read(one: Record, where: str) -> tuple[Place, Step]:
    """A record as a step, and where it was measured."""
    try:
        told = one.config
        low, high = (math.nan if bound is None else float(bound) for bound in (one.low, one.high))
        speed = Ratio(float(one.value), low, high, one.n or 0)
        step = Step(
            one.name,
            speed,
            _decision(told["outcome"]),
            quality_of(told["evidence"]),
            told["what"],
            told["img_per_s"],
            tuple(told["reasons"]),
        )
        return place_of(one.manifest, told["scale"]), step
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{where}: this is no step of the staircase ({detail}); delete its line.") from error


def _decision(text: str) -> Decision:
    known: tuple[Decision, ...] = get_args(Decision)
    if text not in known:
        raise ValueError(f"its outcome is {text!r}")
    return known[known.index(text)]


def _number(value: float | None, missing: float = math.inf) -> float:
    return missing if value is None else float(value)


def _plain(value: Any) -> Any:
    """A number as JSON knows it: None where it is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
