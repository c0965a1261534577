"""What a real Slurm says to faulty and to mended job scripts: live where one answers, recorded otherwise.

    python -m course_utils.classroom.transcripts --on "one machine that plays two nodes"

records them again. Standard library alone, so that it works on a login node without the kit's packages.
"""

from course_utils.classroom.transcripts.accounting import JobUse, read_sacct
from course_utils.classroom.transcripts.playing import SlurmError, play, slurm_version
from course_utils.classroom.transcripts.sessions import SESSIONS, Session, job_script
from course_utils.classroom.transcripts.showing import observed, recorded

__all__ = [
    "SESSIONS",
    "JobUse",
    "Session",
    "SlurmError",
    "job_script",
    "observed",
    "play",
    "read_sacct",
    "recorded",
    "slurm_version",
]
