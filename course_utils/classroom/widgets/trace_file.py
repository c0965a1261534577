"""A Chrome trace (what torch.profiler, Kineto and chrome://tracing write) as arrays, or one sentence on what is wrong.

Source of the format: "Trace Event Format", Google, 2016. Times are seconds after the first event. Shapes: E events.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.measure.tracing import Trace

__all__ = ["KINDS", "Timeline", "Track", "read_trace"]

KINDS = ("annotation", "python", "operator", "runtime", "kernel", "copy")
_KIND_OF = {
    "user_annotation": "annotation", "gpu_user_annotation": "annotation", "python_function": "python",
    "cpu_op": "operator", "cuda_runtime": "runtime", "cuda_driver": "runtime", "hip_runtime": "runtime",
    "overhead": "runtime", "kernel": "kernel", "gpu_memcpy": "copy", "gpu_memset": "copy",
}  # fmt: skip
_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset", "gpu_user_annotation")
_LEFT_OUT = ("Trace",)  # the profiler's own session
_SAME_S = 1e-9  # a child that ends this much after its parent is still within it: traces are rounded


@dataclass(frozen=True)
class Track:
    """A thread or a stream: its name, whether it is on a device (and which), and how deep its events nest."""

    name: str
    device: str | None
    lanes: int


@dataclass(frozen=True)
class Timeline:
    """All complete events of a trace, each array (E,): start, length, track, nesting depth, name and kind as indices.

    `own_s` is the length without what is nested in it; `launched_s` when the host had finished asking for a kernel (NaN
    where the trace does not say); `details` what else the trace tells of an event; `manifest` how it was recorded.
    """

    title: str
    tracks: tuple[Track, ...]
    names: tuple[str, ...]
    start_s: np.ndarray
    length_s: np.ndarray
    own_s: np.ndarray
    launched_s: np.ndarray
    track: np.ndarray
    depth: np.ndarray
    name: np.ndarray
    kind: np.ndarray
    details: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]

    @property
    def end_s(self) -> np.ndarray:
        """Where each event ends."""
        return self.start_s + self.length_s

    @property
    def span_s(self) -> float:
        """Length of the whole trace; at least a nanosecond."""
        return max(1e-9, float(self.end_s.max()))

    def of_kind(self, *kinds: str) -> np.ndarray:
        """Which events are of one of these kinds, (E,) bool."""
        return np.isin(self.kind, [KINDS.index(kind) for kind in kinds])

    def on_device(self) -> np.ndarray:
        """Which events keep a device busy: kernels, copies and fills, (E,) bool."""
        return self.of_kind("kernel", "copy")


def read_trace(source: str | Path | Trace | Mapping[str, Any] | Sequence[Any]) -> Timeline:
    """Read a trace: the path of a `.json` or `.json.gz` file, what `measure.trace` returned, or what such a file holds.

    Raises ValueError in one sentence for what is no trace, whether cut off, of another format or without events.
    """
    if isinstance(source, str | Path | Trace):
        path = source.path if isinstance(source, Trace) else Path(source)
        return _timeline(_loaded(path), path.name)
    return _timeline(source, "this trace")


def _loaded(path: Path) -> Any:
    """The JSON in a file, compressed or not."""
    if not path.is_file():
        raise ValueError(f"{path} is not there: record a trace with course_utils.measure.trace(..., path=...).")
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} is compressed and damaged or cut off ({error}): record it again.") from error
    try:
        return json.loads(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON ({error}): it may be cut off; record it again.") from error


def _timeline(loaded: Any, name: str) -> Timeline:
    told: Mapping[str, Any] = loaded if isinstance(loaded, Mapping) else {"traceEvents": loaded}
    events = told.get("traceEvents")
    if not isinstance(events, Sequence) or isinstance(events, str) or not all(isinstance(e, Mapping) for e in events):
        raise ValueError(f"{name} is no Chrome trace: it has no list of events named traceEvents.")
    spans = _spans(events, name)
    if not spans:
        raise ValueError(f"{name} has no event with a start and a length: nothing to show.")
    manifest = told.get("manifest")
    return _arranged(spans, _track_names(events), str(told.get("title", name)), manifest if manifest else {})


def _spans(events: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Complete events, and pairs of begin and end, with `ts` and `dur` in microseconds."""
    spans: list[dict[str, Any]] = []
    begun: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for index, event in enumerate(events):
        phase = event.get("ph")
        if phase not in ("X", "B", "E") or event.get("cat") in _LEFT_OUT:
            continue
        own, key = dict(event), (str(event.get("pid")), str(event.get("tid")))
        own["ts"] = _number(event.get("ts"), "start", index, name)
        if phase == "B":
            begun.setdefault(key, []).append(own)
        elif phase == "X":
            own["dur"] = max(0.0, _number(event.get("dur", 0), "length", index, name))
            spans.append(own)
        elif begun.get(key):
            opened = begun[key].pop()
            spans.append(opened | {"dur": max(0.0, own["ts"] - opened["ts"])})
    return spans


def _number(value: Any, what: str, index: int, name: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(
            f"{name}: the {what} of event {index} is {str(value)[:40]!r}, wanted a number of microseconds."
        )
    return found


def _track_names(events: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """What the trace calls its threads and streams."""
    return {
        (str(event.get("pid")), str(event.get("tid"))): str(_args(event).get("name", ""))
        for event in events
        if event.get("ph") == "M" and event.get("name") == "thread_name"
    }


def _arranged(
    spans: list[dict[str, Any]], called: Mapping[tuple[str, str], str], title: str, manifest: Mapping[str, Any]
) -> Timeline:
    """Spans as arrays, by track, start and length, the longest first, so that a parent comes before its children."""
    keys = [(str(one.get("pid")), str(one.get("tid"))) for one in spans]
    devices = {key for key, one in zip(keys, spans, strict=True) if one.get("cat") in _ON_DEVICE}
    order = sorted(dict.fromkeys(keys), key=lambda key: (key in devices, _by_number(key)))
    place = {key: index for index, key in enumerate(order)}
    times, track = np.array([[one["ts"], one["dur"]] for one in spans]), np.array([place[key] for key in keys])
    by = np.lexsort((-times[:, 1], times[:, 0], track))
    spans, track = [spans[i] for i in by], track[by]
    start_s, length_s = (times[by, 0] - times[:, 0].min()) / 1e6, times[by, 1] / 1e6
    depth, own_s = _nested(start_s, length_s, track)
    tracks = [
        Track(_called(key, called.get(key, ""), key in devices), key[0] if key in devices else None, int(lanes))
        for key, lanes in zip(order, _deepest(track, depth, len(order)), strict=True)
    ]
    names, name = _numbered([str(one.get("name", "")) for one in spans])
    return Timeline(
        title=title, tracks=tuple(tracks), names=names, start_s=start_s, length_s=length_s, own_s=own_s,
        launched_s=_launches(spans, start_s + length_s), track=track, depth=depth, name=name,
        kind=np.array([KINDS.index(_kind(one) or "operator") for one in spans]),
        details=[_args(one) for one in spans], manifest=manifest,
    )  # fmt: skip


def _kind(event: Mapping[str, Any]) -> str | None:
    return _KIND_OF.get(str(event.get("cat", "")))


def _args(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """What else the trace tells of an event."""
    told = event.get("args")
    return told if isinstance(told, Mapping) else {}


def _numbered(words: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct words in the order they come, and each word's number."""
    number = {word: index for index, word in enumerate(dict.fromkeys(words))}
    return tuple(number), np.array([number[word] for word in words])


def _deepest(track: np.ndarray, depth: np.ndarray, n: int) -> np.ndarray:
    """How many lanes each of n tracks needs."""
    lanes = np.zeros(n, dtype=int)
    np.maximum.at(lanes, track, depth + 1)
    return lanes


def _nested(start_s: np.ndarray, length_s: np.ndarray, track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth of each event within its track, and its length without its direct children; events are in order."""
    depth, own, ends = np.zeros(len(start_s), dtype=int), length_s.copy(), start_s + length_s
    open_events: list[int] = []
    for i in range(len(start_s)):
        while open_events and (track[open_events[-1]] != track[i] or ends[open_events[-1]] <= start_s[i] + _SAME_S):
            open_events.pop()
        if open_events:
            own[open_events[-1]] -= min(ends[i], ends[open_events[-1]]) - start_s[i]
        depth[i] = len(open_events)
        open_events.append(i)
    return depth, np.maximum(own, 0.0)


def _launches(spans: list[dict[str, Any]], end_s: np.ndarray) -> np.ndarray:
    """For each event on a device the end of the call that asked for it, found by the trace's correlation number."""
    numbers = [str(_args(one).get("correlation", "")) for one in spans]
    asked = {
        number: end
        for one, number, end in zip(spans, numbers, end_s, strict=True)
        if number and _kind(one) == "runtime"
    }
    ran = [one.get("cat") in _ON_DEVICE for one in spans]
    return np.array([asked.get(n, math.nan) if on else math.nan for n, on in zip(numbers, ran, strict=True)])


def _called(key: tuple[str, str], name: str, on_device: bool) -> str:
    if on_device:
        stream = key[1].removeprefix("stream ")
        return f"GPU {key[0]}, stream {stream}" if key[0].isdigit() else f"{key[0]}, {key[1]}"
    return name if key[1] in name or not key[1] else f"{name or 'thread'} {key[1]}".strip()


def _by_number(key: tuple[str, str]) -> tuple[Any, ...]:
    return tuple((0, int(part), "") if part.lstrip("-").isdigit() else (1, 0, part) for part in key)
