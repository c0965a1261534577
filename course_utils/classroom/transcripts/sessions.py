"""What is typed in each session, step by step, and the scripts that are sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["SESSIONS", "Session", "job_script"]

_SCRIPTS = Path(__file__).parent / "scripts"
_STATE = "$ scontrol show job {job} | grep -oE '(JobState|ExitCode|Restarts)=[^ ]+'"


@dataclass(frozen=True)
class Session:
    """The steps of a session, in a folder that holds the session's script as `train.sh`.

    A step that begins with `$ ` is typed and shown with its answer, `until running` and `until ended` wait for the job
    that was sent last, whose number stands for `{job}`; any other step is run unseen. `live` says whether a student's
    own cluster may play it: a short job of one core, nothing that needs a second node or accounting.
    """

    steps: tuple[str, ...]
    live: bool = True


_SIGNAL = ("$ date +%T; scancel --batch --signal=USR1 {job}", "until ended", "$ cat train-{job}.out", _STATE)

SESSIONS = {
    "folder": Session(("$ cat train.sh", "$ sbatch train.sh", "until ended", _STATE, "$ ls")),
    "echo": Session(("$ cat train.sh", "$ sbatch train.sh", "until ended", "$ cat train-{job}.out", _STATE)),
    "trap": Session(("$ cat train.sh", "$ sbatch train.sh", "until running", "sleep 2", *_SIGNAL)),
    "mended": Session(("$ cat train.sh", "$ sbatch train.sh", "until running", "sleep 2", *_SIGNAL)),
    "efficiency": Session(
        (
            "$ cat train.sh",
            "$ sbatch train.sh",
            "until ended",
            "sleep 2",
            "$ sacct -j {job} -o JobID,State,Elapsed,Timelimit,AllocCPUS,TotalCPU,ReqMem,MaxRSS",
        ),
        live=False,
    ),
    "queue": Session(
        (
            "sbatch --job-name=others --nodes=1 --exclusive --time=02:00:00 --wrap='sleep 120'",
            "sleep 3",
            "sbatch --job-name=whole --nodes=2 --exclusive --time=10:00:00 --wrap='sleep 120'",
            "sleep 5",
            "$ squeue --format='%.7j %.8T %.9l %.6D %R'",
            "$ sbatch --job-name=long --time=12:00:00 train.sh",
            "sleep 3",
            "$ sbatch --job-name=short --time=01:30:00 train.sh",
            "sleep 8",
            "$ squeue --format='%.7j %.8T %.9l %.6D %R'",
            *(f"scancel --name={name}" for name in ("short", "long", "whole", "others")),
        ),
        live=False,
    ),
}
"""Name -> session; each has its script in `scripts/` and its transcript in `recorded/`."""


def job_script(name: str) -> str:
    """The text of a session's script, or of `night`, the faulty one of the lesson. `ValueError` for another name."""
    path = _SCRIPTS / f"{name}.sh"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in _SCRIPTS.glob("*.sh")))
        raise ValueError(f"name is {name!r}, wanted the script of a session: {known}.")
    return path.read_text(encoding="utf-8")
