"""Reads the table that `sacct` prints: what a job had asked for, and what it used of it."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["JobUse", "read_sacct", "seconds_of"]

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_WANTED = {"JobID", "Elapsed", "Timelimit", "AllocCPUS", "TotalCPU", "ReqMem", "MaxRSS"}


class JobUse(NamedTuple):
    """A job in numbers: seconds it took and was granted, cores, seconds of work of all cores, bytes asked and at most
    in use (of its largest step)."""

    elapsed_s: float
    limit_s: float
    cores: int
    cpu_s: float
    asked_bytes: int
    peak_bytes: int


def read_sacct(text: str) -> JobUse:
    """The first job in what `sacct -o JobID,Elapsed,Timelimit,AllocCPUS,TotalCPU,ReqMem,MaxRSS` printed.

    Raises `ValueError` where there is no such table in the text.
    """
    rows = _rows(text)
    if not rows or not set(rows[0]) >= _WANTED:
        raise ValueError(f"no table of sacct with the columns {', '.join(sorted(_WANTED))}: ask for them with -o.")
    job, steps = rows[0], [row for row in rows if row["JobID"].partition(".")[0] == rows[0]["JobID"]]
    return JobUse(
        elapsed_s=seconds_of(job["Elapsed"]),
        limit_s=seconds_of(job["Timelimit"]),
        cores=int(job["AllocCPUS"]),
        cpu_s=seconds_of(job["TotalCPU"]),
        asked_bytes=_bytes(job["ReqMem"]),
        peak_bytes=max(_bytes(row["MaxRSS"]) for row in steps),
    )


def seconds_of(text: str) -> float:
    """Seconds in Slurm's `[days-][[hours:]minutes:]seconds[.thousandths]`. `ValueError` for anything else."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", text.strip())
    if found is None:
        raise ValueError(f"time is {text!r}, wanted Slurm's [days-][hours:]minutes:seconds.")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _bytes(text: str) -> int:
    """Bytes in `64G`, `612340K`, or `64Gn` (a node) of older versions; 0 for a blank."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)[nc]?", text.strip() or "0")
    if found is None:
        raise ValueError(f"memory is {text!r}, wanted a number with K, M, G or T.")
    return int(float(found.group(1)) * _UNITS[found.group(2)])


def _rows(text: str) -> list[dict[str, str]]:
    """The rows of a table whose second line underlines the columns with dashes."""
    lines = text.splitlines()
    for names, dashes, *rest in (lines[i:] for i in range(len(lines) - 1)):
        if re.fullmatch(r"-+( +-+)+ *", dashes):
            spans = [found.span() for found in re.finditer(r"-+", dashes)]
            table = [line for line in rest if line.strip() and not line.startswith("$")]
            return [{names[a:b].strip(): line[a:b].strip() for a, b in spans} for line in table]
    return []
