"""What a job refuses, on a real Slurm: one sentence, the right status, and no second start."""

import os
import shutil
import subprocess

import pytest
from asked_jobs import LONG, assert_refused, at_work, log_of

pytestmark = pytest.mark.timeout(900)  # jobs wait for one another, and for a machine that is busy


def test_a_mistake_in_the_options_fails_with_its_own_status_and_is_not_requeued(cluster, send):
    assert_refused(cluster, send("train_a100.sh", "--lr", "-1"), "--lr must be above 0")


def test_another_gpu_than_asked_for_stops_the_job_with_a_sentence(cluster, send, program):
    folder = program("nvidia-smi", 'case "$*" in *gpu_name*|*query-gpu=name*) echo NVIDIA L40S ;; esac')
    path = f"{folder}:{cluster.environment['PATH']}"
    assert_refused(cluster, send("train_a100.sh", PATH=path), "Asked for a100, but ga001 has NVIDIA L40S")
    number = send("train_a100.sh", flags=["--gres=gpu:l40s:1"], PATH=path)  # the right one: on to the next check
    assert_refused(cluster, number, "No CIFAR-10 in")


def test_one_of_two_nodes_with_another_gpu_stops_the_job(cluster, send, program):
    body = 'case "$SLURMD_NODENAME" in ga002) echo NVIDIA L40S ;; *) echo NVIDIA A100-PCIE-40GB ;; esac'
    folder = program("nvidia-smi", body)
    number = send("train_multinode.sh", PATH=f"{folder}:{cluster.environment['PATH']}")
    assert_refused(cluster, number, "Asked for a100, but ga002 has NVIDIA L40S")


def test_a_missing_overlay_or_image_stops_the_job_with_a_sentence(cluster, kit, send):
    assert_refused(cluster, send("train_a100.sh", COURSE_OVERLAY="/nowhere.ext3"), "COURSE_OVERLAY is /nowhere.ext3")
    overlay = kit / "an overlay.ext3"
    overlay.touch()
    assert_refused(cluster, send("train_a100.sh", COURSE_OVERLAY=str(overlay)), "an overlay needs a container image")


def test_no_environment_at_all_is_a_sentence(cluster, send):
    assert_refused(cluster, send("train_a100.sh", COURSE_VENV="/nowhere"), "COURSE_VENV is /nowhere")


def test_a_full_scratch_stops_the_job_before_the_work(cluster, send):
    assert_refused(
        cluster, send("train_a100.sh", COURSE_MIN_FREE_MB="999999999"), "MB free and the run needs 999999999 MB"
    )


def test_a_scratch_that_fills_up_during_the_run_is_a_sentence_too(cluster, send, tmp_path):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4500k", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (tmp_path / "ballast").write_bytes(bytes(450_000))  # 4 MB are left for the probe, and too little for the run
        options = ("--num-steps", "500", "--checkpoint-every", "1", "--keep", "1000", "--batch-size", "1")
        number = send("train_a100.sh", *options, COURSE_RUNS=str(tmp_path), COURSE_MIN_FREE_MB="1")
        assert_refused(cluster, number, "No space left on device")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_two_jobs_never_work_in_one_folder(cluster, kit, send):
    first = send("train_a100.sh", *LONG, COURSE_RUN="shared")
    cluster.reached(first, at_work(kit / "results/local/slurm/shared"))
    assert_refused(cluster, send("train_a100.sh", *LONG, COURSE_RUN="shared"), f"Job {first} works in")
    cluster.run("scancel", str(first))
    cluster.ended(first)


def test_a_cancelled_job_stays_cancelled(cluster, kit, send):
    number = send("train_a100.sh", *LONG, COURSE_RUN="cancelled")
    cluster.reached(number, at_work(kit / "results/local/slurm/cancelled"))
    cluster.run("scancel", str(number))
    job = cluster.ended(number)
    assert (job["JobState"], job["Restarts"]) == ("CANCELLED", "0")
    assert "scontrol requeue" not in log_of(cluster, number)


def test_the_cap_on_restarts_ends_a_job_with_its_checkpoint_and_status_75(cluster, kit, send):
    number = send("train_a100.sh", *LONG, COURSE_RUN="capped", COURSE_MAX_RESTARTS="0")
    run = kit / "results/local/slurm/capped"
    cluster.reached(number, at_work(run))
    cluster.run("scancel", "--batch", "--signal=USR1", str(number))
    assert_refused(cluster, number, "restarted 0 times", status=75)
    assert list(run.glob("step_*.safetensors"))
