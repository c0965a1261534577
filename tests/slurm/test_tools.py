"""The sweep, the smoke test, the profile, the benchmark and the container, on a real Slurm at smoke scale."""

import gzip
import json

import pytest
from asked_jobs import LONG, SHORT, assert_complete, assert_refused, at_work, starts

from course_utils.experiments.training_log import read_log

pytestmark = pytest.mark.timeout(900)


def test_a_sweep_trains_every_cell_and_gathers_one_table(cluster, kit, send):
    """Its last task, whose number is that of the whole array, is stopped on the way, and comes back alone."""
    variables = {"SWEEP_TREATMENTS": "none; layout", "SWEEP_SEEDS": "7", "SWEEP_NAME": "sweep"}
    number = send("sweep_array.sh", *LONG, "--heldout", "32", flags=["--array=0-1"], **variables)
    folder = kit / "results/local/slurm/sweep"
    cluster.reached(f"{number}_1", at_work(folder / "layout-seed7"))
    cluster.run("scancel", "--batch", "--signal=USR1", f"{number}_1")
    assert_complete(cluster, cluster.named("sweep-table"))
    assert [len(starts(folder / name)) for name in ("none-seed7", "layout-seed7")] == [1, 2]
    assert f"job {number}_1, start 2 of" in (kit / f"sweep-{number}_1.out").read_text()
    states = cluster.run("squeue", "-h", "-r", "-t", "all", "-j", str(number), "-o", "%T").stdout.split()
    assert states == ["COMPLETED", "COMPLETED"]
    table = (folder / "table.md").read_text().splitlines()
    names = ["layout-seed7", "none-seed7"]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table[2:4]] == names
    for line, name in zip(table[2:4], names, strict=True):
        heldout = next(entry for entry in read_log(folder / name / "log.jsonl") if entry["event"] == "heldout")
        assert f"| {heldout['loss']:.5g} |" in line
    assert len(table) == 4, "no note, where all runs are complete and alike"


def test_the_smoke_job_checks_gpu_dtypes_communication_and_scratch(cluster, send):
    said = assert_complete(cluster, send("smoke.sh", flags=["--gres=gpu:a100:2"]))
    for part in ("float32", "bfloat16", "threads", "gloo, 2 rank(s) agree", "MiB/s into"):
        assert f"ok    {part}" in said or part in said
    assert "FAIL" not in said


def test_the_profile_job_leaves_a_trace_and_a_missing_nsys_is_a_sentence(cluster, kit, send):
    said = assert_complete(cluster, send("profile.sh", "--steps", "1", "--batch-size", "1", COURSE_RUN="profile"))
    assert "ResnetBlock" in said
    with gzip.open(kit / "results/local/slurm/profile/trace.json.gz", "rt") as trace:
        assert "aten::convolution_backward" in trace.read()
    assert_refused(cluster, send("profile.sh", PROFILER="nsys"), "PROFILER is nsys, and there is none")


def test_the_bench_job_writes_records_named_by_what_they_were_measured_on(cluster, kit, send):
    number = send("bench_gpus.sh", "--only", "^data loading$", "--max-time", "1")
    said = assert_complete(cluster, number)
    records = kit / f"results/local/slurm/bench/bench-cpu-smoke-{number}.jsonl"
    assert {json.loads(line)["config"]["row"] for line in records.read_text().splitlines()} == {"data loading"}
    assert f"records: {records}" in said


def test_use_of_the_gpu_is_sampled_and_its_waste_is_said(cluster, send, program):
    answers = "*=name*) echo NVIDIA A100-SXM4-80GB ;; *utilization*) echo 12, 20480, 90.0 ;; *) echo 580.1 ;;"
    body = f'case "$*" in {answers} esac'
    folder = program("nvidia-smi", body)
    words = ("--scale", "smoke", "--device", "cpu", *SHORT)
    number = send(
        "train_a100.sh",
        *words,
        PATH=f"{folder}:{cluster.environment['PATH']}",
        COURSE_SAMPLE_S="1",
        COURSE_SCALE="smoke",
    )
    said = assert_complete(cluster, number)
    assert "ga001: NVIDIA A100-SXM4-80GB (asked: a100; driver 580.1)" in said
    assert "12 % busy on average, peak 20.0 GiB a GPU, 90 W" in said
    assert "BELOW 70 %" in said


def test_an_overlay_is_entered_read_only_through_the_container(cluster, kit, send, program, tmp_path):
    """apptainer is a stand-in that notes its words and runs what follows the image."""
    overlay, image = kit / "course.ext3", kit / "cuda.sif"
    overlay.touch()
    image.touch()
    body = f'echo "$@" >>"{tmp_path}/words"; while [ "$1" != "{image}" ]; do shift; done; shift; exec "$@"'
    path = f"{program('apptainer', body)}:{kit}/.venv/bin:{cluster.environment['PATH']}"
    number = send(
        "train_a100.sh",
        *SHORT,
        COURSE_OVERLAY=str(overlay),
        COURSE_IMAGE=str(image),
        PATH=path,
    )
    said = assert_complete(cluster, number)
    assert f"{overlay} in {image}" in said
    assert f"exec --nv --overlay {overlay}:ro {image}" in (tmp_path / "words").read_text()
