"""Start several processes of one program with torchrun, wait for them, and leave none behind."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

__all__ = ["launch"]

_LAUNCHERS = ("SLURM_", "TORCHELASTIC_", "MASTER_", "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_")
_RANK = re.compile(r"\[rank\d+\]: ?")  # torch puts it before the lines of a traceback
_RAISED = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)\b")
_SUMMARY = re.compile(r"E\d{4} ")  # torchrun's own lines: a letter and the date
_WARNING = re.compile(r"\s*(W\d{4} |\[W|\*{5})")
GRACE_S = 10.0  # how long torchrun has to end its processes before they are killed


def launch(
    *words: str,
    processes: int = 2,
    threads: int = 1,
    folder: str | Path | None = None,
    timeout_s: float = 600.0,
    passive: bool = False,
    show: bool = True,
) -> str:
    """Run `torchrun --standalone --nproc-per-node=PROCESSES WORDS` to its end; -> what it wrote on standard output.

    `words` are a Python file, or -m and a module, and its arguments; each process gets `threads` threads and works in
    `folder`. `passive` lets threads that wait for one another sleep at once, slower on a quiet machine and far faster
    on a crowded one. `show` prints the command first and its output after. Raises `ValueError` for no process,
    `RuntimeError` with the last lines of its error stream where it fails, `TimeoutError` after `timeout_s` seconds;
    however it ends, no process is left.
    """
    if processes < 1 or threads < 1:
        raise ValueError(f"processes and threads must be at least 1, got {processes=} {threads=}.")
    options = ["--standalone", f"--nproc-per-node={processes}", *words]
    if show:
        print(f"$ OMP_NUM_THREADS={threads} torchrun {shlex.join(options)}")
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    status, out, err = _finished(command, folder, _environment(os.environ, threads, passive), timeout_s)
    if show and out:
        print(out, end="")
    if status:
        raise RuntimeError(f"torchrun ended with status {status}:\n{_reason(err)}")
    return out


def _environment(given: Mapping[str, str], threads: int, passive: bool) -> dict[str, str]:
    """The environment without what another launcher has left in it."""
    kept = {name: value for name, value in given.items() if not name.startswith(_LAUNCHERS)}
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"} if passive else {}
    return kept | {"OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": "ERROR"} | waiting


def _finished(
    command: Sequence[str], folder: str | Path | None, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, str, str]:
    """Exit status, standard output and error stream of the command, once nothing of it is left."""
    pipe = subprocess.PIPE
    started = subprocess.Popen(
        [*_dies_with_us(), *command], cwd=folder, env=dict(environment), stdout=pipe, stderr=pipe, text=True
    )
    try:
        out, err = started.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"the processes did not end within {timeout_s:g} s and were stopped.") from None
    finally:
        _end(started)
    return started.returncode, out, err


def _dies_with_us() -> list[str]:
    """Words before a command so that SIGTERM reaches it once this process is killed; none without `setpriv`."""
    return ["setpriv", "--pdeathsig", "TERM"] if sys.platform == "linux" and shutil.which("setpriv") else []


def _end(started: subprocess.Popen[str]) -> None:
    """End a launcher that is still running, and whatever it has started."""
    if started.poll() is not None:
        return
    left = psutil.Process(started.pid).children(recursive=True)
    started.terminate()
    _, still = psutil.wait_procs(left, timeout=GRACE_S)
    for one in still:
        one.kill()
    started.kill()
    started.communicate()


def _reason(err: str) -> str:
    """What a process said last before it failed, up to six lines; what torchrun adds is left out."""
    lines = [_RANK.sub("", line) for line in err.splitlines() if line.strip() and not _WARNING.match(line)]
    own = list(itertools.takewhile(lambda line: not _SUMMARY.match(line), lines)) or lines
    last = next((number for number, line in enumerate(own) if _RAISED.match(line)), len(own) - 1)
    return "\n".join(own[max(0, last - 5) : last + 1])
