"""Record what a real Slurm says: `python -m course_utils.classroom.transcripts [--on TEXT] [NAME ...]`."""

from __future__ import annotations

import argparse
import sys
import time

from course_utils.atomic import replacing
from course_utils.classroom.transcripts.playing import play, slurm_version
from course_utils.classroom.transcripts.sessions import SESSIONS
from course_utils.classroom.transcripts.showing import RECORDED
from course_utils.entry import run_main

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Play sessions on the Slurm that answers and write down what it says."""
    parser = argparse.ArgumentParser(prog="python -m course_utils.classroom.transcripts", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SESSIONS, []], metavar="NAME", help="sessions (default: all)")
    parser.add_argument("--on", default="", metavar="TEXT", help="what this cluster is, for the first line")
    options = parser.parse_args(argv)
    version = slurm_version()
    if version is None:
        raise ValueError("no Slurm answers here (`scontrol ping`): transcripts are recorded on a real one.")
    for name in options.names or SESSIONS:
        place = f"{version}, {options.on}" if options.on else version
        text = f"# Recorded {time.strftime('%Y-%m-%d')} on {place}.\n{play(name, within_s=300)}"
        with replacing(RECORDED / f"{name}.txt") as path:
            path.write_text(text, encoding="utf-8")
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
