"""A pytest plugin beside nbval's: runs each notebook in a watched kernel and writes down what every cell did.

nbval's own verdict is not used. The notebook is deleted once it was read, so that no cell can read the ones below it;
the job and the record lie where the kernel cannot see them.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbval.plugin  # type: ignore[import-untyped]
import pytest

from course_utils.classroom.grading.kernel import WatchedKernel
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.sandbox import Sandbox

__all__ = ["JOB", "Recorder"]

JOB = "COURSE_GRADING_JOB"  # the environment variable that names the job's file, as running.py sets it
ADDRESS_SPACE = 16 * 2**30  # bytes beyond the allowed memory that may be mapped without being used
FILE_BYTES = 512 * 2**20


class Recorder:
    """Writes a JSON line for each cell as it ends: what it said, how it failed, whether the kernel survived."""

    def __init__(self, path: Path, cells: list[list[str | None]]) -> None:
        self.path, self.cells = path, cells
        self.endless: set[str | None] = set()  # exercises whose hidden check came to no end

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Delete the notebook: it is in memory now."""
        for path in {item.path for item in session.items}:
            path.unlink(missing_ok=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> bool | None:
        """Wait for no answer twice: leave out further hidden checks of it, and show the visible one its stub."""
        role, key, _ = self.cells[item.cell_num]
        if key is None or key not in self.endless:
            return None
        stub = next((str(text) for _, other, text in self.cells if other == key), "")
        if role == "check" and not stub.startswith("%%"):
            item.cell.source = f"{stub}\n{item.cell.source}"
            return None
        self._append({"place": item.cell_num, "timed_out": True})
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: Any) -> None:
        """Give a cell its time: the lesson's own, which import and prepare, have as much as the notebook."""
        kernel = item.parent.kernel
        is_lesson = self.cells[item.cell_num][0] == "lesson"
        kernel.allowed_s = kernel.limits.notebook_s if is_lesson else kernel.limits.cell_s

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: pytest.CallInfo[None]) -> Iterator[Any]:
        """Write down the cell, and stop the run where its kernel is gone."""
        report = yield
        if call.when == "call" or (call.when == "setup" and call.excinfo):
            kernel = item.parent.kernel
            alive = kernel is not None and kernel.is_alive()
            self._write(item, kernel, alive, call)
            if not alive:
                item.session.shouldstop = "the kernel is gone"
        return report

    def _write(self, item: Any, kernel: WatchedKernel | None, alive: bool, call: pytest.CallInfo[None]) -> None:
        outputs = item.test_outputs or []
        said = "".join(out.text for out in outputs if out.output_type == "stream" and out.name == "stdout")
        errors = [out for out in outputs if out.output_type == "error"]
        line = {
            "place": item.cell_num,
            "stdout": said,
            "error": errors[-1].ename if errors else None,
            "message": errors[-1].evalue if errors else "",
            "timed_out": call.excinfo is not None and "Timeout of" in str(call.excinfo.value),
            "alive": alive,
            "ended": "start" if call.when == "setup" else getattr(kernel, "ended", None),
            "seconds": round(call.duration, 3),
            "peak_bytes": getattr(kernel, "peak_bytes", 0),
        }
        role, key, _ = self.cells[item.cell_num]
        if line["timed_out"] and role == "hidden":
            self.endless.add(key)
        self._append(line)

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Give nbval the watched kernel, limit what this process and its children may use, and start the record."""
    path = os.environ.get(JOB)
    if path is None:
        raise pytest.UsageError(f"{JOB} is not set: this plugin runs under `python -m course_utils grade` alone")
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    sandbox, limits = Sandbox(job["bwrap"]), Limits(**job["limits"])
    _limit(limits)

    def start(kernel_name: str, cwd: str | None = None, startup_timeout: float = 60) -> WatchedKernel:
        told = {"grader": job["grader"], "startup_timeout": startup_timeout}
        return WatchedKernel(sandbox, limits, Path(job["shared"]), job["environment"], **told)

    nbval.plugin.RunningKernel = start
    config.pluginmanager.register(Recorder(Path(job["record"]), job["cells"]), "course-grading-recorder")


def _limit(limits: Limits) -> None:
    """Limits that kernels inherit; the one on address space only without CUDA, which maps far more than it uses."""
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: FILE_BYTES}
    if not Path("/dev/nvidiactl").exists() and os.uname().sysname == "Linux":
        wanted[resource.RLIMIT_AS] = limits.memory_bytes + ADDRESS_SPACE
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard),) * 2)
