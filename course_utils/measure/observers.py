"""Who is watching this program: a profiler falsifies a timing, coverage or a debugger at least marks it.

On Python 3.11 coverage, line_profiler and debuggers are all trace functions (`sys.settrace`), told apart here by their
type; from 3.12 on they may be tools of `sys.monitoring`, told apart by name and tool id.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType, SimpleNamespace

import torch

__all__ = ["marks", "profilers", "refuse_profilers"]

_PROFILER_ID = 2  # sys.monitoring.PROFILER_ID
_NUM_TOOL_IDS = 6
_DEBUGGERS = ("bdb", "pdb", "pydevd", "_pydevd", "debugpy")


def profilers() -> list[str]:
    """Names of the profilers that are active now: torch.profiler, cProfile, line_profiler or another."""
    found = []
    in_this_thread = torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
    if in_this_thread or torch.autograd.profiler._is_profiler_enabled:
        found.append("torch.profiler")
    if (hook := sys.getprofile()) is not None:
        found.append(_profiler_name(hook))
    if "line_profiler" in _owners(sys.gettrace()):
        found.append("line_profiler")
    found += [name for tool_id, name in _tools() if tool_id == _PROFILER_ID or name in ("cProfile", "line_profiler")]
    return list(dict.fromkeys(found))


def marks() -> list[str]:
    """Names of what slows Python without being a profiler: coverage, a debugger, any other trace function."""
    found = []
    owners = _owners(sys.gettrace())
    if owners and "line_profiler" not in owners:
        found.append(_mark_name(owners))
    found += [_mark_name([name]) for tool_id, name in _tools() if tool_id != _PROFILER_ID and name != "line_profiler"]
    return list(dict.fromkeys(found))


def refuse_profilers(what: str) -> None:
    """Raise RuntimeError, naming them, while a profiler is active; `what` says what is refused ("measure")."""
    if active := profilers():
        names = " and ".join(active)
        raise RuntimeError(f"{what} refuses to run while {names} is active: it would time the profiler; stop it first.")


def _owners(hook: object) -> list[str]:
    """Top-level packages that a trace or profile function, or the classes of its object, come from; empty for None."""
    if hook is None:
        return []
    bound_to = getattr(hook, "__self__", None)
    if isinstance(hook, FunctionType) or isinstance(bound_to, ModuleType):
        return [str(getattr(hook, "__module__", "")).split(".")[0]]
    classes = type(hook if bound_to is None else bound_to).__mro__[:-1]  # without `object`
    return [str(cls.__module__).split(".")[0] for cls in classes]


def _profiler_name(hook: object) -> str:
    owner = _owners(hook)[0]
    return "cProfile" if owner == "_lsprof" else owner


def _mark_name(owners: list[str]) -> str:
    if any(owner.startswith("coverage") for owner in owners):
        return "coverage"
    if any(owner.startswith(_DEBUGGERS) for owner in owners):
        return "a debugger"
    return f"a trace function of {owners[0]}"


def _tools() -> list[tuple[int, str]]:
    """Tools registered with `sys.monitoring` as (tool id, name); none before Python 3.12."""
    monitoring = getattr(sys, "monitoring", SimpleNamespace(get_tool=lambda tool_id: None))
    named = ((tool_id, monitoring.get_tool(tool_id)) for tool_id in range(_NUM_TOOL_IDS))
    return [(tool_id, name) for tool_id, name in named if name is not None]
