"""Speed and quality in one sentence: faster counts only beside evidence that nothing was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from course_utils.measure.quality.evidence import KINDS, Evidence, Finding, Kind
from course_utils.measure.ratios import Ratio
from course_utils.measure.tables import Table, Tabular

__all__ = ["NEEDED", "Decision", "Exactness", "Verdict", "verdict"]

Exactness = Literal["exact", "approximate", "retrained"]
Decision = Literal["preserved and faster", "faster but worse", "not faster", "inconclusive"]
NEEDED: dict[Exactness, tuple[Kind, ...]] = {
    "exact": ("same function",),
    "approximate": ("same denoiser",),
    "retrained": ("same denoiser", "same distribution"),
}
"""The evidence that a treatment of each exactness has to bring; the same function is as good as any other."""


@dataclass(frozen=True, repr=False)
class Verdict(Tabular):
    """What `speed` and `quality` together allow to say of a variant, given what it claims to be (`exactness`)."""

    speed: Ratio
    quality: tuple[Evidence, ...]
    exactness: Exactness | None = None

    @property
    def outcome(self) -> Decision:
        """`preserved and faster`, `faster but worse`, `not faster` or `inconclusive`."""
        if self.speed.outcome == "slower":
            return "not faster"
        if self.speed.outcome != "faster":
            return "inconclusive"
        decisions: dict[Finding, Decision] = {"preserved": "preserved and faster", "worse": "faster but worse"}
        return decisions.get(self.finding, "inconclusive")

    @property
    def finding(self) -> Finding:
        """All evidence together: worse if any is, preserved if all is that has to be and none is missing.

        Another function is no matter where the claim is not exactness and other evidence speaks.
        """
        findings = {evidence.outcome for evidence in self.quality}
        if "worse" in findings:
            return "worse"
        if self.exactness != "exact" and len(findings) > 1:
            findings.discard("different")
        return "preserved" if findings == {"preserved"} and not self.missing else "inconclusive"

    @property
    def missing(self) -> tuple[Kind, ...]:
        """The kinds of evidence that the claimed exactness needs and that are not here."""
        if self.exactness is None or self._is_same_function:
            return ()
        return tuple(kind for kind in NEEDED[self.exactness] if kind not in {one.kind for one in self.quality})

    @property
    def seeds_unknown(self) -> tuple[Kind, ...]:
        """The kinds of evidence on a retrained variant whose bounds leave out what another seed would change."""
        if self.exactness != "retrained" or self._is_same_function:
            return ()
        return tuple(one.kind for one in self.quality if one.kind != KINDS[0] and not one.seed_spread)

    @property
    def _is_same_function(self) -> bool:
        return any(one.kind == KINDS[0] and one.outcome == "preserved" for one in self.quality)

    @property
    def strongest(self) -> Evidence | None:
        """The strongest kind of evidence that says something on quality; None where none does."""
        speaking = [one for one in self.quality if one.outcome != "different"]
        return min(speaking, key=lambda one: KINDS.index(one.kind), default=None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in plain sentences."""
        found = [_on_speed(self.speed)]
        found += [_on_quality(one, self.exactness) for one in self.quality]
        if not self.quality:
            found.append("Quality: not checked.")
        if self.missing:
            found.append(f"Missing for a treatment that is {self.exactness}: {' and '.join(self.missing)}.")
        if self.seeds_unknown:
            kinds = " and ".join(self.seeds_unknown)
            found.append(
                f"Spread between seeds unknown, {kinds}: the bounds are over images alone, and another seed of the same"
                " recipe may fall outside them."
            )
        if self.strongest:
            found.append(f"Strongest evidence: {self.strongest.kind}. {self.strongest.chances()}".rstrip())
        return tuple(found)

    def table(self) -> Table:
        """A row on the speed and one on each evidence; the reasons below."""
        rows: list[list[object]] = [["speed-up", self.speed.text(), "above 1", f"{self.speed.n:,}", self.speed.outcome]]
        rows += [[one.kind, one.text(), one.limit(), f"{one.n:,}", one.outcome] for one in self.quality]
        title = self.outcome[0].upper() + self.outcome[1:]
        return Table(["what", "found", "wanted", "n", "outcome"], rows, title=title, note="\n".join(self.reasons))


def verdict(
    speed: Ratio, quality: Evidence | Sequence[Evidence] | None = None, *, exactness: Exactness | None = None
) -> Verdict:
    """Join a speed-up, as `compare(...).speedup(name)` returns it, with the evidence on quality.

    With an `exactness` the evidence it needs has to be there: `exact` the same function, `approximate` the same
    denoiser, `retrained` the same denoiser and the same distribution; of a retrained one it is also said where the
    spread between seeds is not in the bounds (`seed_spread` of the gates). Raises ValueError for a bare number in place
    of the speed-up, for what is no evidence and for another exactness.
    """
    if not isinstance(speed, Ratio):
        seen = repr(speed) if isinstance(speed, (int, float)) else f"a {type(speed).__name__}"
        raise ValueError(
            f"speed is {seen}, wanted a ratio with its interval: give what compare(...).speedup(name) returns."
        )
    if exactness is not None and exactness not in NEEDED:
        raise ValueError(f"exactness is {exactness!r}, wanted one of {', '.join(map(repr, NEEDED))}.")
    found = _listed(quality)
    for one in found:
        if not isinstance(one, Evidence):
            raise ValueError(
                f"quality holds a {type(one).__name__}, wanted evidence: give what same_function, same_denoiser or"
                " same_distribution returns."
            )
    return Verdict(speed, found, exactness)


def _listed(quality: Evidence | Sequence[Evidence] | None) -> tuple[Evidence, ...]:
    """None, one or several as a tuple; what is neither is left for the caller to refuse."""
    if quality is None:
        return ()
    return tuple(quality) if isinstance(quality, (list, tuple)) else (cast(Evidence, quality),)


def _on_speed(speed: Ratio) -> str:
    said = {"faster": "Faster", "slower": "Slower"}.get(speed.outcome, "Neither faster nor slower for certain")
    return f"{said}: {speed.text()}{f', {speed.reason}' if speed.reason else ''}."


def _on_quality(one: Evidence, exactness: Exactness | None) -> str:
    """One evidence in a sentence."""
    if one.outcome == "different":
        claim = "which is what exact means" if exactness == "exact" else "which need not be worse"
        return f"Not the same function, {claim}: it differs by {one.text()}, {one.limit()} was allowed."
    said = {"preserved": "Preserved", "worse": "Worse", "inconclusive": "Not settled"}[one.outcome]
    return f"{said}, {one.kind}: {one.what} is {one.text()}, {one.limit()} was allowed."
