"""Executes a notebook with nbclient, in the interpreter that is running now."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

__all__ = ["NBVAL", "Outcome", "execute", "smoke_environment"]

NBVAL = ("-p", "course_utils.classroom.authoring.quick_start", "-p", "nbval.plugin")  # options of pytest


@dataclass(frozen=True)
class Outcome:
    """How an execution ended: the wall time, and the cell and error where it stopped (None when it ran through)."""

    wall_s: float
    failed_cell: str | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every cell ran."""
        return self.failed_cell is None


class RunningInterpreter(KernelSpecManager):
    """Resolves every kernel name to this interpreter, whatever `python3` is first on the Jupyter path."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a spec that starts `sys.executable`."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def smoke_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a test run: smoke scale, one thread, no network, no settings of the user's."""
    settings = {"COURSE_SCALE": "smoke", "OMP_NUM_THREADS": "1", "COURSE_OFFLINE": "1", "IPYTHONDIR": str(folder)}
    kept = {"COURSE_PREDICTIONS": str(folder / "predictions.jsonl"), "COURSE_STEPS": str(folder / "steps.jsonl")}
    return dict(os.environ) | settings | kept


def execute(
    notebook: NotebookNode,
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: int | None = None,
    on_cell: Callable[[str], None] = lambda cell_id: None,
) -> Outcome:
    """Run the code cells in order, in place, until one fails; the kernel is gone afterwards, also after Ctrl-C.

    `timeout_s` bounds one cell; `on_cell` hears the id of each code cell before it runs.
    """
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=RunningInterpreter())
    client = NotebookClient(
        notebook, km=kernel, timeout=timeout_s, record_timing=False, store_widget_state=False, coalesce_streams=True
    )
    started = time.perf_counter()
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # what cells print comes as messages
    with client.setup_kernel(cleanup_kc=True, cwd=str(cwd), env=dict(env or os.environ), **silent):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            on_cell(cell.id)
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                return Outcome(time.perf_counter() - started, cell.id, _sentence(error))
    return Outcome(time.perf_counter() - started)


def _sentence(error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, CellTimeoutError):
        return str(error).splitlines()[0]
    return "the kernel died (out of memory, or killed)"
