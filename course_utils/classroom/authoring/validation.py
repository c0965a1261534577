"""Executes a solved master once, with nbval, and compares what its check cells print with what they should print.

nbval is an engine with habits: it compares nothing in a cell that was never executed, names cells by number, and after
a timeout reports later cells as expected failures. A report is believed only if it has one line for each code cell.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from course_utils.classroom.authoring.copies import CHECK_OUTPUT, notebook_text
from course_utils.classroom.authoring.execution import NBVAL, smoke_environment

__all__ = ["Validation", "validate"]

_COLOUR = re.compile(r"(?:\x1b|#x1B)\[[0-9;]*m")
_STARTUP_S = 120


@dataclass(frozen=True)
class Validation:
    """What nbval said: complaints by cell id, how many outputs were compared, and the wall time in seconds."""

    complaints: dict[str, str]
    compared: int
    wall_s: float

    def __str__(self) -> str:
        """Return the complaints, one paragraph a cell."""
        return "\n\n".join(f"cell {cell_id}\n{text}" for cell_id, text in self.complaints.items()) or "all cells passed"


def validate(notebook: NotebookNode, *, timeout_s: float = 120) -> Validation:
    """Run `notebook` under `nbval --nbval-lax` at smoke scale in a fresh folder; `timeout_s` bounds one cell.

    Raises RuntimeError where nbval itself did not come to a report on every code cell.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="course-nbval-") as name:
        folder = Path(name)
        (folder / "notebook.ipynb").write_text(notebook_text(notebook), encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # no settings from any folder above
        said = _run_nbval(folder, timeout_s, _limit_s(notebook, timeout_s))
        cases = _cases(folder / "report.xml")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(cases) != len(cells):
        raise RuntimeError(f"nbval reported {len(cases)} of {len(cells)} code cells:\n{said}")
    complaints = {cell.id: text for cell, case in zip(cells, cases, strict=True) if (text := _complaint(case))}
    compared = sum(CHECK_OUTPUT in cell.metadata.get("tags", []) for cell in cells)
    return Validation(complaints, compared, time.perf_counter() - started)


def _limit_s(notebook: NotebookNode, timeout_s: float) -> float:
    return _STARTUP_S + timeout_s * len(notebook.cells)


def _run_nbval(folder: Path, timeout_s: float, limit_s: float) -> str:
    options = ["--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={timeout_s}", "--noconftest"]
    quiet = ["-q", "--color=no", "-p", "no:cacheprovider", *NBVAL, "--junitxml=report.xml"]
    environment = smoke_environment(folder / "ipython") | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", *options, *quiet, "notebook.ipynb"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
    )
    if done.returncode not in (0, 1):  # 0: all passed, 1: some failed; anything else is pytest's own trouble
        raise RuntimeError(f"nbval stopped with exit status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _cases(report: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(report).getroot().iter("testcase"))


def _complaint(case: ElementTree.Element) -> str | None:
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            text = _COLOUR.sub("", found.text or found.get("message") or "").strip()
            return f"not run, after an earlier timeout: {text}" if kind == "skipped" else text
    return None
