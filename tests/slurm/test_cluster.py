"""The cluster that tests run on: it counts GPUs, refuses as a site does, and leaves nothing behind."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cluster import HERE, MISSING, missing_program, running_cluster

LUA = [path for root in ("/usr/lib", "/usr/local/lib") for path in Path(root).rglob("job_submit_lua.so")]


def test_gpus_are_counted_and_named_as_on_a_real_node(cluster, tmp_path):
    words = ["--gres=gpu:l40s:2", "-o", str(tmp_path / "log"), "--wrap", "echo $CUDA_VISIBLE_DEVICES $SLURMD_NODENAME"]
    cluster.ended(cluster.sbatch(*words, cwd=tmp_path))
    assert (tmp_path / "log").read_text() == "0,1 gl001\n"
    with pytest.raises(RuntimeError, match="node configuration is not available"):
        cluster.sbatch("--gres=gpu:a100:3", "--wrap", "true", cwd=tmp_path)
    with pytest.raises(RuntimeError, match=r"[Ff]eature"):
        cluster.sbatch("--constraint=h100", "--wrap", "true", cwd=tmp_path)


def test_nothing_is_left_of_a_cluster_whose_test_fails(tmp_path):
    if name := missing_program():
        pytest.skip(f"{name} is {MISSING}")
    with pytest.raises(ZeroDivisionError), running_cluster(accounts=bool(LUA)) as made:  # noqa: PT012
        job = ["-o", "/dev/null", "--wrap", "trap '' TERM; sleep 600 & wait", "--account=any"]
        made.reached(made.sbatch(*job, cwd=tmp_path), lambda job: job["JobState"] == "RUNNING")
        assert len(made.processes()) > len(made.daemons)
        _ = 1 / 0
    assert made.processes() == []
    assert not made.folder.exists()


def test_a_site_that_wants_an_account_takes_it_from_the_environment_too(kit):
    if name := missing_program():
        pytest.skip(f"{name} is {MISSING}")
    if not LUA:
        pytest.skip("this Slurm comes without job_submit/lua: a rule about accounts cannot be made")
    options = ("slurm/train_a100.sh", "--num-steps", "2", "--heldout", "0")
    with running_cluster(accounts=True) as site:
        with pytest.raises(RuntimeError, match="an account is required"):
            site.sbatch(*options, cwd=kit)
        variables = {"SBATCH_ACCOUNT": "torch_pr_1_course", "COURSE_RUN": "account", "COURSE_OFFLINE": "1"}
        job = site.ended(site.sbatch(*options, cwd=kit, **variables))
        assert (job["Account"], job["JobState"]) == ("torch_pr_1_course", "COMPLETED")


def test_a_cluster_runs_for_somebody_who_is_not_root():
    """As root, by another user's hands; otherwise every test here is this test."""
    if name := missing_program():
        pytest.skip(f"{name} is {MISSING}")
    if os.geteuid() != 0:
        pytest.skip("not root: the other tests run for somebody who is not")
    nobody = pwd.getpwnam("nobody")
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        shutil.copy(HERE / "cluster.py", folder)
        words = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        words += [python, "-B", f"{folder}/cluster.py", "srun", "-N2", "id", "-un"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=90, cwd="/tmp")
    assert (done.returncode, done.stdout) == (0, "nobody\nnobody\n"), done.stderr
