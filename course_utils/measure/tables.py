"""How every instrument prints itself: aligned text in a terminal, a small table in a notebook, and scaled units."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["Table", "Tabular", "bytes_text", "interval_text", "ratio_text", "seconds_text", "si_text"]

_NUMBER = re.compile(r"[-+±<>≤≥≈~]?\s?\.?\d")
_CELL = "padding:0.15em 0.8em;border:none;border-bottom:1px solid rgba(128,128,128,0.3);white-space:pre;"
_NOTE = "padding:0.2em 0.8em;color:inherit;opacity:0.75;white-space:pre-line;"


class Tabular:
    """Something that prints as a `Table`: a subclass only says which, in `table()`."""

    def table(self) -> Table:
        """The table that stands for this object in a terminal and in a notebook."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of cells under named columns, with an optional title above and note below.

    A cell is shown as `str(cell)`, None as a dash. Columns of numbers are aligned to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of this table has {len(row)} cells, wanted {len(self.columns)}: {row!r}")

    def head(self, n: int = 5) -> Table:
        """The same table with its first `n` rows only."""
        return replace(self, rows=self.rows[:n])

    def __str__(self) -> str:
        cells, right = self._cells(), self._right_aligned()
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        lines = [_text_row(row, widths, right) for row in [[str(c) for c in self.columns], *cells]]
        lines.insert(1, "─" * (sum(widths) + 2 * (len(widths) - 1)))
        return "\n".join([*([self.title] if self.title else []), *lines, *([self.note] if self.note else [])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        align = ["right" if right else "left" for right in self._right_aligned()]
        parts = ['<table style="margin:0;border-collapse:collapse;color:inherit;font-variant-numeric:tabular-nums;">']
        if self.title:
            parts.append(f'<caption style="{_caption("top")}font-weight:600;">{html.escape(self.title)}</caption>')
        parts.append(f"<thead>{_html_row('th', self.columns, align)}</thead>")
        parts.append(f"<tbody>{''.join(_html_row('td', row, align) for row in self._cells())}</tbody></table>")
        if self.note:
            parts.append(f'<div style="{_NOTE}">{html.escape(self.note)}</div>')
        return "".join(parts)

    def _cells(self) -> list[list[str]]:
        return [["–" if cell is None else str(cell) for cell in row] for row in self.rows]

    def _right_aligned(self) -> list[bool]:
        columns = list(zip(*self._cells(), strict=True)) or [()] * len(self.columns)
        return [all(cell in ("", "–") or bool(_NUMBER.match(cell)) for cell in column) for column in columns]


def seconds_text(seconds: float) -> str:
    """A time with a unit that suits it: `850 ns`, `12.3 us`, `41.2 ms`, `1.50 s`, `12 min 5 s`."""
    if not math.isfinite(seconds):
        return "–"
    size = abs(seconds)
    if size >= 120:
        minutes, rest = divmod(round(size), 60)
        return f"{'-' if seconds < 0 else ''}{minutes} min {rest} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if size >= 0.9995 * scale:
            return f"{_three_digits(seconds / scale)} {unit}"
    return f"{_three_digits(seconds * 1e9)} ns" if size >= 5e-12 else "0 s"


def si_text(value: float, unit: str = "") -> str:
    """A quantity with a decimal prefix: `3.65 GFLOP`, `4.30 TB/s`, `1.20 k`."""
    if not math.isfinite(value):
        return "–"
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * scale:
            return f"{_three_digits(value / scale)} {prefix}{unit}".rstrip()
    return f"{_three_digits(value)} {unit}".rstrip()


def bytes_text(count: float) -> str:
    """A memory size in binary units (1 KiB = 2^10 bytes): `1.50 MiB`."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= 0.9995 * scale:
            return f"{_three_digits(count / scale)} {unit}"
    return f"{count:.0f} B"


def ratio_text(ratio: float) -> str:
    """A speed-up: `1.72x`, `12.3x`, `150x`."""
    return f"{_three_digits(ratio)}x" if math.isfinite(ratio) else "–"


def interval_text(value: float, low: float, high: float) -> str:
    """A speed-up with its interval: `1.72x (1.65–1.80)`."""
    return f"{ratio_text(value)} ({_three_digits(low)}–{_three_digits(high)})"


def _three_digits(value: float) -> str:
    size = abs(value)
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{decimals}f}"


def _caption(side: str) -> str:
    return f"caption-side:{side};text-align:left;color:inherit;padding:0.2em 0.8em;"


def _text_row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return "  ".join(padded).rstrip()


def _html_row(tag: str, cells: Sequence[str], align: Sequence[str]) -> str:
    body = (
        f'<{tag} style="{_CELL}text-align:{a};">{html.escape(c)}</{tag}>' for c, a in zip(cells, align, strict=True)
    )
    return f"<tr>{''.join(body)}</tr>"
