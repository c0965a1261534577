"""How a command begins and ends: options that state their defaults once, one sentence for a mistake, an exit status.

Standard library alone, so that a machine without the kit's packages gets its answer too.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable

__all__ = ["StatedDefaults", "run_main"]


class StatedDefaults(argparse.HelpFormatter):
    """Help that adds `(default: ...)` to options whose text does not say it, unless there is nothing to say."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or isinstance(action.default, bool) or action.default == argparse.SUPPRESS
        if silent or not action.option_strings or action.help is None or "(default" in action.help:
            return action.help
        return f"{action.help} (default: %(default)s)"


def run_main(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Run a command's `main(argv)`: its status, 2 for a mistake of the user, 130 for Ctrl-C, 141 for a reader gone.

    A mistake (ValueError, OSError) is one sentence on the standard error stream; COURSE_DEBUG=1 shows its traceback.
    """
    try:
        status = main(argv)
        sys.stdout.flush()  # here, where a reader that has gone is no error
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
    return status


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"The disk is full ({error.filename or 'while writing'}): make room and run the same command again."
    return str(error) or type(error).__name__
