"""What a notebook shows of a session: played here, or as it was recorded."""

from __future__ import annotations

from pathlib import Path

from course_utils.classroom.transcripts.playing import SlurmError, play, slurm_version
from course_utils.classroom.transcripts.sessions import SESSIONS

__all__ = ["RECORDED", "observed", "recorded"]

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    """The recorded transcript of a session, which says on what it was recorded. Raises `ValueError` for no session."""
    if name not in SESSIONS:
        raise ValueError(f"name is {name!r}, wanted one of {', '.join(SESSIONS)}.")
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


def observed(name: str, *, within_s: float = 90.0) -> str:
    """The session played on the Slurm that answers here, else the recorded one, with the reason in the first line."""
    told = recorded(name)
    version = slurm_version() if SESSIONS[name].live else None
    if version is None:
        return told
    try:
        return f"# Live, on the {version} that answers here.\n{play(name, within_s=within_s)}"
    except SlurmError as error:
        return f"# Tried live, but {error}. So, recorded:\n{told}"
