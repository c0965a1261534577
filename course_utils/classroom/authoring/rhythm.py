"""Proofs on the story: its sections come in order, each answer has its hints and checks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from course_utils.classroom.authoring.copies import uses_secret
from course_utils.classroom.authoring.lessons import Lesson
from course_utils.classroom.authoring.source import Source, SourceCell

__all__ = ["check_answers", "check_hints", "check_sections"]

RHYTHM = (
    "Card",
    "Setup",
    "Predict",
    "Measure",
    "Idea",
    "Build",
    "Measure again",
    "Does it still draw?",
    "Reveal",
    "Take away",
)
TREATMENT_ONLY = {"Measure again", "Does it still draw?"}
_HINT = re.compile(r"<details>\s*<summary>[^\n]*hint", re.IGNORECASE)
_OPEN = re.compile(r"<details\s+open", re.IGNORECASE)


def check_sections(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain about sections that are unknown, missing or out of order, and about a card that asks nothing."""
    for lesson in lessons:
        source = lesson.source
        seen = list(dict.fromkeys(cell.section for cell in source.cells if cell.section))  # first occurrences
        for section in seen:
            if section not in RHYTHM:
                yield f"{source.name}: section {section!r} is none of {list(RHYTHM)}"
        known = [section for section in seen if section in RHYTHM]
        for section in RHYTHM:
            if section not in known and (section not in TREATMENT_ONLY or is_treatment(source)):
                yield f"{source.name}: section {section!r} is missing"
        for earlier, later in pairwise(known):
            if RHYTHM.index(earlier) > RHYTHM.index(later):
                yield f"{source.name}: section {later!r} comes after {earlier!r}; it belongs before"
        yield from _check_card(source)


def check_hints(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain where an answer is not followed by hints in three folded steps."""
    for lesson in lessons:
        for answer, following in _answers(lesson.source):
            if answer.points == 0:
                continue  # a prediction
            text = "\n".join(cell.text for cell in following if not cell.is_code and not cell.is_hidden)
            steps = len(_HINT.findall(text))
            if steps != 3 or _OPEN.search(text):
                yield (
                    f"{lesson.name}, cell {answer.id}: {steps} folded hints follow, three are wanted, each written "
                    "<details><summary>Hint 1: ...</summary> ... </details>"
                )


def check_answers(lessons: Sequence[Lesson]) -> Iterator[str]:
    """Complain about answers without points or checks, keys used twice, and hidden checks that compare nothing.

    An answer with `points=0` is a prediction: it is kept, but never checked.
    """
    keys = Counter(cell.answer for lesson in lessons for cell in lesson.source.cells if "answer" in cell.tags)
    for key in (key for key, count in keys.items() if count > 1):
        yield f"answer key {key!r} is used by {keys[key]} cells; keys are unique in the course"
    for lesson in lessons:
        for cell in lesson.source.cells:
            for complaint in _check_hidden(cell, keys):
                yield f"{lesson.name}, cell {cell.id}: {complaint}"
        for answer, following in _answers(lesson.source):
            for complaint in _check_answer(answer, following, lesson.source):
                yield f"{lesson.name}, cell {answer.id}: {complaint}"


def is_treatment(source: Source) -> bool:
    """Say whether a notebook teaches a treatment: what its card says, else numbers 10 to 29."""
    kinds = [cell.kind for cell in source.cells if cell.kind]
    return kinds[0] == "treatment" if kinds else 10 <= source.number <= 29


def _check_card(source: Source) -> Iterator[str]:
    text = " ".join(cell.text for cell in source.cells if cell.section == "Card")
    if text and not ("?" in text and re.search(r"\d", text) and "minutes" in text):
        yield f"{source.name}: the card asks one question with a number in it, and says how many minutes it takes"


def _check_hidden(cell: SourceCell, keys: Counter[str | None]) -> Iterator[str]:
    if "hidden-check" not in cell.tags:
        return
    if cell.answer not in keys:
        yield f"the hidden check is for {cell.answer!r}, which no answer cell carries"
    if cell.expect is None and not uses_secret(cell.text):
        yield "a hidden check with neither '# expect:' lines nor the name secret compares nothing"
    if re.search(r"^\s*assert\b", cell.text, re.MULTILINE):
        yield "a hidden check prints rounded values; an assert in the student's kernel can be switched off"


def _check_answer(answer: SourceCell, following: Sequence[SourceCell], source: Source) -> Iterator[str]:
    checked = any("hidden-check" in cell.tags and cell.answer == answer.answer for cell in source.cells)
    if answer.points is None:
        yield "an answer has points, a prediction has points=0"
    if not str(answer.answer).startswith(f"{source.name[:2]}."):
        yield f"answer key {answer.answer!r} starts with the notebook's number, {source.name[:2]!r} and a dot"
    if answer.points == 0:
        if checked:
            yield "a prediction (points=0) is never graded, but a hidden check has its key"
        return
    if not any("check" in cell.tags for cell in following):
        yield "no visible check follows"
    if not checked:
        yield f"no hidden check has answer={answer.answer!r}"
    tags = [tag for cell in following for tag in cell.tags]
    if "check" in tags and "hidden-check" in tags[tags.index("check") :]:
        yield "a hidden check comes after the visible one, where the kit's own function stands in for a wrong one"


def _answers(source: Source) -> Iterator[tuple[SourceCell, tuple[SourceCell, ...]]]:
    places = [place for place, cell in enumerate(source.cells) if "answer" in cell.tags]
    for place, following in zip(places, [*places[1:], len(source.cells)], strict=True):
        yield source.cells[place], source.cells[place + 1 : following]
