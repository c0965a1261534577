"""Widgets for notebooks: a box for guesses, and explorers of traces, blocks and rooflines; names load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "BlockExplorer": "block_explorer",
    "GuessBox": "guess_box",
    "RooflineExplorer": "roofline_explorer",
    "TraceExplorer": "trace_explorer",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"course_utils.classroom.widgets has no {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"course_utils.classroom.widgets.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """What completion shows."""
    return __all__
