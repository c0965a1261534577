"""What a timeline tells in numbers: idle share, whether launches bind, which kernels cost; and fewer events to draw.

A device *runs dry* while it is idle and the host has not yet finished asking for its next kernel. A trace in which a
device is dry for a fifth of the time or more is called launch-bound. All figures are for a window of the timeline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_utils.classroom.widgets.trace_file import Timeline

__all__ = ["DRY", "Cost", "Reduced", "Summary", "covered_s", "dry_s", "matching", "reduced", "summary"]

DRY = 0.2  # of the window
TOUCH_S = 1e-12  # an overlap this short is a rounding, not a part of an event
LANES = 8  # of a track that are drawn; what nests deeper is left out of the picture, never out of the numbers


@dataclass(frozen=True)
class Cost:
    """A row of the table of kernels: how often it ran, its seconds in the window, its share of all rows."""

    name: str
    calls: int
    total_s: float
    share: float


@dataclass(frozen=True)
class Summary:
    """A window in numbers; `dry` is None where the trace does not say when kernels were asked for.

    `watched` says whose idle share it is: the devices, all streams of one taken together, or the busiest thread.
    """

    span_s: float
    watched: str
    idle: float
    dry: float | None
    counted: str
    costs: tuple[Cost, ...]

    @property
    def launch_bound(self) -> bool | None:
        """Whether launches bind; None where the trace cannot tell."""
        return None if self.dry is None else self.dry >= DRY

    def sentence(self) -> str:
        """The verdict in words."""
        if self.watched.startswith("thread"):
            return "No device in this trace: the idle share is time outside operators, spent in Python or waiting."
        if self.dry is None:
            return "The trace does not say when kernels were asked for, so it cannot tell whether launches bind."
        if self.launch_bound:
            return f"Launch-bound: for {self.dry:.0%} of the time the device had nothing to do and waited for the host."
        return f"Not launch-bound: the device waited for the host only {self.dry:.0%} of the time."


@dataclass(frozen=True)
class Reduced:
    """Events to draw, each array (n,): left and width as shares of the window, lane, name, event, how many in one."""

    left: np.ndarray
    width: np.ndarray
    lane: np.ndarray
    name: np.ndarray
    event: np.ndarray
    count: np.ndarray

    def packed(self) -> bytes:
        """Six arrays of n 32-bit numbers, one after the other: two of floats, four of unsigned integers."""
        floats = [part.astype("<f4") for part in (self.left, self.width)]
        numbers = [part.astype("<u4") for part in (self.lane, self.name, self.event, self.count)]
        return b"".join(part.tobytes() for part in (*floats, *numbers))


def covered_s(start_s: np.ndarray, end_s: np.ndarray, low_s: float, high_s: float) -> float:
    """Seconds of a window that the union of intervals covers; (n,), (n,) -> s."""
    start, end = np.clip(start_s, low_s, high_s), np.clip(end_s, low_s, high_s)
    by = np.argsort(start, kind="stable")
    start, end = start[by], end[by]
    if not len(start):
        return 0.0
    before = np.concatenate([[low_s], np.maximum.accumulate(end)[:-1]])  # covered up to here
    return float(np.maximum(0.0, end - np.maximum(start, before)).sum())


def dry_s(start_s: np.ndarray, end_s: np.ndarray, asked_s: np.ndarray, low_s: float, high_s: float) -> float:
    """Seconds of a window in which a device is idle and its next kernel is not yet asked for; three times (n,) -> s."""
    by = np.argsort(start_s, kind="stable")
    start, end, asked = start_s[by], end_s[by], asked_s[by]
    free = np.concatenate([[start[0]], np.maximum.accumulate(end)[:-1]]) if len(start) else start
    until = np.minimum(np.where(np.isnan(asked), -np.inf, asked), start)
    gaps = np.clip(until, low_s, high_s) - np.clip(free, low_s, high_s)
    return float(np.maximum(0.0, gaps).sum())


def summary(timeline: Timeline, low_s: float = 0.0, high_s: float | None = None) -> Summary:
    """A window of a timeline in numbers, by default all of it. Raises ValueError for an empty window."""
    high_s = timeline.span_s if high_s is None else high_s
    if not high_s > low_s:
        raise ValueError(f"the window is {low_s:g} to {high_s:g} s, wanted a later end than start.")
    if timeline.on_device().any():
        return _of_devices(timeline, low_s, high_s)
    operators = timeline.of_kind("operator")
    costs = _costs(timeline, timeline.of_kind("operator", "runtime"), low_s, high_s)
    time_by_track = np.bincount(timeline.track, weights=timeline.own_s * operators)
    main = int(time_by_track.argmax())
    own = operators & (timeline.track == main)
    idle = 1 - covered_s(*_ends(timeline, own), low_s, high_s) / (high_s - low_s)
    watched = f"thread {timeline.tracks[main].name.removeprefix('thread ')}"
    return Summary(high_s - low_s, watched, idle, None, "operators", costs)


def _of_devices(timeline: Timeline, low_s: float, high_s: float) -> Summary:
    """A window in numbers, where the trace has devices: each for itself, then their average."""
    busy, span = timeline.on_device(), high_s - low_s
    devices = _devices(timeline, busy)
    idle = [1 - covered_s(*_ends(timeline, own), low_s, high_s) / span for own in devices]
    asked = [timeline.launched_s[own] for own in devices]
    dry = [dry_s(*_ends(timeline, own), when, low_s, high_s) / span for own, when in zip(devices, asked, strict=True)]
    told = None if any(np.isnan(when).all() for when in asked) else float(np.mean(dry))
    watched = "the device" if len(devices) == 1 else f"{len(devices)} devices, on average"
    return Summary(span, watched, float(np.mean(idle)), told, "kernels", _costs(timeline, busy, low_s, high_s))


def matching(timeline: Timeline, text: str) -> list[int]:
    """The names, as indices, that hold a text, whatever its case; none for an empty text."""
    wanted = text.strip().lower()
    return [i for i, name in enumerate(timeline.names) if wanted in name.lower()] if wanted else []


def reduced(timeline: Timeline, low_s: float, high_s: float, columns: int = 1600) -> Reduced:
    """The events of a window to be drawn in so many columns.

    Those narrower than a column that begin in the same column of a lane become one, named after the longest: at most
    `columns` of them a lane, however long the trace.
    """
    lanes = np.minimum([track.lanes for track in timeline.tracks], LANES)
    first_lane = np.concatenate([[0], np.cumsum(lanes)[:-1]])
    seen = (timeline.end_s >= low_s) & (timeline.start_s <= high_s) & (timeline.depth < LANES)
    index = np.flatnonzero(seen)
    span = high_s - low_s
    left, width = (timeline.start_s[index] - low_s) / span, timeline.length_s[index] / span
    lane = first_lane[timeline.track[index]] + timeline.depth[index]
    small = width * columns < 1
    column = np.floor(left * columns).astype(np.int64)
    key = np.where(small, lane * (columns + 2) + np.clip(column, -1, columns) + 1, -1 - np.arange(len(index)))
    by = np.lexsort((-width, key))
    starts = np.flatnonzero(np.diff(key[by], prepend=np.nan) != 0)
    if not len(starts):
        nothing = np.zeros(0)
        return Reduced(*[nothing] * 6)
    best = by[starts]
    low, high = np.minimum.reduceat(left[by], starts), np.maximum.reduceat((left + width)[by], starts)
    count = np.diff(np.append(starts, len(by)))
    return Reduced(low, high - low, lane[best], timeline.name[index][best], index[best], count)


def _ends(timeline: Timeline, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return timeline.start_s[chosen], timeline.end_s[chosen]


def _devices(timeline: Timeline, busy: np.ndarray) -> list[np.ndarray]:
    """The busy events of each device, all its streams together."""
    device_of = np.array([track.device or "" for track in timeline.tracks])[timeline.track]
    return [busy & (device_of == device) for device in dict.fromkeys(device_of[busy])]


def _costs(timeline: Timeline, chosen: np.ndarray, low_s: float, high_s: float) -> tuple[Cost, ...]:
    """Own time by name within the window, longest first."""
    overlap = np.clip(timeline.end_s, low_s, high_s) - np.clip(timeline.start_s, low_s, high_s)
    instants = (timeline.length_s == 0) & (timeline.start_s >= low_s) & (timeline.start_s <= high_s)
    inside = chosen & (instants | (overlap > TOUCH_S))
    share = np.divide(overlap, timeline.length_s, out=np.ones_like(overlap), where=timeline.length_s > 0)
    names, where, calls = np.unique(timeline.name[inside], return_inverse=True, return_counts=True)
    totals = np.bincount(where, weights=(timeline.own_s * share)[inside], minlength=len(names))
    everything = float(totals.sum()) or 1.0
    rows = [
        Cost(timeline.names[int(name)], int(n), float(total), float(total) / everything)
        for name, n, total in zip(names, calls, totals, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.total_s))
