"""Name the faults of job scripts: `python -m course_utils.classroom.job_scripts FILE...`."""

import argparse
import sys
from pathlib import Path

from course_utils.classroom.job_scripts import RULES, findings
from course_utils.classroom.job_scripts.reading import read_script
from course_utils.entry import run_main

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Print every finding; 0 where there is none, 1 where there are some."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.classroom.job_scripts",
        description="Name the faults of Slurm job scripts: the line, what was seen, why it bites, the mend.",
        epilog="Exit status: 0 no finding, 1 findings, 2 a file that cannot be read.",
    )
    parser.add_argument("files", nargs="+" if "--rules" not in (argv or sys.argv) else "*", type=Path, metavar="FILE")
    parser.add_argument("--rules", action="store_true", help="list what is looked for")
    options = parser.parse_args(argv)
    if options.rules:
        print("\n".join(f"{name}: {rule.why}" for name, rule in RULES.items()))
    return max([_told(path) for path in options.files], default=0)


def _told(path: Path) -> int:
    """Print what is found in one file; 1 where that is something."""
    text = path.read_bytes().decode(errors="replace")  # as it is: line ends count
    if not read_script(text).is_job:
        print(f"{path}: no #SBATCH line, so no job script")
        return 0
    found = findings(text, folder=Path.cwd())
    print("\n".join(f"{path}:{finding}" for finding in found) or f"{path}: no finding")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(run_main(main))
