"""A trace inside the notebook: timeline by thread and stream, search, kernels by cost, and whether launches bind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from matplotlib.figure import Figure

from course_utils.classroom.style import PALETTE, color
from course_utils.classroom.widgets.page import IN_ORDER, Page, duration, ink_on, script
from course_utils.classroom.widgets.synthetic_trace import SHIPPED
from course_utils.classroom.widgets.trace_figure import draw_trace
from course_utils.classroom.widgets.trace_file import KINDS, Timeline, read_trace
from course_utils.classroom.widgets.trace_numbers import LANES, Summary, matching, reduced, summary
from course_utils.measure.tracing import Trace

__all__ = ["KIND_COLORS", "TraceExplorer"]

KIND_COLORS = {
    "annotation": "#5f5f5f", "python": PALETTE[4], "operator": color("baseline"), "runtime": PALETTE[5],
    "kernel": PALETTE[1], "copy": PALETTE[2],
}  # fmt: skip
ROWS, PLACES = 12, 200  # of the table; of the list of steps
MARGIN = 1.0  # windows to the left and right that are sent along, so that a pan shows something at once
COLUMNS = 1600
DETAILS = 8  # rows of what the trace tells of an event


class TraceExplorer(Page):
    """Explore a trace: a `.json` or `.json.gz` file, what `measure.trace` returned, or nothing for the synthetic one.

    The page sets `window` (seconds: start, end), `search` and `chosen` (an event's number, -1 for none); Python answers
    with the events to draw, reduced to what a screen can show, and the window in `numbers`. Keys on the timeline: left
    and right move it, up and down zoom, Home shows all, n and p choose the next and previous event. Raises ValueError
    in one sentence for a file that is no trace.
    """

    _esm = script("drawing", "trace_canvas", "trace")
    title = traitlets.Unicode().tag(sync=True)
    tracks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    names: traitlets.List[Any] = traitlets.List().tag(sync=True)
    colors: traitlets.Dict[Any, Any] = traitlets.Dict(KIND_COLORS).tag(**IN_ORDER)
    inks: traitlets.Dict[Any, Any] = traitlets.Dict({kind: ink_on(shade) for kind, shade in KIND_COLORS.items()}).tag(
        sync=True
    )
    places: traitlets.List[Any] = traitlets.List().tag(sync=True)
    span_s = traitlets.Float().tag(sync=True)
    window: traitlets.List[Any] = traitlets.List().tag(sync=True)
    drawn: traitlets.List[Any] = traitlets.List().tag(sync=True)
    events = traitlets.Bytes().tag(sync=True)
    numbers: traitlets.Dict[Any, Any] = traitlets.Dict().tag(sync=True)
    search = traitlets.Unicode().tag(sync=True)
    found: traitlets.Dict[Any, Any] = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)
    detail: traitlets.Dict[Any, Any] = traitlets.Dict().tag(**IN_ORDER)

    def __init__(
        self, source: str | Path | Trace | Mapping[str, Any] | Sequence[Any] = SHIPPED, *, title: str = ""
    ) -> None:
        self.timeline: Timeline = read_trace(source)
        line = self.timeline
        super().__init__(
            title=title or line.title,
            tracks=[[track.name, track.device is not None, min(track.lanes, LANES)] for track in line.tracks],
            names=_names(line),
            places=_places(line),
            span_s=line.span_s,
            found=_found(line, ""),
        )
        self.window = [0.0, line.span_s]
        self.on_msg(lambda _, content, __: self.act(str(content.get("action"))))

    @property
    def summary(self) -> Summary:
        """The window in numbers."""
        return summary(self.timeline, *self.window)

    def told(self) -> str:
        """The trace and its verdict, in one line."""
        found = self.summary
        return f"{self.title}: {len(self.timeline.start_s):,} events, idle {found.idle:.0%}. {found.sentence()}"

    def figure(self) -> Figure:
        """The window as a static figure: the timeline, and below it the kernels by cost."""
        return draw_trace(self.timeline, *self.window, colors=KIND_COLORS, title=self.title)

    def act(self, action: str) -> None:
        """What a key or button asks for: `all`, `left`, `right`, `in`, `out`, `match`, `next` or `previous`.

        Raises ValueError for anything else.
        """
        if action in ("left", "right", "in", "out", "all"):
            self._move(action)
        elif action == "match":
            wanted = matching(self.timeline, self.search)
            self._step(np.isin(self.timeline.name, wanted), 1)
        elif action in ("next", "previous"):
            self._step(self._beside(), 1 if action == "next" else -1)
        else:
            raise ValueError(f"action is {action!r}, wanted all, left, right, in, out, match, next or previous.")

    @traitlets.validate("window")
    def _within(self, proposal: Any) -> list[float]:
        """A window inside the trace, at least a millionth of it wide."""
        low, high = sorted(float(edge) for edge in proposal["value"])
        width = min(max(high - low, 1e-6 * self.span_s), self.span_s)
        low = min(max(0.0, low), self.span_s - width)
        return [low, low + width]

    @traitlets.observe("window")
    def _refresh(self, _: Any = None) -> None:
        low, high = self.window
        margin = MARGIN * (high - low)
        drawn = [max(0.0, low - margin), min(self.span_s, high + margin)]
        columns = round(COLUMNS * (drawn[1] - drawn[0]) / (high - low))
        with self.hold_sync():
            self.drawn, self.events = drawn, reduced(self.timeline, drawn[0], drawn[1], columns).packed()
            self.numbers = _numbers(self.summary)

    @traitlets.observe("search")
    def _search(self, _: Any = None) -> None:
        self.found = _found(self.timeline, self.search)

    @traitlets.observe("chosen")
    def _choose(self, _: Any = None) -> None:
        known = 0 <= self.chosen < len(self.timeline.start_s)
        self.detail = _detail(self.timeline, self.chosen) if known else {}

    def _move(self, action: str) -> None:
        low, high = self.window
        width = high - low
        shift = {"left": -0.25 * width, "right": 0.25 * width}.get(action, 0.0)
        grow = {"in": -0.25 * width, "out": 0.5 * width, "all": self.span_s}.get(action, 0.0)
        self.window = [0.0, self.span_s] if action == "all" else [low + shift - grow, high + shift + grow]

    def _beside(self) -> np.ndarray:
        """The events of the chosen one's lane; without one those of the first device, or else of the first thread."""
        line = self.timeline
        if self.chosen >= 0:
            return (line.track == line.track[self.chosen]) & (line.depth == line.depth[self.chosen])
        return line.on_device() if line.on_device().any() else line.track == 0

    def _step(self, among: np.ndarray, direction: int) -> None:
        """Choose the next of some events after the chosen one, in time, around the end; bring it into the window."""
        line, events = self.timeline, np.flatnonzero(among)
        if not len(events):
            return
        events = events[np.argsort(line.start_s[events], kind="stable")]
        at = np.flatnonzero(events == self.chosen)
        if len(at):
            place = (int(at[0]) + direction) % len(events)
        else:  # the first one that is in the window
            place = int(np.argmax(line.end_s[events] >= self.window[0]))
        self.chosen = int(events[place])
        self._show(self.chosen)

    def _show(self, event: int) -> None:
        """Move the window so that an event is in it."""
        low, high = self.window
        start, end = float(self.timeline.start_s[event]), float(self.timeline.end_s[event])
        if start < low or end > high:
            half = max((high - low) / 2, 0.6 * (end - start))
            self.window = [(start + end) / 2 - half, (start + end) / 2 + half]


def _names(line: Timeline) -> list[list[Any]]:
    """Each name and the kind of the first event that has it."""
    first = np.unique(line.name, return_index=True)[1]
    return [[name, KINDS[line.kind[i]]] for name, i in zip(line.names, first, strict=True)]


def _places(line: Timeline) -> list[list[Any]]:
    """The annotations of the host, such as steps: name, start and end."""
    host = np.array([track.device is None for track in line.tracks])[line.track]
    chosen = np.flatnonzero(line.of_kind("annotation") & host)[:PLACES]
    return [[line.names[line.name[i]], float(line.start_s[i]), float(line.end_s[i])] for i in chosen]


def _numbers(found: Summary) -> dict[str, Any]:
    """A summary as the page shows it."""
    rows = [[row.name, f"{row.calls:,}", duration(row.total_s), f"{row.share:.1%}"] for row in found.costs[:ROWS]]
    dry = "not told" if found.dry is None else f"{found.dry:.0%}"
    about = {"shown": duration(found.span_s), f"idle share of {found.watched}": f"{found.idle:.0%}"}
    told = about | ({} if found.watched.startswith("thread") else {"waiting for launches": dry})
    bound = found.launch_bound
    more = max(0, len(found.costs) - ROWS)
    return {"figures": list(told.items()), "sentence": found.sentence(), "bound": bool(bound), "counted": found.counted,
            "rows": rows, "more": more}  # fmt: skip


def _found(line: Timeline, text: str) -> dict[str, Any]:
    """What a search found: names as indices, and a sentence."""
    names = matching(line, text)
    hits = np.isin(line.name, names)
    said = f"{int(hits.sum()):,} events of {len(names)} names, {duration(float(line.length_s[hits].sum()))} in all"
    return {"names": names, "said": (said if names else f"nothing is called {text!r}") if text.strip() else ""}


def _detail(line: Timeline, event: int) -> dict[str, str]:
    """All that is known of an event, in words."""
    track = line.tracks[line.track[event]]
    known = {
        "name": line.names[line.name[event]], "where": track.name, "kind": KINDS[line.kind[event]],
        "start": duration(float(line.start_s[event])), "length": duration(float(line.length_s[event])),
        "without what it calls": duration(float(line.own_s[event])),
    }  # fmt: skip
    asked = float(line.launched_s[event])
    if np.isfinite(asked):
        known["asked for"] = f"{duration(max(0.0, float(line.start_s[event]) - asked))} before it ran"
    more = {str(key): str(value)[:120] for key, value in list(line.details[event].items())[:DETAILS]}
    return known | {key: value for key, value in more.items() if key not in known}
