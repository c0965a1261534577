"""The scripts of slurm/ on a real Slurm, on CPU at smoke scale: they run, stop, come back, and tell what they did."""

import subprocess
from pathlib import Path

import pytest
from asked_jobs import LONG, SHORT, STEPS, assert_complete, at_work, starts
from safetensors.torch import load_file

from course_utils.experiments.training_log import read_log

pytestmark = pytest.mark.timeout(900)  # a job starts Python twice or more, on a machine that may be busy

PLAIN = ("--num-steps", "4", "--heldout", "32")
TOLERANCE = {"rtol": 0, "atol": 1e-6}  # of weights, after a stop and a new start


@pytest.fixture(scope="module")
def uninterrupted(cluster, kit, send):
    """Weights of a run that was left alone."""
    assert_complete(cluster, send("train_a100.sh", *LONG, COURSE_RUN="uninterrupted"))
    return load_file(kit / "results/local/slurm/uninterrupted/weights.safetensors")


def assert_nothing_in_tmp(cluster, number):
    assert not list(Path(cluster.environment["TMPDIR"]).glob(f"job-{number}-*")), "the job's own folder stays behind"


def assert_equal_weights(run, expected):
    found = load_file(run / "weights.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].allclose(tensor, **TOLERANCE), name


def test_plain_sbatch_trains_on_a_fresh_clone_and_says_where_its_numbers_come_from(cluster, kit, send):
    number = send("train_a100.sh", *PLAIN)
    said = assert_complete(cluster, number)
    run = kit / "results/local/slurm/train-a100-smoke-num-steps-4-heldout-32"
    assert (kit / f"train-a100-{number}.out").is_file()
    assert (run / "weights.safetensors").is_file()
    assert "SMOKE scale on the CPU and says nothing of a100" in said
    commit = subprocess.run(
        ["git", "-C", kit, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    for part in (
        f"job {number}, start 1 of at most 21",
        commit.stdout.strip(),
        "torch 2",
        "ga001: 1 node(s)",
        str(run),
    ):
        assert part in said
    for part in ("status 0 after", "not readable", "img/s, the last reading"):
        assert part in said
    assert (run / "provenance.txt").read_text().count("==") == 2
    assert starts(run)[0]["manifest"]["device"]["type"] == "cpu"
    assert_nothing_in_tmp(cluster, number)


def test_the_same_words_again_find_the_run_complete_and_another_folder_of_sbatch_does_too(cluster, kit, send):
    number = cluster.sbatch("train_a100.sh", *PLAIN, cwd=kit / "slurm", COURSE_OFFLINE="1")
    said = assert_complete(cluster, number)
    assert "going on at step 4 of" in said
    (kit / f"slurm/train-a100-{number}.out").unlink()


def test_a_signal_before_the_time_limit_saves_requeues_and_goes_on(cluster, kit, send, uninterrupted):
    number = send("train_a100.sh", *LONG, COURSE_RUN="signalled")
    run = kit / "results/local/slurm/signalled"
    cluster.reached(number, at_work(run))
    cluster.run("scancel", "--batch", "--signal=USR1", str(number))
    said = assert_complete(cluster, number, restarts=1)
    assert "USR1 received" in said
    assert "start 2 of at most 21" in said
    first, second = starts(run)
    assert 0 == first["step"] < second["step"] < STEPS
    assert not (run / "STOP").exists()
    assert not (run / "REQUEUE").exists()
    assert_equal_weights(run, uninterrupted)
    assert_nothing_in_tmp(cluster, number)


def test_a_preempted_run_comes_back_and_equals_an_uninterrupted_one(cluster, kit, send, uninterrupted):
    number = send("train_a100.sh", *LONG, flags=["-p", "preempt", "-w", "ga001"], COURSE_RUN="preempted")
    run = kit / "results/local/slurm/preempted"
    cluster.reached(number, at_work(run))
    other = cluster.sbatch(
        "-p", "gpu", "-w", "ga001", "--gres=gpu:a100:2", "--wrap", "sleep 1", "-o", "/dev/null", cwd=kit
    )
    cluster.ended(other)
    assert_complete(cluster, number, restarts=1)
    assert 0 < starts(run)[-1]["step"] < STEPS
    assert_equal_weights(run, uninterrupted)


def test_two_processes_of_one_node_stop_through_torchrun_and_come_back(cluster, kit, send):
    number = send("train_multi_gpu.sh", *LONG, COURSE_RUN="two", OMP_NUM_THREADS="1")
    run = kit / "results/local/slurm/two"
    cluster.reached(number, at_work(run))
    cluster.run("scancel", "--batch", "--signal=USR1", str(number))
    assert_complete(cluster, number, restarts=1)
    assert len(starts(run)) == 2
    assert {entry["world_size"] for entry in starts(run)} == {2}


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_two_nodes_train_together_over_gloo(cluster, kit, send, launcher):
    run = kit / f"results/local/slurm/nodes-{launcher}"
    number = send("train_multinode.sh", *SHORT, COURSE_RUN=run.name, COURSE_RANKS_PER_NODE="1", LAUNCHER=launcher)
    said = assert_complete(cluster, number)
    assert "ga[001-002]: 2 node(s)" in said
    assert starts(run)[0]["world_size"] == 2
    steps = [entry for entry in read_log(run / "log.jsonl") if entry["event"] == "step"]
    assert steps[-1]["images_seen"] == 4 * 2 * 4  # steps x processes x batch size
