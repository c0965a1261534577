"""A linter for Slurm job scripts: faults that Slurm accepts and that cost a night.

    python -m course_utils.classroom.job_scripts slurm/*.sh

or, in Python, `findings(text)`. Standard library alone, so that it works on a login node without the kit's packages.
"""

from course_utils.classroom.job_scripts.rules import RULES, Finding, findings

__all__ = ["RULES", "Finding", "findings"]
