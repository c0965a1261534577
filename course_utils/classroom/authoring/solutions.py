"""Solution regions: the lines between `### BEGIN SOLUTION about 4 lines` and `### END SOLUTION`.

A region becomes one placeholder line in the student copy, at the same indentation:
`...  # your code here, about 4 lines`. A region that binds names which later lines read gives its own stub,
`### BEGIN SOLUTION about 1 line, stub: flop = ...`, which must assign `...` and nothing else.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

__all__ = ["Region", "is_placeholder", "regions", "solved", "stubbed"]

_MARKER = re.compile(r"^\s*###\s*(BEGIN|END)\s+SOLUTION", re.IGNORECASE)
_BEGIN = re.compile(r"^(?P<indent>\s*)### BEGIN SOLUTION about (?P<size>\d+ lines?)(?:, stub: (?P<stub>.+?))?\s*$")
_END = re.compile(r"^\s*### END SOLUTION\s*$")
_PLACEHOLDER = re.compile(r"^\s*(?:[^#]+ = )?\.\.\.(?:, \.\.\.)*  # your code here, about \d+ lines?$")


@dataclass(frozen=True)
class Region:
    """One solution region: its first and last line in the cell (markers included), its lines, its placeholder."""

    first: int
    last: int
    lines: tuple[str, ...]
    placeholder: str


def regions(text: str) -> list[Region]:
    """Return the solution regions of a cell's text in order; raise ValueError where the markers do not pair up."""
    lines, found, start = text.splitlines(), [], None
    for number, line in enumerate(lines):
        if not _MARKER.match(line):
            continue
        if start is None and _BEGIN.match(line):
            start = number
        elif start is not None and _END.match(line):
            found.append(_region(lines, start, number))
            start = None
        else:
            raise ValueError(
                f"solution marker {line.strip()!r} is out of place: write '### BEGIN SOLUTION about 4 lines', "
                "the solution, then '### END SOLUTION'"
            )
    if start is not None:
        raise ValueError(f"solution region {lines[start].strip()!r} is never closed: add '### END SOLUTION'")
    return found


def solved(text: str) -> str:
    """Return the cell with its solutions in and the markers out."""
    marked = {number for region in regions(text) for number in (region.first, region.last)}
    return "\n".join(line for number, line in enumerate(text.splitlines()) if number not in marked)


def stubbed(text: str) -> str:
    """Return the cell with one placeholder line in place of each solution region."""
    lines = text.splitlines()
    for region in reversed(regions(text)):
        lines[region.first : region.last + 1] = [region.placeholder]
    return "\n".join(lines)


def is_placeholder(line: str) -> bool:
    """Say whether a line of a student copy stands for a solution region."""
    return bool(_PLACEHOLDER.match(line))


def _region(lines: list[str], first: int, last: int) -> Region:
    match = _BEGIN.match(lines[first])
    assert match is not None
    inside = tuple(lines[first + 1 : last])
    if not any(line.strip() for line in inside):
        raise ValueError(f"solution region {lines[first].strip()!r} is empty: write the solution between the markers")
    stub = match["stub"] or "..."
    if not _assigns_ellipsis(stub):
        raise ValueError(f"stub {stub!r} must assign '...' and nothing else, as in 'stub: flop = ...'")
    return Region(first, last, inside, f"{match['indent']}{stub}  # your code here, about {match['size']}")


def _assigns_ellipsis(stub: str) -> bool:
    if stub == "...":
        return True
    try:
        body = ast.parse(stub).body
    except SyntaxError:
        return False
    if len(body) != 1 or not isinstance(body[0], ast.Assign):
        return False
    value = body[0].value
    values = value.elts if isinstance(value, ast.Tuple) else [value]
    return all(isinstance(item, ast.Constant) and item.value is ... for item in values)
