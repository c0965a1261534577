"""The shared shell functions one by one, without a Slurm: what they compare, name and share out."""

import json
import subprocess
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[2] / "slurm/lib"
NAMES = {
    "a100": "NVIDIA A100-SXM4-80GB",
    "pcie": "NVIDIA A100 80GB PCIe",
    "l40s": "NVIDIA L40S",
    "h200": "NVIDIA H200",
    "nvl": "NVIDIA H100 NVL",
    "rtx8000": "Quadro RTX 8000",
    "v100": "Tesla V100-SXM2-32GB",
    "pro": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
    "mi50": "AMD Instinct MI50/MI60",
}


def shell(words, *parts, **variables):
    """Run words after sourcing parts of the library; -> (status, what it printed)."""
    sourced = "\n".join(f'. "{LIB}/{part}.sh"' for part in parts)
    script = f'set -euo pipefail\nKIT=/nowhere\nstop_with() {{ echo "$1"; exit 2; }}\n{sourced}\n{words}'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **variables}
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("asked", "seen", "same"),
    [
        ("a100", "a100", True),
        ("a100", "pcie", True),
        ("A100", "a100", True),
        ("a100", "l40s", False),
        ("l4", "l40s", False),  # a name that another begins with
        ("a10", "a100", False),
        ("h100", "h200", False),
        ("h100", "nvl", True),
        ("h200|l40s", "l40s", True),
        ("h200|l40s", "a100", False),
        ("rtx8000", "rtx8000", True),
        ("rtx_pro_6000", "pro", True),
        ("rtx8000", "pro", False),
        ("v100", "v100", True),
        ("a100_80g", "a100", True),
    ],
)
def test_a_gpu_is_what_was_asked_for_or_not(asked, seen, same):
    status, _ = shell('is_asked "$SEEN"', "gpus", ASKED=asked, SEEN=NAMES[seen])
    assert (status == 0) is same


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        ("JobId=1 Features=(null) TresPerNode=gres:gpu:a100:1", "a100"),
        ("JobId=1 Features=(null) TresPerNode=gres/gpu:l40s:2", "l40s"),
        ("JobId=1 Features=h200|l40s TresPerNode=gres:gpu:1", "h200|l40s"),
        ("JobId=1 Features=ib&a100 TresPerNode=gres:gpu:1", "a100"),
        ("JobId=1 Features=avx512 TresPerNode=gres:gpu:1", ""),
        ("JobId=1 Features=(null) TresPerNode=gres:gpu:1", ""),
        ("JobId=1 Features=(null)", ""),
    ],
)
def test_what_was_asked_for_is_read_from_the_job(program, shown, asked):
    folder = program("scontrol", f"echo 'JobName=x {shown} end=1'")
    assert shell("asked_gpus", "gpus", PATH=f"{folder}:/usr/bin:/bin", JOB="1") == (0, asked)


def test_a_node_with_a_driver_and_no_gpu_stops_the_job_with_its_name():
    status, said = shell("judge_gpus ga001 ''", "gpus", ASKED="a100")
    assert (status, "ga001 has a driver and shows no GPU" in said) == (2, True)


@pytest.mark.parametrize(
    ("cores", "processes", "before", "threads"),
    [(8, 1, "", 8), (8, 2, "", 4), (2, 4, "", 1), (8, 1, "2", 2), (8, 4, "6", 2)],
)
def test_threads_are_shared_out_and_a_smaller_choice_stays(cores, processes, before, threads):
    words = f"CORES={cores}; share_threads {processes}; echo $OMP_NUM_THREADS $MKL_NUM_THREADS"
    variables = {"OMP_NUM_THREADS": before} if before else {}
    assert shell(words, "environment", **variables) == (0, f"{threads} {threads}\n")


def test_cores_never_exceed_the_machine_even_where_slurm_says_so():
    words = "choose_threads; echo $CORES $SRUN_CPUS_PER_TASK"
    there = subprocess.run(
        ["nproc"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin"}
    ).stdout.strip()
    assert shell(words, "environment", SLURM_CPUS_PER_TASK="4096", OMP_NUM_THREADS="1") == (0, f"{there} 4096\n")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("train-a100-smoke", "train-a100-smoke"),
        (
            "train --treatments bottleneck(where=inside, reduction=2) layout",
            "train-treatments-bottleneck-where=inside-reduction=2-layout",
        ),
        ("../../etc", "..-..-etc"),
        ("x" * 200, "x" * 120),
    ],
)
def test_a_runs_name_is_one_file_name(words, name):
    status, printed = shell(f"slug '{words}'", "folders")
    assert (status, printed.strip()) == (0, name)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (
            "100, 2048, 300\n50, 1024, 100\n",
            "75 % busy on average, peak 2.0 GiB a GPU, 200 W, 0.200 kWh on this node (2 looks)",
        ),
        ("40, 1024, [N/A]\n", "40 % busy on average, peak 1.0 GiB a GPU (1 looks). BELOW 70 %: see the cancel rule"),
    ],
)
def test_use_and_energy_of_the_gpus_are_those_of_the_looks(program, tmp_path, samples, said):
    """0.2 kWh by hand: 200 W on one GPU for an hour."""
    (tmp_path / "gpu.csv").write_text(samples)
    folder = program("nvidia-smi", "echo NVIDIA A100")
    words = f'SECONDS=3600; GPU_LOG="{tmp_path}/gpu.csv"; gpu_use'
    status, printed = shell(words, "gpus", "report", PATH=f"{folder}:/usr/bin:/bin")
    assert (status, printed[: len(said)]) == (0, said)


def test_the_status_of_the_work_survives_signals():
    """A child that ends with 7 a while after two signals: `wait` is interrupted twice and must still tell 7."""
    words = """
RUN_DIR=$(mktemp -d); trap 'on_signal USR1' USR1
(sleep 0.3; kill -USR1 $$; sleep 0.3; kill -USR1 $$) &
supervise bash -c 'sleep 1.2; exit 7'
kill $ASKING; ls $RUN_DIR; rm -r "$RUN_DIR"; echo $STATUS"""
    status, printed = shell(words, "running")
    assert (status, printed.splitlines()[-2:]) == (0, ["STOP", "7"])


@pytest.mark.parametrize(
    ("state", "restarts", "sent", "said"),
    [
        ("RUNNING", "0", True, "sent back to the queue"),
        ("RUNNING", "20", False, "restarted 20 times"),
        ("COMPLETING", "0", False, "Slurm is ending this job"),
        ("", "0", False, "Slurm is ending this job (gone)"),
    ],
)
def test_only_a_job_that_runs_and_was_not_restarted_too_often_goes_back(program, tmp_path, state, restarts, sent, said):
    program("squeue", f"echo {state}")
    program("sleep", "exit 0")
    folder = program("scontrol", f'echo "$@" >"{tmp_path}/asked"')
    variables = {
        "PATH": f"{folder}:/usr/bin:/bin",
        "JOB": "7_1",  # the second task of an array
        "SLURM_RESTART_COUNT": restarts,
        "MAX_RESTARTS": "20",
    }
    _, printed = shell("requeue", "running", **variables)
    assert said in printed
    assert (tmp_path / "asked").exists() is sent
    if sent:
        assert (tmp_path / "asked").read_text() == "requeue 7_1\n"


@pytest.mark.parametrize(
    ("limit", "warned_after", "back"),
    [
        ("00:03:00", "1", False),  # warned 180 s ahead: at once, and so at each start
        ("00:10:00", "1", True),  # somebody asked for it by hand
        ("00:04:00", "61", True),  # a minute of work a start
        ("1-00:00:00", "1", True),
        ("UNLIMITED", "1", True),
    ],
)
def test_a_time_limit_no_longer_than_its_warning_is_said_and_not_tried_again(program, limit, warned_after, back):
    program("squeue", "echo RUNNING")
    program("sleep", "exit 0")
    folder = program("scontrol", f"[ \"$1\" = requeue ] || echo 'JobId=7 RunTime=00:00:01 TimeLimit={limit} End=x'")
    variables = {"PATH": f"{folder}:/usr/bin:/bin", "JOB": "7", "MAX_RESTARTS": "20", "WARNED_AFTER": warned_after}
    _, printed = shell("requeue", "running", **variables)
    assert ("sent back to the queue; the next start" in printed) is back
    assert ("Ask for --time=00:10:00 or more" in printed) is not back


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ([], "no reading: this start logged no step"),
        (["start"], "no reading: this start logged no step"),
        (["start", 7.25], "7.25 img/s, the last reading of log.jsonl"),
    ],
)
def test_the_speed_is_that_of_this_start_alone(tmp_path, later, said):
    """The log becomes shorter at a start that goes on from an earlier checkpoint."""

    def lines(*told):
        entries = [{"event": "start"} if one == "start" else {"event": "step", "img_per_s": one} for one in told]
        return "".join(json.dumps(entry) + "\n" for entry in entries)

    (tmp_path / "log.jsonl").write_text(lines("start", 31.5, 31.0, 30.5))
    (tmp_path / "later.jsonl").write_text(lines("start", 31.5, *later))
    words = 'STARTS=$(logged_starts); mv "$RUN_DIR/later.jsonl" "$RUN_DIR/log.jsonl"; last_speed'
    assert shell(words, "report", RUN_DIR=str(tmp_path)) == (0, said)
