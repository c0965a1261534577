"""Plays a session on the Slurm that answers here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from course_utils.classroom.transcripts.sessions import SESSIONS, job_script

__all__ = ["SlurmError", "play", "slurm_version"]

_ENDED = {"", "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
_POLL_S = 0.5


class SlurmError(Exception):
    """Why a session could not be played to its end, in one sentence."""


def slurm_version() -> str | None:
    """The Slurm whose controller answers here, such as `slurm 22.05.8`; None where there is none."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return None
    try:
        if "UP" not in _typed("scontrol ping", Path.cwd(), within_s=10).split():
            return None
        return _typed("sbatch --version", Path.cwd(), within_s=10).strip()
    except SlurmError:
        return None


def play(name: str, *, within_s: float = 90.0) -> str:
    """Play a session in a folder of its own below this one and return what a terminal would show, without paths.

    The job is cancelled where it has not ended by then. Raises `SlurmError` where Slurm refuses the job, or `within_s`
    seconds were not enough.
    """
    deadline, shown, job = time.monotonic() + within_s, list[str](), ""
    with tempfile.TemporaryDirectory(prefix="slurm-session-", dir=Path.cwd()) as place:
        folder = Path(place)
        (folder / "train.sh").write_text(job_script(name), encoding="utf-8")
        try:
            for step in SESSIONS[name].steps:
                if step.startswith("until "):
                    _wait(job, step.removeprefix("until "), folder, deadline)
                    continue
                command = step.removeprefix("$ ").replace("{job}", job)
                answer = _typed(command, folder, within_s=max(1.0, deadline - time.monotonic()))
                job = _number(command, answer) or job
                if step.startswith("$ "):
                    answer = answer.replace(f"{folder}/", "").replace(f"{Path(sys.executable).parent}/", "")
                    shown += [f"$ {command}", *answer.rstrip("\n").splitlines()]
        finally:
            if job:
                _typed(f"scancel --quiet {job}", folder, within_s=10)
    return "\n".join(shown) + "\n"


def _typed(command: str, folder: Path, *, within_s: float) -> str:
    """What a command says on both its streams, with this Python first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"`{command}` had not answered after {within_s:.0f} s") from error
    return done.stdout


def _number(command: str, answer: str) -> str:
    """The number of the job that a command has just sent; empty where it sent none. `SlurmError` for a refusal."""
    if not command.startswith("sbatch") or "--test-only" in command:
        return ""
    sent = re.search(r"Submitted batch job (\d+)", answer)
    if sent is None:
        raise SlurmError(f"Slurm refused the job: {' '.join(answer.split()) or 'without a word'}")
    return sent.group(1)


def _wait(job: str, until: str, folder: Path, deadline: float) -> None:
    """Wait until the job is `running` or has `ended`."""
    while True:
        state = _typed(f"squeue --noheader --states=all --job={job} --format=%T", folder, within_s=10).strip()
        if state in _ENDED or "Invalid job id" in state or (until == "running" and state == "RUNNING"):
            return
        if time.monotonic() > deadline:
            raise SlurmError(f"job {job} was still {state} when the time for it was over, and was cancelled")
        time.sleep(_POLL_S)
