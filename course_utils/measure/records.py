"""Every number is one JSON line that says where it came from, so that unlike numbers are never compared.

A file of records only grows. A line is written in one piece under a lock; what a killed writer left half-written at the
end is skipped with a warning, and removed by the next writer.
"""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from course_utils.measure.manifests import manifest as describe
from course_utils.measure.tables import Table, Tabular, ratio_text, seconds_text, si_text

__all__ = ["Record", "incompatible", "load", "record", "same_under_two_names"]

IDLE = 0.10  # a requested device that was busy for less than this share of the time did not take part


@dataclass(frozen=True, repr=False)
class Record(Tabular):
    """One measured number: `name` is what was measured under `config`, `low` to `high` its interval, `n` its samples.

    `kind` says what sort of number it is ("training step"), `unit` its unit, `manifest` on what and by what.
    """

    kind: str
    name: str
    config: dict[str, Any]
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    n: int | None = None
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)

    def says(self, key: str) -> Any:
        """What the manifest, or else the configuration, says under `key`; None where both are silent."""
        told = self.manifest.get(key)
        return self.config.get(key) if told is None else told

    def table(self) -> Table:
        """One row: what, value with its interval, on which device, at which commit."""
        device = (self.manifest.get("device") or {}).get("name")
        row = [self.kind, self.name, self._value_text(), self.n, device, self.manifest.get("commit")]
        return Table(["kind", "name", "value", "n", "device", "commit"], [row])

    def _value_text(self) -> str:
        def show(value: float) -> str:
            if self.unit == "s":
                return seconds_text(value)
            return ratio_text(value) if self.unit == "x" else si_text(value, self.unit)

        if self.low is None or self.high is None:
            return show(self.value)
        return f"{show(self.value)} ({show(self.low)}–{show(self.high)})"


def record(
    kind: str,
    name: str,
    config: Mapping[str, Any],
    value: float,
    unit: str,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
    path: str | Path | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> Record:
    """Make a record and, with `path`, append it there as one JSON line.

    Without a `manifest` the one of this process is taken. Raises ValueError for what JSON cannot hold.
    """
    made = Record(
        kind, name, dict(config), float(value), unit, low, high, n, dict(describe() if manifest is None else manifest)
    )
    line = _line(made)
    if path is not None:
        _append(Path(path), line)
    return made


def load(path: str | Path) -> list[Record]:
    """The records of a file, oldest first.

    Raises FileNotFoundError without a file and ValueError for a broken line, named by file and line number. A last line
    without an end is what a killed writer left: it is skipped with a warning.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there are no records at {path}: wanted a file of JSON lines as record(path=...) writes."
        )
    *whole, rest = path.read_bytes().split(b"\n")
    records = [_parse(line, f"{path}:{number}") for number, line in enumerate(whole, 1) if line.strip()]
    if _is_whole(rest):
        records.append(_parse(rest, f"{path}:{len(whole) + 1}"))
    elif rest:
        warnings.warn(f"{path}:{len(whole) + 1}: skipped half a record that a stopped writer left behind", stacklevel=2)
    return records


def incompatible(a: Record, b: Record) -> list[str]:
    """Why two records must not be compared, one reason each; empty when they may be.

    The same kind, unit, device, batch, step definition and method are wanted, no profiler or debugger at work, every
    requested device busy, and no more workers than cores granted. A dtype or a number of devices may differ: those are
    treatments.
    """
    pairs = [(what, *read) for what, *read in ((what, get(a), get(b)) for what, get in _ALIKE.items())]
    reasons = [f"other {what}: {x!r} and {y!r}" for what, x, y in pairs if x != y]
    return reasons + [f"{one.name}: {fault}" for one in (a, b) for fault in _faults(one)]


def same_under_two_names(records: Sequence[Record]) -> list[str]:
    """Records that have one configuration and two names, one sentence a pair; at most one of the names can be true."""
    pairs = [(a, b) for a, b in combinations(records, 2) if a.name != b.name and _identity(a) == _identity(b)]
    sentences = [
        f"{a.name!r} and {b.name!r} are one configuration, {_json(a.config)}: were both given the same script?"
        for a, b in pairs
    ]
    return list(dict.fromkeys(sentences))


_ALIKE = {
    "kind": lambda r: r.kind,
    "unit": lambda r: r.unit,
    "device": lambda r: (r.manifest.get("device") or {}).get("name"),
    "number of cores granted": lambda r: r.manifest.get("cores_granted"),
    "batch": lambda r: r.says("batch"),
    "step definition": lambda r: r.says("step"),
    "method version": lambda r: r.manifest.get("method_version"),
}


def _faults(one: Record) -> list[str]:
    """What disqualifies a record from any comparison."""
    found = []
    if marks := one.says("marks"):
        found.append(f"measured under {' and '.join(marks)}")
    workers, cores = one.says("workers"), one.manifest.get("cores_granted")
    if workers and cores and workers > cores:
        found.append(f"{workers} workers on {cores} granted cores")
    busy = one.says("busy")
    if busy is not None:
        devices = one.says("devices") or len(busy)
        working = sum(share is None or share >= IDLE for share in busy)
        if working < devices:
            found.append(f"{devices} devices requested, {working} busy")
    return found


def _identity(one: Record) -> str:
    """All that makes a measurement what it is, its name and outcome apart."""
    told = {key: one.says(key) for key in ("batch", "dtype", "step", "devices", "seed", "workers")}
    device = (one.manifest.get("device") or {}).get("name")
    return _json([one.kind, one.unit, one.config, told, device, one.manifest.get("commit")])


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _line(one: Record) -> bytes:
    try:
        return f"{_json(asdict(one))}\n".encode()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"record {one.name!r} cannot be written as JSON ({error}): give plain finite numbers."
        ) from error


def _append(path: Path, line: bytes) -> None:
    """Add one line in one write under a lock; first remove half a line, last undo a write that did not fit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = _mend(file)
        written = file.write(line)
        if written != len(line):
            file.truncate(end)
            raise OSError(f"only {written} of {len(line)} bytes of a record fitted into {path}: is the disk full?")
        os.fsync(file.fileno())


def _mend(file: Any) -> int:
    """End the last line where it is whole, remove it where it is not; the file's length in bytes after that."""
    file.seek(0)
    content = file.read()
    rest = content[content.rfind(b"\n") + 1 :]
    if _is_whole(rest):
        file.write(b"\n")
    elif rest:
        file.truncate(len(content) - len(rest))
    return os.fstat(file.fileno()).st_size


def _is_whole(line: bytes) -> bool:
    """Whether a line without an end is a record all the same (an editor may take the last newline away)."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _parse(line: bytes, where: str) -> Record:
    known = {f.name for f in fields(Record)}
    try:
        found = json.loads(line)
        return Record(**{key: value for key, value in found.items() if key in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: this line is not a record ({error}); delete it or restore the file.") from error
