"""The kit's commands, `python -m course_utils NAME`: `COMMANDS` lists them."""

import importlib
import sys
from functools import partial

from course_utils.entry import run_main

__all__ = ["COMMANDS", "main"]

# name -> (module with `main(argv) -> int`, what it does); imported when asked for, so that `doctor` needs no torch
COMMANDS = {
    "doctor": ("course_utils.classroom.doctor", "can the course run here? one table, with the fixes"),
    "data": ("course_utils.classroom.data_command", "which images would be used; download them or take a file in"),
    "train": ("course_utils.experiments.training_run", "train the baseline, with checkpoints and exact resume"),
    "sample": ("course_utils.experiments.sampling_run", "draw images from a checkpoint into a grid"),
    "score": ("course_utils.experiments.scoring_run", "how good a model's pictures are, and whether it passes a gate"),
    "bench": ("course_utils.experiments.bench", "measure the ladder of speed-ups on this machine"),
    "course": ("course_utils.classroom.authoring.course", "execute every notebook and index the copies"),
    "check": ("course_utils.classroom.check_command", "your answers in one notebook: right, or what is missing"),
    "report": ("course_utils.classroom.report_page", "one page: predictions, measurements, steps, what is missing"),
    "grade": ("course_utils.classroom.grading.command", "grade a folder of submissions into a gradebook and feedback"),
    "build": ("course_utils.classroom.authoring.build", "make the notebooks from their sources, or check them"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when it went well, 2 for a mistake of the user (one sentence, no traceback), 130 for Ctrl-C.

    COURSE_DEBUG=1 shows the traceback of a mistake.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if argv[0] not in COMMANDS:
        print(f"There is no command {argv[0]!r}: use one of {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    return run_main(partial(_run, argv[0]), argv[1:])


def _run(name: str, argv: list[str] | None) -> int:
    try:
        command = importlib.import_module(COMMANDS[name][0])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("course_utils"):
            raise
        raise ValueError(f"{error.name} is not installed in {sys.executable}: type `make lab` first.") from error
    status: int = command.main(argv)
    return status


def _usage() -> str:
    lines = [f"  {name:<8} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["python -m course_utils COMMAND [--help]", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
