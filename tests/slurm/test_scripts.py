"""Every script of slurm/ as text: what its header says, what shellcheck and the kit's linter find."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from course_utils.classroom.job_scripts import findings
from course_utils.classroom.job_scripts.reading import read_script

SLURM = Path(__file__).resolve().parents[2] / "slurm"
ALL = sorted([*SLURM.glob("*.sh"), *SLURM.glob("lib/*.sh")])
JOBS = [path for path in ALL if read_script(path.read_text()).is_job]
NAMES = "train_a100 train_multi_gpu train_multinode sweep_array bench_gpus profile smoke env_build jupyter sweep_table"
ONCE = {"env_build", "jupyter"}  # half an environment, or a session without its person, is not worth a restart


def by_name(paths):
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(SLURM)) for path in paths])


def test_the_folder_holds_the_scripts_it_promises():
    assert {path.stem for path in JOBS} == set(NAMES.split())


@by_name(JOBS)
def test_a_job_script_has_no_finding(path):
    assert findings(path.read_text()) == []


@by_name(JOBS)
def test_a_header_says_what_every_job_needs(path):
    script = read_script(path.read_text())
    given = {one.option: one.value for one in script.directives}
    assert re.fullmatch(r"%x-(%j|%A_%a)\.out", given["output"])
    assert given["open-mode"] == "append"
    assert {"time", "nodes", "ntasks-per-node", "cpus-per-task", "mem"} <= set(given)
    assert not {"account", "partition", "constraint"} & set(given), "these are facts of a site"
    if path.stem in ONCE:
        assert "no-requeue" in given
    else:
        assert "requeue" in given
        assert re.fullmatch(r"B:USR1@\d+", given["signal"])


@by_name(JOBS)
def test_a_job_script_says_how_it_is_sent_and_what_it_needs(path):
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(re.search(rf"sbatch .*slurm/{path.name}", line) for line in comments)
    needs = next(line.removeprefix("# needs: ").split() for line in comments if line.startswith("# needs: "))
    assert set(needs) <= {"environment", "data", "image"}


@by_name([*JOBS, SLURM / "submit.sh"])
def test_shellcheck_finds_nothing(path):
    """The library too, through the scripts that source it."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    words = ["shellcheck", "-x", "-a", str(path.relative_to(SLURM.parent))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=SLURM.parent)
    assert (done.returncode, done.stdout) == (0, "")


@by_name([*JOBS, SLURM / "submit.sh"])
def test_a_script_may_be_executed(path):
    assert path.stat().st_mode & 0o111


@by_name(ALL)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 300


def test_facts_of_a_site_stand_in_its_file_alone():
    named = re.compile(r"torch_pr_|/share/apps|/scratch/work|c12m85|nyu\.edu")
    for path in [*ALL, *SLURM.glob("*.py")]:
        assert not named.search(path.read_text()), path
