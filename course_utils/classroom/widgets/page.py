"""What all widgets share: their script and style, read from the package, and a text that is the same in each run.

A widget's state are traits; its script draws them and sets some of them. What a trait means is worked out in Python, by
functions that tests call. Nothing is fetched from anywhere: script and style travel with the widget.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget

from course_utils.classroom.style import color
from course_utils.measure.tables import seconds_text

__all__ = ["IN_ORDER", "LIMIT_COLORS", "Page", "duration", "ink_on", "script", "style_sheet"]

ASSETS = Path(__file__).parent / "assets"
LIMIT_COLORS = {"memory": color("memory"), "compute": color("compute"), "launch": color("launch")}
"""The colour of each limit that may bind a piece of work."""
IN_ORDER: dict[str, Any] = {
    "sync": True,
    "to_json": lambda value, _: [list(pair) for pair in value.items()],
    "from_json": lambda pairs, _: dict(pairs),
}
"""Tags of a dict whose order counts: it travels as pairs, since a saved notebook sorts the keys of its widgets."""


def script(*names: str) -> str:
    """One module made of files in `assets/`, in the order given; the last of them offers `render`."""
    return "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in names)


def style_sheet() -> str:
    """The style of all widgets."""
    return (ASSETS / "widgets.css").read_text(encoding="utf-8")


def duration(seconds: float) -> str:
    """A time with a unit that suits it, spelt as the axes of figures spell it: `12.3 µs`."""
    return seconds_text(seconds).replace(" us", " µs")


def ink_on(shade: str) -> str:
    """Black or white, whichever stands out more on a colour `#rrggbb` (contrast of WCAG 2)."""
    channels = [int(shade[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))
    return "#ffffff" if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else "#000000"


class Page(anywidget.AnyWidget):
    """A widget with the course's style sheet, which prints as one sentence about itself."""

    _css = style_sheet()

    def told(self) -> str:
        """One sentence: what the widget shows."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.told()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """What a notebook displays; `told` stands in where widgets cannot be shown."""
        shown: Any = super()._repr_mimebundle_(**kwargs)
        data, *rest = shown if isinstance(shown, tuple) else (shown,)
        return ({**data, "text/plain": self.told()}, *rest)
