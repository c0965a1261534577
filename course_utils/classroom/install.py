"""Install the kit into .venv: what `make lab` and `make test` do first. Needs nothing but a Python.

    python3 -I course_utils/classroom/install.py [--test]

Only the standard library is imported, and the syntax stays that of Python 3.6, so that a Python that is too old still
reads this file and says so in one sentence instead of failing on a line it cannot parse.
"""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

__all__ = ["InstallError", "explain", "install", "main"]

ROOT = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = (3, 11), (3, 13)
WANTED = "Python 3.11, 3.12 or 3.13"
GB = 10**9
NEEDED_ON_LINUX_BYTES = 8 * GB  # PyTorch brings its CUDA libraries there
NEEDED_ELSEWHERE_BYTES = 3 * GB

DISK_SIGNS = ["No space left on device", "Errno 28", "Disk quota exceeded"]
CERTIFICATE_SIGNS = ["CERTIFICATE_VERIFY_FAILED", "certificate verify failed", "SSLError"]
NETWORK_SIGNS = ["NewConnectionError", "ConnectTimeout", "ReadTimeout", "Read timed out", "name resolution"]
NETWORK_SIGNS += ["Max retries exceeded", "ProxyError", "Connection reset", "Connection refused", "IncompleteRead"]
INDEX_SIGNS = ["No matching distribution found", "Could not find a version"]


class InstallError(Exception):
    """The install cannot go on; the message is the one sentence that says why and what to do."""


def install(root: Path, extras: "set[str]") -> None:
    """Make root/.venv hold the kit with these extras; returns at once where it already does, else InstallError."""
    if _is_installed(root, extras):
        return
    _check_machine(root)
    _make_venv(root)
    if _stamp(root).exists():
        extras = extras | set(json.loads(_stamp(root).read_text())["extras"])
        _stamp(root).unlink()  # until this install is complete, there is none
    print("Installing the kit: minutes the first time, seconds from then on", flush=True)
    _pip_install(root, extras)
    _register_kernel(root)
    _write_stamp(root, extras)


def explain(words: str, what: str) -> str:
    """One sentence for what pip or venv printed; `what` opens it where the cause is none of the usual ones."""
    if _any_sign(DISK_SIGNS, words):
        return (
            f"The disk filled up during the install (pip also unpacks in {tempfile.gettempdir()}; TMPDIR moves that): "
            "make room and type the same command again."
        )
    if _any_sign(CERTIFICATE_SIGNS, words):
        return (
            "The package index shows a certificate that this machine does not trust: ask for your site's certificate "
            "file and set PIP_CERT to it."
        )
    if _any_sign(NETWORK_SIGNS, words):
        return (
            "No package index could be reached: check the network (behind a mirror or a proxy, set PIP_INDEX_URL or "
            "HTTPS_PROXY) and type the same command again."
        )
    if _any_sign(INDEX_SIGNS, words):
        missing = [line.split("found for ")[-1] for line in words.splitlines() if "found for " in line]
        package = missing[0].strip() if missing else "a package that the course needs"
        return f"The package index does not offer {package}: set PIP_INDEX_URL to PyPI or a complete mirror of it."
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith("error")] or lines or ["it gave no reason"]
    return f"{what}: {told[-1]}"


def _any_sign(signs: "list[str]", words: str) -> bool:
    return any(sign in words for sign in signs)


def _venv_python(root: Path) -> Path:
    return root / ".venv" / "bin" / "python"


# ---- which Python ----------------------------------------------------------------------------------------------------


def _fits(version: "tuple[int, ...]") -> bool:
    return OLDEST <= version[:2] <= NEWEST


def _version_of(python: str) -> "tuple[int, ...]":
    """(major, minor) of an interpreter, () where it does not start (a shim of a version that is not installed, say)."""
    command = [python, "-I", "-c", "import sys; print(*sys.version_info[:2])"]
    answer = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return tuple(int(part) for part in answer.stdout.split())


def _another_python() -> str:
    """A python3.13, python3.12 or python3.11 from PATH that starts."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and _fits(_version_of(found)):
            return found
    raise InstallError(
        f"The course needs {WANTED} and found {platform.python_version()} ({sys.executable}): install one of them "
        "(python.org, a package manager or conda) and name it with `make lab PYTHON=/path/to/python3.12`."
    )


# ---- is it installed already -----------------------------------------------------------------------------------------


def _stamp(root: Path) -> Path:
    return root / ".venv" / "course-stamp.json"


def _fingerprint(root: Path) -> str:
    """Changes with all that an installed .venv depends on; the folder counts too, since a .venv cannot be moved."""
    digest = hashlib.sha256(str(root).encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def _is_installed(root: Path, extras: "set[str]") -> bool:
    if not (_stamp(root).exists() and _venv_python(root).exists()):
        return False
    stamp = json.loads(_stamp(root).read_text())
    return bool(stamp["fingerprint"] == _fingerprint(root)) and extras <= set(stamp["extras"])


def _write_stamp(root: Path, extras: "set[str]") -> None:
    unfinished = _stamp(root).with_suffix(".tmp")
    unfinished.write_text(json.dumps({"fingerprint": _fingerprint(root), "extras": sorted(extras)}))
    unfinished.replace(_stamp(root))


# ---- what can be known before the first download ---------------------------------------------------------------------


def _check_machine(root: Path) -> None:
    if os.name == "nt":
        raise InstallError(
            "The course runs on Linux and macOS: on Windows, open WSL (`wsl --install`) and type it there."
        )
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        raise InstallError(
            f"This Python ({sys.executable}) comes without `venv`: install it (Debian and Ubuntu: `apt-get install "
            "python3-venv`) or name another Python with `make lab PYTHON=/path/to/python3.12`."
        )
    try:
        tempfile.TemporaryFile(dir=str(root)).close()
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise InstallError(explain(str(error), f"Nothing can be written in {root}")) from error
        raise InstallError(f"The folder {root} is read-only: copy the course to a folder of your own.") from error
    _check_disk(root)


def _check_disk(root: Path) -> None:
    if list(root.glob(".venv/lib/python*/site-packages/torch/__init__.py")):
        return  # the large part is there already
    needed = NEEDED_ON_LINUX_BYTES if platform.system() == "Linux" else NEEDED_ELSEWHERE_BYTES
    free = shutil.disk_usage(str(root)).free
    if free < needed:
        raise InstallError(
            f"The disk of {root} has {free / GB:.1f} GB free and the install needs about {needed / GB:.0f} GB: "
            "make room there or put the course on a larger disk."
        )


# ---- the steps -------------------------------------------------------------------------------------------------------


def _make_venv(root: Path) -> None:
    """Create .venv, or keep the one that an interrupted install left, if it works and belongs to this folder."""
    if _is_usable(root):
        _drop_half_installed(root)
        return
    print(f"Creating .venv with Python {platform.python_version()}", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(root / ".venv")], "Creating .venv failed")


def _is_usable(root: Path) -> bool:
    """True where .venv has a Python that fits and a pip that starts, made for this folder."""
    python, pip = str(_venv_python(root)), root / ".venv" / "bin" / "pip"
    if not (_venv_python(root).exists() and _fits(_version_of(python)) and pip.exists()):
        return False
    asked = subprocess.run([python, "-I", "-m", "pip", "--version"], check=False, stdout=subprocess.DEVNULL)
    return asked.returncode == 0 and str(root) in pip.read_text(errors="replace")


def _drop_half_installed(root: Path) -> None:
    """Remove the metadata of packages whose install was cut short, so that pip installs them again."""
    for metadata in root.glob(".venv/lib/python*/site-packages/*.dist-info"):
        if not (metadata / "RECORD").exists():
            shutil.rmtree(str(metadata))


def _pip_install(root: Path, extras: "set[str]") -> None:
    """Install the kit, editable, at the versions of constraints.txt; what pip says goes to .venv/install.log."""
    kit = ".[{}]".format(",".join(sorted(extras))) if extras else "."
    command = [str(_venv_python(root)), "-I", "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["-c", "constraints.txt", "-e", kit]
    environment = dict(os.environ, PIP_USER="0")  # a personal default of `pip install --user` has no meaning in .venv
    pip = subprocess.Popen(
        command,
        cwd=str(root),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert pip.stdout is not None
    words = ""
    for line in pip.stdout:
        words += line
        _show_progress(line)
    if sys.stdout.isatty():
        print()
    (root / ".venv" / "install.log").write_text(words)
    if pip.wait() != 0:
        raise InstallError(explain(words, "pip failed (see .venv/install.log)"))


def _show_progress(line: str) -> None:
    """One line that changes in place in a terminal; elsewhere only the large downloads and the last step."""
    line = "The package index does not answer; trying again" if "Retrying (" in line else line.strip()
    large = re.search(r"^Downloading .*\(\d{3}[\d.]* MB\)", line)
    if sys.stdout.isatty() and line.startswith(("Collecting", "Downloading", "Installing", "The package index")):
        print("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1], end="", flush=True)
    elif large or line.startswith(("Installing collected", "The package index")):
        print(line[:110], flush=True)


def _register_kernel(root: Path) -> None:
    """A kernelspec `python3` inside .venv that names this interpreter, so that every notebook's kernel resolves."""
    command = [str(_venv_python(root)), "-I", "-m", "ipykernel", "install", "--sys-prefix"]
    _run(
        [*command, "--name", "python3", "--display-name", "Diffusion course"], "Registering the notebook kernel failed"
    )


def _run(command: "list[str]", what: str) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise InstallError(explain(done.stdout.decode(errors="replace"), what))


def main(argv: "list[str]") -> int:
    """Command line; hands over to another Python where this one is too old or too new."""
    try:
        if not _fits(sys.version_info[:2]):
            other = _another_python()
            os.execv(other, [other, "-I", str(Path(__file__).resolve()), *argv])
        install(ROOT, {"test"} if "--test" in argv else set())
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: the same command goes on where this one stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
