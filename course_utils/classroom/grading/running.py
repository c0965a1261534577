"""Runs the cells of a paper with nbval in a kernel of their own, and reads what became of each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
import psutil

from course_utils.classroom.authoring.execution import NBVAL
from course_utils.classroom.grading.exams import Cell
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.sandbox import Sandbox

__all__ = ["Outcome", "Run", "Stopped", "remove_left_overs", "run_cells"]

STARTUP_S = 120.0
_NBVAL = ("--nbval-lax", "--nbval-current-env", "--noconftest", "-q", "--color=no", "-p", "no:cacheprovider")
_PLUGINS = (*NBVAL, "-p", "course_utils.classroom.grading.engine")


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its stdout, the class and words of its error, whether time ran out or the kernel died.

    `ended` says why a kernel was killed: time, memory, output, processes or files; start: it never came up; None:
    nobody killed it.
    """

    place: int
    stdout: str = ""
    error: str | None = None
    message: str = ""
    timed_out: bool = False
    alive: bool = True
    ended: str | None = None
    seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Run:
    """Cells with their outcomes, as far as they ran; the wall time; what nbval said where it came to no end."""

    ran: tuple[tuple[Cell, Outcome], ...]
    wall_s: float
    trouble: str | None = None

    def of(self, key: str) -> list[tuple[Cell, Outcome]]:
        """The cells of one exercise that ran."""
        return [pair for pair in self.ran if pair[0].key == key]

    @property
    def lived(self) -> bool:
        """Whether the kernel, and nbval beside it, came to the end of the paper."""
        return self.trouble is None and all(outcome.alive for _, outcome in self.ran)

    @property
    def peak_bytes(self) -> int:
        """The most memory that the kernel and its children had in use."""
        return max((outcome.peak_bytes for _, outcome in self.ran), default=0)

    @property
    def started(self) -> bool:
        """Whether the kernel came up and ran its first cell."""
        return bool(self.ran) and self.ran[0][1].ended != "start"


class Stopped(Exception):
    """The grading run is to end: what was running is not finished."""


def run_cells(cells: Sequence[Cell], *, sandbox: Sandbox, limits: Limits, stop: threading.Event | None = None) -> Run:
    """Execute the cells in order in a fresh confined kernel; a dead kernel ends the run, nothing outlives it.

    Raises Stopped soon after `stop` was set.
    """
    started = time.perf_counter()
    with _folder() as folder:
        _write_job(folder, cells, sandbox, limits)
        said = _run_pytest(folder, limits, stop or threading.Event())
        outcomes = _outcomes(folder / "record.jsonl")
    ran = tuple((cells[one.place], one) for one in outcomes)
    complete = len(ran) == len(cells) or any(not one.alive for one in outcomes)
    return Run(ran, time.perf_counter() - started, None if complete else said[-2000:] or "nbval said nothing")


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of its own with a short name, since the paths of sockets have little room."""
    base = "/tmp" if os.access("/tmp", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="grade-", dir=base)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_overs() -> None:
    """Remove the folders of graders of this user that were killed."""
    for folder in Path("/tmp").glob("grade-*"):
        with suppress(OSError, ValueError, KeyError):
            grader = json.loads((folder / "job.json").read_text(encoding="utf-8"))["grader"]
            if folder.stat().st_uid == os.getuid() and not psutil.pid_exists(grader):
                shutil.rmtree(folder, ignore_errors=True)


def _write_job(folder: Path, cells: Sequence[Cell], sandbox: Sandbox, limits: Limits) -> None:
    (folder / "shared").mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # no settings from any folder above
    job = {
        "bwrap": sandbox.bwrap,
        "limits": asdict(limits),
        "grader": os.getpid(),
        "shared": str(folder / "shared"),
        "record": str(folder / "record.jsonl"),
        "cells": [[cell.role, cell.key, cell.text] for cell in cells],
        "environment": _kernel_environment(folder / "shared" / "work", sandbox),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    made = [nbformat.v4.new_code_cell(cell.text, id=f"c{place}") for place, cell in enumerate(cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=made), folder / "paper.ipynb")


def _kernel_environment(work: Path, sandbox: Sandbox) -> dict[str, str]:
    """All that a kernel knows of its surroundings: smoke scale, one thread, no network, nothing of the user's."""
    place = Path("/tmp/work") if sandbox.bwrap else work
    folders = {"HOME": "/tmp/home", "IPYTHONDIR": "/tmp/home/ipython", "MPLCONFIGDIR": "/tmp/matplotlib"}
    if not sandbox.bwrap:
        folders = {"HOME": str(work), "IPYTHONDIR": str(work / "ipython")}
    files = {"COURSE_PREDICTIONS": str(place / "predictions.jsonl"), "COURSE_STEPS": str(place / "steps.jsonl")}
    fixed = {"COURSE_SCALE": "smoke", "COURSE_OFFLINE": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "GLOO_SOCKET_IFNAME": "lo", **folders, **files, **fixed}


def _run_pytest(folder: Path, limits: Limits, stop: threading.Event) -> str:
    """Run nbval on the paper until it ends or its time is over; return what it said."""
    command = [sys.executable, "-m", "pytest", *_NBVAL, *_PLUGINS, f"--nbval-cell-timeout={limits.cell_s}"]
    settings = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "OMP_NUM_THREADS": "1"}
    environment = dict(os.environ) | settings | {"COURSE_GRADING_JOB": str(folder / "job.json")}
    with (folder / "said").open("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            [*command, "paper.ipynb"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, time.monotonic() + STARTUP_S + limits.notebook_s, stop)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return said.read()


def _wait(process: subprocess.Popen[bytes], deadline: float, stop: threading.Event) -> None:
    while process.poll() is None and time.monotonic() < deadline:
        if stop.wait(0.05):
            raise Stopped


def _outcomes(record: Path) -> list[Outcome]:
    if not record.exists():
        return []
    whole = record.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]  # the last line may be half
    return [Outcome(**json.loads(line)) for line in whole]
