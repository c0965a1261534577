"""Where a student's kernel runs: in bubblewrap, where only Python, the kit and an empty folder exist, or unconfined.

Inside there is no network, no process but the kernel's own, nobody's user, a small private /tmp, and of the clone only
what lessons read. Sources with solutions, submissions and grades are not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import course_utils
from course_utils.classroom.authoring.folders import find_folders

__all__ = ["Sandbox", "find_sandbox"]

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/sys")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "hosts", "localtime", "nsswitch.conf")
DEVICES = ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
LESSON_FOLDERS = ("data", "notebooks", "results/reference", "slurm")
NOBODY = "65534"
TMP_BYTES = 512 * 2**20
WARNING = """\
WARNING: submissions run UNCONFINED, as you, with your files, your network and your processes within reach
  ({why}).
  Only time, memory and output are limited. Install bubblewrap (apt install bubblewrap) where user namespaces are
  allowed, or grade inside a machine that you can throw away."""


@dataclass(frozen=True)
class Sandbox:
    """How a kernel is started: `bwrap` is the program that confines it, or None and then `why` there is none."""

    bwrap: str | None
    why: str = ""

    @property
    def warning(self) -> str | None:
        """What an instructor must read before grading goes on, where nothing confines a kernel."""
        return None if self.bwrap else WARNING.format(why=self.why)

    def command(self, argv: Sequence[str], *, shared: Path, environment: Mapping[str, str]) -> list[str]:
        """The command that runs `argv` in this sandbox; `shared` is the one folder of the host that it may write to."""
        if self.bwrap is None:
            return list(argv)
        options = [*_walls(), *_files(shared), "--clearenv"]
        for name, value in environment.items():
            options += ["--setenv", name, value]
        return [self.bwrap, *options, "--", *argv]


def find_sandbox() -> Sandbox:
    """The confinement that works on this machine: a trial run decides, since many systems refuse user namespaces."""
    program = shutil.which("bwrap")
    if program is None:
        return Sandbox(None, "bubblewrap is not installed" if sys.platform == "linux" else "only Linux has bubblewrap")
    trial = Sandbox(program)
    command = trial.command([sys.executable, "-c", "import course_utils"], shared=Path("/usr"), environment={})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Sandbox(None, f"bubblewrap does not start: {error}")
    if done.returncode != 0:
        return Sandbox(
            None, f"bubblewrap is refused here: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
        )
    return trial


def _walls() -> list[str]:
    """No namespace shared with the host, no capability, nobody's ids, and an end when the grader ends."""
    walls = ["--die-with-parent", "--new-session", "--unshare-all", "--unshare-user", "--cap-drop", "ALL"]
    return [*walls, "--uid", NOBODY, "--gid", NOBODY, "--hostname", "localhost"]


def _files(shared: Path) -> Iterator[str]:
    """What exists inside, in the order in which it is mounted."""
    yield from ("--size", str(TMP_BYTES), "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev")
    yield from ("--size", str(TMP_BYTES), "--tmpfs", "/dev/shm")
    yield from ("--dir", "/tmp/work", "--dir", "/tmp/home", "--dir", "/tmp/matplotlib")
    for path in SYSTEM:
        yield from ("--ro-bind-try", path, path)
    for name in SETTINGS:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for name in DEVICES:
        yield from ("--dev-bind-try", f"/dev/{name}", f"/dev/{name}")
    for folder in [*_python_folders(), *_kit_folders()]:
        yield from ("--ro-bind", str(folder), str(folder))
    for font_list in _font_lists():
        yield from ("--ro-bind", str(font_list), f"/tmp/matplotlib/{font_list.name}")
    yield from ("--bind", str(shared), str(shared), "--remount-ro", "/", "--chdir", "/tmp/work")


def _python_folders() -> list[Path]:
    """The interpreter and its packages, those outside of the system's folders."""
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    paths.append(str(Path(sys.executable).resolve().parent.parent))
    found = {Path(path) for path in paths} | {Path(path).resolve() for path in paths}
    return _outermost(path for path in found if path.is_dir() and not str(path).startswith(("/usr/", "/bin", "/lib")))


def _kit_folders() -> list[Path]:
    """The kit itself and what lessons read of the clone, never the clone as a whole."""
    root = find_folders().root
    kit = Path(course_utils.__file__).resolve().parent
    found = [path for name in LESSON_FOLDERS if (path := root / name).is_dir()]
    return [kit, *found]


def _outermost(paths: Iterator[Path] | set[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in sorted(paths):
        if path != Path("/usr") and not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept


def _font_lists() -> list[Path]:
    """Matplotlib's list of fonts, which takes seconds to make anew."""
    import matplotlib as mpl

    folder = Path(mpl.get_cachedir())
    return sorted(folder.glob("fontlist-*.json")) if os.access(folder, os.R_OK) else []
