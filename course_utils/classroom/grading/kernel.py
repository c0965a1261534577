"""The kernel that nbval talks to while grading: confined, watched, and cut off where it takes too much."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import psutil
from ipykernel.kernelspec import RESOURCES
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager
from nbval.kernel import RunningKernel  # type: ignore[import-untyped]

from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.sandbox import Sandbox

__all__ = ["WatchedKernel"]

LOOK_S = 0.1


class SandboxSpec(KernelSpecManager):
    """Resolves every kernel name to this interpreter inside a sandbox."""

    def __init__(self, sandbox: Sandbox, folder: Path, environment: dict[str, str]) -> None:
        super().__init__()
        argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        command = sandbox.command(argv, shared=folder, environment=environment)
        self._made = KernelSpec(resource_dir=RESOURCES, argv=command, display_name="graded", language="python")
        self._made.interrupt_mode = "message"  # a signal would reach bubblewrap, not the kernel

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the one spec there is."""
        return self._made


class WatchedKernel(RunningKernel):
    """A kernel over files instead of ports; `ended` says why it was stopped (None: it was not, or stopped itself)."""

    def __init__(
        self,
        sandbox: Sandbox,
        limits: Limits,
        folder: Path,
        environment: dict[str, str],
        *,
        grader: int,
        startup_timeout: float = 60,
    ) -> None:
        self.limits, self.folder, self.grader = limits, folder, grader
        self.ended: str | None = None
        self.peak_bytes, self.allowed_s = 0, startup_timeout
        self._waiting: deque[Any] = deque()
        self._said_bytes = 0
        specs = SandboxSpec(sandbox, folder, environment)
        self.km = KernelManager(transport="ipc", connection_file=str(folder / "k.json"), kernel_spec_manager=specs)
        work = folder / "work"
        work.mkdir(exist_ok=True)
        self.km.start_kernel(cwd=str(work), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = psutil.Process(getattr(self.km.provisioner, "pid"))  # noqa: B009 - of a local one
        self.kc = self.km.client()
        self.kc.start_channels()
        threading.Thread(target=self._watch, args=(time.monotonic() + limits.notebook_s,), daemon=True).start()
        self.kc.wait_for_ready(timeout=startup_timeout)
        self._ensure_iopub_up()

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """Wait for the answer to a request; raise Empty when the time is over or the kernel gone."""
        deadline = time.monotonic() + self.allowed_s  # nbval knows one limit for all cells
        while time.monotonic() < deadline and self.is_alive():
            self._collect()
            with suppress(Empty):
                if self.kc.get_shell_msg(timeout=LOOK_S)["parent_header"].get("msg_id") == msg_id:
                    return
        raise Empty

    def get_message(self, stream: str, timeout: float | None = None) -> Any:
        """The next message; raise Empty when none comes in time, or none can come any more."""
        deadline = time.monotonic() + (timeout or 0.0)
        while True:
            if stream == "iopub" and self._waiting:
                return self._waiting.popleft()
            alive = self.is_alive()
            with suppress(Empty):
                return self._count(getattr(self.kc, f"get_{stream}_msg")(timeout=LOOK_S))
            if not alive or time.monotonic() >= deadline:
                raise Empty

    def interrupt(self) -> None:
        """Ask the kernel to stop the cell; a dead one is not asked."""
        if self.is_alive():
            self.km.interrupt_kernel()

    def end(self, why: str) -> None:
        """Kill the kernel and all that it started, and keep the reason."""
        self.ended = self.ended or why
        with suppress(psutil.Error):
            for process in [*self.process.children(recursive=True), self.process]:
                with suppress(psutil.Error):
                    process.kill()

    def stop(self) -> None:
        """End the kernel and forget it, as nbval does."""
        if self.is_alive():
            self.end("")
            self.kc.stop_channels()
            self.km.shutdown_kernel(now=True)
            del self.km

    def _collect(self) -> None:
        """Take in what the kernel has published, so that a flood is noticed while it lasts."""
        with suppress(Empty):
            for _ in range(1000):
                self._waiting.append(self._count(self.kc.get_iopub_msg(timeout=0)))

    def _count(self, message: Any) -> Any:
        self._said_bytes += len(str(message["content"])) if message["msg_type"] != "status" else 0
        if self._said_bytes > self.limits.output_bytes:
            self.end("output")
        return message

    def _watch(self, deadline: float) -> None:
        """Look at the kernel until it ends: it must not outlive the grader, nor take more than its share."""
        while _lives(self.process):
            if os.getppid() != self.grader:
                self.end("grader")
                shutil.rmtree(self.folder.parent, ignore_errors=True)
                os._exit(1)
            if time.monotonic() > deadline:
                self.end("time")
            elif why := self._excess():
                self.end(why)
            time.sleep(LOOK_S)

    def _excess(self) -> str | None:
        """What the kernel takes too much of, if anything."""
        try:
            family = [self.process, *self.process.children(recursive=True)]
            memory = sum(one.memory_info().rss for one in family)
        except psutil.Error:
            return None
        self.peak_bytes = max(self.peak_bytes, memory)
        if memory > self.limits.memory_bytes:
            return "memory"
        if len(family) > self.limits.processes:
            return "processes"
        left = [entry for entry in os.scandir(self.folder) if entry.name != "work"]
        return "files" if len(left) > 20 or any(entry.is_dir() for entry in left) else None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
