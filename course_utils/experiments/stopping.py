"""A clean stop: signals, or a file in the run's folder, raise a flag that the training loop asks for after each step.

A job script that waits in bash puts the file `STOP` into the run's folder, since a signal may not reach every process.
Once the checkpoint is written, the run leaves the file `REQUEUE` for it: a launcher may hide an exit status.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from course_utils.atomic import replacing

__all__ = ["Agreed", "StopFlag", "ask_to_go_on"]

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
LOOK_EVERY_S = 0.2  # a look at a shared file system may take milliseconds
ASK_EVERY = 5


class StopFlag:
    """Raised by SIGTERM, SIGUSR1, Ctrl-C or a file while in its `with` block; call it to ask.

    A second Ctrl-C stops at once, unless `patient`: launchers send their processes the one that those had already.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.name: str | None = None
        self.patient = patient
        self._file: Path | None = None
        self._looked = -math.inf
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        if self.name is None and self._file is not None and time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._looked = time.monotonic()
            self.name = "the file STOP" if self._file.exists() else None
        return self.name is not None

    def __enter__(self) -> StopFlag:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._raised)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, folder: Path) -> None:
        """Look for the file STOP in a run's folder from now on; what an earlier run left there is removed."""
        for name in ("STOP", "REQUEUE"):
            (folder / name).unlink(missing_ok=True)
        self._file = folder / "STOP"

    def _raised(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.name == "SIGINT" and not self.patient:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name


class Agreed:
    """A flag that all processes of a run answer alike: at every fifth call they ask one another, in between it is no.

    `agree(flag)` says whether any process has raised its own; all must call equally often.
    """

    def __init__(self, flag: Callable[[], bool], agree: Callable[[bool], bool], every: int = ASK_EVERY) -> None:
        self.flag, self.agree, self.every = flag, agree, every
        self.calls = 0

    def __call__(self) -> bool:
        """Whether a stop was asked for in any process."""
        self.calls += 1
        return self.calls % self.every == 0 and self.agree(self.flag())


def ask_to_go_on(folder: Path, why: str) -> None:
    """Leave the file REQUEUE in a run's folder: its checkpoint is written, and the same words typed again go on."""
    with replacing(folder / "REQUEUE") as temporary:
        temporary.write_text(f"{why}\n")
