"""Runs a job script in bash without a Slurm: stand-ins for `srun` and `scontrol` write down what they are asked."""

from __future__ import annotations

import os
import signal as signals
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SAVES_WHEN_ASKED", "Ended", "run_script"]

_JOB = {"SLURM_JOB_ID": "42", "SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_NAME": "night", "SLURM_RESTART_COUNT": "0"}
_SRUN = """\
#!/usr/bin/env bash
trap 'touch finished' EXIT
printf '%s' "${SRUN_CPUS_PER_TASK:-}" > cores
mv cores started
"""
_SCONTROL = "#!/usr/bin/env bash\nprintf '%s' \"$*\" > scontrol\n"
SAVES_WHEN_ASKED = """\
for i in {1..60}; do
  sleep 0.05
  if [ -e runs/night/STOP ]; then touch noticed; sleep 0.4; touch runs/night/REQUEUE; exit 75; fi
done
"""
"""Work of at most 3 s that looks for runs/night/STOP, takes 0.4 s to save, leaves REQUEUE and ends with 75."""


@dataclass(frozen=True)
class Ended:
    """How a script ended: its status (None: not in time), and the last words of bash.

    `started` says whether srun was called and `cores` what it was told to use, `stopped` whether a STOP file came while
    the work ran, `saved` whether the script was still there when the checkpoint was written, `requeued` what scontrol
    was told.
    """

    status: int | None
    started: bool
    cores: str
    stopped: bool
    saved: bool
    requeued: str
    said: str


def run_script(text: str, work: str, *, signal: bool = False, within_s: float = 10.0) -> Ended:
    """Run a job script in an empty folder, where `srun` does `work` (bash) instead of what it is given.

    With `signal` the script gets USR1 once the work has begun. Nothing of it outlives the call.
    """
    with tempfile.TemporaryDirectory(prefix="course-job-") as place:
        folder = Path(place)
        _furnish(folder, text, work)
        with _bash(folder) as process:
            _watch(process, folder, signal, time.monotonic() + within_s)
            status = process.poll()
            finished = (folder / "finished").exists()
            saved = (folder / "runs/night/REQUEUE").exists()
        noticed, asked = (folder / "noticed").exists(), (folder / "runs/night/STOP").exists()
        started, told = folder / "started", _read(folder / "scontrol")
        words = " ".join(_read(folder / "said").split())[-200:]
        return Ended(status, started.exists(), _read(started), noticed or (asked and not finished), saved, told, words)


def _furnish(folder: Path, text: str, work: str) -> None:
    """The script, the run's folder and the stand-ins."""
    (folder / "runs/night").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "job.sh").write_text(text, encoding="utf-8")
    for name, body in {"srun": f"{_SRUN}{work}\n", "scontrol": _SCONTROL}.items():
        path = folder / "bin" / name
        path.write_text(body, encoding="utf-8")
        path.chmod(0o755)


@contextmanager
def _bash(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The script at work, with the stand-ins first on the path; it and all that it started are ended afterwards."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SRUN_", "BASH_"))}
    path = f"{folder}/bin{os.pathsep}{kept.get('PATH', os.defpath)}"
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            ["bash", "job.sh"],
            cwd=folder,
            env={**kept, **_JOB, "PATH": path, "SLURM_SUBMIT_DIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signals.SIGKILL)
            process.wait()


def _watch(process: subprocess.Popen[bytes], folder: Path, signal: bool, deadline: float) -> None:
    """Wait for the end of the script, and send it USR1 once its work has begun."""
    while process.poll() is None and time.monotonic() < deadline:
        if signal and (folder / "started").exists():
            process.send_signal(signals.SIGUSR1)
            signal = False
        time.sleep(0.01)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
