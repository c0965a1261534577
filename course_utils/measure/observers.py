"""Who is watching this program: a profiler falsifies a timing, coverage or a debugger at least marks it.

On Python 3.11 coverage, line_profiler and debuggers are all trace functions (`sys.settrace`), told apart here by their
type; from 3.12 on they may be tools of `sys.monitoring`, told apart by name and tool id.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import torch

__all__ = ["marks", "profilers", "refuse_profilers"]

_PROFILER_ID = 2  # sys.monitoring.PROFILER_ID
_NUM_TOOL_IDS = 6


def profilers() -> list[str]:
    """Names of the profilers that are active now: torch.profiler, cProfile, line_profiler or another."""
    found = []
    in_this_thread = torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
    if in_this_thread or torch.autograd.profiler._is_profiler_enabled:
        found.append("torch.profiler")
    if (hook := sys.getprofile()) is not None:
        found.append(_profiler_name(hook))
    if _owner(sys.gettrace()) == "line_profiler":
        found.append("line_profiler")
    found += [name for tool_id, name in _tools() if tool_id == _PROFILER_ID or name in ("cProfile", "line_profiler")]
    return list(dict.fromkeys(found))


def marks() -> list[str]:
    """Names of what slows Python without being a profiler: coverage, a debugger, any other trace function."""
    found = []
    if (owner := _owner(sys.gettrace())) not in (None, "line_profiler"):
        found.append(_mark_name(str(owner)))
    found += [
        _mark_name(name) for tool_id, name in _tools() if tool_id != _PROFILER_ID and name not in ("line_profiler",)
    ]
    return list(dict.fromkeys(found))


def refuse_profilers(what: str) -> None:
    """Raise RuntimeError, naming them, while a profiler is active; `what` says what is refused ("measure")."""
    if active := profilers():
        names = " and ".join(active)
        raise RuntimeError(f"{what} refuses to run while {names} is active: it would time the profiler; stop it first.")


def _owner(hook: object) -> str | None:
    """Top-level package that a trace or profile function belongs to; None without one."""
    if hook is None:
        return None
    bound_to = getattr(hook, "__self__", None)
    named = hook if bound_to is None or isinstance(bound_to, ModuleType) else type(bound_to)
    module = getattr(named, "__module__", None) or type(hook).__module__
    return str(module).split(".")[0]


def _profiler_name(hook: object) -> str:
    owner = _owner(hook) or "a profiler"
    return {"_lsprof": "cProfile", "profile": "profile", "cProfile": "cProfile"}.get(owner, owner)


def _mark_name(owner: str) -> str:
    if owner.startswith("coverage"):
        return "coverage"
    if owner.startswith(("pydevd", "_pydevd", "bdb", "pdb", "debugpy", "ipdb")):
        return "a debugger"
    return f"a trace function of {owner}"


def _tools() -> list[tuple[int, str]]:
    """Tools registered with `sys.monitoring` as (tool id, name); none before Python 3.12."""
    monitoring = getattr(sys, "monitoring", SimpleNamespace(get_tool=lambda tool_id: None))
    named = ((tool_id, monitoring.get_tool(tool_id)) for tool_id in range(_NUM_TOOL_IDS))
    return [(tool_id, name) for tool_id, name in named if name is not None]
