"""One Slurm for all tests of a worker, a copy of the kit to send jobs from, and stand-ins for programs of a site."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import MISSING, missing_program, running_cluster

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("course_utils", "slurm", "pyproject.toml", "constraints.txt")


@pytest.fixture(scope="session")
def cluster():
    """A real Slurm of three nodes; a test that needs it is skipped where Slurm is not installed."""
    if name := missing_program():
        pytest.skip(f"{name} is {MISSING}")
    with running_cluster() as started:
        yield started


@pytest.fixture(scope="session")
def kit(tmp_path_factory):
    """The kit as a fresh clone has it, in a folder with a blank in its name; its .venv is that of this checkout."""
    folder = tmp_path_factory.mktemp("a kit")
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "slurm"], ["commit", "-q", "-m", "a clone"]):
        subprocess.run(["git", "-C", str(folder), *who, *words], check=True)
    return folder


@pytest.fixture(scope="session")
def send(cluster, kit):
    """Sends a job from the kit's folder, without a network and with nothing of CIFAR-10; -> its number."""

    def sbatch(script, *options, flags=(), **variables):
        return cluster.sbatch(*flags, f"slurm/{script}", *options, cwd=kit, COURSE_OFFLINE="1", **variables)

    return sbatch


@pytest.fixture
def program(tmp_path):
    """Makes a program of a name with a shell body, in a folder of its own; -> that folder, for PATH."""

    def make(name, body):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
        return folder

    return make
