"""The kit's commands: python -m course_utils doctor | data | train | sample | score | bench | course | build."""

import errno
import importlib
import os
import sys

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
    try:
        return _run(argv[0], argv[1:])
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        if os.environ.get("COURSE_DEBUG") == "1":
            raise
        print(_sentence(error), file=sys.stderr)
        return 2


def _run(name: str, argv: list[str]) -> int:
    try:
        command = importlib.import_module(COMMANDS[name][0])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("course_utils"):
            raise
        raise ValueError(f"{error.name} is not installed in {sys.executable}: type `make lab` first.") from error
    status: int = command.main(argv)
    sys.stdout.flush()  # here, where a reader that has gone is no error
    return status


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"The disk is full ({error.filename or 'while writing'}): make room and run the same command again."
    return str(error) or type(error).__name__


def _usage() -> str:
    lines = [f"  {name:<8} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["python -m course_utils COMMAND [--help]", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
